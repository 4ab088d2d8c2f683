//! Random operations on the database equal a naive model: on memory and on files, with each index.

use nokv::{BuiltinIndex, MemTableEngine, Options};
use nokv_tests::model::{Setup, run};
use nokv_vfs_mem::MemFs;
use nokv_vfs_std::StdFs;

fn mem(name: &'static str, index: fn(&Options) -> MemTableEngine, seed: u64, ops: u64) {
    let fs = MemFs::new();
    run::<_, BuiltinIndex>(Setup {
        name,
        fs,
        dir: "m".into(),
        index,
        kill: Some(MemFs::kill_clone),
        seed,
        option_set: seed,
        ops,
    });
}

fn files(name: &'static str, index: fn(&Options) -> MemTableEngine, seed: u64, ops: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text").to_owned();
    run::<_, BuiltinIndex>(Setup {
        name,
        fs: StdFs::new(),
        dir: path,
        index,
        kill: None,
        seed,
        option_set: seed,
        ops,
    });
}

#[cfg(feature = "skiplist")]
#[test]
fn skiplist_in_memory() {
    mem("skiplist in memory", |_| MemTableEngine::Skiplist, 1, 200_000);
}

#[cfg(feature = "art")]
#[test]
fn radix_tree_in_memory() {
    mem("radix tree in memory", |_| MemTableEngine::Art, 2, 200_000);
}

#[test]
fn either_index_in_memory() {
    mem("either index in memory", |options| options.mem_table_engine, 3, 200_000);
}

#[cfg(feature = "skiplist")]
#[test]
fn skiplist_on_files() {
    files("skiplist on files", |_| MemTableEngine::Skiplist, 4, 120_000);
}

#[cfg(feature = "art")]
#[test]
fn radix_tree_on_files() {
    files("radix tree on files", |_| MemTableEngine::Art, 5, 120_000);
}

#[test]
fn one_history_under_many_option_sets() {
    nokv_tests::model::metamorphic::run_all(nokv_tests::net::Scale::Slice);
}
