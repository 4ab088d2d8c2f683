//! [`FaultFs`]: any file system, failing where rules say so.
//!
//! Every call is numbered from 0 and named by an [`Op`]. A call first meets the global "fail call N", then the
//! rules in the order in which they were added; the first that fires decides. A rule that looks at a call counts
//! it, whether or not an earlier one fired. A failed call does not reach the file system below, except for the
//! part of a short write and for rules that fail [`Rule::afterwards`]. Map stores and loads cannot fail
//! and are not counted.
//!
//! A sync that fails here leaves the bytes below unsynced, and a second try can succeed; the three models of
//! what a real failed sync leaves are in [`crate::MemFs::set_sync_fault`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nokv_core::sync::{Arc, Mutex};
use nokv_core::vfs::{
    Capabilities, DirEntry, IoError, IoErrorKind, IoResult, OpenMode, Vfs, VfsFile, VfsMap,
};

/// The calls that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// [`Vfs::create`].
    Create,
    /// [`Vfs::open`].
    Open,
    /// [`Vfs::create_dir_all`].
    CreateDir,
    /// [`Vfs::rename`] and [`Vfs::rename_noreplace`]; rules see the old path and the new.
    Rename,
    /// [`Vfs::link`]; rules see both paths.
    Link,
    /// [`Vfs::unlink`].
    Unlink,
    /// [`Vfs::list`].
    List,
    /// [`Vfs::size`] and [`VfsFile::size`].
    Size,
    /// [`Vfs::sync_dir`].
    SyncDir,
    /// [`Vfs::lock`].
    Lock,
    /// [`Vfs::free_space`].
    FreeSpace,
    /// [`VfsFile::read_at`], and each request of [`VfsFile::read_many`].
    Read,
    /// [`VfsFile::write_at`].
    Write,
    /// [`VfsFile::set_len`].
    SetLen,
    /// [`VfsFile::allocate`].
    Allocate,
    /// [`VfsFile::sync`].
    Sync,
    /// [`VfsFile::map`].
    Map,
    /// [`VfsMap::flush`].
    Flush,
}

/// When a call fails, and how.
#[derive(Debug, Clone)]
pub struct Rule {
    op: Option<Op>,
    path: String,
    skip: u64,
    sticky: bool,
    error: IoError,
    short: Option<usize>,
    after: bool,
    spent: bool,
}

impl Rule {
    /// Fails the next `op` with `kind`, once.
    pub fn new(op: Op, kind: IoErrorKind) -> Self {
        Self { op: Some(op), ..Self::any(kind) }
    }

    /// Fails the next call of any kind, once.
    pub fn any(kind: IoErrorKind) -> Self {
        Self {
            op: None,
            path: String::new(),
            skip: 0,
            sticky: false,
            error: IoError::new(kind),
            short: None,
            after: false,
            spent: false,
        }
    }

    /// Only calls on a path that contains `part`.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = String::from(part);
        self
    }

    /// Lets `calls` matching calls pass first.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Fails all later matching calls too.
    #[must_use]
    pub fn sticky(mut self) -> Self {
        self.sticky = true;
        self
    }

    /// The number that the error carries.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.error.code = code;
        self
    }

    /// A write first writes at most `bytes` of what it was given. With [`IoErrorKind::NoSpace`] only bytes
    /// behind the end of the file are, as the seam promises.
    #[must_use]
    pub fn short(mut self, bytes: usize) -> Self {
        self.short = Some(bytes);
        self
    }

    /// The call is carried out, and then reported as failed.
    #[must_use]
    pub fn afterwards(mut self) -> Self {
        self.after = true;
        self
    }

    /// Does it fire on this call? Counts it if it matches.
    fn fires(&mut self, op: Op, paths: [&str; 2]) -> bool {
        let matches = self.op.is_none_or(|own| own == op) && paths.iter().any(|p| p.contains(&*self.path));
        if self.spent || !matches {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.spent = !self.sticky;
        true
    }

    fn verdict(&self) -> Verdict {
        Verdict { error: self.error, short: self.short, after: self.after }
    }
}

/// How a call is to fail.
struct Verdict {
    error: IoError,
    short: Option<usize>,
    after: bool,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    fail_call: Option<(u64, bool, IoErrorKind)>,
    calls: u64,
    failures: u64,
    observer: Option<Observer>,
}

/// Hears of each call before it is carried out.
type Observer = Arc<dyn Fn(Op, &str) + Send + Sync>;

impl State {
    fn judge(&mut self, op: Op, paths: [&str; 2]) -> Option<Verdict> {
        let number = self.calls;
        self.calls += 1;
        let global = self.fail_call.filter(|&(n, sticky, _)| number == n || sticky && number > n);
        let mut verdict =
            global.map(|(_, _, kind)| Verdict { error: IoError::new(kind), short: None, after: false });
        for rule in &mut self.rules {
            if rule.fires(op, paths) && verdict.is_none() {
                verdict = Some(rule.verdict());
            }
        }
        self.failures += u64::from(verdict.is_some());
        verdict
    }
}

/// A file system that fails on demand. Clones share their rules.
#[derive(Clone)]
pub struct FaultFs<V> {
    inner: V,
    faults: Faults,
}

#[derive(Clone, Default)]
struct Faults(Arc<Mutex<State>>);

impl Faults {
    fn judge(&self, op: Op, paths: [&str; 2]) -> Option<Verdict> {
        let mut state = self.0.lock();
        let verdict = state.judge(op, paths);
        let observer = state.observer.clone();
        drop(state);
        if let Some(observer) = observer {
            observer(op, paths[0]);
        }
        verdict
    }

    fn call<T>(&self, op: Op, paths: [&str; 2], run: impl FnOnce() -> IoResult<T>) -> IoResult<T> {
        match self.judge(op, paths) {
            None => run(),
            Some(Verdict { error, after, .. }) => {
                if after {
                    run()?;
                }
                Err(error)
            }
        }
    }
}

impl<V: Vfs> fmt::Debug for FaultFs<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFs").field("calls", &self.calls()).field("failures", &self.failures()).finish()
    }
}

impl<V: Vfs> FaultFs<V> {
    /// Wraps `inner`, without rules.
    pub fn new(inner: V) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// The file system below.
    pub fn inner(&self) -> &V {
        &self.inner
    }

    /// Adds a rule behind those that are there.
    pub fn add_rule(&self, rule: Rule) {
        self.faults.0.lock().rules.push(rule);
    }

    /// Fails the call with number `number` (from 0), and all later ones if `sticky`.
    pub fn fail_call(&self, number: u64, sticky: bool, kind: IoErrorKind) {
        self.faults.0.lock().fail_call = Some((number, sticky, kind));
    }

    /// Calls `observer` with the kind and the (first) path of each call before it is carried out, with no lock
    /// held: it may count, block, or advance a clock, which makes a slow file system. The one before is let go.
    pub fn observe(&self, observer: impl Fn(Op, &str) + Send + Sync + 'static) {
        self.faults.0.lock().observer = Some(Arc::new(observer));
    }

    /// Takes all rules back. The counts and the observer stay.
    pub fn clear(&self) {
        let mut state = self.faults.0.lock();
        state.rules.clear();
        state.fail_call = None;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.faults.0.lock().calls
    }

    /// Calls that were made to fail.
    pub fn failures(&self) -> u64 {
        self.faults.0.lock().failures
    }

    fn file(&self, path: &str, file: V::File) -> FaultFile<V::File> {
        FaultFile { inner: file, path: path.into(), faults: self.faults.clone() }
    }
}

impl<V: Vfs> Vfs for FaultFs<V> {
    type File = FaultFile<V::File>;
    type Lock = V::Lock;

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn create(&self, path: &str) -> IoResult<Self::File> {
        let file = self.faults.call(Op::Create, [path; 2], || self.inner.create(path))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &str, mode: OpenMode) -> IoResult<Self::File> {
        let file = self.faults.call(Op::Open, [path; 2], || self.inner.open(path, mode))?;
        Ok(self.file(path, file))
    }

    fn create_dir_all(&self, path: &str) -> IoResult<()> {
        self.faults.call(Op::CreateDir, [path; 2], || self.inner.create_dir_all(path))
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.faults.call(Op::Rename, [from, to], || self.inner.rename(from, to))
    }

    fn rename_noreplace(&self, from: &str, to: &str) -> IoResult<()> {
        self.faults.call(Op::Rename, [from, to], || self.inner.rename_noreplace(from, to))
    }

    fn link(&self, from: &str, to: &str) -> IoResult<()> {
        self.faults.call(Op::Link, [from, to], || self.inner.link(from, to))
    }

    fn unlink(&self, path: &str) -> IoResult<()> {
        self.faults.call(Op::Unlink, [path; 2], || self.inner.unlink(path))
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.faults.call(Op::List, [dir; 2], || self.inner.list(dir))
    }

    fn size(&self, path: &str) -> IoResult<u64> {
        self.faults.call(Op::Size, [path; 2], || self.inner.size(path))
    }

    fn sync_dir(&self, dir: &str) -> IoResult<()> {
        self.faults.call(Op::SyncDir, [dir; 2], || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &str) -> IoResult<Self::Lock> {
        self.faults.call(Op::Lock, [path; 2], || self.inner.lock(path))
    }

    fn free_space(&self, dir: &str) -> IoResult<u64> {
        self.faults.call(Op::FreeSpace, [dir; 2], || self.inner.free_space(dir))
    }
}

/// An open file of a [`FaultFs`].
pub struct FaultFile<F> {
    inner: F,
    path: Arc<str>,
    faults: Faults,
}

impl<F: VfsFile> FaultFile<F> {
    fn call<T>(&self, op: Op, run: impl FnOnce() -> IoResult<T>) -> IoResult<T> {
        self.faults.call(op, [&self.path; 2], run)
    }

    /// Writes the part that a short write gets done. Its own failure hides behind the one that was ordered.
    fn write_part(&self, bytes: &[u8], offset: u64, most: usize, kind: IoErrorKind) {
        let appends = || self.inner.size().is_ok_and(|size| offset >= size);
        if kind != IoErrorKind::NoSpace || appends() {
            let _ = self.inner.write_at(&bytes[..most.min(bytes.len())], offset);
        }
    }
}

impl<F: VfsFile> VfsFile for FaultFile<F> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> IoResult<usize> {
        self.call(Op::Read, || self.inner.read_at(buf, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> IoResult<()> {
        let verdict = self.faults.judge(Op::Write, [&self.path; 2]);
        let Some(Verdict { error, short, after }) = verdict else {
            return self.inner.write_at(bytes, offset);
        };
        match short {
            Some(most) => self.write_part(bytes, offset, most, error.kind),
            None if after => self.inner.write_at(bytes, offset)?,
            None => {}
        }
        Err(error)
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.call(Op::SetLen, || self.inner.set_len(len))
    }

    fn allocate(&self, offset: u64, len: u64) -> IoResult<()> {
        self.call(Op::Allocate, || self.inner.allocate(offset, len))
    }

    fn sync(&self) -> IoResult<()> {
        self.call(Op::Sync, || self.inner.sync())
    }

    fn size(&self) -> IoResult<u64> {
        self.call(Op::Size, || self.inner.size())
    }

    fn map(&self, len: u64) -> IoResult<Box<dyn VfsMap>> {
        let inner = self.call(Op::Map, || self.inner.map(len))?;
        Ok(Box::new(FaultMap { inner, path: Arc::clone(&self.path), faults: self.faults.clone() }))
    }
}

/// A map of a file of a [`FaultFs`].
pub struct FaultMap {
    inner: Box<dyn VfsMap>,
    path: Arc<str>,
    faults: Faults,
}

impl VfsMap for FaultMap {
    fn store(&self, offset: u64, bytes: &[u8]) {
        self.inner.store(offset, bytes);
    }

    fn load(&self, offset: u64, buf: &mut [u8]) {
        self.inner.load(offset, buf);
    }

    fn flush(&self, offset: u64, len: u64) -> IoResult<()> {
        self.faults.call(Op::Flush, [&self.path; 2], || self.inner.flush(offset, len))
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }
}
