//! The options of the hot rings: the rings' own options, and what binds some of them.
//!
//! Who may call it: the checks of all options, and an open.

use std::time::Duration;

use nokv_core::hotring::RingOptions;
use nokv_core::{Error, Result};

use super::Options;
use crate::db::hot::{HotOptions, RotatingOptions};

/// A slot where none is given.
const WINDOW_SLOT_DEFAULT: Duration = Duration::from_millis(250);

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn slot_ns(duration: Duration) -> u64 {
    ns(if duration.is_zero() { WINDOW_SLOT_DEFAULT } else { duration })
}

/// What binds the limit of writes to the rings.
pub(super) fn check_limit(options: &Options) -> Result<()> {
    let refuse = |text: &str| Err(Error::InvalidArgument(text.to_string()));
    if options.write_hot_key_limit > 0 && !options.hot_ring_enabled {
        return refuse("write_hot_key_limit needs hot_ring_enabled: nothing counts writes");
    }
    if options.write_hot_key_limit > 0 && !options.to_hot(0).shape.forgets() {
        let text = "write_hot_key_limit needs a window (hot_ring_window_slots), a decay (hot_ring_decay_interval) or a \
                    rotation (hot_ring_rotation_interval): a key at its limit would never be written again";
        return refuse(text);
    }
    Ok(())
}

impl Options {
    /// What the rings are made from; `seed` makes their hash differ from that of other databases.
    pub(crate) fn to_hot(&self, seed: u64) -> HotOptions {
        let slots = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let shape = RotatingOptions {
            ring: RingOptions {
                bits: self.hot_ring_bits,
                node_cap: self.hot_ring_node_cap,
                node_sample_bits: self.hot_ring_node_sample_bits,
                window_slots: slots(self.hot_ring_window_slots),
                window_slot_ns: slot_ns(self.hot_ring_window_slot_duration),
                decay_interval_ns: ns(self.hot_ring_decay_interval),
                decay_shift: self.hot_ring_decay_shift,
                seed,
            },
            rotation_ns: ns(self.hot_ring_rotation_interval),
        };
        let own = RotatingOptions {
            ring: RingOptions {
                bits: if self.value_log_hot_ring_bits == 0 {
                    self.hot_ring_bits
                } else {
                    self.value_log_hot_ring_bits
                },
                node_cap: self.value_log_hot_ring_node_cap,
                node_sample_bits: self.value_log_hot_ring_node_sample_bits,
                window_slots: slots(self.value_log_hot_ring_window_slots),
                window_slot_ns: slot_ns(self.value_log_hot_ring_window_slot_duration),
                decay_interval_ns: ns(self.value_log_hot_ring_decay_interval),
                decay_shift: self.value_log_hot_ring_decay_shift,
                seed,
            },
            rotation_ns: ns(self.value_log_hot_ring_rotation_interval),
        };
        let hot_buckets = if self.value_log_bucket_count > 1 { self.value_log_hot_bucket_count } else { 0 };
        HotOptions {
            enabled: self.hot_ring_enabled,
            read_only: self.read_only,
            shape,
            value_log: if self.value_log_hot_ring_override { own } else { shape },
            top_k: self.hot_ring_top_k,
            value_log_threshold: if hot_buckets > 0 { self.value_log_hot_key_threshold } else { 0 },
            write_limit: self.write_hot_key_limit,
            burst_threshold: self.hot_write_burst_threshold,
            batch_multiplier: self.hot_write_batch_multiplier,
        }
    }
}
