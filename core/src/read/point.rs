//! Point reads: the visible entry of one key.

use alloc::vec::Vec;
use core::ops::{ControlFlow, Deref, Range};

use nokv_formats::{EntryRef, KeyRef, Kind, Seq, ValuePtr, Version};

use crate::error::Result;
use crate::index::MemIndex;
use crate::read::resolve::{Bounds, Next, Resolver};
use crate::read::view::View;
use crate::sync::Arc;
use crate::table::{Block, Lookups, Table};
use crate::vfs::Vfs;

/// Values from this length on are pinned in their block, not copied.
pub const PINNED_BYTES_MIN: usize = 1024;

/// A value that was read: bytes of its own, or a hold on the block it lies in.
#[derive(Clone)]
pub struct Value(Repr);

#[derive(Clone)]
enum Repr {
    Owned(Vec<u8>),
    Pinned(Arc<Block>, Range<usize>),
}

impl Value {
    /// Bytes of its own.
    pub const fn owned(bytes: Vec<u8>) -> Self {
        Self(Repr::Owned(bytes))
    }

    /// From an entry of `block`: pinned if it is large, else copied.
    #[inline]
    fn of_block(value: &[u8], block: &Arc<Block>) -> Self {
        if value.len() >= PINNED_BYTES_MIN
            && let Some(range) = block.range_of(value)
        {
            return Self(Repr::Pinned(block.clone(), range));
        }
        Self::owned(value.to_vec())
    }

    /// The bytes, copied only if they are pinned.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Pinned(..) => self.to_vec(),
        }
    }

    /// Does it hold a block of the cache?
    pub const fn is_pinned(&self) -> bool {
        matches!(self.0, Repr::Pinned(..))
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Pinned(block, range) => &block[range.clone()],
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl core::fmt::Debug for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl Eq for Value {}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

/// The entry that a point read found. The value of a [`Kind::Pointer`] is still the encoded pointer.
#[derive(Debug, Clone)]
pub struct Hit {
    /// MVCC version.
    pub version: Version,
    /// Commit order.
    pub seq: Seq,
    /// Put or pointer.
    pub kind: Kind,
    /// The caller's byte.
    pub meta: u8,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
    /// Value or encoded pointer.
    pub value: Value,
}

impl Hit {
    #[inline]
    fn of(entry: &EntryRef<'_>, value: Value) -> Self {
        Self {
            version: entry.version,
            seq: entry.seq,
            kind: entry.kind,
            meta: entry.meta,
            expires_at: entry.expires_at,
            value,
        }
    }

    /// The pointer, for an entry whose value lies in the value log.
    pub fn pointer(&self) -> Option<core::result::Result<ValuePtr, nokv_formats::Malformed>> {
        (self.kind == Kind::Pointer).then(|| ValuePtr::decode(&self.value))
    }
}

/// The visible entry of `key` in `view`. `now_ms` is asked only when an entry may have expired.
#[inline]
pub fn get<V: Vfs, I: MemIndex>(
    view: &View<V, I>,
    key: KeyRef<'_>,
    hash: u64,
    bounds: Bounds,
    now_ms: &dyn Fn() -> u64,
) -> Result<Option<Hit>> {
    let mut resolver = Resolver::new(bounds);
    let mut hit = None;
    for memtable in view.memtables() {
        resolver.begin_source(memtable.range_delete(key, bounds.seq));
        let mut is_best = false;
        for entry in memtable.index().entries(key) {
            let next = resolver.push(&entry, now_ms, &mut is_best);
            if is_best {
                hit = Some(Hit::of(&entry, Value::owned(entry.value.to_vec())));
            }
            match next {
                Next::Entry => {}
                Next::Source => break,
                Next::Done => return Ok(hit),
            }
        }
        if resolver.end_source() == Next::Done {
            return Ok(hit);
        }
    }
    let mut counts = Lookups::default();
    let mut asked = None;
    let looked = view.tables_for(key, |table| {
        if !resolver.wants(table.meta().props.version_max) && table.meta().props.range_deletes == 0 {
            return Ok(true);
        }
        asked = Some(table);
        let next = look_into(table, key, hash, bounds, now_ms, &mut resolver, &mut counts, &mut hit)?;
        Ok(next != Next::Done)
    });
    if let Some(table) = asked {
        table.count_lookups(&counts);
    }
    looked.map(|()| hit)
}

#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "the state of one read, taken apart so that it stays in registers"
)]
fn look_into<V: Vfs>(
    table: &Arc<Table<V>>,
    key: KeyRef<'_>,
    hash: u64,
    bounds: Bounds,
    now_ms: &dyn Fn() -> u64,
    resolver: &mut Resolver,
    counts: &mut Lookups,
    hit: &mut Option<Hit>,
) -> Result<Next> {
    let range_delete = if table.meta().props.range_deletes > 0 {
        table.range_set()?.newest_covering(key, bounds.seq)
    } else {
        None
    };
    resolver.begin_source(range_delete);
    let mut done = false;
    table.find_counted(key, hash, counts, &mut |entry, block| {
        let mut is_best = false;
        let next = resolver.push(&entry, now_ms, &mut is_best);
        if is_best {
            *hit = Some(Hit::of(&entry, Value::of_block(entry.value, block)));
        }
        match next {
            Next::Entry => ControlFlow::Continue(()),
            Next::Source => ControlFlow::Break(()),
            Next::Done => {
                done = true;
                ControlFlow::Break(())
            }
        }
    })?;
    Ok(if done { Next::Done } else { resolver.end_source() })
}
