//! What is to be told after a commit: events for listeners, keys that changed, counts.

use nokv_core::formats::redis::SPACES;

/// Classes of keyspace events, as `notify-keyspace-events` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Class(pub u32);

impl Class {
    /// `K`: on the channel of the key.
    pub const KEYSPACE: Self = Self(1);
    /// `E`: on the channel of the event.
    pub const KEYEVENT: Self = Self(1 << 1);
    /// `g`: DEL, EXPIRE, RENAME, ...
    pub const GENERIC: Self = Self(1 << 2);
    /// `$`
    pub const STRING: Self = Self(1 << 3);
    /// `l`
    pub const LIST: Self = Self(1 << 4);
    /// `s`
    pub const SET: Self = Self(1 << 5);
    /// `h`
    pub const HASH: Self = Self(1 << 6);
    /// `z`
    pub const SORTED_SET: Self = Self(1 << 7);
    /// `x`
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`
    pub const STREAM: Self = Self(1 << 10);
    /// `m`
    pub const KEY_MISS: Self = Self(1 << 11);
    /// `d`
    pub const MODULE: Self = Self(1 << 13);
    /// `n`
    pub const NEW: Self = Self(1 << 14);

    /// Any of the other's bits?
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// An event of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its class.
    pub class: Class,
    /// Its name.
    pub name: &'static str,
    /// Database.
    pub db: u8,
    /// Key.
    pub key: Vec<u8>,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listeners {
    /// Those of a channel, and those of patterns that it meets.
    Channels,
    /// Those of a shard channel.
    Shards,
}

/// What listeners are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something happened to a key.
    Event(Event),
    /// PUBLISH or SPUBLISH in a transaction.
    Message {
        /// To whom.
        to: Listeners,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        message: Vec<u8>,
    },
}

/// By how much the numbers of keys change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountChanges {
    /// Emptied before `by`.
    pub zeroed: [bool; SPACES],
    /// Keys more or fewer.
    pub by: [i64; SPACES],
}

impl CountChanges {
    /// The space is empty now.
    pub fn zero(&mut self, space: u8) {
        self.zeroed[usize::from(space) % SPACES] = true;
        self.by[usize::from(space) % SPACES] = 0;
    }
}

impl std::ops::Index<usize> for CountChanges {
    type Output = i64;

    fn index(&self, space: usize) -> &i64 {
        &self.by[space % SPACES]
    }
}

impl std::ops::IndexMut<usize> for CountChanges {
    fn index_mut(&mut self, space: usize) -> &mut i64 {
        &mut self.by[space % SPACES]
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Effects {
    /// Events of the classes that somebody listens to, and messages, in order.
    pub notices: Vec<Notice>,
    /// Keys that were written, if somebody waits for keys.
    pub touched: Vec<(u8, Vec<u8>)>,
    /// Databases that changed places.
    pub swapped: Vec<(u8, u8)>,
    /// Changes of counts.
    pub counts: CountChanges,
    /// Keys that expired.
    pub expired: u64,
    /// Classes of events that somebody listens to.
    pub listened: Class,
    /// Somebody waits for keys.
    pub is_watched: bool,
}

impl Effects {
    /// Forgets everything but who listens.
    pub fn clear(&mut self) {
        self.notices.clear();
        self.touched.clear();
        self.swapped.clear();
        self.counts = CountChanges::default();
        self.expired = 0;
    }

    /// A key was written.
    pub fn touch(&mut self, db: u8, key: &[u8]) {
        if self.is_watched {
            self.touched.push((db, key.to_vec()));
        }
    }

    /// Something happened to a key.
    pub fn event(&mut self, class: Class, name: &'static str, db: u8, key: &[u8]) {
        if self.listened.meets(class) {
            self.notices.push(Notice::Event(Event { class, name, db, key: key.to_vec() }));
        }
    }

    /// Something was published.
    pub fn message(&mut self, to: Listeners, channel: &[u8], message: &[u8]) {
        self.notices.push(Notice::Message { to, channel: channel.to_vec(), message: message.to_vec() });
    }
}
