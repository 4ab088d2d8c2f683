//! What a run draws: keys that are prefixes of one another, values of all sizes, option sets.

use std::sync::Arc;
use std::time::Duration;

use nokv::core::clock::ManualClock;
use nokv::{Compression, MemTableEngine, Options};

use crate::laws::index::Course;

/// True once in `n` times.
pub(super) fn one_in(course: &mut Course, n: u64) -> bool {
    course.below(n) == 0
}

/// One of `items`.
pub(super) fn pick<T: Copy>(course: &mut Course, items: &[T]) -> T {
    items[course.below(items.len() as u64) as usize]
}

/// The keys of a run, sorted: the empty one, chains of prefixes, dense bytes, numbers, one of 60 KB.
pub(super) fn key_space() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    keys.extend((1..24).map(|n| vec![b'p'; n]));
    keys.extend((0..=255u8).step_by(7).map(|b| vec![b'd', b]));
    keys.extend((0..110u32).map(|n| format!("key/{:04}", n * 37 % 1000).into_bytes()));
    keys.extend([vec![0], vec![0, 0], vec![255], vec![255; 9], b"key/".to_vec(), b"key".to_vec()]);
    let mut long = b"key/05".to_vec();
    long.resize(60_000, b'L');
    keys.push(long);
    keys.sort();
    keys.dedup();
    keys
}

/// Position of a key; the long one is rare.
pub(super) fn key_at(course: &mut Course, keys: &[Vec<u8>]) -> usize {
    loop {
        let at = if one_in(course, 3) {
            course.below(24) as usize * 7 % keys.len()
        } else {
            course.below(keys.len() as u64) as usize
        };
        if keys[at].len() < 1000 || one_in(course, 40) {
            return at;
        }
    }
}

/// A value: mostly short, sometimes up to 3000 bytes, rarely 40 KB. Its bytes say which it is.
pub(super) fn value(course: &mut Course) -> Arc<[u8]> {
    let len = match course.below(400) {
        0 => 30_000 + course.below(12_000),
        1..40 => course.below(3_000),
        40..60 => 0,
        _ => course.below(120),
    } as usize;
    let mut bytes = vec![0; len];
    let stamp = course.next().to_le_bytes();
    for chunk in bytes.chunks_mut(16) {
        // Half of it compresses.
        let n = chunk.len().min(8);
        chunk[..n].copy_from_slice(&stamp[..n]);
    }
    bytes.into()
}

/// An option set for the next open.
pub(super) fn options(course: &mut Course, dir: &str, clock: &Arc<ManualClock>) -> Options {
    let mut options = Options::new(dir);
    options.clock = Some(clock.clone());
    options.mem_table_engine = engine(course);
    options.mem_table_bytes = pick(course, &[160 << 10, 256 << 10, 512 << 10]);
    options.sealed_mem_tables_max = pick(course, &[1, 2, 4]);
    options.wal_segment_bytes = pick(course, &[256 << 10, 512 << 10, 1 << 20]);
    options.manifest_sync = !one_in(course, 3);
    options.manifest_rewrite_threshold_bytes = pick(course, &[0, 4 << 10, 64 << 10]);
    options.value_threshold_bytes = pick(course, &[0, 1, 64, 512, 2048]);
    options.value_log_segment_bytes = pick(course, &[64 << 10, 128 << 10, 512 << 10]);
    options.value_log_bucket_count = pick(course, &[1, 2, 4]);
    options.value_log_hot_bucket_count = u16::from(options.value_log_bucket_count > 1 && one_in(course, 3));
    options.value_log_gc_interval =
        pick(course, &[Duration::ZERO, Duration::ZERO, Duration::from_millis(30)]);
    options.value_log_gc_discard_ratio = pick(course, &[0.1, 0.5, 0.9]);
    options.block_bytes = pick(course, &[256, 1 << 10, 4 << 10, 16 << 10]);
    options.bloom_bits_per_key = pick(course, &[0, 4, 10]);
    options.compression = pick(course, &[Compression::None, Compression::Lz4]);
    options.table_bytes = pick(course, &[8 << 10, 32 << 10, 128 << 10]);
    options.block_cache_bytes = pick(course, &[0, 16 << 10, 1 << 20]);
    options.open_files_max = pick(course, &[1, 4, 64]);
    options.level0_compaction_tables = pick(course, &[1, 2, 4]);
    options.num_level_zero_tables = pick(course, &[4, 8, 12]);
    options.level0_stop_tables = options.num_level_zero_tables + pick(course, &[0, 4, 12]);
    options.level_base_bytes = pick(course, &[1 << 10, 8 << 10, 64 << 10]);
    options.level_multiplier = pick(course, &[2, 3, 10]);
    options.num_compactors = pick(course, &[1, 2, 3]);
    options.hot_ring_enabled = one_in(course, 3);
    options.hot_ring_node_cap = pick(course, &[0, 16, 1000]);
    options.ingest_shard_parallelism = pick(course, &[0, 1, 2]);
    options.write_batch_max_count = pick(course, &[1, 16, 1024]);
    options.sync_writes = one_in(course, 20);
    options
}

fn engine(course: &mut Course) -> MemTableEngine {
    let engines = [
        #[cfg(feature = "skiplist")]
        MemTableEngine::Skiplist,
        #[cfg(feature = "art")]
        MemTableEngine::Art,
    ];
    if engines.is_empty() { MemTableEngine::None } else { pick(course, &engines) }
}
