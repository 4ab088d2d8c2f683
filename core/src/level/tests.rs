//! Lookups in a version, and each rule with an install that breaks it.

use nokv_formats::{Seq, TableId};
use proptest::prelude::*;

use super::testtree::{Tree, ids, key, table, tree};
use super::*;

const TREE: &str = "
    L0: 9:a..z@90-99 8:c..d@80-89
    L1 ingest: 6:b..f@60-65 7:e..k@55-70
    L1: 3:a..c 4:e..g 5:m..p
    L2: 1:a..h 2:k..z
";

fn at(version: &Tree, text: &str) -> alloc::string::String {
    ids(version.sources_for_key(key(text).as_ref()).map(|source| source.table))
}

#[test]
fn a_key_is_looked_for_newest_source_first() {
    let version = tree(TREE);
    assert_eq!(at(&version, "c"), "9 8 6 3 1");
    assert_eq!(at(&version, "e"), "9 7 6 4 1");
    assert_eq!(at(&version, "i"), "9 7");
    assert_eq!(at(&version, "0"), "");
    let bounds = [key("d"), key("m")];
    let range = bounds[0].as_ref()..=bounds[1].as_ref();
    let level = &version.levels()[1];
    assert_eq!(ids(level.overlapping(1, &range)), "4 5");
    assert_eq!(ids(level.overlapping_ingest(&range)), "7 6");
    assert_eq!(ids(version.levels()[0].overlapping(0, &range)), "9 8");
    assert_eq!(version.table_count(), 9);
    assert_eq!(version.file_bytes(), 900);
}

#[test]
fn a_range_delete_may_end_where_the_next_table_starts() {
    let version = tree("L1: 1:a..m,rd=1 2:m..p");
    assert_eq!(check(&version, &version, &Install::default()), Ok(()));
    assert_eq!(at(&version, "m"), "1 2");
    assert_eq!(at(&version, "n"), "2");
}

#[test]
fn a_move_is_a_removal_and_an_addition() {
    let version = tree(TREE);
    let moved = version.apply(&[TableId(8)], [(1, true, table("8:c..d@80-89"))]);
    assert_eq!(ids(moved.levels()[0].tables.iter()), "9");
    assert_eq!(ids(moved.levels()[1].ingest.iter()), "8 7 6");
    assert_eq!(ids(version.levels()[0].tables.iter()), "9 8", "the old version stays");
}

#[test]
fn every_rule_is_broken_by_something() {
    let old = tree(TREE);
    let cases = [
        ("sorted and disjoint", tree("L1: 1:a..c 2:c..d"), Install::default()),
        ("sorted and disjoint", tree("L2: 1:a..f,rd=1 2:c..d"), Install::default()),
        ("sorted and disjoint", tree("L2: 1:f..a"), Install::default()),
        ("no ingest set", tree("L0 ingest: 1:a..c"), Install::default()),
        ("disjoint seq ranges", tree("L0: 1:a..c@1-5 2:x..z@5-6"), Install::default()),
        ("there twice", tree("L1: 1:a..c 1:d..e"), Install::default()),
        ("never used again", tree("L1: 3:a..d"), Install::default()),
        (
            "never used again",
            old.apply(&[], [(3, false, table("10:a..c"))]),
            Install { first_new_id: TableId(11), ..Install::default() },
        ),
        (
            "come to stand below",
            old.apply(&[TableId(9)], [(1, true, table("9:a..z@90-99"))]),
            Install::default(),
        ),
        (
            "come to stand below",
            old.apply(&[TableId(7)], [(2, true, table("7:e..k@55-70"))]),
            Install::default(),
        ),
        ("never moves back", tree(""), Install { wal_floor_old: 2, wal_floor_new: 1, ..Install::default() }),
        ("never moves back", tree(""), Install { flushed_seq_old: Seq(1), ..Install::default() }),
    ];
    assert_eq!(check(&old, &old, &Install::default()), Ok(()));
    for (name, new, install) in cases {
        let error = check(&old, &new, &install).unwrap_err();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn a_table_may_pass_one_of_its_level_that_its_range_delete_only_touches() {
    // Found by images of a stopped process: 1 ends with a range delete up to m, where 2 starts.
    let old = tree("L4: 1:a..m@50-60,rd=1 2:m..p@10-20");
    assert_eq!(check(&old, &old, &Install::default()), Ok(()));
    let new = old.apply(&[TableId(1)], [(5, false, table("1:a..m@50-60,rd=1"))]);
    assert_eq!(check(&old, &new, &Install::default()), Ok(()));
}

#[test]
fn a_table_may_go_deeper_below_an_older_one_that_stood_above_it_already() {
    // 2 is older and has no key of 1, as it could not stand above it otherwise.
    let old = tree("L2 ingest: 2:c..d@10-20\n L2: 1:a..f@50-60");
    assert_eq!(check(&old, &old, &Install::default()), Ok(()));
    let new = old.apply(&[TableId(1)], [(3, false, table("1:a..f@50-60"))]);
    assert_eq!(check(&old, &new, &Install::default()), Ok(()));
    // Not so where it stood below.
    let old = tree("L2: 1:a..f@50-60\n L3: 2:c..d@10-20");
    let new = old.apply(&[TableId(1)], [(4, false, table("1:a..f@50-60"))]);
    check(&old, &new, &Install::default()).unwrap_err();
    // Nor within level 0 or an ingest set, which are read by seq.
    for tree_of in ["L0: 1:a..f@50-60 2:c..d@10-20", "L1 ingest: 1:a..f@50-60 2:c..d@10-20"] {
        let old = tree(tree_of);
        let new = old.apply(&[TableId(1)], [(2, true, table("1:a..f@50-60"))]);
        check(&old, &new, &Install::default()).unwrap_err();
    }
}

proptest! {
    #[test]
    fn lookups_equal_a_scan_of_all_tables(cuts in prop::collection::btree_set("[a-z]{1,2}", 0..20), probe in "[a-z]{1,2}") {
        let cuts: alloc::vec::Vec<_> = cuts.into_iter().collect();
        let tables = cuts.chunks_exact(2).enumerate().map(|(n, pair)| {
            (1, false, table(&alloc::format!("{n}:{}..{}", pair[0], pair[1])))
        });
        let version = Tree::new(tables);
        prop_assert_eq!(check(&version, &version, &Install::default()), Ok(()));
        let key = key(&probe);
        let all = version.levels()[1].tables.iter();
        let naive = all.filter(|t| t.props.smallest <= key && key <= t.props.largest);
        prop_assert_eq!(at(&version, &probe), ids(naive));
    }
}
