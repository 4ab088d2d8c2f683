//! A file system and an index from outside of the project: they keep the laws, and the database on them equals the
//! model.

use nokv::BuiltinIndex;
use nokv_core::MemIndex;
use nokv_core::vfs::Vfs;
use nokv_tests::foreign::{MapFs, TreeIndex};
use nokv_tests::laws::index::check_index;
use nokv_tests::laws::vfs::check_vfs;
use nokv_tests::model::{Setup, run};
use nokv_vfs_mem::MemFs;

#[test]
fn the_file_system_keeps_the_laws() {
    check_vfs(|| {
        let fs = MapFs::new();
        fs.create_dir_all("some/dir").expect("a directory");
        (fs, "some/dir".to_owned())
    });
}

#[test]
fn the_index_keeps_the_laws() {
    check_index(|| TreeIndex::new(&(), 1 << 20));
}

#[test]
fn foreign_file_system_and_index() {
    let kill = Some(MapFs::kill_clone as fn(&MapFs) -> MapFs);
    let (fs, dir) = (MapFs::new(), "m".to_owned());
    let name = "foreign file system and index";
    run::<_, TreeIndex>(Setup { name, fs, dir, index: |_| (), kill, seed: 6, option_set: 6, ops: 150_000 });
}

#[test]
fn foreign_file_system() {
    let kill = Some(MapFs::kill_clone as fn(&MapFs) -> MapFs);
    let (fs, dir) = (MapFs::new(), "m".to_owned());
    let index = |options: &nokv::Options| options.mem_table_engine;
    run::<_, BuiltinIndex>(Setup {
        name: "foreign file system",
        fs,
        dir,
        index,
        kill,
        seed: 7,
        option_set: 7,
        ops: 100_000,
    });
}

#[test]
fn foreign_index() {
    let kill = Some(MemFs::kill_clone as fn(&MemFs) -> MemFs);
    let (fs, dir) = (MemFs::new(), "m".to_owned());
    run::<_, TreeIndex>(Setup {
        name: "foreign index",
        fs,
        dir,
        index: |_| (),
        kill,
        seed: 8,
        option_set: 8,
        ops: 100_000,
    });
}
