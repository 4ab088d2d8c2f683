//! What a flush or compaction may drop: the twin of `read::resolve`, over all seqs that reads stand at.
//!
//! The horizon cuts commit order into *stripes*: two seqs are in one stripe when no read stands between them,
//! so every read that sees the older one sees the newer one too. Per key, entries come version descending, then
//! seq descending.
//!
//! 1. An entry is *dead* when an entry with a higher seq in its stripe hides it: one of the same version, a
//!    delete (or an entry expired at the cut) of the same or a higher version, a range delete.
//! 2. A dead entry goes, unless it hides something itself that its hider does not: a delete hides lower
//!    versions too, and so will an entry that expires one day. Those stay while a lower version may exist.
//! 3. An entry that expired at the cut becomes a delete.
//! 4. A delete or purge in the oldest stripe goes when nothing that it hides can be in an older source: what it
//!    hides among the inputs is dead by 1. A purge stays if an entry of its version stays by 2: without the purge
//!    that entry would show again.

use alloc::vec::Vec;

use nokv_formats::{EntryRef, KeyRef, Kind, Seq, Version};

use crate::planted::{self, Bug};

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Write it as it is.
    Keep,
    /// Write it as a delete of its version.
    KeepAsDelete,
    /// Leave the purge out, unless a value of its version below it is kept: then write it before that.
    KeepWithNext,
    /// Leave it out.
    Drop,
}

/// What may lie in sources older than the inputs.
pub trait Older {
    /// May an entry of `key` with a version up to `version` and a seq below `seq` be there?
    fn may_hold(&mut self, key: KeyRef<'_>, version: Version, seq: Seq) -> bool;
}

/// Decides over the entries of one key after the other.
pub struct Filter<'a> {
    /// Seqs that reads stand at, ascending.
    horizon: &'a [Seq],
    cut_ms: u64,
    /// The lowest version in any input.
    inputs_version_min: Version,
    previous: Option<(Version, Seq)>,
    deletes: Vec<Seq>,
    /// The highest seq of a delete or purge that was dropped because it was done.
    dropped: Seq,
}

impl<'a> Filter<'a> {
    /// For one run.
    pub const fn new(horizon: &'a [Seq], cut_ms: u64, inputs_version_min: Version) -> Self {
        Self { horizon, cut_ms, inputs_version_min, previous: None, deletes: Vec::new(), dropped: Seq::ZERO }
    }

    /// The highest seq of a delete, purge or expired entry that was dropped because it was done.
    pub const fn dropped(&self) -> Seq {
        self.dropped
    }

    /// The next entries belong to another key.
    #[inline]
    pub fn begin_key(&mut self) {
        self.previous = None;
        self.deletes.clear();
    }

    #[inline]
    fn stripe(&self, seq: Seq) -> usize {
        match self.horizon {
            [only] => usize::from(seq > *only),
            _ => self.horizon.partition_point(|s| *s < seq),
        }
    }

    /// Does a hider with seq `by` make an entry with seq `seq` dead?
    #[inline]
    fn kills(&self, by: Seq, seq: Seq) -> bool {
        by > seq && self.stripe(by) == self.stripe(seq)
    }

    /// What becomes of the next entry of the key; `ranges` are the range deletes over the key.
    #[inline]
    pub fn judge(
        &mut self,
        key: KeyRef<'_>,
        entry: &EntryRef<'_>,
        ranges: &[Seq],
        older: &mut impl Older,
    ) -> Fate {
        let shadowed =
            matches!(self.previous, Some((v, s)) if v == entry.version && self.kills(s, entry.seq));
        self.previous = Some((entry.version, entry.seq));
        let hidden_whole = self.deletes.iter().any(|d| self.kills(*d, entry.seq))
            || ranges.iter().any(|r| self.kills(*r, entry.seq));
        let expired = entry.kind.has_value() && entry.is_expired(self.cut_ms);
        let is_delete = entry.kind == Kind::Delete || expired;
        if is_delete {
            self.deletes.push(entry.seq);
        }
        if hidden_whole {
            // Its hider hides all that it hides.
            return Fate::Drop;
        }
        if !is_delete && entry.kind != Kind::Purge {
            if !shadowed {
                return Fate::Keep;
            }
            // A shadowed entry that will expire will hide lower versions then.
            let lower_may_exist = entry.expires_at != 0
                && entry.version > Version(0)
                && (self.inputs_version_min < entry.version
                    || older.may_hold(key, Version(entry.version.0 - 1), entry.seq));
            return if lower_may_exist { Fate::Keep } else { Fate::Drop };
        }
        if entry.kind == Kind::Purge && shadowed {
            return Fate::Drop;
        }
        // A delete, an expired entry, or a purge.
        let in_oldest_stripe = self.stripe(entry.seq) == 0;
        let is_early = planted::is(Bug::DeleteDroppedEarly);
        if in_oldest_stripe && (is_early || !older.may_hold(key, entry.version, entry.seq)) {
            self.dropped = self.dropped.max(entry.seq);
            return if entry.kind == Kind::Purge { Fate::KeepWithNext } else { Fate::Drop };
        }
        if expired { Fate::KeepAsDelete } else { Fate::Keep }
    }
}
