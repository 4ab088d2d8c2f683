//! Directories of logs and manifests: opened, read, appended to, cut.

use nokv_core::formats::current::CleanClose;
use nokv_core::formats::journal::{Entry, Op};
use nokv_core::formats::walfs::Position;
use nokv_core::formats::{CfId, Seq};
use nokv_core::manifest::{Edit, Manifest, probe};
use nokv_core::wal::record_log::Record as NewRecord;
use nokv_core::wal::{
    BatchLog, BatchLogConfig, Journal, Log, LogOptions, Next, OnDamage, RecordLog, RecoverFrom, Section,
    SegmentFile, SyncMode, dump, replay_read_only, verify,
};
use nokv_vfs_mem::MemFs;

use super::image;

/// The directory of the files.
pub const DIR: &str = "log";
/// Of new segments, in bytes.
pub const SEGMENT_BYTES: u64 = 4096;

/// Options for logs of small segments.
pub fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

/// The same for record logs, whose segments hold the largest record at least.
pub fn record_log_options() -> LogOptions {
    LogOptions { segment_bytes: 1_048_656, ..options() }
}

/// What a log shows: log index and payload.
type Records = Vec<(u64, Vec<u8>)>;

/// All records up to the end or the first damage; is there damage?
fn records(log: &Log<MemFs>) -> (Records, bool) {
    let mut reader = log.reader();
    let mut records = Records::new();
    let mut places = Vec::new();
    let damaged = loop {
        match reader.next() {
            Ok(Next::Record(record)) => {
                records.push((record.log_index, record.payload.to_vec()));
                places.push(record.position);
            }
            Ok(_) => break false,
            Err(_) => break true,
        }
    };
    assert!(places.is_sorted_by(|a, b| a < b), "positions ascend");
    // A record replaces every earlier one of the same or a higher log index; so do segments behind damage.
    let read_to = places.last().map_or(0, |place| place.segment);
    let unread = log.segments().into_iter().filter(|s| s.number > read_to && s.entries > 0);
    let mut lowest_behind =
        unread.map(|s| s.first_log_index).filter(|first| *first > 0).min().unwrap_or(u64::MAX);
    for (place, (log_index, payload)) in places.iter().zip(&records).rev() {
        let counts = *log_index > 0 && *log_index < lowest_behind;
        if counts {
            lowest_behind = *log_index;
        }
        if let Ok(read) = log.read(*place) {
            assert_eq!(read, *payload);
        }
        // An index file has no checksum: one of the right form is believed, also where records were made up that stand
        // elsewhere. Its places are read with their checksums, as all are.
        let read = places.iter().filter(|p| p.segment == place.segment).map(|p| p.offset);
        let elsewhere = log
            .index(place.segment)
            .is_ok_and(|entries| entries.iter().zip(read).any(|(e, at)| e.offset != at));
        let found = log.position_for_index(*log_index);
        if counts && !elsewhere && found.is_ok_and(|found| found != *place) {
            panic!("log index {log_index} is at {place}");
        }
    }
    let _ = log.read(Position { segment: 1, offset: 72 });
    let _ = log.index_bounds();
    for segment in log.segments() {
        let _ = log.index(segment.number);
    }
    (records, damaged)
}

/// A log: looked at, verified, opened each way, appended to, opened again.
pub fn log(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        let _ = verify(fs.clone(), DIR, ".wal");
        if let Ok(mut dump) = dump(fs.clone(), DIR, ".wal") {
            while let Ok(Some(record)) = dump.next() {
                let _ = record.own();
            }
        }
        let read_only = LogOptions { read_only: true, ..options() };
        if let Ok(log) = Log::open(fs.clone(), DIR, read_only) {
            records(&log);
        }
        for on_damage in [OnDamage::Refuse, OnDamage::Cut] {
            let fs = fs.kill_clone();
            let before = image::take(&fs, DIR);
            let Ok(log) = Log::open(fs.clone(), DIR, LogOptions { on_damage, ..options() }) else {
                // A truncation that was decided before goes on, also before damage is found.
                let pending = before.iter().any(|file| file.path.ends_with("walfs.truncate"));
                assert!(pending || image::take(&fs, DIR) == before, "a refused open changed something");
                continue;
            };
            // The records of a sealed segment are not looked at before somebody reads them.
            let (mut all, was_damaged) = records(&log);
            let next =
                all.last().map_or(0, |(index, _)| if *index == 0 { 0 } else { index.saturating_add(1) });
            let appended = log.append(b"appended", next).is_ok();
            if appended {
                all.push((next, b"appended".to_vec()));
            }
            let _ = log.sync();
            if log.close().is_err() {
                continue;
            }
            drop(log);
            let log = Log::open(fs, DIR, options()).expect("closed a moment ago");
            let (again, damaged) = records(&log);
            assert_eq!(damaged, was_damaged);
            if !damaged {
                assert_eq!(again.len(), all.len(), "closing and opening again");
                assert!(again.iter().zip(&all).all(|(a, b)| a.1 == b.1), "closing and opening again");
            }
            let _ = log.rotate();
            if let Some((first, last)) = log.index_bounds() {
                let _ = log.truncate_after(first + (last - first) / 2);
                records(&log);
            }
        }
    });
}

/// One segment of a log, as users of single segments see it.
pub fn segment_file(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        for read_only in [true, false] {
            let Ok(segment) = SegmentFile::open(fs.clone(), DIR, 1, &LogOptions { read_only, ..options() })
            else {
                continue;
            };
            let mut reader = segment.reader();
            let mut count = 0;
            while let Ok(Next::Record(_)) = reader.next() {
                count += 1;
                assert!(count <= 1 << 20, "a segment that does not end");
            }
            drop(reader);
            if let Ok(entries) = segment.index_entries() {
                for entry in entries.iter().take(100) {
                    let _ = segment.read(entry.offset);
                }
            }
            for offset in [0, 8, 64, 72, u64::MAX - 7, u64::MAX] {
                let _ = segment.read(offset);
            }
            segment.clear_index();
            let _ = segment.index_entries();
            if !read_only {
                let _ = segment.write(b"appended", segment.info().first_log_index);
                let _ = segment.sync();
                let _ = segment.seal();
                let _ = segment.close();
            }
        }
    });
}

/// A record log.
pub fn record_log(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        let Ok(log) = RecordLog::open(fs.clone(), DIR, record_log_options()) else { return };
        let bounds = (log.first_id(), log.last_id());
        // Ids up to the end, or to the first record that is refused.
        let read = |log: &RecordLog<MemFs>, from: u64| {
            let mut iter = log.iter(from);
            let mut ids = Vec::new();
            let is_whole = loop {
                match iter.next() {
                    Ok(Some(record)) => ids.push(record.id),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
                assert!(ids.len() <= 1 << 20, "a log that does not end");
            };
            assert!(ids.is_sorted_by(|a, b| a < b), "ids ascend");
            (ids, is_whole)
        };
        let (ids, is_whole) = read(&log, 0);
        if let (Some(first), Some(last)) = bounds {
            assert!(first <= last);
            let middle = first + (last - first) / 2;
            read(&log, middle);
            let next = last.checked_add(1);
            let appended = next.is_some_and(|id| log.append(&[NewRecord { id, data: b"appended" }]).is_ok());
            if appended {
                assert_eq!(log.last_id(), next);
                assert_eq!(read(&log, 0).0.len(), ids.len() + usize::from(is_whole));
            }
            if log.truncate(middle).is_ok() {
                assert!(log.last_id().is_none_or(|id| id <= middle));
            }
            let _ = log.trim(middle);
        } else {
            let _ = log.append(&[NewRecord { id: 1, data: b"appended" }]);
        }
        let bounds = (log.first_id(), log.last_id());
        if log.close().is_ok() {
            drop(log);
            let log = RecordLog::open(fs.clone(), DIR, record_log_options()).expect("closed a moment ago");
            assert_eq!((log.first_id(), log.last_id()), bounds);
        }
    });
}

/// A journal.
pub fn journal(bytes: &[u8]) {
    image::both(bytes, DIR, |fs| {
        let open = || Journal::open_with(fs.clone(), DIR, SyncMode::Always, options());
        let Ok(journal) = open() else { return };
        let replay = |journal: &Journal<MemFs>| {
            let mut keys: Vec<(String, Option<usize>)> = Vec::new();
            let report = journal.replay(|entry| {
                keys.push((entry.key.to_owned(), entry.data.map(<[u8]>::len)));
                Ok::<(), nokv_core::Error>(())
            });
            report.map(|report| {
                assert_eq!(report.entries, keys.len() as u64);
                keys
            })
        };
        let before = replay(&journal);
        let entry = Entry { op: Op::Put, entity: "e", key: "appended", data: None, timestamp_ns: -1 };
        let appended = journal.append(&entry).is_ok();
        if let Ok(mut before) = before {
            if appended {
                before.push(("appended".to_owned(), None));
            }
            assert_eq!(replay(&journal).expect("replayed a moment ago"), before);
            if journal.close().is_err() {
                return;
            }
            drop(journal);
            let journal = open().expect("closed a moment ago");
            assert_eq!(replay(&journal).expect("replayed a moment ago"), before);
            if journal.truncate().is_ok() {
                assert!(replay(&journal).expect("an empty journal").is_empty());
            }
        }
    });
}

/// The engine's own log.
pub fn batch_log(bytes: &[u8]) {
    image::both(bytes, WAL, |fs| {
        let config = BatchLogConfig { segment_bytes: SEGMENT_BYTES, db_id: DB_ID };
        for floor_segment in [1, 2] {
            let from = RecoverFrom { floor_segment, clean_end: None, end_before: None };
            let mut shown = Vec::new();
            let read_only = replay_read_only(fs, WAL, config, from, &mut |record| {
                for section in record.sections().flatten() {
                    nokv_core::formats::batch::Ops::new(section.bytes).for_each(drop);
                }
                shown.push((record.first_seq, record.body.to_vec()));
                Ok(())
            });
            let fs = fs.kill_clone();
            let mut seen = Vec::new();
            let recovered = BatchLog::recover(
                &fs,
                WAL,
                config,
                from,
                &mut |record| {
                    seen.push((record.first_seq, record.body.to_vec()));
                    Ok(())
                },
                &mut || Ok(()),
            );
            let Ok((log, _)) = recovered else { continue };
            // A section that is none stops a reader that looks into it, not the log.
            if read_only.is_ok() {
                assert_eq!(seen, shown, "reading only and recovery show different batches");
            }
            let body: &[u8] = b"appended";
            let section = Section { kind: 200, group: 9, parts: &[body] };
            let appended = log.append(Seq(1), &[section]).is_ok();
            let _ = log.snapshot(1).and_then(|snapshot| snapshot.visit(Position::NIL, &mut |_| Ok(())));
            if log.seal_for_close().is_err() || !appended {
                continue;
            }
            drop(log);
            let mut count = 0;
            replay_read_only(&fs, WAL, config, from, &mut |_| {
                count += 1;
                Ok(())
            })
            .expect("closed a moment ago");
            assert_eq!(count, seen.len() + 1);
        }
    });
}

/// The directory of the engine's own log.
pub const WAL: &str = "wal";
/// The database that it is of.
pub const DB_ID: u64 = 0x1dea;
/// The directory of the manifest.
pub const MANIFEST: &str = "m";

/// `CURRENT`, its slots, and manifests.
pub fn manifest_files(bytes: &[u8]) {
    image::both(bytes, MANIFEST, |fs| {
        let _ = probe(fs, MANIFEST);
        let shown = Manifest::open(fs.clone(), MANIFEST, true).map(|opened| {
            let state = opened.manifest.state().clone();
            let mut again = nokv_core::manifest::ManifestState::default();
            again.apply(&state.to_edits()).expect("the edits of a state make that state");
            assert_eq!(again, state);
            state
        });
        let Ok(opened) = Manifest::open(fs.clone(), MANIFEST, false) else {
            assert!(shown.is_err());
            return;
        };
        let mut manifest = opened.manifest;
        assert_eq!(Some(manifest.state()), shown.as_ref().ok());
        if manifest.begin_writes().is_err() {
            return;
        }
        let family = manifest.state().next_family();
        let edits = [Edit::CreateFamily { id: family, name: "appended".to_owned() }];
        let _ = manifest.append(&edits);
        let _ = manifest.append(&[Edit::DropFamily { id: CfId(77), at_seq: Seq(1) }]);
        let _ = manifest.sweep();
        let state = manifest.state().clone();
        if manifest.close_clean(CleanClose::default()).is_ok() {
            drop(manifest);
            let again = Manifest::open(fs.clone(), MANIFEST, true).expect("closed a moment ago");
            assert!(again.clean.is_some());
            assert_eq!(*again.manifest.state(), state);
        }
    });
}
