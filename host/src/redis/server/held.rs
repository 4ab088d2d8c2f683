//! What a client holds beside its buffers: names that it listens to, keys that it watches. Each knows its size, so that
//! nobody walks it to count.

use std::collections::BTreeSet;

use crate::redis::store::backend::Unchanged;

/// What a subscription takes beside its name, which stands here and in the list of all listeners.
const NAME_OVERHEAD: usize = 128;
/// What a watched key takes beside its bytes.
const WATCH_OVERHEAD: usize = size_of::<Watched>();

const fn name_bytes(name: &[u8]) -> usize {
    2 * name.len() + NAME_OVERHEAD
}

/// Names of channels, or patterns.
#[derive(Debug, Default)]
pub struct Names {
    names: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Names {
    /// Adds a name; false if it was there.
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let is_new = self.names.insert(name.to_vec());
        self.bytes += if is_new { name_bytes(name) } else { 0 };
        is_new
    }

    /// Takes a name out; false if it was not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let was_there = self.names.remove(name);
        self.bytes -= if was_there { name_bytes(name) } else { 0 };
        was_there
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.names.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What they take, about.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A key of WATCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its database.
    pub db: u8,
    /// The key as it was.
    pub condition: Unchanged,
    /// It was there.
    pub existed: bool,
    /// It is another key now.
    pub is_dirty: bool,
}

/// Keys of WATCH.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    keys: Vec<Watched>,
    bytes: usize,
}

impl Watches {
    /// Watches one more.
    pub fn push(&mut self, watched: Watched) {
        self.bytes += watched.condition.key.len() + WATCH_OVERHEAD;
        self.keys.push(watched);
    }

    /// Watches none.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.keys.iter()
    }

    /// The one of this name.
    pub fn get_mut(&mut self, db: u8, key: &[u8]) -> Option<&mut Watched> {
        self.keys.iter_mut().find(|watched| watched.db == db && watched.condition.key == key)
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// None?
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What they take, about.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl IntoIterator for Watches {
    type Item = Watched;
    type IntoIter = std::vec::IntoIter<Watched>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.into_iter()
    }
}
