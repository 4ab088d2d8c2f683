//! Open file handles of tables, bounded.
//!
//! A handle that was not used for a round of the clock is closed when another needs its place. A handle that
//! is in use at that moment stays open until its reader is done, so the number of open files may pass the
//! bound by the number of readers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::sync::Mutex;
use crate::vfs::{IoErrorKind, IoResult, VfsFile};

struct Slot {
    key: u64,
    used: bool,
    file: Arc<dyn VfsFile>,
}

#[derive(Default)]
struct Inner {
    slots: Vec<Slot>,
    /// Key and place in `slots`.
    by_key: HashTable<(u64, usize)>,
    hand: usize,
}

/// A bounded set of open files.
pub struct FileCache {
    inner: Mutex<Inner>,
    max: usize,
}

fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Inner {
    fn get(&mut self, key: u64) -> Option<Arc<dyn VfsFile>> {
        let at = self.by_key.find(hash(key), |(k, _)| *k == key)?.1;
        let slot = self.slots.get_mut(at)?;
        slot.used = true;
        Some(slot.file.clone())
    }

    fn remove(&mut self, key: u64) -> Option<Arc<dyn VfsFile>> {
        let ((_, at), _) = self.by_key.find_entry(hash(key), |(k, _)| *k == key).ok()?.remove();
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            let moved = moved.key;
            if let Some(entry) = self.by_key.find_mut(hash(moved), |(k, _)| *k == moved) {
                entry.1 = at;
            }
        }
        Some(slot.file)
    }

    /// Takes out the first handle that was not used since the hand last passed it.
    fn evict(&mut self) -> Option<Arc<dyn VfsFile>> {
        for _ in 0..=self.slots.len() {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let slot = self.slots.get_mut(self.hand)?;
            if !core::mem::take(&mut slot.used) {
                let key = slot.key;
                return self.remove(key);
            }
        }
        None
    }
}

impl FileCache {
    /// Keeps at most `max` handles (at least one).
    pub fn new(max: usize) -> Self {
        Self { inner: Mutex::new(Inner::default()), max: max.max(1) }
    }

    /// The handle of `key`, opened by `open` if it is not there. Files are opened and closed outside the lock.
    pub(super) fn get<F: VfsFile>(
        &self,
        key: u64,
        open: impl Fn() -> IoResult<F>,
    ) -> IoResult<Arc<dyn VfsFile>> {
        let mut evicted = Vec::new();
        {
            let mut inner = self.inner.lock();
            if let Some(file) = inner.get(key) {
                return Ok(file);
            }
            while inner.slots.len() >= self.max {
                match inner.evict() {
                    Some(file) => evicted.push(file),
                    None => break,
                }
            }
        }
        drop(core::mem::take(&mut evicted));
        let file: Arc<dyn VfsFile> = match open() {
            Err(e) if e.kind == IoErrorKind::TooManyFiles => {
                // Others may hold the limit; ours are the only ones that can be let go of.
                self.close_all();
                Arc::new(open()?)
            }
            other => Arc::new(other?),
        };
        let mut inner = self.inner.lock();
        if let Some(theirs) = inner.get(key) {
            return Ok(theirs);
        }
        while inner.slots.len() >= self.max {
            match inner.evict() {
                Some(file) => evicted.push(file),
                None => break,
            }
        }
        let at = inner.slots.len();
        inner.slots.push(Slot { key, used: true, file: file.clone() });
        inner.by_key.insert_unique(hash(key), (key, at), |(k, _)| hash(*k));
        drop(inner);
        drop(evicted);
        Ok(file)
    }

    /// Closes the handle of a table that is gone.
    pub(super) fn remove(&self, key: u64) {
        let file = self.inner.lock().remove(key);
        drop(file);
    }

    /// Closes every handle; the next read of each table opens it again.
    pub fn close_all(&self) {
        let all = core::mem::take(&mut *self.inner.lock());
        drop(all);
    }

    /// How many handles are open.
    pub fn len(&self) -> usize {
        self.inner.lock().slots.len()
    }

    /// True when none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
