//! Hot rings: which keys are touched most, in bounded memory, without locks on the way of a touch.
//!
//! Who may call it: any thread of any host. A ring starts no thread and reads no clock: time is an argument, and
//! decay and rotation are the step `maintain`, which the host calls now and then.
//!
//! ```text
//!  key -> print (128 bits of hash) -> bucket -> nodes, 8 tags to a cache line
//!                                               found:  count it
//!                                               free:   take the place
//!                                               full:   maybe take the place of the coldest (see `bucket`)
//! ```
//! 1. A count is never above the true number of touches in the window since the key entered (but for a touch of
//!    another thread that was on its way while the place changed hands).
//! 2. Without a cap counts are exact. With one they miss what came before the key entered: a key that is
//!    touched `t` times while the coldest node of its bucket has rank `m` stays outside with a probability of at
//!    most `e^(-t / (m + 1))`, and `m` is at most touches per node of the bucket.
//! 3. The number of nodes never passes the cap; a node holds at most [`REPORTED_KEY_BYTES_MAX`] bytes of its key.
//! 4. A touch of a tracked key allocates nothing and waits for nobody.

mod bucket;
mod node;
mod once;
mod report;
mod ring;
mod rotate;
#[cfg(test)]
mod tests;
mod window;

pub use node::{HotKey, REPORTED_KEY_BYTES_MAX};
pub use ring::HotRing;
pub use rotate::RotatingRing;

/// Buckets are 2^this where [`RingOptions::bits`] is 0.
pub const DEFAULT_BITS: u8 = 12;
/// More are not made, whatever [`RingOptions::bits`] says.
pub const BITS_MAX: u8 = 24;

/// Shape of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingOptions {
    /// 2^bits buckets; 0 = [`DEFAULT_BITS`]. With a cap no more than leave 16 nodes to each.
    pub bits: u8,
    /// Most keys that are tracked; 0 = any number.
    pub node_cap: u64,
    /// At the cap only keys with `hash & (2^bits - 1) == 0` compete for a place; 0 = all do.
    pub node_sample_bits: u8,
    /// Slots of the sliding window; 0 = none: counts are of all time.
    pub window_slots: u32,
    /// Nanoseconds of a slot; 0 = no window.
    pub window_slot_ns: u64,
    /// All counts are shifted right each so many nanoseconds; 0 = never.
    pub decay_interval_ns: u64,
    /// By so many bits; 0 counts as 1.
    pub decay_shift: u32,
    /// Makes the hash differ from that of other rings.
    pub seed: u64,
}

/// A ring at one moment. Counters are since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RingStats {
    /// Buckets.
    pub buckets: u64,
    /// Keys that are tracked.
    pub nodes: u64,
    /// Keys for each bucket.
    pub load_factor: f64,
    /// Slots of the window; 0 = no window.
    pub window_slots: u32,
    /// Nanoseconds of a slot.
    pub window_slot_duration: u64,
    /// Nanoseconds between two decays; 0 = none.
    pub decay_interval: u64,
    /// Bits that a decay shifts by.
    pub decay_shift: u32,
    /// Most keys that may be tracked; 0 = any number.
    pub node_cap: u64,
    /// At the cap only keys whose hash has none of these bits compete for a place.
    pub sample_mask: u64,
    /// Touches, those that were not counted for a key included.
    pub touches: u64,
    /// Keys that entered.
    pub inserts: u64,
    /// Keys that left: removed, displaced by a hotter key, or forgotten in a rotation.
    pub removes: u64,
    /// Touches that were refused because the key was at its limit.
    pub clamps: u64,
    /// Touches that were not counted because their key is not tracked.
    pub sample_drops: u64,
    /// Decays.
    pub decay_runs: u64,
    /// Unix seconds of the last one; 0 = none yet.
    pub last_decay_unix: u64,
}
