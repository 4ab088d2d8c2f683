//! The log with several threads: a reader at its tail, two writers, four writers and four readers.

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nokv::core::wal::Next;

use crate::log::{StdLog, open};
use crate::measure::{Sample, sample};

/// A reader that sees nothing new for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// `writers` append `ops` records together, `readers` each read all of them as they come. A record's time is the
/// whole divided by the records appended.
pub fn mixed(dir: &Path, payload: &[u8], ops: usize, writers: usize, readers: usize) -> Sample {
    let log = open(dir, payload.len(), ops, false);
    let barrier = Barrier::new(writers + readers + 1);
    thread::scope(|scope| {
        let mut handles = Vec::with_capacity(writers + readers);
        for writer in 0..writers {
            let (log, barrier) = (&log, &barrier);
            let count = ops / writers + usize::from(writer < ops % writers);
            handles.push(scope.spawn(move || {
                barrier.wait();
                for _ in 0..count {
                    log.append(payload, 0).expect("append");
                }
            }));
        }
        for _ in 0..readers {
            let (log, barrier) = (&log, &barrier);
            handles.push(scope.spawn(move || {
                barrier.wait();
                follow(log, payload.len(), ops);
            }));
        }
        barrier.wait();
        sample(ops, || handles.into_iter().for_each(|h| h.join().expect("a thread of the log failed")))
    })
}

/// Reads until it saw `ops` records.
fn follow(log: &StdLog, size: usize, ops: usize) {
    let mut reader = log.reader();
    let (mut seen, mut news) = (0, Instant::now());
    while seen < ops {
        let is_new = match reader.next().expect("read") {
            Next::Record(record) => {
                assert_eq!(record.payload.len(), size);
                true
            }
            Next::NoNewData => false,
            Next::End => panic!("the log ended under its reader"),
        };
        if is_new {
            seen += 1;
            news = Instant::now();
        } else {
            assert!(news.elapsed() < STUCK, "{seen} of {ops} records seen");
            thread::yield_now();
        }
    }
}
