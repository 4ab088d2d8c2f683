//! The state of the simulated disk: directories, files, unsynced changes of names, space, locks.
//!
//! Invariants:
//! 1. A directory's `durable` names with all of `names` applied in order are its `current` names.
//! 2. `files` holds every file that a current, durable or pending name or an open handle still refers to.
//! 3. `used` is the sum of `charged` over files that have a current name or an open handle, in bytes.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use nokv_core::sync::Arc;
use nokv_core::vfs::{Capabilities, IoError, IoErrorKind, IoResult};

use crate::content::{PAGE, Page};
use crate::file::FileNode;

/// A name in a directory.
pub(crate) type Name = Arc<str>;
/// The names of a directory.
pub(crate) type Names = BTreeMap<Name, Node>;

/// The root directory.
pub(crate) const ROOT: u64 = 0;
/// How many freed pages are kept to show up as stale bytes.
const STALE_PAGES: usize = 64;
/// Larger files are refused, as real file systems do.
pub(crate) const MAX_LEN: u64 = 1 << 44;

/// What a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    File(u64),
    Dir(u64),
}

/// A directory.
#[derive(Clone, Default)]
pub(crate) struct Dir {
    pub(crate) current: Arc<Names>,
    pub(crate) durable: Arc<Names>,
}

/// Sets one name, or removes it.
#[derive(Clone)]
pub(crate) struct Assign {
    pub(crate) dir: u64,
    pub(crate) name: Name,
    pub(crate) node: Option<Node>,
}

/// An unsynced change of names. Several parts are a rename.
#[derive(Clone)]
pub(crate) struct NameOp {
    pub(crate) parts: Vec<Assign>,
    /// A rename replaced an older file.
    pub(crate) replaced: bool,
    /// A failed sync gave it up: later syncs pass it by.
    lost: bool,
}

/// What a failed sync leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFailure {
    /// The pages are marked clean and stay in the cache: reads see the new bytes, the disk may never get
    /// them, and the next sync succeeds without writing them.
    CleanAndKept,
    /// The pages are thrown away: reads see the bytes of the last successful sync. Names stay, as under
    /// [`SyncFailure::CleanAndKept`].
    Reverted,
    /// Everything reached the disk, and an error came back all the same.
    ErrorButPersisted,
}

/// A sync, map flush or directory sync that is to fail with [`IoErrorKind::Other`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncFault {
    /// Part of the path; empty for all.
    pub path: String,
    /// How many matching calls succeed before.
    pub skip: u64,
    /// Do all later matching calls fail too?
    pub sticky: bool,
    /// What it leaves.
    pub model: SyncFailure,
}

/// The disk.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) caps: Capabilities,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    /// Calls that found no space.
    pub(crate) refusals: u64,
    pub(crate) dirs: BTreeMap<u64, Dir>,
    pub(crate) files: BTreeMap<u64, FileNode>,
    pub(crate) names: Vec<NameOp>,
    pub(crate) locks: BTreeSet<u64>,
    pub(crate) stale: VecDeque<Arc<Page>>,
    pub(crate) sync_fault: Option<SyncFault>,
    /// Files without a current name that may go when nothing refers to them.
    orphans: BTreeSet<u64>,
    next_id: u64,
}

pub(crate) const fn fail<T>(kind: IoErrorKind) -> IoResult<T> {
    Err(IoError::new(kind))
}

impl Disk {
    pub(crate) fn new(caps: Capabilities) -> Self {
        Self {
            caps,
            capacity: u64::MAX,
            used: 0,
            refusals: 0,
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            files: BTreeMap::new(),
            names: Vec::new(),
            locks: BTreeSet::new(),
            stale: VecDeque::new(),
            sync_fault: None,
            orphans: BTreeSet::new(),
            next_id: ROOT + 1,
        }
    }

    /// The same settings and id counter, no files: where an image starts.
    pub(crate) fn empty_like(&self) -> Self {
        Self {
            capacity: self.capacity,
            stale: self.stale.clone(),
            next_id: self.next_id,
            ..Self::new(self.caps)
        }
    }

    /// What the death of the process leaves: everything, but no handle and no lock.
    pub(crate) fn without_process(&self) -> Self {
        let mut disk = Self { locks: BTreeSet::new(), sync_fault: None, ..self.clone() };
        let open: Vec<u64> = disk.files.iter().filter(|(_, f)| f.open > 0).map(|(id, _)| *id).collect();
        for id in open {
            if let Some(file) = disk.files.get_mut(&id) {
                file.open = 0;
            }
            disk.release(id);
        }
        disk
    }

    // Paths.

    fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".")
    }

    fn child(&self, dir: u64, name: &str) -> Option<Node> {
        self.dirs.get(&dir)?.current.get(name).copied()
    }

    fn walk<'a>(&self, mut parts: impl Iterator<Item = &'a str>) -> IoResult<u64> {
        parts.try_fold(ROOT, |dir, part| match self.child(dir, part) {
            Some(Node::Dir(id)) => Ok(id),
            Some(Node::File(_)) => fail(IoErrorKind::InvalidInput),
            None => fail(IoErrorKind::NotFound),
        })
    }

    /// The directory `path`.
    pub(crate) fn dir(&self, path: &str) -> IoResult<u64> {
        self.walk(Self::parts(path))
    }

    /// The parent directory of `path`, and the last name.
    pub(crate) fn place<'a>(&self, path: &'a str) -> IoResult<(u64, &'a str)> {
        let mut parts = Self::parts(path);
        match parts.next_back() {
            Some(name) if name != ".." => Ok((self.walk(parts)?, name)),
            _ => fail(IoErrorKind::InvalidInput),
        }
    }

    /// The file `path`.
    pub(crate) fn file_id(&self, path: &str) -> IoResult<u64> {
        let (dir, name) = self.place(path)?;
        match self.child(dir, name) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Dir(_)) => fail(IoErrorKind::InvalidInput),
            None => fail(IoErrorKind::NotFound),
        }
    }

    /// A file by number; handles keep theirs alive.
    pub(crate) fn file(&self, id: u64) -> &FileNode {
        self.files.get(&id).expect("a handle or name keeps its file")
    }

    /// A file by number, to change it.
    pub(crate) fn file_mut(&mut self, id: u64) -> &mut FileNode {
        self.files.get_mut(&id).expect("a handle or name keeps its file")
    }

    // Names.

    fn set_current(&mut self, dir: u64, name: &str, node: Option<Node>) {
        let Some(dir) = self.dirs.get_mut(&dir) else { return };
        let names = Arc::make_mut(&mut dir.current);
        match node {
            Some(node) => names.insert(Name::from(name), node),
            None => names.remove(name),
        };
    }

    /// Carries out and remembers a change of names.
    fn change(&mut self, parts: &[(u64, &str, Option<Node>)], replaced: bool) {
        let parts: Vec<Assign> = parts
            .iter()
            .map(|&(dir, name, node)| {
                self.set_current(dir, name, node);
                Assign { dir, name: Name::from(name), node }
            })
            .collect();
        if self.caps.directory_sync {
            self.names.push(NameOp { parts, replaced, lost: false });
        } else {
            parts.iter().for_each(|part| self.persist_name(part));
        }
    }

    fn persist_name(&mut self, part: &Assign) {
        let Some(dir) = self.dirs.get_mut(&part.dir) else { return };
        let names = Arc::make_mut(&mut dir.durable);
        match part.node {
            Some(node) => names.insert(Name::clone(&part.name), node),
            None => names.remove(&part.name),
        };
    }

    /// Makes all changes durable that touch `dir`; a rename between directories goes as a whole.
    pub(crate) fn sync_dir(&mut self, dir: u64) {
        let mut kept: Vec<NameOp> = Vec::new();
        for op in core::mem::take(&mut self.names) {
            if op.lost || !op.parts.iter().any(|part| part.dir == dir) {
                kept.push(op);
                continue;
            }
            for part in &op.parts {
                self.persist_name(part);
                // Older changes of the same name are settled by this one.
                for older in &mut kept {
                    older.parts.retain(|old| old.dir != part.dir || old.name != part.name);
                }
            }
        }
        kept.retain(|op| !op.parts.is_empty());
        self.names = kept;
        self.sweep();
    }

    /// A failed directory sync gave the changes in `dir` up.
    pub(crate) fn lose_names(&mut self, dir: u64) {
        for op in self.names.iter_mut().filter(|op| op.parts.iter().any(|part| part.dir == dir)) {
            op.lost = true;
        }
    }

    /// Makes the directory and its parents; fine if it is there.
    pub(crate) fn create_dir_all(&mut self, path: &str) -> IoResult<()> {
        let mut at = ROOT;
        let count = Self::parts(path).count();
        for (i, part) in Self::parts(path).enumerate() {
            at = match self.child(at, part) {
                Some(Node::Dir(id)) => id,
                Some(Node::File(_)) if i + 1 == count => return fail(IoErrorKind::AlreadyExists),
                Some(Node::File(_)) => return fail(IoErrorKind::InvalidInput),
                None if part == ".." => return fail(IoErrorKind::InvalidInput),
                None => {
                    let id = self.take_id();
                    self.dirs.insert(id, Dir::default());
                    self.change(&[(at, part, Some(Node::Dir(id)))], false);
                    id
                }
            };
        }
        Ok(())
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Makes a new, empty file.
    pub(crate) fn create(&mut self, path: &str) -> IoResult<u64> {
        let (dir, name) = self.place(path)?;
        if self.child(dir, name).is_some() {
            return fail(IoErrorKind::AlreadyExists);
        }
        let id = self.take_id();
        self.files.insert(id, FileNode::fresh());
        self.change(&[(dir, name, Some(Node::File(id)))], false);
        Ok(id)
    }

    /// Renames a file.
    pub(crate) fn rename(&mut self, from: &str, to: &str, replace: bool) -> IoResult<()> {
        let id = self.file_id(from)?;
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        let old = match self.child(to_dir, to_name) {
            Some(_) if !replace => return fail(IoErrorKind::AlreadyExists),
            Some(Node::Dir(_)) => return fail(IoErrorKind::InvalidInput),
            // Two names of one file: both stay, as POSIX has it.
            Some(Node::File(old)) if old == id => return Ok(()),
            Some(Node::File(old)) => Some(old),
            None => None,
        };
        self.change(&[(to_dir, to_name, Some(Node::File(id))), (from_dir, from_name, None)], old.is_some());
        if let Some(old) = old {
            self.drop_link(old);
        }
        Ok(())
    }

    /// A second name.
    pub(crate) fn link(&mut self, from: &str, to: &str) -> IoResult<()> {
        if !self.caps.hard_links {
            return fail(IoErrorKind::Unsupported);
        }
        let id = self.file_id(from)?;
        let (dir, name) = self.place(to)?;
        if self.child(dir, name).is_some() {
            return fail(IoErrorKind::AlreadyExists);
        }
        self.file_mut(id).links += 1;
        self.change(&[(dir, name, Some(Node::File(id)))], false);
        Ok(())
    }

    /// Removes a name.
    pub(crate) fn unlink(&mut self, path: &str) -> IoResult<()> {
        let id = self.file_id(path)?;
        let (dir, name) = self.place(path)?;
        self.change(&[(dir, name, None)], false);
        self.drop_link(id);
        Ok(())
    }

    fn drop_link(&mut self, id: u64) {
        let file = self.file_mut(id);
        file.links -= 1;
        if file.links == 0 {
            let pages: Vec<Arc<Page>> =
                file.current.pages(0, u64::MAX).take(STALE_PAGES).map(|(_, page)| Arc::clone(page)).collect();
            self.keep_stale(pages);
        }
        self.release(id);
    }

    /// Remembers freed pages: their bytes may show up in places that were never written.
    pub(crate) fn keep_stale(&mut self, pages: Vec<Arc<Page>>) {
        self.stale.extend(pages);
        while self.stale.len() > STALE_PAGES {
            self.stale.pop_front();
        }
    }

    /// Gives the space of a file back when it has neither name nor handle.
    pub(crate) fn release(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.links == 0 && file.open == 0 {
            self.used -= file.charged * PAGE;
            file.charged = 0;
            self.orphans.insert(id);
            if self.names.is_empty() || self.orphans.len() > 16 {
                self.sweep();
            }
        }
    }

    /// Forgets files that no name, durable or not, refers to.
    fn sweep(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let mut gone = core::mem::take(&mut self.orphans);
        let durable = self.dirs.values().flat_map(|dir| dir.durable.values().copied());
        let pending = self.names.iter().flat_map(|op| &op.parts).filter_map(|part| part.node);
        for node in durable.chain(pending) {
            if let Node::File(id) = node
                && gone.remove(&id)
            {
                self.orphans.insert(id);
            }
        }
        for id in gone {
            self.files.remove(&id);
        }
    }

    /// Puts a directory into an image.
    pub(crate) fn add_dir(&mut self, id: u64, names: Arc<Names>) {
        self.dirs.insert(id, Dir { current: Arc::clone(&names), durable: names });
    }

    /// Puts a file into an image.
    pub(crate) fn add_file(&mut self, id: u64, file: FileNode) {
        self.used += file.charged * PAGE;
        self.files.insert(id, file);
    }

    // Space.

    /// Changes a file after making sure that `start..end` of it has room.
    pub(crate) fn grow(
        &mut self,
        id: u64,
        start: u64,
        end: u64,
        f: impl FnOnce(&mut FileNode),
    ) -> IoResult<()> {
        if end > MAX_LEN {
            return fail(IoErrorKind::InvalidInput);
        }
        let needed = self.file(id).pages_needed(start, end) * PAGE;
        if needed > 0 && self.used.saturating_add(needed) > self.capacity {
            self.refusals += 1;
            return fail(IoErrorKind::NoSpace);
        }
        self.change_file(id, f);
        Ok(())
    }

    /// Changes a file and keeps the books.
    pub(crate) fn change_file(&mut self, id: u64, f: impl FnOnce(&mut FileNode)) {
        let file = self.file_mut(id);
        let before = file.charged;
        f(file);
        self.used = self.used - before * PAGE + self.file(id).charged * PAGE;
    }

    /// The failure that the next sync of `path` is to have.
    pub(crate) fn take_sync_fault(&mut self, path: &str) -> Option<SyncFailure> {
        let fault = self.sync_fault.as_mut().filter(|fault| path.contains(fault.path.as_str()))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        let model = fault.model;
        if !fault.sticky {
            self.sync_fault = None;
        }
        Some(model)
    }
}
