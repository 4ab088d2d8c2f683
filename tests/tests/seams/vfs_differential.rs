//! The simulated disk and real files give the same answers to the same calls.
//!
//! Random sequences run on both; after each call the results are compared, errors by kind, and now and then the
//! whole directory with its contents, sizes and link counts.

use nokv_core::vfs::{IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap, join};
use nokv_vfs_mem::MemFs;
use nokv_vfs_std::StdFs;
use proptest::prelude::*;

const NAMES: [&str; 7] = ["a", "b", "c", "d/a", "d/b", "none/a", "d"];
/// Files stay below this.
const SPAN: u64 = 40_000;
const HANDLES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Create(usize, usize),
    Open(usize, usize, bool),
    Close(usize),
    Rename(usize, usize),
    RenameNoReplace(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    CreateDir(usize),
    Size(usize),
    List(bool),
    SyncDir(bool),
    Read(usize, u64, usize),
    Write(usize, u64, usize, u8),
    SetLen(usize, u64),
    Allocate(usize, u64, u64),
    Sync(usize),
    Map(usize),
    Store(usize, u64, usize, u8),
    Flush(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let handle = 0..HANDLES;
    let offset = prop_oneof![0..SPAN, (0..8u64).prop_map(|page| page * 4_096)];
    let len = prop_oneof![0..64usize, 0..9_000usize];
    prop_oneof![
        3 => (handle.clone(), name.clone()).prop_map(|(h, n)| Step::Create(h, n)),
        3 => (handle.clone(), name.clone(), any::<bool>()).prop_map(|(h, n, w)| Step::Open(h, n, w)),
        1 => handle.clone().prop_map(Step::Close),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Step::RenameNoReplace(a, b)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => name.clone().prop_map(Step::Unlink),
        1 => name.clone().prop_map(Step::CreateDir),
        1 => name.prop_map(Step::Size),
        1 => any::<bool>().prop_map(Step::List),
        1 => any::<bool>().prop_map(Step::SyncDir),
        3 => (handle.clone(), offset.clone(), len.clone()).prop_map(|(h, o, l)| Step::Read(h, o, l)),
        6 => (handle.clone(), offset.clone(), len.clone(), 1..=255u8)
            .prop_map(|(h, o, l, b)| Step::Write(h, o, l, b)),
        2 => (handle.clone(), offset.clone()).prop_map(|(h, l)| Step::SetLen(h, l)),
        2 => (handle.clone(), offset.clone(), 0..20_000u64).prop_map(|(h, o, l)| Step::Allocate(h, o, l)),
        1 => handle.clone().prop_map(Step::Sync),
        1 => handle.clone().prop_map(Step::Map),
        3 => (handle.clone(), offset, len, 1..=255u8).prop_map(|(h, o, l, b)| Step::Store(h, o, l, b)),
        1 => handle.prop_map(Step::Flush),
    ]
}

/// What a step shows.
#[derive(Debug, PartialEq)]
enum Seen {
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    Names(Vec<(String, u64, bool, u32)>),
    Failed(IoErrorKind),
}

fn seen<T>(result: IoResult<T>, show: impl FnOnce(T) -> Seen) -> Seen {
    result.map_or_else(|error| Seen::Failed(error.kind), show)
}

struct Side<V: Vfs> {
    vfs: V,
    root: String,
    handles: [Option<V::File>; HANDLES],
    maps: [Option<Box<dyn VfsMap>>; HANDLES],
}

impl<V: Vfs> Side<V> {
    fn new(vfs: V, root: &str) -> Self {
        vfs.create_dir_all(&join(root, "d")).unwrap();
        Self { vfs, root: root.to_owned(), handles: Default::default(), maps: Default::default() }
    }

    fn path(&self, name: usize) -> String {
        join(&self.root, NAMES[name])
    }

    fn dir(&self, sub: bool) -> String {
        if sub { join(&self.root, "d") } else { self.root.clone() }
    }

    fn keep(&mut self, handle: usize, file: IoResult<V::File>) -> Seen {
        seen(file, |file| {
            self.maps[handle] = None;
            self.handles[handle] = Some(file);
            Seen::Done
        })
    }

    fn on(&self, handle: usize, f: impl FnOnce(&V::File) -> Seen) -> Seen {
        self.handles[handle].as_ref().map_or(Seen::Done, f)
    }

    fn list(&self, dir: &str) -> Seen {
        seen(self.vfs.list(dir), |entries| {
            let mut names: Vec<_> =
                entries.into_iter().map(|e| (e.name, e.size, e.is_dir, e.links)).collect();
            names.sort();
            Seen::Names(names)
        })
    }

    fn contents(&self) -> Vec<(usize, Seen)> {
        let read = |name| {
            let file = self.vfs.open(&self.path(name), OpenMode::Read)?;
            let mut bytes = vec![0; usize::try_from(file.size()?).unwrap()];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        (0..NAMES.len()).map(|name| (name, seen(read(name), Seen::Bytes))).collect()
    }

    fn run(&mut self, step: &Step) -> Seen {
        let done = |()| Seen::Done;
        // A cut below a map would be a bus error on real files; the engine never does it either.
        let mapped = self.maps.iter().any(Option::is_some);
        match *step {
            Step::Create(h, n) => {
                let file = self.vfs.create(&self.path(n));
                self.keep(h, file)
            }
            Step::Open(h, n, write) => {
                let mode = if write { OpenMode::ReadWrite } else { OpenMode::Read };
                let file = self.vfs.open(&self.path(n), mode);
                self.keep(h, file)
            }
            Step::Close(h) => {
                self.maps[h] = None;
                self.handles[h] = None;
                Seen::Done
            }
            // Only files are renamed and linked.
            Step::Rename(a, _) | Step::RenameNoReplace(a, _) | Step::Link(a, _) if NAMES[a] == "d" => {
                Seen::Done
            }
            Step::Rename(a, b) => seen(self.vfs.rename(&self.path(a), &self.path(b)), done),
            Step::RenameNoReplace(a, b) => {
                seen(self.vfs.rename_noreplace(&self.path(a), &self.path(b)), done)
            }
            Step::Link(a, b) => seen(self.vfs.link(&self.path(a), &self.path(b)), done),
            Step::Unlink(n) => seen(self.vfs.unlink(&self.path(n)), done),
            // No directory but "d" is made, so that the names above stay files.
            Step::CreateDir(n) if self.vfs.size(&self.path(n)).is_err() && NAMES[n] != "d" => Seen::Done,
            Step::CreateDir(n) => seen(self.vfs.create_dir_all(&self.path(n)), done),
            Step::Size(n) => seen(self.vfs.size(&self.path(n)), Seen::Number),
            Step::List(sub) => self.list(&self.dir(sub)),
            Step::SyncDir(sub) => seen(self.vfs.sync_dir(&self.dir(sub)), done),
            Step::Read(h, offset, len) => self.on(h, |file| {
                let mut buf = vec![0; len];
                seen(file.read_at(&mut buf, offset), |n| Seen::Bytes(buf[..n].to_vec()))
            }),
            Step::Write(h, offset, len, byte) => {
                self.on(h, |file| seen(file.write_at(&vec![byte; len], offset), done))
            }
            Step::SetLen(_, _) if mapped => Seen::Done,
            Step::SetLen(h, len) => self.on(h, |file| seen(file.set_len(len), done)),
            Step::Allocate(h, offset, len) => self.on(h, |file| seen(file.allocate(offset, len), done)),
            Step::Sync(h) => self.on(h, |file| seen(file.sync(), done)),
            Step::Map(h) => {
                // Both sides can map what was allocated just before.
                let map = match &self.handles[h] {
                    Some(file) => file.allocate(0, 16_384).and_then(|()| file.map(16_384)),
                    None => return Seen::Done,
                };
                seen(map, |map| {
                    self.maps[h] = Some(map);
                    Seen::Done
                })
            }
            Step::Store(h, offset, len, byte) => {
                if let Some(map) = &self.maps[h] {
                    let offset = offset % map.len();
                    let len = len.min(usize::try_from(map.len() - offset).unwrap());
                    map.store(offset, &vec![byte; len]);
                }
                Seen::Done
            }
            Step::Flush(h) => match &self.maps[h] {
                Some(map) => seen(map.flush(0, map.len()), done),
                None => Seen::Done,
            },
        }
    }
}

/// Can files be mapped here? Else both sides go without.
fn std_fs(dir: &str) -> StdFs {
    let fs = StdFs::new();
    let probe = join(dir, "probe");
    let file = fs.create(&probe).unwrap();
    file.allocate(0, 4_096).unwrap();
    let maps = file.map(4_096).is_ok();
    fs.unlink(&probe).unwrap();
    if maps { fs } else { StdFs::without_maps() }
}

proptest! {
    #[test]
    fn memory_and_files_agree(steps in proptest::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let files = std_fs(root);
        let memory = MemFs::with_capabilities(files.capabilities());
        let (mut real, mut simulated) = (Side::new(files, root), Side::new(memory, "root"));
        for (i, step) in steps.iter().enumerate() {
            let (expected, found) = (real.run(step), simulated.run(step));
            prop_assert_eq!(expected, found, "step {}: {:?}", i, step);
            if i % 16 == 0 || i + 1 == steps.len() {
                for sub in [false, true] {
                    prop_assert_eq!(real.list(&real.dir(sub)), simulated.list(&simulated.dir(sub)));
                }
                prop_assert_eq!(real.contents(), simulated.contents());
            }
        }
    }
}
