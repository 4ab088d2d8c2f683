//! Options drawn from a seed: small ones, so that everything happens with little data, and others at each open.

use std::path::Path;
use std::time::Duration;

use nokv::{Compression, MemTableEngine, Options, StdFs};

use super::dice::{Dice, mix};

/// Options number `n` of a seed.
pub fn options(dir: &Path, seed: u64, n: u64) -> Options {
    let mut dice = Dice::new(mix(mix(seed, 909), n));
    let mut options = Options::new(dir);
    options.mem_table_bytes = dice.pick(&[64 << 10, 96 << 10, 200 << 10]);
    options.mem_table_engine = engine(&mut dice);
    options.sealed_mem_tables_max = dice.pick(&[1, 2, 3]);
    options.wal_segment_bytes = dice.pick(&[256 << 10, 256 << 10, 320 << 10]);
    options.sync_writes = dice.one_in(8);
    options.manifest_sync = !dice.one_in(3);
    options.manifest_rewrite_threshold_bytes = dice.pick(&[600, 8 << 10, 4 << 20]);
    options.write_batch_max_count = dice.pick(&[1, 4, 64]);
    options.value_threshold_bytes = dice.pick(&[0, 256, 1024, 4096]);
    options.value_log_segment_bytes = dice.pick(&[64 << 10, 128 << 10]);
    options.value_log_bucket_count = dice.pick(&[1, 2, 4]);
    options.value_log_hot_bucket_count = 0;
    options.value_log_gc_interval = dice.pick(&[Duration::ZERO, Duration::from_millis(20)]);
    options.value_log_gc_discard_ratio = 0.2;
    options.table_bytes = dice.pick(&[8 << 10, 64 << 10]);
    options.block_bytes = dice.pick(&[512, 4096]);
    options.compression = if cfg!(feature = "lz4") {
        dice.pick(&[Compression::None, Compression::Lz4])
    } else {
        Compression::None
    };
    options.block_cache_bytes = dice.pick(&[0, 64 << 10, 1 << 20]);
    options.open_files_max = dice.pick(&[2, 8, 64]);
    options.num_compactors = dice.pick(&[1, 2]);
    options.level0_compaction_tables = dice.pick(&[1, 2, 4]);
    options.level_base_bytes = dice.pick(&[16 << 10, 128 << 10]);
    options.level_multiplier = dice.pick(&[2, 4]);
    options.hot_ring_enabled = dice.one_in(4);
    options.wal_auto_gc_interval = dice.pick(&[Duration::ZERO, Duration::from_millis(10)]);
    options
}

fn engine(dice: &mut Dice) -> MemTableEngine {
    #[cfg(feature = "art")]
    return dice.pick(&[MemTableEngine::Skiplist, MemTableEngine::Art]);
    #[cfg(not(feature = "art"))]
    return dice.pick(&[MemTableEngine::Skiplist]);
}

/// The file system of open number `n`: mostly with maps.
pub fn file_system(seed: u64, n: u64) -> StdFs {
    if Dice::new(mix(mix(seed, 910), n)).one_in(6) { StdFs::without_maps() } else { StdFs::new() }
}
