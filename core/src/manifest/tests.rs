//! Rules, reopening, crashes at every call, full disks and damage of the manifest.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::table_props::VlogLive;
use nokv_formats::{CfId, Seq, TableId, TableMeta, TableProps};

use super::testfs::TestFs;
use super::*;
use crate::error::Error;
use crate::sync::Arc;
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile};

const DIR: &str = "db";
const DB: u64 = 77;

fn meta(id: u64, seqs: (u64, u64)) -> Arc<TableMeta> {
    let props = TableProps { seq_min: Seq(seqs.0), seq_max: Seq(seqs.1), puts: 1, ..TableProps::default() };
    Arc::new(TableMeta { id: TableId(id), file_bytes: 100, checksum: 1, global_seq: None, props })
}

fn add(level: u8, ingest: bool, id: u64) -> Edit {
    Edit::AddTable { level, ingest, meta: meta(id, (id, id)) }
}

fn remove(level: u8, ingest: bool, id: u64) -> Edit {
    Edit::RemoveTable { id: TableId(id), level, ingest }
}

/// The groups of a small workload; each can be told apart by its flushed seq.
fn groups() -> Vec<Vec<Edit>> {
    let seq = |n| Edit::FlushedSeq { seq: Seq(n) };
    Vec::from([
        Vec::from([add(0, false, 1), Edit::WalFloor { segment: 2 }, seq(1)]),
        Vec::from([
            add(0, false, 2),
            Edit::VlogSegment { bucket: 1, segment: 1, sealed: true, size: 90 },
            seq(2),
        ]),
        Vec::from([remove(0, false, 1), add(1, true, 1), seq(3)]),
        Vec::from([remove(1, true, 1), remove(0, false, 2), add(1, false, 3), seq(4)]),
        Vec::from([Edit::CreateFamily { id: CfId(3), name: "cats".to_string() }, seq(5)]),
        Vec::from([Edit::DropFamily { id: CfId(3), at_seq: Seq(5) }, Edit::ExpiryCut { unix_ms: 9 }, seq(6)]),
    ])
}

/// The states before and after each group.
fn states() -> Vec<ManifestState> {
    let fs = TestFs::new(true);
    let mut manifest = Manifest::create(fs, DIR, DB).unwrap();
    let mut states = Vec::from([manifest.state().clone()]);
    for group in groups() {
        manifest.append(&group).unwrap();
        states.push(manifest.state().clone());
    }
    states
}

fn same(a: &ManifestState, b: &ManifestState) -> bool {
    a.to_edits() == b.to_edits()
}

/// Creates or opens, and appends what is missing of the workload; gives how many groups were acknowledged.
fn work(fs: &TestFs, close: bool) -> (usize, crate::error::Result<()>) {
    let mut done = 0;
    let mut run = || -> crate::error::Result<()> {
        let mut manifest = if probe(fs, DIR)? {
            let opened = Manifest::open(fs.clone(), DIR, false)?;
            let mut manifest = opened.manifest;
            done = manifest.state().flushed_seq.0 as usize;
            manifest.begin_writes()?;
            manifest
        } else {
            Manifest::create(fs.clone(), DIR, DB)?
        };
        manifest.set_rewrite_threshold(300);
        manifest.sweep()?;
        for group in groups().into_iter().skip(done) {
            manifest.append(&group)?;
            done += 1;
        }
        if close { manifest.close_clean(CleanClose::default()) } else { Ok(()) }
    };
    let result = run();
    (done, result)
}

#[test]
fn every_rule_refuses_what_breaks_it_and_changes_nothing() {
    let states = states();
    let base = states.last().unwrap();
    let live = |bucket, segment| {
        let mut meta = (*meta(50, (1, 1))).clone();
        meta.props.live = Vec::from([VlogLive { bucket, segment, bytes: 5 }]);
        Edit::AddTable { level: 1, ingest: false, meta: Arc::new(meta) }
    };
    let head = |segment| Edit::VlogHead { bucket: 1, segment };
    let segment = |segment, sealed, size| Edit::VlogSegment { bucket: 1, segment, sealed, size };
    let bad: &[(&str, Vec<Edit>)] = &[
        ("another database", Vec::from([Edit::Database { id: 5 }])),
        ("unknown table removed", Vec::from([remove(1, false, 9)])),
        ("removed from the wrong level", Vec::from([remove(2, false, 3)])),
        ("removed from the wrong set", Vec::from([remove(1, true, 3)])),
        ("live id again", Vec::from([add(2, false, 3)])),
        ("retired id again", Vec::from([add(1, false, 1)])),
        ("id removed before in the session", Vec::from([remove(1, false, 3), add(1, false, 2)])),
        ("level 7", Vec::from([add(7, false, 60)])),
        ("ingest of level 0", Vec::from([add(0, true, 60)])),
        ("floor moves back", Vec::from([Edit::WalFloor { segment: 1 }])),
        ("flushed seq moves back", Vec::from([Edit::FlushedSeq { seq: Seq(5) }])),
        ("expiry cut moves back", Vec::from([Edit::ExpiryCut { unix_ms: 8 }])),
        ("family id again", Vec::from([Edit::CreateFamily { id: CfId(3), name: "dogs".to_string() }])),
        ("family name again", Vec::from([Edit::CreateFamily { id: CfId(4), name: "lock".to_string() }])),
        ("no name", Vec::from([Edit::CreateFamily { id: CfId(4), name: "".to_string() }])),
        ("unknown family dropped", Vec::from([Edit::DropFamily { id: CfId(9), at_seq: Seq(1) }])),
        ("dropped twice", Vec::from([Edit::DropFamily { id: CfId(3), at_seq: Seq(1) }])),
        ("head moves back", Vec::from([head(4), head(3)])),
        ("sealed segment changes", Vec::from([segment(1, true, 91)])),
        ("segment shrinks", Vec::from([segment(2, false, 80), segment(2, false, 79)])),
        ("unknown segment removed", Vec::from([Edit::VlogRemove { bucket: 1, segment: 8 }])),
        ("a table names a removed segment", Vec::from([head(4), live(1, 3)])),
        (
            "a named segment is removed",
            Vec::from([live(1, 1), head(2), Edit::VlogRemove { bucket: 1, segment: 1 }]),
        ),
        ("the last of a group", Vec::from([Edit::NextFileId { id: 99 }, remove(1, false, 9)])),
    ];
    for (what, edits) in bad {
        let mut state = base.clone();
        let result = state.apply(edits);
        assert!(matches!(result, Err(Error::InvalidArgument(_))), "{what}: {result:?}");
        assert_eq!(&state, base, "{what}");
    }
    let mut state = base.clone();
    state.apply(&[head(4), live(1, 1), segment(4, false, 32)]).unwrap();
    state.apply(&[remove(1, false, 50), Edit::VlogRemove { bucket: 1, segment: 1 }]).unwrap();
    assert!(state.apply(&[segment(1, false, 32)]).is_err(), "a removed segment's number comes back");
    let mut again = ManifestState::default();
    again.apply(&state.to_edits()).unwrap();
    assert!(same(&state, &again));
}

#[test]
fn what_was_appended_is_there_after_reopening_clean_or_not() {
    for (rename, close) in [(true, true), (true, false), (false, true), (false, false)] {
        let fs = TestFs::new(rename);
        assert_eq!(work(&fs, close).1, Ok(()));
        let fs = fs.crash(false);
        let before = fs.names();
        let opened = Manifest::open(fs.clone(), DIR, false).unwrap();
        assert_eq!(opened.clean.is_some(), close);
        assert_eq!(opened.torn_at, None);
        assert!(same(opened.manifest.state(), states().last().unwrap()));
        assert_eq!(fs.calls(), 0, "opening writes nothing");
        assert_eq!(fs.names(), before);
        // The first write takes the clean mark away, durably.
        let mut manifest = opened.manifest;
        manifest.begin_writes().unwrap();
        let crashed = Manifest::open(fs.crash(false), DIR, true).unwrap();
        assert_eq!(crashed.clean, None);
        assert!(matches!({ crashed.manifest }.append(&[]), Err(Error::ReadOnly(_))));
    }
}

#[test]
fn a_crash_at_every_call_leaves_what_was_acknowledged() {
    let states = states();
    let mut images = 0;
    for rename in [true, false] {
        for stop in 0.. {
            let fs = TestFs::new(rename);
            fs.stop_at_call(stop);
            let (done, result) = work(&fs, true);
            for keep in [true, false] {
                // And again at every call of the recovery.
                for stop_again in [0, 1, 2, 3, 4, 5, 7, 9, 12, u64::MAX] {
                    let image = fs.crash(keep);
                    image.stop_at_call(stop_again);
                    let (done_again, _) = work(&image, false);
                    assert!(done_again >= done || stop_again != u64::MAX);
                    let image = image.crash(!keep);
                    images += 1;
                    match probe(&image, DIR) {
                        Ok(true) => {
                            let opened = Manifest::open(image.clone(), DIR, false).unwrap();
                            let at = opened.manifest.state().flushed_seq.0 as usize;
                            assert!(at >= done, "call {stop}, then {stop_again}: {at} of {done}");
                            assert!(same(opened.manifest.state(), &states[at]));
                        }
                        Ok(false) => assert_eq!(done, 0, "call {stop}, then {stop_again}"),
                        Err(error) => panic!("call {stop}, then {stop_again}: {error}"),
                    }
                    assert_eq!(work(&image, true), (groups().len(), Ok(())));
                }
            }
            if result.is_ok() {
                break;
            }
        }
    }
    assert!(images > 1000, "{images}");
}

#[test]
fn a_full_disk_is_clean_and_passes() {
    for rename in [true, false] {
        for fail in 0.. {
            let fs = TestFs::new(rename);
            fs.fail_call(fail, IoErrorKind::NoSpace);
            let mut manifest = match Manifest::create(fs.clone(), DIR, DB) {
                Ok(manifest) => manifest,
                Err(Error::Io { source, .. }) => {
                    assert_eq!(source.kind, IoErrorKind::NoSpace);
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            manifest.set_rewrite_threshold(300);
            let mut failed = false;
            for group in groups() {
                let before = manifest.state().clone();
                let calls = fs.calls();
                if let Err(error) = manifest.append(&group) {
                    failed = true;
                    assert!(same(manifest.state(), &before));
                    if manifest.dead().is_some() {
                        // A sync that fails is never clean.
                        break;
                    }
                    assert!(error.is_no_space(), "{error}");
                    assert!(fs.calls() > calls);
                    manifest.append(&group).unwrap();
                }
            }
            let dead = manifest.dead().is_some();
            let expected = manifest.state().clone();
            let opened = Manifest::open(fs.crash(false), DIR, true).unwrap();
            assert!(dead || same(opened.manifest.state(), &expected));
            if !failed && fs.calls() < fail {
                break;
            }
        }
    }
}

#[test]
fn a_failed_write_or_sync_kills_the_manifest() {
    for skip in [0, 1] {
        let fs = TestFs::new(true);
        let mut manifest = Manifest::create(fs.clone(), DIR, DB).unwrap();
        fs.fail_call(fs.calls() + skip, IoErrorKind::Other);
        let groups = groups();
        assert!(matches!(manifest.append(&groups[0]), Err(Error::Io { .. })));
        assert!(manifest.dead().is_some());
        assert!(matches!(manifest.append(&groups[0]), Err(Error::ReadOnly(_))));
        assert!(matches!(manifest.sync(), Err(Error::ReadOnly(_))));
        assert!(matches!(manifest.close_clean(CleanClose::default()), Err(Error::ReadOnly(_))));
    }
}

/// A manifest of several groups, not closed; gives its path, its bytes and where each group starts.
fn appended() -> (TestFs, alloc::string::String, Vec<usize>) {
    let fs = TestFs::new(true);
    let mut manifest = Manifest::create(fs.clone(), DIR, DB).unwrap();
    let mut starts = Vec::from([0]);
    for group in groups() {
        starts.push(manifest.len_bytes() as usize);
        manifest.append(&group).unwrap();
    }
    (fs, manifest.path(), starts)
}

#[test]
fn a_torn_end_is_cut_and_rot_is_refused() {
    let (fs, path, starts) = appended();
    let whole = fs.bytes(&path);
    let last = *starts.last().unwrap();
    let states = states();
    for cut in 0..whole.len() {
        fs.set_bytes(&path, whole[..cut].to_vec());
        // A file that lost whole groups is for the engine to notice, by its files.
        match Manifest::open(fs.clone(), DIR, true) {
            Ok(opened) => {
                let groups = starts.iter().skip(1).filter(|s| **s < cut).count();
                let at_edge = starts.contains(&cut);
                assert_eq!(opened.torn_at.is_none(), at_edge, "{cut}");
                let at = opened.manifest.state().flushed_seq.0 as usize;
                assert_eq!(at, if at_edge { groups } else { groups.saturating_sub(1) }, "{cut}");
                assert!(same(opened.manifest.state(), &states[at]));
            }
            Err(error) => assert!(error.is_corrupt() && cut < starts[1], "{cut}: {error}"),
        }
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs.set_bytes(&path, bytes);
        match Manifest::open(fs.clone(), DIR, true) {
            Ok(opened) => {
                assert!(bit / 8 >= last, "bit {bit} lies below the durable mark of the last group");
                assert_eq!(opened.torn_at, Some(last as u64));
            }
            Err(error) => assert!(error.is_corrupt(), "{error}"),
        }
    }
    // Two groups change places; a group is missing; a group is there twice.
    let (a, b, c) = (starts[1], starts[2], starts[3]);
    let lost = [&whole[..a], &whole[b..]].concat();
    let twice = [&whole[..b], &whole[a..]].concat();
    let swapped = [&whole[..a], &whole[b..c], &whole[a..b], &whole[c..]].concat();
    for bytes in [lost, twice, swapped] {
        fs.set_bytes(&path, bytes);
        assert!(matches!(Manifest::open(fs.clone(), DIR, true), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn a_torn_group_does_not_come_back_and_nothing_is_swept() {
    let (fs, path, _) = appended();
    let whole = fs.bytes(&path);
    fs.set_bytes(&path, whole[..whole.len() - 9].to_vec());
    fs.set_bytes("db/MANIFEST-000000", Vec::from([1]));
    let opened = Manifest::open(fs.clone(), DIR, false).unwrap();
    assert!(opened.torn_at.is_some());
    let mut manifest = opened.manifest;
    manifest.begin_writes().unwrap();
    assert_eq!(manifest.sweep(), Ok(0));
    assert_eq!(fs.bytes(&path), whole[..whole.len() - 9], "the evidence stays");
    manifest.append(&groups()[5]).unwrap();
    let mut manifest = Manifest::open(fs.crash(false), DIR, false).unwrap().manifest;
    assert!(same(manifest.state(), states().last().unwrap()));
    manifest.begin_writes().unwrap();
    assert_eq!(manifest.sweep(), Ok(2));
}

#[test]
fn unsynced_groups_may_tear_in_any_order() {
    let fs = TestFs::new(true);
    let mut manifest = Manifest::create(fs.clone(), DIR, DB).unwrap();
    let start = manifest.len_bytes() as usize;
    manifest.append_with(&groups()[0], false).unwrap();
    manifest.append_with(&groups()[1], false).unwrap();
    let path = manifest.path();
    assert_eq!(fs.crash(false).bytes(&path).len(), start, "not synced");
    let mut bytes = fs.bytes(&path);
    bytes[start + 20] ^= 1;
    fs.set_bytes(&path, bytes);
    assert_eq!(Manifest::open(fs.clone(), DIR, true).unwrap().torn_at, Some(start as u64));
    manifest.sync().unwrap();
    assert!(fs.crash(false).bytes(&path).len() > start);
}

#[test]
fn after_a_clean_close_every_flipped_bit_of_both_files_is_refused() {
    let fs = TestFs::new(true);
    assert_eq!(work(&fs, true).1, Ok(()));
    for path in fs.names() {
        let whole = fs.bytes(&path);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs.set_bytes(&path, bytes);
            let result = Manifest::open(fs.clone(), DIR, true).map(|_| ());
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{path} bit {bit}");
        }
        fs.set_bytes(&path, whole);
    }
    assert!(Manifest::open(fs, DIR, true).is_ok());
}

#[test]
fn current_missing_or_empty_beside_other_files_is_not_a_new_database() {
    for rename in [true, false] {
        let fs = TestFs::new(rename);
        assert_eq!(probe(&fs, DIR), Ok(false));
        fs.create_dir_all("db/wal").unwrap();
        fs.set_bytes("db/LOCK", Vec::new());
        assert_eq!(probe(&fs, DIR), Ok(false));
        assert_eq!(work(&fs, true).1, Ok(()));
        assert_eq!(probe(&fs, DIR), Ok(true));
        for name in fs.names().into_iter().filter(|name| name.contains("CURRENT")) {
            fs.set_bytes(&name, Vec::new());
        }
        assert!(probe(&fs, DIR).unwrap_err().is_corrupt());
        for name in fs.names().into_iter().filter(|name| name.contains("CURRENT")) {
            fs.unlink(&name).unwrap();
        }
        assert!(probe(&fs, DIR).unwrap_err().is_corrupt());
        assert!(Manifest::create(fs.clone(), DIR, DB).is_err());
        assert!(Manifest::open(fs, DIR, false).is_err());
    }
    let fs = TestFs::new(true);
    fs.set_bytes("db/wal/000000001.wal", Vec::from([0]));
    assert!(probe(&fs, DIR).unwrap_err().is_corrupt());
}

#[test]
fn a_database_moves_between_file_systems_with_and_without_rename() {
    let fs = TestFs::new(true);
    assert_eq!(work(&fs, true).1, Ok(()));
    let moved = TestFs::new(false);
    for name in fs.names() {
        moved.set_bytes(&name, fs.bytes(&name));
    }
    assert_eq!(work(&moved, true).1, Ok(()));
    assert!(!moved.names().contains(&format!("{DIR}/CURRENT")));
    let back = TestFs::new(true);
    for name in moved.names() {
        back.set_bytes(&name, moved.bytes(&name));
    }
    assert_eq!(work(&back, true).1, Ok(()));
    assert!(back.names().contains(&format!("{DIR}/CURRENT")));
    assert!(!back.names().iter().any(|name| name.contains("CURRENT-")));
}

#[test]
fn a_rewrite_keeps_the_file_short() {
    let fs = TestFs::new(true);
    let mut manifest = Manifest::create(fs.clone(), DIR, DB).unwrap();
    manifest.set_rewrite_threshold(4096);
    for id in 1..2000 {
        manifest.append(&[add(1, false, id)]).unwrap();
        manifest.append(&[remove(1, false, id), Edit::FlushedSeq { seq: Seq(id) }]).unwrap();
    }
    assert!(manifest.len_bytes() < 3 * 4096);
    assert_eq!(fs.names().len(), 2);
    let file = fs.open(&manifest.path(), OpenMode::Read).unwrap();
    assert_eq!(file.size(), Ok(manifest.len_bytes()));
    assert_eq!(manifest.state().flushed_seq, Seq(1999));
    assert_eq!(manifest.state().next_file_id, 2000);
}

#[test]
fn raft_pointers_and_regions_only_go_on() {
    let mut state = ManifestState::default();
    state.apply(&[Edit::Database { id: 1 }]).unwrap();
    let refused = |state: &ManifestState, edit: Edit, rule: &str| {
        let error = state.clone().apply(&[edit]).unwrap_err().to_string();
        assert!(error.contains(rule), "{error}");
    };
    let pointer =
        RaftPointer { group: 7, segment: 3, offset: 640, truncated_index: 5, ..RaftPointer::default() };
    state.apply(&[Edit::RaftPointer(pointer)]).unwrap();
    refused(&state, Edit::RaftPointer(RaftPointer { offset: 632, ..pointer }), "never moves back");
    refused(&state, Edit::RaftPointer(RaftPointer { segment: 0, ..pointer }), "never moves back");
    refused(&state, Edit::RaftPointer(RaftPointer { truncated_index: 4, ..pointer }), "never moves back");
    refused(
        &state,
        Edit::RaftPointer(RaftPointer { applied_index: 1, ..pointer }),
        "applies what is committed",
    );
    refused(&state, Edit::RaftPointer(RaftPointer { group: 1 << 56, ..pointer }), "below 2^56");
    state.apply(&[Edit::RaftPointer(RaftPointer { segment: 4, offset: 64, ..pointer })]).unwrap();

    let region = RegionMeta {
        id: 9,
        start_key: b"a".to_vec(),
        end_key: b"m".to_vec(),
        epoch: RegionEpoch { version: 2, conf_version: 2 },
        state: RegionState::Running,
        ..RegionMeta::default()
    };
    state.apply(&[Edit::Region(region.clone())]).unwrap();
    let with = |change: fn(&mut RegionMeta)| {
        let mut region = region.clone();
        change(&mut region);
        Edit::Region(region)
    };
    refused(&state, with(|r| r.id = 0), "not 0");
    refused(&state, with(|r| r.end_key = b"a".to_vec()), "in order");
    refused(&state, with(|r| r.epoch.version = 1), "epoch");
    refused(&state, with(|r| r.epoch.conf_version = 1), "epoch");
    refused(&state, with(|r| r.state = RegionState::New), "state");
    refused(&state, Edit::RegionRemove { id: 8 }, "exists");
    state.apply(&[with(|r| r.end_key.clear())]).unwrap();

    // Folded again from what a rewrite writes.
    let before = nokv_formats::walfs::Position { segment: 2, offset: 64 };
    state.apply(&[Edit::RaftRemove { group: 5, before }]).unwrap();
    let mut again = ManifestState::default();
    again.apply(&state.to_edits()).unwrap();
    assert_eq!(again, state);

    // A removal is forgotten once the log does not go back to it.
    state.apply(&[Edit::WalFloor { segment: 2 }]).unwrap();
    assert_eq!(state.raft_removed.len(), 1);
    state.apply(&[Edit::WalFloor { segment: 3 }]).unwrap();
    assert!(state.raft_removed.is_empty());
    state.apply(&[Edit::RaftRemove { group: 7, before }, Edit::RegionRemove { id: 9 }]).unwrap();
    assert!(state.raft.is_empty() && state.regions.is_empty());
}
