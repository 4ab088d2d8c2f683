//! A file system in memory for the unit tests of this crate: fails a chosen call, and loses what was not synced.
//!
//! The full-grown one is `nokv-vfs-mem`, which depends on this crate and so cannot serve its unit tests.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::sync::{Arc, Mutex};
use crate::vfs::{Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap};

#[derive(Default, Clone)]
struct Node {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

type Names = BTreeMap<String, Arc<Mutex<Node>>>;

struct Disk {
    names: Names,
    durable_names: Names,
    dirs: Vec<String>,
    atomic_rename: bool,
    /// Mutating calls so far.
    calls: u64,
    /// The call that fails, and how. A write that fails leaves half of its bytes.
    fail: Option<(u64, IoErrorKind)>,
    /// No call changes anything from this one on: the machine is dead.
    stop_at: Option<u64>,
}

/// The file system. Clones are the same one.
#[derive(Clone)]
pub(crate) struct TestFs(Arc<Mutex<Disk>>);

pub(crate) struct TestFile {
    fs: TestFs,
    node: Arc<Mutex<Node>>,
}

impl TestFs {
    pub(crate) fn new(atomic_rename: bool) -> Self {
        let disk = Disk {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: Vec::new(),
            atomic_rename,
            calls: 0,
            fail: None,
            stop_at: None,
        };
        Self(Arc::new(Mutex::new(disk)))
    }

    /// How many calls that change something were made.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// The `nth` such call (counting from 0, from the beginning) fails.
    pub(crate) fn fail_call(&self, nth: u64, kind: IoErrorKind) {
        self.0.lock().fail = Some((nth, kind));
    }

    /// From the `nth` such call on nothing has an effect and everything fails.
    pub(crate) fn stop_at_call(&self, nth: u64) {
        self.0.lock().stop_at = Some(nth);
    }

    /// The disk after a power cut: with `keep_unsynced` all that was written is there, else only what was synced.
    pub(crate) fn crash(&self, keep_unsynced: bool) -> Self {
        let disk = self.0.lock();
        let names = if keep_unsynced { &disk.names } else { &disk.durable_names };
        let copy = |names: &Names| -> Names {
            names
                .iter()
                .map(|(name, node)| {
                    let node = node.lock();
                    let bytes = if keep_unsynced { &node.bytes } else { &node.durable };
                    let node = Node { bytes: bytes.clone(), durable: bytes.clone() };
                    (name.clone(), Arc::new(Mutex::new(node)))
                })
                .collect()
        };
        let names = copy(names);
        let disk = Disk {
            durable_names: names.clone(),
            names,
            dirs: disk.dirs.clone(),
            atomic_rename: disk.atomic_rename,
            calls: 0,
            fail: None,
            stop_at: None,
        };
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The content of a file.
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.0.lock().names[path].lock().bytes.clone()
    }

    /// Replaces the content of a file, durably.
    pub(crate) fn set_bytes(&self, path: &str, bytes: Vec<u8>) {
        let node = self.0.lock().names.entry(path.to_string()).or_default().clone();
        *node.lock() = Node { durable: bytes.clone(), bytes };
        let mut disk = self.0.lock();
        disk.durable_names.insert(path.to_string(), node);
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// Counts a call that changes something; an error if it is to fail.
    fn step(&self) -> IoResult<()> {
        let mut disk = self.0.lock();
        let n = disk.calls;
        disk.calls += 1;
        if disk.stop_at.is_some_and(|at| n >= at) {
            return Err(IoError::new(IoErrorKind::Other));
        }
        match disk.fail {
            Some((at, kind)) if at == n => Err(IoError::new(kind)),
            _ => Ok(()),
        }
    }

    fn node(&self, path: &str) -> IoResult<Arc<Mutex<Node>>> {
        self.0.lock().names.get(path).cloned().ok_or(IoError::new(IoErrorKind::NotFound))
    }
}

impl Vfs for TestFs {
    type File = TestFile;
    type Lock = ();

    fn capabilities(&self) -> Capabilities {
        let atomic_rename = self.0.lock().atomic_rename;
        Capabilities { maps: false, atomic_rename, directory_sync: true, hard_links: false }
    }

    fn create(&self, path: &str) -> IoResult<TestFile> {
        self.step()?;
        if self.node(path).is_ok() {
            return Err(IoError::new(IoErrorKind::AlreadyExists));
        }
        let node = Arc::new(Mutex::new(Node::default()));
        self.0.lock().names.insert(path.to_string(), node.clone());
        Ok(TestFile { fs: self.clone(), node })
    }

    fn open(&self, path: &str, _: OpenMode) -> IoResult<TestFile> {
        Ok(TestFile { fs: self.clone(), node: self.node(path)? })
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        self.step()?;
        self.0.lock().dirs.push(path.to_string());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.step()?;
        let node = self.node(from)?;
        let mut disk = self.0.lock();
        disk.names.remove(from);
        disk.names.insert(to.to_string(), node);
        Ok(())
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        if self.node(to).is_ok() {
            return Err(IoError::new(IoErrorKind::AlreadyExists));
        }
        self.rename(from, to)
    }

    fn link(&self, _: &str, _: &str) -> IoResult<()> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        self.step()?;
        self.node(path)?;
        self.0.lock().names.remove(path);
        Ok(())
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let disk = self.0.lock();
        let prefix = alloc::format!("{dir}/");
        let mut entries = Vec::new();
        for (name, node) in &disk.names {
            if let Some(name) = name.strip_prefix(&prefix).filter(|rest| !rest.contains('/')) {
                let size = node.lock().bytes.len() as u64;
                entries.push(DirEntry { name: name.to_string(), size, is_dir: false, links: 1 });
            }
        }
        let below = disk.names.keys().chain(&disk.dirs).filter_map(|path| path.strip_prefix(&prefix));
        let mut dirs: Vec<&str> = below
            .filter_map(|rest| match rest.split_once('/') {
                Some((first, _)) => Some(first),
                None => disk.dirs.iter().any(|d| d.strip_prefix(&prefix) == Some(rest)).then_some(rest),
            })
            .collect();
        dirs.sort_unstable();
        dirs.dedup();
        entries.extend(dirs.iter().map(|name| DirEntry {
            name: name.to_string(),
            size: 0,
            is_dir: true,
            links: 1,
        }));
        Ok(entries)
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        Ok(self.node(path)?.lock().bytes.len() as u64)
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        self.step()?;
        let mut disk = self.0.lock();
        let prefix = alloc::format!("{dir}/");
        let within = |name: &String| name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
        let now: Names =
            disk.names.iter().filter(|(n, _)| within(n)).map(|(n, f)| (n.clone(), f.clone())).collect();
        disk.durable_names.retain(|name, _| !within(name));
        disk.durable_names.extend(now);
        Ok(())
    }

    fn lock(&self, _: &str) -> IoResult<()> {
        Ok(())
    }

    fn free_space(&self, _: &str) -> IoResult<u64> {
        Ok(u64::MAX)
    }
}

impl VfsFile for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        let node = self.node.lock();
        let rest = node.bytes.get(offset as usize..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        let failed = self.fs.step();
        let stopped = {
            let disk = self.fs.0.lock();
            disk.stop_at.is_some_and(|at| disk.calls > at)
        };
        let bytes = match failed {
            Ok(()) => bytes,
            Err(error) if stopped => return Err(error),
            Err(_) => &bytes[..bytes.len() / 2],
        };
        let mut node = self.node.lock();
        let end = offset as usize + bytes.len();
        if node.bytes.len() < end {
            node.bytes.resize(end, 0);
        }
        node.bytes[offset as usize..end].copy_from_slice(bytes);
        failed
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.fs.step()?;
        self.node.lock().bytes.resize(len as usize, 0);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        self.fs.step()?;
        let mut node = self.node.lock();
        let end = (offset + len) as usize;
        if node.bytes.len() < end {
            node.bytes.resize(end, 0);
        }
        Ok(())
    }

    fn sync(&self) -> IoResult<()> {
        self.fs.step()?;
        let mut node = self.node.lock();
        node.durable = node.bytes.clone();
        Ok(())
    }

    fn size(&self) -> IoResult<u64> {
        Ok(self.node.lock().bytes.len() as u64)
    }

    fn map(&self, _: u64) -> IoResult<Box<dyn VfsMap>> {
        Err(IoError::new(IoErrorKind::Unsupported))
    }
}
