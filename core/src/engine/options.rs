//! What the engine is told when it opens. Every field may differ at the next open.

use alloc::string::ToString;

use crate::compact::PickOptions;
use crate::engine::watchdog::WatchdogOptions;
use crate::error::{Error, Result};
use crate::limits;
use crate::table::{Compression, TableOptions, is_available};
use crate::vlog::GcOptions;

/// The largest block, before compression.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Options of the engine; the host's `Options` are translated into these.
#[derive(Debug, Clone)]
pub struct EngineOptions<C> {
    /// For new memtable indexes.
    pub index: C,
    /// Opens without writing anything.
    pub read_only: bool,
    /// Makes a new database if there is none.
    pub create_if_missing: bool,
    /// Number of a new database: random, from the host. Ignored for an existing one.
    pub database_id: u64,
    /// A memtable is sealed at this size, in bytes; also the limit of one batch.
    pub memtable_bytes: usize,
    /// Sealed memtables at which writes stop.
    pub sealed_memtables_max: usize,
    /// Size of a log segment, in bytes.
    pub wal_segment_bytes: u64,
    /// Values from this length on go to the value log, in bytes; 0 = only those above an eighth of a log
    /// segment.
    pub value_threshold_bytes: usize,
    /// Size at which a value-log segment is left for a new one, in bytes.
    pub value_log_segment_bytes: u64,
    /// Values at which a value-log segment is left for a new one; 0 = no limit.
    pub value_log_max_entries: u32,
    /// Buckets of the value log.
    pub value_log_buckets: u16,
    /// The first so many buckets take the values of hot keys.
    pub value_log_hot_buckets: u16,
    /// Collection of the value log.
    pub gc: GcOptions,
    /// Table layout.
    pub table: TableOptions,
    /// Compression of level 1 and below; level 0 has none.
    pub compression: Compression,
    /// Output tables of a compaction are closed at this size, in bytes.
    pub table_bytes: u64,
    /// The block cache's bound, in bytes.
    pub block_cache_bytes: usize,
    /// The bound of the filters of open tables, in bytes; 0 = none.
    pub filter_cache_bytes: usize,
    /// Table files that may be open at once.
    pub open_files_max: usize,
    /// Shape of the tree.
    pub pick: PickOptions,
    /// Level-0 tables above which writes are slowed.
    pub level0_slowdown_tables: usize,
    /// Level-0 tables at which writes stop.
    pub level0_stop_tables: usize,
    /// The manifest is rewritten when it is larger than this, in bytes; 0 = never.
    pub manifest_rewrite_bytes: u64,
    /// Bytes that are read or written at once by flushes and compactions: one such buffer for each table that they
    /// read or write.
    pub io_buffer_bytes: usize,
    /// Who releases the log, and when its state is worth a warning.
    pub watchdog: WatchdogOptions,
    /// Sync each manifest edit. Without it an edit may be lost, but never one that a deletion depends on.
    pub manifest_sync: bool,
}

impl<C> EngineOptions<C> {
    /// Defaults for a host of middling size. `database_id` is for a new database.
    pub fn new(index: C, database_id: u64) -> Self {
        Self {
            index,
            read_only: false,
            create_if_missing: true,
            database_id,
            memtable_bytes: 4 << 20,
            sealed_memtables_max: 3,
            wal_segment_bytes: 4 << 20,
            value_threshold_bytes: 4 << 10,
            value_log_segment_bytes: 16 << 20,
            value_log_max_entries: 0,
            value_log_buckets: 2,
            value_log_hot_buckets: 0,
            gc: GcOptions::default(),
            table: TableOptions::new(nokv_formats::vlog::record_len),
            compression: Compression::None,
            table_bytes: 4 << 20,
            block_cache_bytes: 8 << 20,
            filter_cache_bytes: 0,
            open_files_max: 128,
            pick: PickOptions::default(),
            level0_slowdown_tables: 12,
            level0_stop_tables: 24,
            manifest_rewrite_bytes: 4 << 20,
            io_buffer_bytes: 256 << 10,
            watchdog: WatchdogOptions::default(),
            manifest_sync: true,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the field.
    pub fn validate(&self) -> Result<()> {
        let fail = |what: &str| Err(Error::InvalidArgument(what.to_string()));
        if self.memtable_bytes < 64 << 10 {
            return fail("memtable_bytes must be at least 64 KiB");
        }
        if self.sealed_memtables_max == 0 {
            return fail("sealed_memtables_max must be at least 1");
        }
        if self.wal_segment_bytes < limits::WAL_SEGMENT_BYTES_MIN as u64
            || self.wal_segment_bytes > u64::from(u32::MAX)
        {
            return fail("wal_segment_bytes must be between 256 KiB and 4 GiB");
        }
        if self.value_log_segment_bytes < 64 << 10 {
            return fail("value_log_segment_bytes must be at least 64 KiB");
        }
        if self.value_log_buckets == 0 || self.value_log_hot_buckets >= self.value_log_buckets {
            return fail("value_log_buckets must be above value_log_hot_buckets");
        }
        if !(self.gc.discard_ratio > 0.0 && self.gc.discard_ratio < 1.0) {
            return fail("gc.discard_ratio must be between 0 and 1");
        }
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !is_share(self.gc.sample_size_ratio) || !is_share(self.gc.sample_count_ratio) {
            return fail("gc.sample_size_ratio and gc.sample_count_ratio must be between 0 and 1");
        }
        if self.table_bytes < 4 << 10 {
            return fail("table_bytes must be at least 4 KiB");
        }
        if self.io_buffer_bytes < 4 << 10 {
            return fail("io_buffer_bytes must be at least 4 KiB");
        }
        if !(128..=BLOCK_BYTES_MAX).contains(&self.table.block_bytes) {
            return fail("block_bytes must be between 128 bytes and 16 MiB");
        }
        if self.table.restart_interval == 0 {
            return fail("restart_interval must be at least 1");
        }
        if !is_available(self.compression) {
            return fail("compression is not in this build");
        }
        if self.open_files_max == 0 {
            return fail("open_files_max must be at least 1");
        }
        if self.pick.l0_tables == 0 || self.pick.l0_tables > self.level0_stop_tables {
            return fail("level0_compaction_tables must be at least 1 and not above level0_stop_tables");
        }
        if self.level0_stop_tables < self.level0_slowdown_tables || self.level0_slowdown_tables == 0 {
            return fail("level0_stop_tables must not be below level0_slowdown_tables");
        }
        Ok(())
    }

    /// From which length on a value goes to the value log, in bytes.
    pub fn separate_from(&self) -> usize {
        let most = (self.wal_segment_bytes / limits::WAL_SEGMENT_SHARE_OF_A_VALUE as u64) as usize + 1;
        match self.value_threshold_bytes {
            0 => most,
            n => n.min(most),
        }
    }
}
