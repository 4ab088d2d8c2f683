//! Writes a table.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::block::{self, BlockBuilder, Codec, common_prefix};
use nokv_formats::entry::{NEVER, stamp_order};
use nokv_formats::filter::Filter;
use nokv_formats::key::{KEY_BYTES_MAX, VALUE_BYTES_MAX, key_hash};
use nokv_formats::table::{Footer, IndexBuilder, encode_range_deletes};
use nokv_formats::{
    CfId, EntryRef, KeyBuf, KeyRef, Kind, RangeDelete, Seq, TableId, TableMeta, TableProps, ValuePtr,
    Version, VlogLive, crc,
};

use super::compress::{self, Compression};
use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::vfs::VfsFile;

/// How to build a table.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// A block is closed before its payload passes this many bytes; one entry may be larger.
    pub block_bytes: usize,
    /// A whole key at least each so many keys.
    pub restart_interval: u32,
    /// Filter bits for each user key; 0 for no filter.
    pub bloom_bits_per_key: u32,
    /// Codec of the data blocks.
    pub compression: Compression,
    /// Bytes that are collected before they are written.
    pub write_bytes: usize,
    /// The seqs that most entries will have: blocks store seqs in as few bytes as this range needs. An entry
    /// outside of it is fine and makes the rest of the table a little larger.
    pub seqs: (Seq, Seq),
    /// Length of the value-log record of a value: from the length of the user key and that of the value.
    pub record_len: fn(usize, u32) -> u64,
}

impl TableOptions {
    /// Blocks of 4 KiB, a restart each 8 keys, 10 filter bits, no compression, writes of 256 KiB.
    pub fn new(record_len: fn(usize, u32) -> u64) -> Self {
        Self {
            block_bytes: 4096,
            restart_interval: 8,
            bloom_bits_per_key: 10,
            compression: Compression::None,
            write_bytes: 256 << 10,
            seqs: (Seq::ZERO, Seq(u32::MAX as u64)),
            record_len,
        }
    }
}

/// Writes one table into a new file. After an error the file is of no use.
pub struct TableBuilder<F: VfsFile> {
    file: F,
    path: String,
    options: TableOptions,
    uid: u128,
    /// Bytes not yet written; the block in work is at their end.
    out: Vec<u8>,
    /// File offset of `out[0]`.
    written: u64,
    /// CRC-32C of the file before `out`.
    crc: u32,
    scratch: Vec<u8>,
    block: BlockBuilder,
    block_open: bool,
    block_continues: bool,
    seq_base: Seq,
    seq_width: u8,
    index: IndexBuilder,
    hashes: Vec<u64>,
    hash: u64,
    last_key: KeyBuf,
    last_stamp: Option<(Version, Seq)>,
    ranges: Vec<RangeDelete>,
    live: BTreeMap<(u16, u32), u64>,
    props: TableProps,
    failed: Option<Error>,
}

impl<F: VfsFile> TableBuilder<F> {
    /// Starts a table in `file`, which is new and empty; `path` is for errors. `uid` is a random number of the
    /// host's.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the codec is not compiled in.
    pub fn new(file: F, path: &str, options: TableOptions, uid: u128) -> Result<Self> {
        if !compress::is_available(options.compression) {
            let what = compress::name(options.compression).to_string();
            return Err(Error::Unsupported { what, file: path.to_string() });
        }
        let (low, high) = options.seqs;
        let span = high.0.saturating_sub(low.0);
        let seq_width = (64 - span.leading_zeros()).div_ceil(8).min(7) as u8;
        let props = TableProps {
            uid,
            seq_min: Seq::MAX,
            version_min: Version::MAX,
            expiry_min: u64::MAX,
            ..TableProps::default()
        };
        Ok(Self {
            file,
            path: path.to_string(),
            uid,
            out: Vec::with_capacity(options.write_bytes + 2 * options.block_bytes),
            written: 0,
            crc: 0,
            scratch: Vec::new(),
            block: BlockBuilder::new(options.restart_interval),
            block_open: false,
            block_continues: false,
            seq_base: low.min(Seq::MAX),
            seq_width,
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            hash: 0,
            last_key: KeyBuf::default(),
            last_stamp: None,
            ranges: Vec::new(),
            live: BTreeMap::new(),
            props,
            failed: None,
            options,
        })
    }

    /// Adds an entry: keys ascend, the entries of a key come newest first.
    ///
    /// # Errors
    /// [`Error::Io`] of a write; every later call then fails too. [`Error::Corrupt`] for a pointer that is
    /// none, and for entries out of order: that would make a table that lies.
    ///
    /// # Panics
    /// If key, value or seq are above the limits.
    pub fn add(&mut self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> Result<()> {
        if let Some(e) = &self.failed {
            return Err(e.clone());
        }
        assert!(key.user_key.len() <= KEY_BYTES_MAX && entry.value.len() <= VALUE_BYTES_MAX);
        assert!(entry.seq <= Seq::MAX);
        let last = self.last_key.as_ref();
        let shared = common_prefix(last.user_key, key.user_key);
        let mut same_key = false;
        if let Some(stamp) = self.last_stamp {
            let (mine, theirs) = (key.user_key.get(shared), last.user_key.get(shared));
            same_key = last.cf == key.cf && mine.is_none() && theirs.is_none();
            let ascends = if same_key {
                stamp_order(stamp, (entry.version, entry.seq)).is_lt()
            } else {
                (last.cf, theirs) < (key.cf, mine)
            };
            if !ascends {
                // Merges read tables, and a table with right checksums may lie.
                let what = "what this table is made of is out of order";
                return Err(self.failed.insert(Error::corrupt(&self.path, self.written, what)).clone());
            }
        }
        self.count(key, entry)?;
        if !same_key {
            self.hash = key_hash(key);
            if self.options.bloom_bits_per_key > 0 {
                let is_bare = planted::is(Bug::FilterWithoutFamily);
                let bare = KeyRef { cf: CfId::DEFAULT, ..key };
                self.hashes.push(if is_bare { key_hash(bare) } else { self.hash });
            }
        }
        if self.block_open {
            let fits = self.block.fits(entry.seq);
            let bytes = self.block.payload_bytes(&self.out) + key.user_key.len() - shared + entry.value.len();
            if !fits || bytes + 16 > self.options.block_bytes {
                self.end_block()?;
            }
        }
        if !self.block_open {
            self.begin_block(key, same_key, entry.seq);
        }
        self.block.add(&mut self.out, key, self.hash, shared, same_key, entry);
        if !same_key {
            self.last_key.cf = key.cf;
            self.last_key.user_key.truncate(shared);
            self.last_key.user_key.extend_from_slice(&key.user_key[shared..]);
        }
        self.last_stamp = Some((entry.version, entry.seq));
        Ok(())
    }

    fn count(&mut self, key: KeyRef<'_>, entry: &EntryRef<'_>) -> Result<()> {
        if entry.kind == Kind::Pointer {
            let ptr = ValuePtr::decode(entry.value).map_err(|m| Error::malformed(&self.path, 0, m))?;
            let bytes = (self.options.record_len)(key.user_key.len(), ptr.value_len);
            *self.live.entry((ptr.bucket, ptr.segment)).or_default() += bytes;
        }
        let props = &mut self.props;
        match entry.kind {
            Kind::Put => {
                props.puts += 1;
                props.raw_value_bytes += entry.value.len() as u64;
            }
            Kind::Pointer => props.pointers += 1,
            Kind::Delete => props.deletes += 1,
            Kind::Purge => props.purges += 1,
            Kind::RangeDelete => panic!("a range delete is no entry of a key"),
        }
        assert!(entry.kind.has_value() || entry.value.is_empty());
        if self.last_stamp.is_none() {
            props.smallest.set(key);
        }
        props.raw_key_bytes += key.user_key.len() as u64;
        props.seq_min = props.seq_min.min(entry.seq);
        props.seq_max = props.seq_max.max(entry.seq);
        props.version_min = props.version_min.min(entry.version);
        props.version_max = props.version_max.max(entry.version);
        if entry.expires_at != NEVER {
            props.expiry_min = props.expiry_min.min(entry.expires_at);
            props.expiry_max = props.expiry_max.max(entry.expires_at);
        }
        Ok(())
    }

    fn begin_block(&mut self, key: KeyRef<'_>, continues: bool, seq: Seq) {
        if self.last_stamp.is_some() {
            self.index.next_key(key);
        }
        self.block.begin(&mut self.out, self.seq_base, self.seq_width);
        if !self.block.fits(seq) {
            // Outside of the range that was promised: any seq fits from here on.
            (self.seq_base, self.seq_width) = (Seq::ZERO, 7);
            self.out.truncate(self.out.len() - block::HEADER_BYTES);
            self.block.begin(&mut self.out, self.seq_base, self.seq_width);
        }
        self.block_open = true;
        self.block_continues = continues;
    }

    fn end_block(&mut self) -> Result<()> {
        self.block_open = false;
        let start = self.block.finish(&mut self.out);
        let raw_len = self.out.len() - start;
        let mut codec = Codec::None;
        if compress::compress(self.options.compression, &self.out[start..], &mut self.scratch) {
            codec = self.options.compression;
            self.out.truncate(start);
            self.out.extend_from_slice(&(raw_len as u32).to_le_bytes());
            self.out.extend_from_slice(&self.scratch);
        }
        let offset = self.written + start as u64;
        block::seal(&mut self.out, start, codec, self.uid, offset);
        self.index.block((self.out.len() - start) as u64, self.block_continues, self.last_key.as_ref());
        if self.out.len() >= self.options.write_bytes { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<()> {
        let written = self.file.write_at(&self.out, self.written).at("write", &self.path);
        if let Err(e) = written {
            self.failed = Some(e.clone());
            return Err(e);
        }
        self.crc = crc::extend(self.crc, &self.out);
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Adds a range delete; in any order, at any time before `finish`.
    ///
    /// # Panics
    /// If its start is not below its end.
    pub fn add_range_delete(&mut self, range: &RangeDelete) {
        assert!(range.start < range.end && range.end.len() <= KEY_BYTES_MAX && range.seq <= Seq::MAX);
        self.props.range_deletes += 1;
        self.props.seq_min = self.props.seq_min.min(range.seq);
        self.props.seq_max = self.props.seq_max.max(range.seq);
        self.ranges.push(range.clone());
    }

    /// Entries and range deletes so far.
    pub fn is_empty(&self) -> bool {
        self.last_stamp.is_none() && self.ranges.is_empty()
    }

    /// The key added last.
    pub fn last_key(&self) -> Option<KeyRef<'_>> {
        self.last_stamp.map(|_| self.last_key.as_ref())
    }

    /// Bytes that are in the file already.
    #[inline]
    pub const fn written_bytes(&self) -> u64 {
        self.written
    }

    /// About how long the file would be if it were finished now.
    pub fn estimated_bytes(&self) -> u64 {
        let filter = self.hashes.len() as u64 * u64::from(self.options.bloom_bits_per_key) / 8;
        self.written + self.out.len() as u64 + filter + self.index.bytes() as u64 + 512
    }

    fn section(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let start = self.out.len();
        encode(&mut self.out);
        block::seal(&mut self.out, start, Codec::None, self.uid, self.written + start as u64);
        self.here()
    }

    fn here(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// Writes the rest and syncs the file. The caller syncs the directory and gives the table its number: `id`
    /// of the result is 0.
    ///
    /// # Errors
    /// [`Error::Io`] of a write or of the sync; the file is then of no use.
    ///
    /// # Panics
    /// If nothing was added.
    pub fn finish(mut self) -> Result<TableMeta> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        assert!(!self.is_empty(), "an empty table has no range");
        if self.block_open {
            self.end_block()?;
        }
        let blocks_end = self.here();
        let mut filter_end = blocks_end;
        if !self.hashes.is_empty() {
            let filter = Filter::build(&self.hashes, self.options.bloom_bits_per_key);
            filter_end = self.section(|out| filter.encode(out));
        }
        let mut ranges_end = filter_end;
        let mut ranges = core::mem::take(&mut self.ranges);
        if !ranges.is_empty() {
            ranges.sort();
            ranges_end = self.section(|out| encode_range_deletes(&ranges, out));
        }
        let props = self.final_props(&ranges);
        let props_end = self.section(|out| props.encode(out));
        let index = core::mem::take(&mut self.index);
        let index_end = self.section(|out| index.finish(out));
        let footer = Footer { uid: self.uid, blocks_end, filter_end, ranges_end, props_end, index_end };
        footer.encode(&mut self.out);
        self.write_out()?;
        self.file.sync().at("sync", &self.path)?;
        let (file_bytes, checksum) = (self.written, self.crc);
        Ok(TableMeta { id: TableId::default(), file_bytes, checksum, global_seq: None, props })
    }

    fn final_props(&mut self, ranges: &[RangeDelete]) -> TableProps {
        let mut props = core::mem::take(&mut self.props);
        let has_entries = self.last_stamp.is_some();
        if has_entries {
            props.largest = core::mem::take(&mut self.last_key);
        }
        for (i, range) in ranges.iter().enumerate() {
            let start = KeyRef::new(range.cf, &range.start);
            let end = KeyRef::new(range.cf, &range.end);
            let alone = i == 0 && !has_entries;
            if alone || start < props.smallest.as_ref() {
                props.smallest.set(start);
            }
            if alone || end > props.largest.as_ref() {
                props.largest.set(end);
            }
        }
        if props.expiry_max == NEVER {
            props.expiry_min = NEVER;
        }
        let live = core::mem::take(&mut self.live);
        let live = live.into_iter().map(|((bucket, segment), bytes)| VlogLive { bucket, segment, bytes });
        props.live = live.collect();
        props
    }
}
