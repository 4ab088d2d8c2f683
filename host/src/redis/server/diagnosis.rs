//! What the server notes of its own slowness: slow commands, spikes, times of commands.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Arguments of a slow command that are kept, and bytes of each.
const SLOW_ARGS_MAX: usize = 32;
const SLOW_ARG_BYTES_MAX: usize = 128;
/// Spikes of an event that are kept.
const SPIKES_MAX: usize = 160;

/// A slow command.
#[derive(Debug, Clone)]
pub struct Slow {
    /// Its number.
    pub id: u64,
    /// When, in seconds since the Unix epoch.
    pub at_unix: u64,
    /// How long it took.
    pub micros: u64,
    /// Its arguments, cut.
    pub args: Vec<Vec<u8>>,
    /// Whose it was.
    pub peer: String,
    /// The name of the client.
    pub name: Vec<u8>,
}

/// SLOWLOG: the newest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    /// The commands.
    pub commands: VecDeque<Slow>,
    next: u64,
}

impl SlowLog {
    /// Notes a command, and keeps `max`.
    pub fn note(&mut self, mut slow: Slow, max: usize) {
        slow.id = self.next;
        self.next += 1;
        self.commands.push_front(slow);
        self.commands.truncate(max);
    }
}

/// Arguments as SLOWLOG keeps them.
pub fn cut(args: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let kept = if args.len() > SLOW_ARGS_MAX { SLOW_ARGS_MAX - 1 } else { args.len() };
    let mut out: Vec<Vec<u8>> = args.iter().take(kept).map(|arg| cut_one(arg.as_ref())).collect();
    if kept < args.len() {
        out.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    out
}

fn cut_one(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= SLOW_ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let mut out = arg[..SLOW_ARG_BYTES_MAX].to_vec();
    out.extend_from_slice(format!("... ({} more bytes)", arg.len() - SLOW_ARG_BYTES_MAX).as_bytes());
    out
}

/// A kind of event that was too slow at times.
#[derive(Debug, Clone, Default)]
pub struct Spikes {
    /// Second since the Unix epoch and the longest time in it, in milliseconds: the oldest first.
    pub samples: VecDeque<(u64, u64)>,
    /// The longest ever.
    pub max_ms: u64,
}

/// LATENCY.
#[derive(Debug, Default)]
pub struct Latency {
    /// Events by name.
    pub events: BTreeMap<&'static str, Spikes>,
}

impl Latency {
    /// Notes that an event took `ms`.
    pub fn note(&mut self, event: &'static str, at_unix: u64, ms: u64) {
        let spikes = self.events.entry(event).or_default();
        spikes.max_ms = spikes.max_ms.max(ms);
        match spikes.samples.back_mut() {
            Some((second, longest)) if *second == at_unix => *longest = ms.max(*longest),
            _ => spikes.samples.push_back((at_unix, ms)),
        }
        if spikes.samples.len() > SPIKES_MAX {
            spikes.samples.pop_front();
        }
    }
}

/// Parts of a power of two.
const PARTS_LOG: u32 = 5;

/// Times of a command: counts by nanoseconds, each bucket 3 % wide.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    buckets: Vec<u64>,
    /// How many there are.
    pub count: u64,
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < 1 << PARTS_LOG {
        return nanos as usize;
    }
    let log = 63 - nanos.leading_zeros();
    let part = (nanos >> (log - PARTS_LOG)) as usize - (1 << PARTS_LOG);
    (((log - PARTS_LOG + 1) as usize) << PARTS_LOG) + part
}

/// The highest time of a bucket.
fn top_of(bucket: usize) -> u64 {
    if bucket < 1 << PARTS_LOG {
        return bucket as u64;
    }
    let shift = (bucket >> PARTS_LOG) as u32 - 1;
    let part = (bucket & ((1 << PARTS_LOG) - 1)) as u64 + (1 << PARTS_LOG);
    ((part + 1) << shift) - 1
}

impl Histogram {
    /// Notes a time.
    pub fn note(&mut self, spent: Duration) {
        // An hour is as long as it gets.
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX).min(3_600_000_000_000);
        let bucket = bucket_of(nanos);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    /// The time in microseconds that `percent` of all do not exceed, at most 3 % too high.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return top_of(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// Powers of two in microseconds, and how many took at most so long.
    pub fn by_power(&self) -> Vec<(u64, u64)> {
        let mut out: Vec<(u64, u64)> = Vec::new();
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            seen += count;
            let power = top_of(bucket).div_ceil(1000).next_power_of_two();
            match out.last_mut() {
                Some((last, total)) if *last == power => *total = seen,
                _ => out.push((power, seen)),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        for nanos in (0..100_000).chain([u64::from(u32::MAX), 3_600_000_000_000]) {
            let top = top_of(bucket_of(nanos));
            assert!(top >= nanos && top - nanos <= nanos / 32, "{nanos} {top}");
        }
        let mut times = Histogram::default();
        (1..=1000).for_each(|micros| times.note(Duration::from_micros(micros)));
        assert!((485.0..520.0).contains(&times.percentile(50.0)));
        assert_eq!(times.by_power().last(), Some(&(1024, 1000)));
    }

    #[test]
    fn slow_commands_are_cut() {
        let long = [b'x'; 200];
        let args: Vec<&[u8]> = std::iter::repeat_n(&long[..], 40).collect();
        let cut = cut(&args);
        assert_eq!(cut.len(), 32);
        assert_eq!(cut[31], b"... (9 more arguments)");
        assert!(cut[0].ends_with(b"x... (72 more bytes)"));
    }
}
