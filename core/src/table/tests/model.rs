//! Random tables against a `BTreeMap`.

use super::*;
use proptest::prelude::*;

fn model() -> impl Strategy<Value = Model> {
    let byte = prop_oneof![3 => Just(b'a'), 2 => Just(b'b'), 1 => any::<u8>()];
    let key = prop_oneof![
        20 => prop::collection::vec(byte, 0..12),
        1 => (any::<u8>(), 0usize..=65_535).prop_map(|(b, len)| vec![b; len]),
    ];
    let cf = prop_oneof![4 => Just(0u32), 1 => 0u32..3, 1 => Just(u32::MAX)];
    let stamp = (prop_oneof![Just(u64::MAX), 0u64..9], prop_oneof![1u64..300, 1u64 << 40..1 << 56])
        .prop_map(|(version, seq)| (Reverse(version), Reverse(seq)));
    let value = prop_oneof![
        Just(vec![]),
        prop::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 0usize..3000).prop_map(|(b, len)| vec![b; len]),
    ];
    let expiry = prop_oneof![Just(NEVER), 1u64..u64::MAX];
    let meta = prop_oneof![Just(0u8), any::<u8>()];
    let body = (0u8..6, meta, expiry, value).prop_map(|(kind, meta, expires_at, value)| match kind {
        0 => Body { kind: Kind::Delete, meta, expires_at, ..put(b"") },
        1 => Body { kind: Kind::Purge, meta, expires_at, ..put(b"") },
        2 => Body { meta, expires_at, ..pointer(3, value.len() as u32) },
        _ => Body { kind: Kind::Put, meta, expires_at, value },
    });
    let versions = prop_oneof![
        8 => prop::collection::btree_map(stamp.clone(), body.clone(), 1..3),
        1 => prop::collection::btree_map(stamp, body, 1..40),
    ];
    prop::collection::btree_map((cf, key), versions, 1..80)
}

fn compression() -> impl Strategy<Value = Compression> {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd];
    prop::sample::select(all.into_iter().filter(|c| is_available(*c)).collect::<Vec<_>>())
}

fn check_key(cursor: &mut TableCursor<Disk>, want: Option<(&Key, &Versions)>) -> Result<(), TestCaseError> {
    prop_assert_eq!(cursor.valid(), want.is_some());
    if let Some((key, versions)) = want {
        prop_assert_eq!(cursor.key(), as_ref(key));
        let newest = cursor.entry().map(|entry| own(&entry));
        prop_assert_eq!(newest, flat(versions).into_iter().next());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn reads_equal_the_model(
        model in model(),
        block_bytes in prop_oneof![64usize..300, Just(4096)],
        restart_interval in 1u32..10,
        compression in compression(),
        bloom in prop_oneof![Just(0u32), Just(10)],
        fill_cache: bool,
        cache_bytes in prop_oneof![Just(0usize), Just(1 << 14), Just(1 << 20)],
        read_ahead in prop_oneof![Just(0usize), Just(700), Just(1 << 18)],
        probes in prop::collection::vec((0u32..3, prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..12)), 30),
        steps in prop::collection::vec((0u8..6, any::<prop::sample::Index>()), 60),
    ) {
        let disk = Disk::default();
        let options = TableOptions {
            restart_interval, bloom_bits_per_key: bloom, seqs: (Seq(1), Seq(200)),
            ..options(block_bytes, compression)
        };
        let meta = build(&disk, "t", &model, &[], options);
        let entries_in_all: usize = model.values().map(|v| v.len()).sum();
        prop_assert_eq!(meta.props.entries(), entries_in_all as u64);
        prop_assert_eq!(meta.props.smallest.as_ref(), as_ref(model.keys().next().unwrap()));
        prop_assert_eq!(meta.props.largest.as_ref(), as_ref(model.keys().last().unwrap()));
        let table = open(&disk, "t", &meta, cache_bytes);
        prop_assert_eq!(table.verify(), Ok(()));

        for (key, versions) in &model {
            prop_assert_eq!(find(&table, as_ref(key)), Ok(flat(versions)));
            prop_assert_eq!(table.may_contain(key_hash(as_ref(key))), Ok(true));
        }
        for probe in &probes {
            let want = model.get(probe).map(flat).unwrap_or_default();
            prop_assert_eq!(find(&table, as_ref(probe)), Ok(want));
        }

        let mut cursor = table.cursor(CursorOptions { fill_cache, read_ahead });
        cursor.seek_first().unwrap();
        for (key, versions) in &model {
            prop_assert!(cursor.valid());
            prop_assert_eq!(cursor.key(), as_ref(key));
            prop_assert_eq!(entries(&mut cursor), Ok(flat(versions)));
            cursor.next_key().unwrap();
        }
        prop_assert!(!cursor.valid());
        cursor.seek_last().unwrap();
        for pair in model.iter().rev() {
            check_key(&mut cursor, Some(pair))?;
            cursor.prev_key().unwrap();
        }
        prop_assert!(!cursor.valid());

        let keys: Vec<&Key> = model.keys().collect();
        for (step, at) in steps {
            let probe = if step % 2 == 0 { keys[at.index(keys.len())] } else { &probes[at.index(probes.len())] };
            let here = cursor.valid().then(|| (cursor.key().cf.0, cursor.key().user_key.to_vec()));
            match (step, here) {
                (0 | 1, _) => {
                    cursor.seek(as_ref(probe)).unwrap();
                    check_key(&mut cursor, model.range(probe.clone()..).next())?;
                }
                (2 | 3, _) => {
                    cursor.seek_for_prev(as_ref(probe)).unwrap();
                    check_key(&mut cursor, model.range(..=probe.clone()).next_back())?;
                }
                (4, Some(here)) => {
                    // Some of the entries first, so that the move starts in the middle of a key.
                    for _ in 0..at.index(4) {
                        if cursor.entry().is_some() { cursor.next_entry().unwrap() }
                    }
                    cursor.next_key().unwrap();
                    let mut behind = model.range(here.clone()..);
                    prop_assert_eq!(behind.next().map(|(k, _)| k), Some(&here));
                    check_key(&mut cursor, behind.next())?;
                }
                (5, Some(here)) => {
                    for _ in 0..at.index(4) {
                        if cursor.entry().is_some() { cursor.next_entry().unwrap() }
                    }
                    cursor.prev_key().unwrap();
                    check_key(&mut cursor, model.range(..here).next_back())?;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_visit_that_breaks_sees_no_more() {
    let (disk, mut model) = (Disk::default(), Model::new());
    for seq in 1..100 {
        add(&mut model, 0, b"key", u64::MAX, seq, put(&[7; 50]));
    }
    let meta = build(&disk, "t", &model, &[], options(128, Compression::None));
    let table = open(&disk, "t", &meta, 1 << 20);
    for limit in 1..100 {
        let (mut seen, key) = (0, KeyRef::new(CfId(0), b"key"));
        let visit = &mut |entry: EntryRef<'_>, _: &Arc<Block>| {
            seen += 1;
            assert_eq!(entry.seq.0, 100 - seen);
            if seen == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        table.find(key, key_hash(key), visit).unwrap();
        assert_eq!(seen, limit);
    }
}

#[test]
fn properties_say_what_is_in_the_table() {
    let (disk, mut model) = (Disk::default(), Model::new());
    add(&mut model, 1, b"b", u64::MAX, 7, put(b"12345"));
    add(&mut model, 1, b"b", 3, 9, pointer(2, 1000));
    add(&mut model, 1, b"c", 8, 12, pointer(2, 10));
    add(&mut model, 1, b"c", 5, 11, pointer(9, 1));
    add(&mut model, 2, b"d", 4, 6, Body { expires_at: 500, ..put(b"x") });
    add(&mut model, 2, b"e", 4, 8, Body { expires_at: 400, kind: Kind::Delete, ..put(b"") });
    add(&mut model, 2, b"f", 4, 10, Body { kind: Kind::Purge, ..put(b"") });
    let range = |cf, start: &[u8], end: &[u8], seq| RangeDelete {
        cf: CfId(cf),
        start: start.to_vec(),
        end: end.to_vec(),
        seq: Seq(seq),
    };
    let ranges = [range(2, b"a", b"z", 20), range(1, b"a", b"b", 5)];
    let meta = build(&disk, "t", &model, &ranges, options(4096, Compression::None));
    let props = &meta.props;
    let counts = [props.puts, props.pointers, props.deletes, props.purges, props.range_deletes];
    assert_eq!(counts, [2, 3, 1, 1, 2]);
    assert_eq!((props.smallest.cf.0, &props.smallest.user_key[..]), (1, &b"a"[..]));
    assert_eq!((props.largest.cf.0, &props.largest.user_key[..]), (2, &b"z"[..]));
    assert_eq!((props.seq_min, props.seq_max), (Seq(5), Seq(20)));
    assert_eq!((props.version_min, props.version_max), (Version(3), Version::MAX));
    assert_eq!((props.expiry_min, props.expiry_max), (400, 500));
    assert_eq!((props.raw_key_bytes, props.raw_value_bytes), (7, 6));
    let live: Vec<_> = props.live.iter().map(|l| (l.bucket, l.segment, l.bytes)).collect();
    assert_eq!(live, [(1, 2, 101 + 1000 + 101 + 10), (1, 9, 102)]);
    let table = open(&disk, "t", &meta, 0);
    table.verify().unwrap();
    let [b, a] = ranges;
    assert_eq!(&*table.range_deletes().unwrap(), &[a, b]);
}

#[test]
fn a_table_of_range_deletes_only() {
    let disk = Disk::default();
    let range = RangeDelete { cf: CfId(0), start: b"a".to_vec(), end: b"c".to_vec(), seq: Seq(4) };
    let meta =
        build(&disk, "t", &Model::new(), core::slice::from_ref(&range), options(4096, Compression::None));
    assert_eq!((meta.props.version_min, meta.props.version_max), (Version::MAX, Version(0)));
    let table = open(&disk, "t", &meta, 0);
    table.verify().unwrap();
    assert_eq!(find(&table, KeyRef::new(CfId(0), b"b")), Ok(vec![]));
    assert_eq!(&*table.range_deletes().unwrap(), &[range]);
    let mut cursor = table.cursor(CursorOptions::SCAN);
    for step in [TableCursor::seek_first, TableCursor::seek_last] {
        step(&mut cursor).unwrap();
        assert!(!cursor.valid());
    }
    cursor.seek_for_prev(KeyRef::new(CfId(9), b"b")).unwrap();
    assert!(!cursor.valid());
}

#[test]
fn a_foreign_table_has_one_seq() {
    let (disk, mut model) = (Disk::default(), Model::new());
    add(&mut model, 0, b"a", u64::MAX, 3, put(b"1"));
    add(&mut model, 0, b"a", 8, 4, put(b"2"));
    let range = RangeDelete { cf: CfId(0), start: b"a".to_vec(), end: b"c".to_vec(), seq: Seq(4) };
    let mut meta = build(&disk, "t", &model, &[range], options(4096, Compression::None));
    meta.global_seq = Some(Seq(77));
    (meta.props.seq_min, meta.props.seq_max) = (Seq(77), Seq(77));
    let table = open(&disk, "t", &meta, 0);
    table.verify().unwrap();
    let seen = find(&table, KeyRef::new(CfId(0), b"a")).unwrap();
    assert_eq!(seen.iter().map(|(v, s, _)| (*v, *s)).collect::<Vec<_>>(), [(u64::MAX, 77), (8, 77)]);
    assert_eq!(table.range_deletes().unwrap()[0].seq, Seq(77));
    let mut cursor = table.cursor(CursorOptions::SCAN);
    cursor.seek_first().unwrap();
    assert_eq!(cursor.entry().unwrap().seq, Seq(77));
}

#[test]
fn keys_out_of_order_are_refused() {
    let disk = Disk::default();
    let mut builder =
        TableBuilder::new(disk.create("t").unwrap(), "t", options(4096, Compression::None), UID).unwrap();
    let entry = EntryRef {
        version: Version(1),
        seq: Seq(1),
        kind: Kind::Put,
        meta: 0,
        expires_at: NEVER,
        value: b"",
    };
    builder.add(KeyRef::new(CfId(0), b"b"), &entry).unwrap();
    for key in [&b"ab"[..], b"c"] {
        // Also what follows: the file is of no use any more.
        let refused = builder.add(KeyRef::new(CfId(0), key), &entry);
        assert!(refused.is_err_and(|error| error.to_string().contains("out of order")));
    }
    assert!(builder.finish().is_err());
}
