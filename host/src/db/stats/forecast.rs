//! When will writers be slowed down? Rates over the last snapshots, and where they lead.
//!
//! Who may call it: [`super::section`]. Pure but for the loads that it remembers.
//!
//! Loads are remembered at most once a second, sixteen of them, so that several observers do not shorten the time that
//! rates are taken over.

use std::collections::VecDeque;

const KEPT: usize = 16;
const SPACING_NS: u64 = 1_000_000_000;

/// What back-pressure depends on, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) at_ns: u64,
    pub(super) debt_bytes: u64,
    pub(super) level0_tables: u64,
    pub(super) sealed: u64,
}

/// Growth of each, per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) debt_bytes: f64,
    pub(super) level0_tables: f64,
    pub(super) sealed: f64,
}

/// The last loads, oldest first.
#[derive(Debug, Default)]
pub(super) struct Loads(VecDeque<Load>);

impl Loads {
    /// Growth from the oldest load that is remembered to `now`, which is remembered too.
    pub(super) fn rates(&mut self, now: Load) -> Rates {
        let rates = self.0.front().map_or_else(Rates::default, |then| {
            let seconds = now.at_ns.saturating_sub(then.at_ns) as f64 / 1e9;
            if seconds == 0.0 {
                return Rates::default();
            }
            let per_second = |now: u64, then: u64| (now as f64 - then as f64) / seconds;
            Rates {
                debt_bytes: per_second(now.debt_bytes, then.debt_bytes),
                level0_tables: per_second(now.level0_tables, then.level0_tables),
                sealed: per_second(now.sealed, then.sealed),
            }
        });
        if self.0.back().is_none_or(|last| now.at_ns.saturating_sub(last.at_ns) >= SPACING_NS) {
            if self.0.len() == KEPT {
                self.0.pop_front();
            }
            self.0.push_back(now);
        }
        rates
    }
}

/// When `now` will have grown to `mark`; `None` if it does not grow, or is there.
pub(super) fn seconds_until(now: u64, mark: u64, per_second: f64) -> Option<f64> {
    (now < mark && per_second > 0.0).then(|| (mark - now) as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, level0_tables: u64) -> Load {
        Load { at_ns: seconds * 1_000_000_000, level0_tables, debt_bytes: 100 * level0_tables, sealed: 0 }
    }

    #[test]
    fn growth_is_taken_over_the_remembered_time() {
        let mut loads = Loads::default();
        assert_eq!(loads.rates(at(0, 4)), Rates::default());
        assert_eq!(loads.rates(at(0, 9)), Rates::default());
        let rates = loads.rates(at(2, 8));
        assert_eq!((rates.level0_tables, rates.debt_bytes), (2.0, 200.0));
        let rates = loads.rates(at(4, 4));
        assert_eq!(rates.level0_tables, 0.0);
        for second in 5..40 {
            loads.rates(at(second, 4));
        }
        assert_eq!(loads.rates(at(40, 20)).level0_tables, 1.0);
    }

    #[test]
    fn many_observers_do_not_shorten_the_time() {
        let mut loads = Loads::default();
        loads.rates(at(0, 0));
        for n in 0..100 {
            loads.rates(Load { at_ns: 1_000_000_000 + n, ..at(1, 1) });
        }
        assert_eq!(loads.0.len(), 2);
    }

    #[test]
    fn nothing_is_in_sight_without_growth_or_behind_the_mark() {
        assert_eq!(seconds_until(4, 12, 2.0), Some(4.0));
        assert_eq!(seconds_until(4, 12, 0.0), None);
        assert_eq!(seconds_until(4, 12, -1.0), None);
        assert_eq!(seconds_until(12, 12, 1.0), None);
    }
}
