//! Which entry of a key a read sees. One rule, used by point reads and iterators; compaction's rule
//! (`compact::filter`) is its twin over all snapshots at once.
//!
//! An entry is *visible* at (seq S, time T) when it has a value, its seq is at most S, it has not expired at T,
//! and no entry or range delete with a higher seq, up to S, hides it:
//! - any entry of the same version hides it;
//! - a delete of the same or a higher version hides it, also a delete that was itself overwritten;
//! - an expired entry counts as a delete of its version, also one that was overwritten;
//! - a range delete over its key hides it.
//!
//! A read asks for the visible entry with the highest version up to a bound.
//!
//! Sources come newest first, and for one key every seq in a source is higher than every seq in the next (the
//! source invariant), so what an older source holds is hidden by every delete of a newer one with a version
//! at least as high, and by every range delete of a newer one.

use alloc::vec::Vec;

use nokv_formats::{EntryRef, Kind, Seq, Version};

use crate::planted::{self, Bug};

/// What a read is bounded by.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The highest version wanted.
    pub version: Version,
    /// The seq it reads at.
    pub seq: Seq,
}

/// What to do after an entry or a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Show the next entry of this source.
    Entry,
    /// This source has nothing more to say.
    Source,
    /// No older source can change the answer.
    Done,
}

/// The state of resolving one key. It does not hold values: the caller keeps the value of the entry for which
/// [`Resolver::push`] said that it is the best so far.
#[derive(Debug)]
pub struct Resolver {
    bounds: Bounds,
    /// Version of the best entry so far.
    best: Option<Version>,
    /// Entries of older sources up to this version are hidden.
    hidden_to: Option<Version>,
    /// Newest delete seen in the current source; it hides what has a lower seq and comes later.
    delete_seq: Seq,
    /// Highest version of a delete in the current source.
    delete_version: Option<Version>,
    /// Newest range delete of this or a newer source.
    range_seq: Seq,
    /// Version of the previous entry of this source: it shadows this one.
    previous: Option<Version>,
    /// Versions that newer sources purged.
    purged: Vec<Version>,
}

impl Resolver {
    /// Nothing seen yet.
    #[inline]
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            best: None,
            hidden_to: None,
            delete_seq: Seq::ZERO,
            delete_version: None,
            range_seq: Seq::ZERO,
            previous: None,
            purged: Vec::new(),
        }
    }

    /// Forgets the key, keeps the bounds.
    #[inline]
    pub fn reset(&mut self) {
        self.best = None;
        self.hidden_to = None;
        self.delete_seq = Seq::ZERO;
        self.delete_version = None;
        self.range_seq = Seq::ZERO;
        self.previous = None;
        self.purged.clear();
    }

    /// Version of the best entry so far.
    #[inline]
    pub const fn best(&self) -> Option<Version> {
        self.best
    }

    /// Can a source whose highest version is `version_max` change the answer?
    #[inline]
    pub fn wants(&self, version_max: Version) -> bool {
        self.best.is_none_or(|best| version_max > best)
    }

    /// Starts the next older source; `range_delete` is its newest range delete over the key up to the read's
    /// seq.
    #[inline]
    pub fn begin_source(&mut self, range_delete: Option<Seq>) {
        self.delete_seq = Seq::ZERO;
        self.delete_version = None;
        self.previous = None;
        if let Some(seq) = range_delete {
            self.range_seq = self.range_seq.max(seq);
        }
    }

    /// Takes the next entry of the current source. `is_best` is set when it is the best so far.
    #[inline]
    pub fn push(&mut self, entry: &EntryRef<'_>, now_ms: impl FnOnce() -> u64, is_best: &mut bool) -> Next {
        *is_best = false;
        if entry.seq > self.bounds.seq {
            return Next::Entry;
        }
        let shadowed = self.previous == Some(entry.version);
        self.previous = Some(entry.version);
        let hidden = shadowed
            || entry.seq < self.delete_seq
            || entry.seq < self.range_seq
            || self.hidden_to.is_some_and(|v| entry.version <= v)
            || self.purged.contains(&entry.version);
        let expired = entry.kind.has_value() && entry.expires_at != 0 && entry.is_expired(now_ms());
        if expired && planted::is(Bug::ExpiredUncoversOlder) {
            return Next::Entry;
        }
        if entry.kind == Kind::Delete || expired {
            self.delete_seq = self.delete_seq.max(entry.seq);
            self.delete_version = self.delete_version.max(Some(entry.version));
            return Next::Entry;
        }
        if entry.kind == Kind::Purge {
            self.purged.push(entry.version);
            return Next::Entry;
        }
        if hidden || entry.version > self.bounds.version {
            return Next::Entry;
        }
        if self.best.is_none_or(|best| entry.version > best) {
            self.best = Some(entry.version);
            *is_best = true;
        }
        // What follows in this source has lower versions.
        if entry.version == self.bounds.version { Next::Done } else { Next::Source }
    }

    /// Ends the current source: must the next older one be asked?
    #[inline]
    pub fn end_source(&mut self) -> Next {
        let done = self.end_hidden() || self.range_seq > Seq::ZERO;
        if done { Next::Done } else { Next::Source }
    }

    /// Ends the current source, where the range deletes of all sources were given with the first: is
    /// everything older hidden, or beaten?
    #[inline]
    pub fn end_hidden(&mut self) -> bool {
        self.hidden_to = self.hidden_to.max(self.delete_version);
        self.hidden_to >= Some(self.bounds.version) || self.best == Some(self.bounds.version)
    }
}
