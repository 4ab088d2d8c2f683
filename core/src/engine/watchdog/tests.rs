#![expect(clippy::type_complexity, reason = "tables of cases")]

use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// Segments from 1 on, given by (batches, raft records).
fn log(segments: &[(u64, u64)]) -> Vec<(u32, RecordCounts)> {
    let counts = |&(entries, raft_entries)| RecordCounts { entries, raft_entries, ..RecordCounts::default() };
    (1..).zip(segments.iter().map(counts)).collect()
}

const ON: WatchdogOptions = WatchdogOptions {
    enabled: true,
    min_removable: 2,
    max_batch: 3,
    warn_ratio: 0.5,
    warn_segments: 2,
    lag_warn_segments: 4,
};

#[test]
fn what_is_removed() {
    let six = log(&[(1, 0), (1, 1), (1, 0), (1, 0), (1, 0), (1, 0)]);
    let cases: Vec<(&str, u32, u32, WatchdogOptions, Option<u32>, usize)> = vec![
        ("nothing below the floor", 1, 6, ON, None, 0),
        ("fewer than the minimum", 2, 6, ON, None, 1),
        ("the minimum", 3, 6, ON, Some(3), 2),
        ("at most a batch", 6, 6, ON, Some(4), 5),
        ("a floor above the active segment", 9, 6, ON, Some(4), 5),
        ("the active segment stays", 9, 3, WatchdogOptions { max_batch: 100, ..ON }, Some(3), 2),
        ("a minimum of 0 is 1", 2, 6, WatchdogOptions { min_removable: 0, ..ON }, Some(2), 1),
        ("a batch of 0 is 4", 6, 6, WatchdogOptions { max_batch: 0, ..ON }, Some(5), 5),
        ("off", 6, 6, WatchdogOptions { enabled: false, ..ON }, None, 5),
    ];
    for (what, floor, active, options, remove_below, removable) in cases {
        let decision = decide(&Inputs { segments: &six, active, floor }, &options);
        assert_eq!((decision.remove_below, decision.removable), (remove_below, removable), "{what}");
        assert_eq!(decision.segments_with_raft_records, 1, "{what}");
        assert_eq!(decision.removable_raft_segments, usize::from(floor > 2), "{what}");
    }
}

#[test]
fn what_is_warned_of() {
    let cases: Vec<(&str, Vec<(u64, u64)>, WatchdogOptions, bool, &[&str])> = vec![
        ("an empty log", vec![], ON, false, &[]),
        ("a segment without records", vec![(0, 0)], ON, false, &[]),
        ("below the ratio", vec![(3, 2)], ON, false, &[]),
        ("the ratio", vec![(1, 1)], ON, true, &["0.50 of all"]),
        ("two segments", vec![(9, 1), (9, 1)], ON, false, &[]),
        ("three segments", vec![(9, 1), (9, 1), (9, 1)], ON, true, &["3 log segments", "more than 2"]),
        ("both", vec![(0, 1), (0, 1), (0, 1)], ON, true, &["1.00 of all", "; 3 log segments"]),
        ("no ratio", vec![(0, 1)], WatchdogOptions { warn_ratio: 0.0, ..ON }, false, &[]),
        ("no count", vec![(9, 1); 9], WatchdogOptions { warn_segments: 0, ..ON }, false, &[]),
        ("off", vec![(0, 1); 9], WatchdogOptions { enabled: false, ..ON }, false, &[]),
    ];
    for (what, segments, options, warn, reasons) in cases {
        let segments = log(&segments);
        let active = segments.len() as u32;
        let decision = decide(&Inputs { segments: &segments, active, floor: 1 }, &options);
        assert_eq!(decision.warn, warn, "{what}: {}", decision.reason);
        assert_eq!(decision.reason.is_empty(), !warn, "{what}");
        for reason in reasons {
            assert!(decision.reason.contains(reason), "{what}: {}", decision.reason);
        }
    }
}

#[test]
fn the_ratio_is_of_all_kinds() {
    let counts = RecordCounts { entries: 2, raft_entries: 1, raft_states: 2, raft_snapshots: 3, other: 8 };
    let decision = decide(&Inputs { segments: &[(1, counts)], active: 1, floor: 1 }, &ON);
    assert_eq!(decision.typed_record_ratio, 6.0 / 16.0);
    assert_eq!(decide(&Inputs { segments: &[], active: 0, floor: 0 }, &ON).typed_record_ratio, 0.0);
}

#[test]
fn how_far_groups_lag() {
    let status = raft_status([7, 3, 5], 8, 4);
    let expected = RaftStatus {
        group_count: 3,
        lagging_groups: 1,
        min_log_segment: 3,
        max_log_segment: 7,
        max_lag_segments: 5,
        lag_warn_threshold: 4,
        lag_warning: true,
    };
    assert_eq!(status, expected);
    assert!(!raft_status([4], 8, 4).lag_warning, "as far as it may");
    assert!(!raft_status([1], 99, 0).lag_warning, "0 never warns");
    assert_eq!(raft_status([], 8, 4), RaftStatus { lag_warn_threshold: 4, ..RaftStatus::default() });
}
