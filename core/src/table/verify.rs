//! Check of a whole table.

use alloc::sync::Arc;

use nokv_formats::entry::{NEVER, stamp_order};
use nokv_formats::filter::Filter;
use nokv_formats::key::key_hash;
use nokv_formats::{EntryRef, KeyBuf, KeyRef, Kind, Seq, TableProps, ValuePtr, Version};

use super::iter::{CursorOptions, TableCursor};
use super::open::{Loaded, Table, checksum};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::vfs::Vfs;

impl<V: Vfs> Table<V> {
    /// Reads the whole file past the cache and checks every checksum, the order of the entries, that each key
    /// is found through filter, index and hash index, and that counts and ranges are those of the properties
    /// and of the manifest.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the first damage found; [`Error::Io`], [`Error::Unsupported`].
    pub fn verify(self: &Arc<Self>) -> Result<()> {
        let (loaded, filter) = self.load()?;
        let mut cursor = self.cursor(CursorOptions::COMPACTION);
        let mut seen = TableProps {
            uid: self.meta().props.uid,
            seq_min: Seq::MAX,
            version_min: Version::MAX,
            expiry_min: u64::MAX,
            ..TableProps::default()
        };
        let mut last = KeyBuf::default();
        cursor.seek_first()?;
        while cursor.valid() {
            if seen.entries() == 0 {
                seen.smallest.set(cursor.key());
            } else if last.as_ref() >= cursor.key() {
                return Err(self.lies(&loaded, &cursor, "keys in order"));
            }
            last.set(cursor.key());
            self.verify_key(&loaded, filter.as_ref(), &cursor)?;
            let mut newer: Option<(Version, Seq)> = None;
            while let Some(entry) = cursor.entry() {
                let stamp = (entry.version, entry.seq);
                if newer.is_some_and(|newer| !stamp_order(newer, stamp).is_lt()) {
                    return Err(self.lies(&loaded, &cursor, "entries of a key newest first"));
                }
                newer = Some(stamp);
                self.count(&loaded, &cursor, &entry, &mut seen)?;
                cursor.next_entry()?;
            }
            cursor.next_key()?;
        }
        seen.largest = last;
        self.compare(&loaded, seen)?;
        let file = self.file()?;
        if checksum(&*file, self.path(), self.meta().file_bytes)? != self.meta().checksum {
            return Err(Error::corrupt(
                self.path(),
                0,
                "the checksum of the table file is not the manifest's",
            ));
        }
        Ok(())
    }

    fn lies(&self, loaded: &Loaded, cursor: &TableCursor<V>, what: &'static str) -> Error {
        let (number, at) = cursor.head();
        let offset = loaded.index.block(number).map_or(0, |(offset, _)| offset + at as u64);
        Error::corrupt(self.path(), offset, what)
    }

    /// Is the key under the cursor found where it is?
    fn verify_key(&self, loaded: &Loaded, filter: Option<&Filter>, cursor: &TableCursor<V>) -> Result<()> {
        let (key, hash) = (cursor.key(), key_hash(cursor.key()));
        let (number, at) = cursor.head();
        if filter.is_some_and(|filter| !filter.may_contain(hash)) {
            return Err(self.lies(loaded, cursor, "key in the filter"));
        }
        if loaded.index.find(key) != number {
            return Err(self.lies(loaded, cursor, "key in the block that the index names"));
        }
        let Some(block) = cursor.block() else { return Ok(()) };
        let found = block.view().find(key, hash).and_then(|found| match found {
            Some(entry) => Ok(Some((entry.next(), block.view().entry(at)?.next()))),
            None => Ok(None),
        });
        match found {
            Ok(Some((found, here))) if found == here => Ok(()),
            _ => Err(self.lies(loaded, cursor, "key where the block's hash index names it")),
        }
    }

    fn count(
        &self,
        loaded: &Loaded,
        cursor: &TableCursor<V>,
        entry: &EntryRef<'_>,
        seen: &mut TableProps,
    ) -> Result<()> {
        match entry.kind {
            Kind::Put => {
                seen.puts += 1;
                seen.raw_value_bytes += entry.value.len() as u64;
            }
            Kind::Pointer => {
                seen.pointers += 1;
                let live = &self.meta().props.live;
                let named = ValuePtr::decode(entry.value).is_ok_and(|ptr| {
                    live.binary_search_by_key(&(ptr.bucket, ptr.segment), |l| (l.bucket, l.segment)).is_ok()
                });
                if !named {
                    return Err(self.lies(loaded, cursor, "pointer into a segment of the properties"));
                }
            }
            Kind::Delete => seen.deletes += 1,
            Kind::Purge => seen.purges += 1,
            Kind::RangeDelete => return Err(self.lies(loaded, cursor, "kind of an entry")),
        }
        seen.raw_key_bytes += cursor.key().user_key.len() as u64;
        seen.seq_min = seen.seq_min.min(entry.seq);
        seen.seq_max = seen.seq_max.max(entry.seq);
        seen.version_min = seen.version_min.min(entry.version);
        seen.version_max = seen.version_max.max(entry.version);
        if entry.expires_at != NEVER {
            seen.expiry_min = seen.expiry_min.min(entry.expires_at);
            seen.expiry_max = seen.expiry_max.max(entry.expires_at);
        }
        Ok(())
    }

    /// Are the properties what was seen?
    fn compare(&self, loaded: &Loaded, mut seen: TableProps) -> Result<()> {
        let has_entries = seen.entries() > 0;
        for (i, range) in loaded.ranges.iter().enumerate() {
            let (start, end) = (KeyRef::new(range.cf, &range.start), KeyRef::new(range.cf, &range.end));
            if i == 0 && !has_entries || start < seen.smallest.as_ref() {
                seen.smallest.set(start);
            }
            if i == 0 && !has_entries || end > seen.largest.as_ref() {
                seen.largest.set(end);
            }
            seen.seq_min = seen.seq_min.min(range.seq);
            seen.seq_max = seen.seq_max.max(range.seq);
        }
        seen.range_deletes = loaded.ranges.len() as u64;
        if seen.expiry_max == NEVER {
            seen.expiry_min = NEVER;
        }
        // How long value-log records are is the value log's to say; that each pointer's segment is listed
        // was checked above.
        seen.live = self.meta().props.live.clone();
        if seen != self.meta().props {
            let at =
                loaded.index.block(loaded.index.blocks().saturating_sub(1)).map_or(0, |(at, len)| at + len);
            return Err(Error::corrupt(self.path(), at, "the properties of the table are not its content's"));
        }
        Ok(())
    }
}
