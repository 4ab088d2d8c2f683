//! `nokv workload`: a mix of operations from a seed, to load a database and watch it.

use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;

use super::interrupt::Watch;
use super::progress::{Progress, Unit};
use super::service::ServiceArgs;
use super::store::{Access, Backend, Exit, Failure, Result, Store, Walk};
use super::{Session, output};

/// All keys of the workload start with it.
const PREFIX: &str = "workload-";
/// Records of one scan.
const SCAN_RECORDS: u64 = 100;
/// Operations between two looks at the progress bar.
const OPS_PER_TICK: u64 = 256;
/// How often a database that is held looks whether it is to end.
const HOLD_LOOK_EVERY: Duration = Duration::from_millis(100);
/// A key out of so many is drawn for every second operation: the hot ones.
const HOT_ONE_IN: u64 = 100;

/// `nokv workload`.
#[derive(Debug, Args)]
pub struct WorkloadArgs {
    /// Operations to run.
    #[arg(long, value_name = "N")]
    pub ops: u64,

    /// Share of each kind of operation: any of read, write, delete, scan, with whole numbers.
    #[arg(long, value_name = "MIX", default_value = "read=50,write=40,delete=5,scan=5")]
    pub mix: Mix,

    /// Different keys. Every second operation takes one of the first hundredth of them.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,

    /// Bytes of each value.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1 << 24))]
    pub value_bytes: u32,

    /// Number that the operations are drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Keep the database open and the metrics served afterwards, until standard input ends.
    #[arg(long)]
    pub hold: bool,

    /// Metrics and log.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// How often each kind of operation comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mix {
    read: u32,
    write: u32,
    delete: u32,
    scan: u32,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut mix = Self::default();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or_else(|| format!("{part:?} is not KIND=SHARE"))?;
            let share: u16 =
                share.parse().map_err(|_| format!("{share:?} is no whole number up to 65535"))?;
            let place = match name {
                "read" => &mut mix.read,
                "write" => &mut mix.write,
                "delete" => &mut mix.delete,
                "scan" => &mut mix.scan,
                _ => return Err(format!("{name:?} is none of read, write, delete, scan")),
            };
            *place = share.into();
        }
        if mix.total() == 0 { Err("all shares are 0".to_owned()) } else { Ok(mix) }
    }
}

impl Mix {
    const fn total(&self) -> u32 {
        self.read + self.write + self.delete + self.scan
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

#[derive(Debug, Default)]
struct Done {
    /// All of them.
    operations: u64,
    reads: u64,
    found: u64,
    writes: u64,
    deletes: u64,
    scans: u64,
    scanned: u64,
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn workload(&mut self, dir: &Path, args: &WorkloadArgs) -> Result<()> {
        args.service.start_log()?;
        let interrupt = Watch::start();
        // Hot keys are part of what a load shows; a file of options has its own word.
        let shown = || crate::Options { hot_ring_enabled: true, ..crate::Options::new(dir) };
        self.config.get_or_insert_with(shown);
        let store = self.open(dir, Access::Create)?;
        let server = self.serve(&store, &args.service)?;
        let start = Instant::now();
        let progress = Progress::on_stderr("workload", Unit::Records);
        let done = run(&store, args, &progress, &interrupt)?;
        drop(progress);
        store.sync()?;
        let seconds = start.elapsed().as_secs_f64();
        self.report(&done, seconds)?;
        if args.hold && !interrupt.is_interrupted() {
            self.note("the workload is done, the database stays open: standard input: end it to go on")?;
            wait_for_end_of_input(&interrupt);
        }
        drop(server);
        store.close()?;
        if !interrupt.is_interrupted() {
            return Ok(());
        }
        let what =
            format!("interrupted after {} of {}", done.operations, output::things(args.ops, "operation"));
        let next = "what was done is stored, and the database was closed";
        Err(Failure::new(what, dir.display().to_string(), next).with_exit(Exit::Interrupted))
    }

    fn report(&mut self, done: &Done, seconds: f64) -> Result<()> {
        let Done { operations: ops, reads, found, writes, deletes, scans, scanned } = done;
        let per_second = if seconds > 0.0 { *ops as f64 / seconds } else { 0.0 };
        let value = serde_json::json!({
            "operations": ops, "seconds": (seconds * 1e3).round() / 1e3, "operations_per_second": per_second.round() as u64,
            "reads": reads, "reads_found": found, "writes": writes, "deletes": deletes,
            "scans": scans, "scanned_records": scanned,
        });
        output::answer(self.out, &value, self.json).map_err(|e| Failure::output(&e))
    }
}

/// Until standard input ends, or SIGINT comes. A read of it does not end with a signal, so a thread of its own reads;
/// it ends with the process.
fn wait_for_end_of_input(interrupt: &Watch) {
    let (ended, end) = channel::<()>();
    std::thread::spawn(move || {
        // However it ends, it has ended.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(ended);
    });
    while end.recv_timeout(HOLD_LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if interrupt.is_interrupted() {
            return;
        }
    }
}

fn run(store: &impl Store, args: &WorkloadArgs, progress: &Progress, interrupt: &Watch) -> Result<Done> {
    let mut draw = Draw(args.seed);
    let mut done = Done::default();
    let mut value = vec![0; args.value_bytes as usize];
    for op in 0..args.ops {
        if interrupt.is_interrupted() {
            break;
        }
        if op % OPS_PER_TICK == 0 {
            progress.at(op, Some(args.ops));
        }
        done.operations += 1;
        let hot = draw.next().is_multiple_of(2);
        let key = draw.below(if hot { args.keys / HOT_ONE_IN } else { args.keys });
        let key = format!("{PREFIX}{key:012}");
        let kind = u32::try_from(draw.below(args.mix.total().into())).unwrap_or(0);
        let Mix { read, write, delete, .. } = args.mix;
        if kind < read {
            done.reads += 1;
            done.found += u64::from(store.get(key.as_bytes())?.is_some());
        } else if kind < read + write {
            for chunk in value.chunks_mut(8) {
                let bytes = draw.next().to_le_bytes();
                chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
            done.writes += 1;
            store.write(&mut std::iter::once((key.as_bytes(), &value[..])))?;
        } else if kind < read + write + delete {
            done.deletes += 1;
            store.remove(key.as_bytes())?;
        } else {
            done.scans += 1;
            let (prefix, _) = key.split_at(key.len().saturating_sub(2));
            let mut left = SCAN_RECORDS;
            store.scan(prefix.as_bytes(), false, &mut |_, _| {
                done.scanned += 1;
                left -= 1;
                Ok(if left == 0 { Walk::Stop } else { Walk::On })
            })?;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes() {
        let mix: Mix = "read=1,scan=3".parse().unwrap();
        assert_eq!(mix, Mix { read: 1, scan: 3, ..Mix::default() });
        for text in ["", "read", "read=", "read=-1", "jump=1", "read=0", "read=70000", "read=1;write=1"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
