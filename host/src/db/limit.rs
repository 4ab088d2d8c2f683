//! A rate limit for background I/O: a bucket of bytes that fills at a fixed rate.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, now};

#[derive(Debug, Default)]
struct State {
    /// When the bytes that were taken so far are paid for.
    paid_at: Option<Instant>,
    waits: u64,
    is_stopped: bool,
}

impl State {
    /// Takes what costs `cost`; says when it is paid for.
    fn pay(&mut self, now: Instant, cost: Duration) -> Instant {
        let from = self.paid_at.map_or(now, |at| at.max(now));
        let until = from.checked_add(cost).unwrap_or(from);
        self.paid_at = Some(until);
        until
    }
}

/// At most so many bytes a second, in the long run; 0 = no limit.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    state: Mutex<State>,
    stopped: Condvar,
}

impl RateLimit {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, ..Self::default() }
    }

    /// How long `bytes` take.
    fn cost(&self, bytes: u64) -> Duration {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Takes `bytes`, and waits until they are paid for, or [`RateLimit::stop`] is called.
    pub(crate) fn take(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let cost = self.cost(bytes);
        let mut state = self.state.lock();
        state.waits += 1;
        let until = state.pay(now(), cost);
        while !state.is_stopped && !self.stopped.wait_until(&mut state, until).timed_out() {}
    }

    /// How often somebody waited.
    pub(crate) fn waits(&self) -> u64 {
        self.state.lock().waits
    }

    /// From now on nobody waits: the database closes.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.stopped.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn takers_queue_one_behind_the_other_and_idle_time_is_not_saved_up() {
        let limit = RateLimit::new(1 << 20);
        assert_eq!(limit.cost(1 << 19), 500 * MS);
        let now = Instant::now();
        let mut state = State::default();
        assert_eq!(state.pay(now, 10 * MS), now + 10 * MS);
        assert_eq!(state.pay(now, 10 * MS), now + 20 * MS);
        assert_eq!(state.pay(now + 100 * MS, 10 * MS), now + 110 * MS);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        RateLimit::new(0).take(u64::MAX);
    }

    #[test]
    fn a_stop_frees_those_who_wait() {
        // Without the stop this would take centuries.
        let limit = RateLimit::new(1);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| limit.take(1 << 33));
            limit.stop();
            taker.join().unwrap();
        });
        limit.take(1 << 33);
    }
}
