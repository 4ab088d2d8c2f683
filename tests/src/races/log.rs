//! The general log: readers while somebody appends, cuts its end off, and cleans its start.

use std::sync::Arc;

use nokv_core::Error;
use nokv_core::wal::{Log, LogOptions, Next, Retention};
use nokv_vfs_mem::MemFs;

use super::{below, join, on_thread};

/// The record of an index in a generation: cutting starts a new one.
fn payload(index: u64, generation: u8) -> Vec<u8> {
    let mut payload = vec![generation; 100 + (index % 5) as usize * 40];
    payload[0] = index as u8;
    payload
}

/// A reader sees whole records, their indexes one after the other, never one of an older generation behind one of a newer;
/// what it cannot go on with is told by a typed error.
pub(super) fn readers_and_cuts() {
    let retention = Retention { enabled: true, max_segments: 2, ..Retention::default() };
    let options = LogOptions { segment_bytes: 1024, retention, ..LogOptions::default() };
    let log = Arc::new(Log::open(MemFs::new(), "log", options).unwrap());
    (1..=4).for_each(|index| _ = log.append(&payload(index, 0), index).unwrap());
    let writer = {
        let log = log.clone();
        on_thread(move || {
            let mut next = 5;
            for generation in 1..4u8 {
                let keep = next - 1 - below(3);
                match log.truncate_after(keep) {
                    Ok(_) => next = keep + 1,
                    Err(Error::ReadersBehind { .. } | Error::IndexTruncated { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                for _ in 0..4 {
                    log.append(&payload(next, generation), next).unwrap();
                    next += 1;
                }
                if below(2) == 0 {
                    log.sync().unwrap();
                }
            }
            log.close().unwrap();
            next - 1
        })
    };
    let cleaner = {
        let log = log.clone();
        on_thread(move || (0..3).for_each(|_| _ = log.clean_step(0, &|_| true).unwrap()))
    };
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let log = log.clone();
            on_thread(move || {
                let mut reader = log.reader();
                let (mut last, mut newest) = (None, 0);
                for _ in 0..40 {
                    match reader.next() {
                        Ok(Next::Record(record)) => {
                            let (index, generation) = (record.log_index, record.payload[1]);
                            assert_eq!(record.payload, payload(index, generation), "record {index}");
                            assert!(last.is_none_or(|last| index == last + 1), "{index} behind {last:?}");
                            assert!(generation >= newest, "generation {generation} behind {newest}");
                            (last, newest) = (Some(index), generation);
                        }
                        Ok(Next::NoNewData) => shuttle::thread::yield_now(),
                        Ok(Next::End) => return,
                        Err(Error::IndexTruncated { .. }) => return,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    let last = join(writer);
    join(cleaner);
    readers.into_iter().for_each(join);
    let mut reader = log.reader();
    let mut seen = None;
    while let Next::Record(record) = reader.next().unwrap() {
        assert!(seen.is_none_or(|seen| record.log_index == seen + 1));
        seen = Some(record.log_index);
    }
    assert_eq!(seen, Some(last));
}
