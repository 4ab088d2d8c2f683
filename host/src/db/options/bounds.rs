//! The bounds of each option, and the rules that bind two of them.
//!
//! An error starts with the option's name. What has no line here is fine with every value of its type.

use std::time::Duration;

use nokv_core::table::is_available;
use nokv_core::{Error, Result};

use super::value::{OptionKind, Setting};
use super::{OPTION_FIELDS, Options};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The longest time that an option takes: ten years. Longer ones do not fit every system's clock.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The longest that one write may be held back for company.
const WRITE_BATCH_WAIT_MAX: Duration = Duration::from_secs(60);
/// The most threads that one kind of work gets.
const THREADS_MAX: u64 = 256;

fn bad(text: String) -> Result<()> {
    Err(Error::InvalidArgument(text))
}

/// A whole number from `least` to `most`; with `or_zero` also 0.
fn whole(name: &str, value: u64, least: u64, most: u64, or_zero: bool) -> Result<()> {
    if (least..=most).contains(&value) || (or_zero && value == 0) {
        return Ok(());
    }
    let kind = OptionKind::Count.named(name);
    let show = |number: u64| number.show(kind).trim_matches('"').to_string();
    let zero = if or_zero { "0, or " } else { "" };
    let text = match most {
        u64::MAX => format!("{name} must be {zero}at least {}, not {}", show(least), show(value)),
        most if least == 0 => format!("{name} must be at most {}, not {}", show(most), show(value)),
        most => {
            format!("{name} must be {zero}between {} and {}, not {}", show(least), show(most), show(value))
        }
    };
    bad(text)
}

/// A number from 0 to `most`; neither a NaN nor infinite.
fn ratio(name: &str, value: f64, most: f64) -> Result<()> {
    if value >= 0.0 && value <= most {
        return Ok(());
    }
    bad(format!("{name} must be between 0 and {most}, not {value}"))
}

fn time(name: &str, value: Duration, most: Duration) -> Result<()> {
    if value <= most {
        return Ok(());
    }
    let show = |time: Duration| time.show(OptionKind::Duration).trim_matches('"').to_string();
    bad(format!("{name} must be at most {}, not {}", show(most), show(value)))
}

impl Options {
    /// Checks every field, and what binds two of them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] starts with the field's name.
    pub fn validate(&self) -> Result<()> {
        self.check_place_and_log()?;
        self.check_writes()?;
        self.check_value_log()?;
        self.check_tables()?;
        self.check_tree()?;
        self.check_hot_keys()?;
        self.check_watchdog()?;
        // The engine checks what it needs; the names are its own.
        self.to_engine((), 1).validate().map_err(|error| match error {
            Error::InvalidArgument(text) => Error::InvalidArgument(our_names(&text)),
            other => other,
        })
    }

    fn check_place_and_log(&self) -> Result<()> {
        self.dir()?;
        whole("mem_table_bytes", self.mem_table_bytes as u64, 64 * KIB, 64 * GIB, false)?;
        whole("sealed_mem_tables_max", self.sealed_mem_tables_max as u64, 1, 1024, false)?;
        whole("wal_segment_bytes", self.wal_segment_bytes, 256 * KIB, u64::from(u32::MAX), false)
    }

    fn check_writes(&self) -> Result<()> {
        whole("write_batch_max_count", self.write_batch_max_count as u64, 1, 1 << 20, false)?;
        time("write_batch_wait", self.write_batch_wait, WRITE_BATCH_WAIT_MAX)
    }

    fn check_value_log(&self) -> Result<()> {
        whole("value_log_segment_bytes", self.value_log_segment_bytes, 64 * KIB, 1024 * GIB, false)?;
        let buckets = self.value_log_bucket_count;
        whole("value_log_bucket_count", u64::from(buckets), 0, 1000, false)?;
        let hot = self.value_log_hot_bucket_count;
        if buckets > 1 && hot >= buckets {
            return bad(format!(
                "value_log_hot_bucket_count must be below value_log_bucket_count, which is {buckets}, not {hot}"
            ));
        }
        time("value_log_gc_interval", self.value_log_gc_interval, DURATION_MAX)?;
        let discard = self.value_log_gc_discard_ratio;
        if !(discard > 0.0 && discard < 1.0) {
            return bad(format!("value_log_gc_discard_ratio must be above 0 and below 1, not {discard}"));
        }
        whole("value_log_gc_parallelism", self.value_log_gc_parallelism as u64, 0, THREADS_MAX, false)?;
        ratio("value_log_gc_reduce_score", self.value_log_gc_reduce_score, 1e6)?;
        ratio("value_log_gc_skip_score", self.value_log_gc_skip_score, 1e6)?;
        ratio("value_log_gc_sample_size_ratio", self.value_log_gc_sample_size_ratio, 1.0)?;
        ratio("value_log_gc_sample_count_ratio", self.value_log_gc_sample_count_ratio, 1.0)
    }

    fn check_tables(&self) -> Result<()> {
        whole("table_bytes", self.table_bytes, 4 * KIB, 64 * GIB, false)?;
        whole("block_bytes", self.block_bytes as u64, 128, 16 * MIB, false)?;
        whole("bloom_bits_per_key", u64::from(self.bloom_bits_per_key), 0, 64, false)?;
        if !is_available(self.compression) {
            return bad(format!(
                "compression is {}, which this build does not have",
                self.compression.show(OptionKind::Word)
            ));
        }
        whole("open_files_max", self.open_files_max as u64, 1, 1 << 20, false)
    }

    fn check_tree(&self) -> Result<()> {
        whole("num_compactors", self.num_compactors as u64, 0, THREADS_MAX, false)?;
        let (compaction, slowdown) = (self.level0_compaction_tables, self.level0_slowdown_tables());
        let stop = self.level0_stop_tables;
        whole("level0_compaction_tables", compaction as u64, 1, 1 << 20, false)?;
        whole("num_level_zero_tables", self.num_level_zero_tables as u64, 0, 1 << 20, false)?;
        if stop < slowdown || stop < compaction {
            return bad(format!(
                "level0_stop_tables must not be below num_level_zero_tables ({slowdown}) or \
                 level0_compaction_tables ({compaction}), as {stop} is"
            ));
        }
        whole("level0_stop_tables", stop as u64, 1, 1 << 20, false)?;
        whole("level_base_bytes", self.level_base_bytes, KIB, 1024 * GIB, false)?;
        whole("level_multiplier", self.level_multiplier, 2, 1000, false)?;
        ratio("ingest_backlog_merge_score", self.ingest_backlog_merge_score, 1e6)?;
        whole("ingest_shard_parallelism", self.ingest_shard_parallelism as u64, 0, THREADS_MAX, false)?;
        ratio("compaction_value_weight", self.compaction_value_weight, 1000.0)?;
        ratio("compaction_value_alert_threshold", self.compaction_value_alert_threshold, 1.0)?;
        // Less than a block a second would hold a flush up for longer than anyone waits for it.
        whole("background_bytes_per_second", self.background_bytes_per_second, 64 * KIB, u64::MAX, true)
    }

    fn check_hot_keys(&self) -> Result<()> {
        whole("hot_ring_bits", u64::from(self.hot_ring_bits), 0, 24, false)?;
        whole("hot_ring_top_k", self.hot_ring_top_k as u64, 0, 1 << 20, false)?;
        time("hot_ring_rotation_interval", self.hot_ring_rotation_interval, DURATION_MAX)?;
        whole("hot_ring_node_sample_bits", u64::from(self.hot_ring_node_sample_bits), 0, 63, false)?;
        time("hot_ring_decay_interval", self.hot_ring_decay_interval, DURATION_MAX)?;
        whole("hot_ring_decay_shift", u64::from(self.hot_ring_decay_shift), 0, 31, false)?;
        whole("hot_ring_window_slots", self.hot_ring_window_slots as u64, 0, 256, false)?;
        time("hot_ring_window_slot_duration", self.hot_ring_window_slot_duration, DURATION_MAX)?;
        whole("hot_write_batch_multiplier", u64::from(self.hot_write_batch_multiplier), 0, 1 << 20, false)?;
        whole("value_log_hot_ring_bits", u64::from(self.value_log_hot_ring_bits), 0, 24, false)?;
        let rotation = self.value_log_hot_ring_rotation_interval;
        time("value_log_hot_ring_rotation_interval", rotation, DURATION_MAX)?;
        let sample_bits = u64::from(self.value_log_hot_ring_node_sample_bits);
        whole("value_log_hot_ring_node_sample_bits", sample_bits, 0, 63, false)?;
        time("value_log_hot_ring_decay_interval", self.value_log_hot_ring_decay_interval, DURATION_MAX)?;
        let shift = u64::from(self.value_log_hot_ring_decay_shift);
        whole("value_log_hot_ring_decay_shift", shift, 0, 31, false)?;
        let slots = self.value_log_hot_ring_window_slots as u64;
        whole("value_log_hot_ring_window_slots", slots, 0, 256, false)?;
        let slot = self.value_log_hot_ring_window_slot_duration;
        time("value_log_hot_ring_window_slot_duration", slot, DURATION_MAX)?;
        super::hot::check_limit(self)
    }

    fn check_watchdog(&self) -> Result<()> {
        time("wal_auto_gc_interval", self.wal_auto_gc_interval, DURATION_MAX)?;
        ratio("wal_typed_record_warn_ratio", self.wal_typed_record_warn_ratio, 1.0)
    }
}

/// What the engine calls otherwise.
const ENGINE_NAMES: [(&str, &str); 8] = [
    ("memtable_bytes", "mem_table_bytes"),
    ("sealed_memtables_max", "sealed_mem_tables_max"),
    ("value_log_buckets", "value_log_bucket_count"),
    ("value_log_hot_buckets", "value_log_hot_bucket_count"),
    ("level0_slowdown_tables", "num_level_zero_tables"),
    ("manifest_rewrite_bytes", "manifest_rewrite_threshold_bytes"),
    ("base_bytes", "level_base_bytes"),
    ("multiplier", "level_multiplier"),
];

/// A message of the engine's with the names of these options in it.
fn our_names(text: &str) -> String {
    let word = |word: &str| {
        let known = OPTION_FIELDS.iter().any(|field| field.name == word);
        let ours = ENGINE_NAMES.iter().find(|(theirs, _)| !known && *theirs == word);
        ours.map_or_else(|| word.to_string(), |(_, ours)| (*ours).to_string())
    };
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        out.push_str(&word(head));
        let gap = tail.find(is_word).unwrap_or(tail.len());
        let (between, tail) = tail.split_at(gap);
        out.push_str(between);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_messages_get_the_names_of_these_options() {
        let text = "memtable_bytes must be at least 64 KiB, not level0_slowdown_tables; table_bytes";
        let ours = "mem_table_bytes must be at least 64 KiB, not num_level_zero_tables; table_bytes";
        assert_eq!(our_names(text), ours);
        assert!(ENGINE_NAMES.iter().all(|(_, ours)| OPTION_FIELDS.iter().any(|field| field.name == *ours)));
    }
}
