//! A batch of writes: the operations in the very bytes that the log will hold.
//!
//! A batch is atomic across families: after a crash it is there as a whole or not at all.

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::batch::{Op, Ops};
use nokv_formats::{CfId, KeyRef, Kind, NEVER, Seq, Version};

use crate::error::{Error, Result};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// "No write has touched `key` after `since`": checked when the batch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precondition<'a> {
    /// The key.
    pub key: KeyRef<'a>,
    /// The seq at which the caller read it.
    pub since: Seq,
}

/// Writes that are committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    ops: Vec<u8>,
    count: u32,
    value_bytes_max: usize,
    /// The highest number of a family.
    family_max: CfId,
    /// Of each: family, end of its key in `condition_keys`, seq.
    conditions: Vec<(CfId, usize, Seq)>,
    condition_keys: Vec<u8>,
}

impl WriteBatch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self {
            ops: Vec::new(),
            count: 0,
            value_bytes_max: 0,
            family_max: CfId::DEFAULT,
            conditions: Vec::new(),
            condition_keys: Vec::new(),
        }
    }

    /// An empty batch with room for `bytes` of operations.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { ops: Vec::with_capacity(bytes), ..Self::new() }
    }

    /// Adds any operation.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`]; the batch is as before.
    #[inline]
    pub fn push(&mut self, op: &Op<'_>) -> Result<()> {
        if op.key.user_key.len() > KEY_BYTES_MAX {
            return Err(Error::KeyTooLarge(op.key.user_key.len()));
        }
        if op.kind == Kind::RangeDelete {
            if op.value.len() > KEY_BYTES_MAX {
                return Err(Error::KeyTooLarge(op.value.len()));
            }
        } else if op.value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge(op.value.len()));
        }
        if op.kind == Kind::Put {
            self.value_bytes_max = self.value_bytes_max.max(op.value.len());
        }
        self.family_max = self.family_max.max(op.key.cf);
        self.ops.reserve(op.encoded_len_max());
        op.encode(&mut self.ops);
        self.count += 1;
        Ok(())
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`].
    pub fn put(&mut self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()> {
        self.push(&plain(Kind::Put, cf, key, value))
    }

    /// Sets `key` to `value` until `expires_at` (Unix milliseconds, 0 = for ever).
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`].
    pub fn put_expiring(&mut self, cf: CfId, key: &[u8], value: &[u8], expires_at: u64) -> Result<()> {
        self.push(&Op { expires_at, ..plain(Kind::Put, cf, key, value) })
    }

    /// Sets version `version` of `key`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for version `MAX`, which plain writes have.
    pub fn put_versioned(
        &mut self,
        cf: CfId,
        key: &[u8],
        version: Version,
        value: &[u8],
        meta: u8,
    ) -> Result<()> {
        check_version(version)?;
        self.push(&Op { version, meta, ..plain(Kind::Put, cf, key, value) })
    }

    /// Deletes `key` with all its versions.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`].
    pub fn delete(&mut self, cf: CfId, key: &[u8]) -> Result<()> {
        self.push(&plain(Kind::Delete, cf, key, &[]))
    }

    /// Deletes the versions of `key` up to `version`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for version `MAX`.
    pub fn delete_versioned(&mut self, cf: CfId, key: &[u8], version: Version) -> Result<()> {
        check_version(version)?;
        self.push(&Op { version, ..plain(Kind::Delete, cf, key, &[]) })
    }

    /// Removes exactly version `version` of `key` (`MAX`: the plain entry).
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`].
    pub fn purge(&mut self, cf: CfId, key: &[u8], version: Version) -> Result<()> {
        self.push(&Op { version, ..plain(Kind::Purge, cf, key, &[]) })
    }

    /// Deletes every key in `start..end` with all its versions. An empty range does nothing.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`].
    pub fn delete_range(&mut self, cf: CfId, start: &[u8], end: &[u8]) -> Result<()> {
        self.push(&plain(Kind::RangeDelete, cf, start, end))
    }

    /// Commits the batch only if no write has touched `key` after `since`; otherwise the whole batch is
    /// refused with [`Error::Conflict`].
    pub fn require_unchanged(&mut self, cf: CfId, key: &[u8], since: Seq) {
        self.condition_keys.extend_from_slice(key);
        self.conditions.push((cf, self.condition_keys.len(), since));
    }

    /// The preconditions.
    pub fn preconditions(&self) -> impl Iterator<Item = Precondition<'_>> {
        let mut start = 0;
        self.conditions.iter().map(move |(cf, end, since)| {
            let key = self.condition_keys.get(start..*end).unwrap_or_default();
            start = *end;
            Precondition { key: KeyRef::new(*cf, key), since: *since }
        })
    }

    /// Has it preconditions?
    pub const fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// How many operations.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// True without operations.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded bytes of the operations.
    pub fn bytes(&self) -> usize {
        self.ops.len()
    }

    /// The longest inline value.
    pub const fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// The highest number of a family that an operation names; `default` without operations.
    pub const fn family_max(&self) -> CfId {
        self.family_max
    }

    /// The encoded operations.
    pub fn encoded(&self) -> &[u8] {
        &self.ops
    }

    /// The operations in order.
    pub fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        // Our own encoding always decodes.
        Ops::new(&self.ops).map_while(|op| op.ok())
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.conditions.clear();
        self.condition_keys.clear();
        self.count = 0;
        self.value_bytes_max = 0;
        self.family_max = CfId::DEFAULT;
    }

    /// The same batch with its operations replaced.
    pub(crate) fn with_ops(&self, ops: Vec<u8>) -> Self {
        Self {
            ops,
            count: self.count,
            value_bytes_max: 0,
            family_max: self.family_max,
            conditions: self.conditions.clone(),
            condition_keys: self.condition_keys.clone(),
        }
    }
}

const fn plain<'a>(kind: Kind, cf: CfId, user_key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind, key: KeyRef { cf, user_key }, version: Version::MAX, meta: 0, expires_at: NEVER, value }
}

fn check_version(version: Version) -> Result<()> {
    if version == Version::MAX {
        return Err(Error::InvalidArgument("version u64::MAX is that of plain writes".to_string()));
    }
    Ok(())
}
