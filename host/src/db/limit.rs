//! A rate limit for background I/O: a bucket of bytes that fills at a fixed rate.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// At most so many bytes a second, in the long run; 0 = no limit.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    /// When the bytes that were taken so far are paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid_at: Mutex::new(None) }
    }

    /// Takes `bytes`, and sleeps until they are paid for.
    pub(crate) fn take(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let now = Instant::now();
        let until = {
            let mut paid_at = self.paid_at.lock();
            let until = paid_at.map_or(now, |at| at.max(now)) + cost;
            *paid_at = Some(until);
            until
        };
        std::thread::sleep(until.saturating_duration_since(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_does_not_wait_and_a_limit_queues_takers() {
        let free = RateLimit::new(0);
        free.take(u64::MAX);
        let slow = RateLimit::new(1 << 30);
        let before = Instant::now();
        slow.take(1 << 20);
        slow.take(1 << 20);
        // Two takes of about a millisecond each are queued one behind the other.
        assert!(before.elapsed() >= Duration::from_micros(1900));
    }
}
