//! Writes one data block after another into the caller's buffer.

use alloc::vec::Vec;

use super::{
    BUCKET_MANY, BUCKET_NONE, HAS_EXPIRY, HAS_META, HAS_VERSION, HEADER_BYTES, RESTART, SAME_KEY, TAIL_BYTES,
    bucket_of,
};
use crate::entry::{EntryRef, NEVER, Seq, Version};
use crate::key::{CfId, KeyRef};
use crate::varint;

/// Runs with a higher index cannot be named by a bucket.
const RESTARTS_MAX_FOR_BUCKETS: usize = BUCKET_MANY as usize;
/// A run is closed once it has this many bytes: a lookup reads a run from its start, and with long values the
/// bytes that sharing saves are few beside the cache lines that it costs.
const RUN_BYTES: usize = 512;

/// State of the block in work. Its bytes go straight into the `out` of each call, from `begin` to `finish` at
/// the same place.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    start: usize,
    restart_interval: u32,
    keys_since_restart: u32,
    seq_base: u64,
    seq_width: u8,
    entries: u32,
    cf: CfId,
    restarts: Vec<u32>,
    /// Low half of the key's hash and index of its run, for each key of the block.
    keys: Vec<(u32, u32)>,
}

impl BlockBuilder {
    /// A restart every `restart_interval` keys (at least 1), or sooner where entries are long.
    pub fn new(restart_interval: u32) -> Self {
        Self { restart_interval: restart_interval.max(1), ..Self::default() }
    }

    /// Starts a block at the end of `out`, for seqs that are within `seq_width` bytes of `seq_base`.
    pub fn begin(&mut self, out: &mut Vec<u8>, seq_base: Seq, seq_width: u8) {
        assert!(seq_base <= Seq::MAX && seq_width <= 7);
        self.start = out.len();
        self.seq_base = seq_base.0;
        self.seq_width = seq_width;
        self.entries = 0;
        self.restarts.clear();
        self.keys.clear();
        out.extend_from_slice(&(seq_base.0 | u64::from(seq_width) << 56).to_le_bytes());
    }

    /// Can the block hold an entry with this seq?
    #[inline]
    pub fn fits(&self, seq: Seq) -> bool {
        seq.0.checked_sub(self.seq_base).is_some_and(|delta| delta >> (8 * u32::from(self.seq_width)) == 0)
    }

    /// Entries so far.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes that the payload would have if it were finished now.
    pub fn payload_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start + 4 * self.restarts.len() + self.keys.len() * 4 / 3 + 1 + TAIL_BYTES
    }

    /// Adds an entry. `shared` is how many bytes its key has in common with the key before it (whatever block
    /// that was in); `same_key` says that it is the same key. `hash` is the key's.
    pub fn add(
        &mut self,
        out: &mut Vec<u8>,
        key: KeyRef<'_>,
        hash: u64,
        shared: usize,
        same_key: bool,
        entry: &EntryRef<'_>,
    ) {
        debug_assert!(self.fits(entry.seq));
        let mut flags = entry.kind as u8;
        flags |= if entry.version != Version::MAX { HAS_VERSION } else { 0 };
        flags |= if entry.meta != 0 { HAS_META } else { 0 };
        flags |= if entry.expires_at != NEVER { HAS_EXPIRY } else { 0 };
        flags |= if same_key { SAME_KEY } else { 0 };
        let run_bytes = out.len() - self.start - self.restarts.last().map_or(0, |at| *at as usize);
        let run_is_full = self.keys_since_restart >= self.restart_interval || run_bytes >= RUN_BYTES;
        let restart = self.entries == 0 || !same_key && (run_is_full || key.cf != self.cf);
        let mut suffix: &[u8] = &[];
        if restart {
            self.restarts.push((out.len() - self.start) as u32);
            self.keys_since_restart = 0;
            self.cf = key.cf;
            suffix = key.user_key;
            out.push(flags | RESTART);
            varint::encode(u64::from(key.cf.0), out);
            varint::encode(suffix.len() as u64, out);
        } else if same_key {
            out.push(flags);
        } else {
            suffix = &key.user_key[shared..];
            out.push(flags);
            varint::encode(shared as u64, out);
            varint::encode(suffix.len() as u64, out);
        }
        if restart || !same_key {
            self.keys_since_restart += 1;
            self.keys.push((hash as u32, self.restarts.len() as u32 - 1));
        }
        varint::encode(entry.value.len() as u64, out);
        let seq = (entry.seq.0 - self.seq_base).to_le_bytes();
        out.extend_from_slice(&seq[..usize::from(self.seq_width)]);
        if entry.version != Version::MAX {
            out.extend_from_slice(&entry.version.0.to_le_bytes());
        }
        if entry.meta != 0 {
            out.push(entry.meta);
        }
        if entry.expires_at != NEVER {
            out.extend_from_slice(&entry.expires_at.to_le_bytes());
        }
        out.extend_from_slice(suffix);
        out.extend_from_slice(entry.value);
        self.entries += 1;
    }

    /// Ends the payload, which is then `out[start..]`; gives `start`.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> usize {
        assert!(self.entries > 0 && out.len() - self.start > HEADER_BYTES);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        let mut buckets = 0;
        if self.restarts.len() <= RESTARTS_MAX_FOR_BUCKETS {
            buckets = self.keys.len() * 4 / 3 + 1;
            let at = out.len();
            out.resize(at + buckets, BUCKET_NONE);
            for (hash, run) in &self.keys {
                let bucket = &mut out[at + bucket_of(u64::from(*hash), buckets as u32)];
                *bucket = match *bucket {
                    BUCKET_NONE => *run as u8,
                    held if u32::from(held) == *run => held,
                    _ => BUCKET_MANY,
                };
            }
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        out.extend_from_slice(&(buckets as u32).to_le_bytes());
        assert!(u32::try_from(out.len() - self.start).is_ok(), "a block holds at most one huge entry");
        self.entries = 0;
        self.start
    }
}
