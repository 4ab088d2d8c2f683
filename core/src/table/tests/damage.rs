//! Damaged tables: the right answer or `Corrupt`, nothing else.

use super::*;

fn model() -> Model {
    let mut model = Model::new();
    for i in 0..8u64 {
        let key = alloc::format!("key{i}");
        add(&mut model, 0, key.as_bytes(), u64::MAX, 100 + i, put(&[i as u8; 20]));
    }
    for seq in 1..9 {
        add(&mut model, 0, b"key5", seq, seq, Body { meta: 3, expires_at: 9_999, ..put(b"older") });
    }
    add(&mut model, 1, b"", 4, 50, pointer(1, 7));
    model
}

fn ranges() -> Vec<RangeDelete> {
    vec![RangeDelete { cf: CfId(0), start: b"a".to_vec(), end: b"c".to_vec(), seq: Seq(40) }]
}

/// Every way to read: right, or `Corrupt`. Gives how many reads were right.
fn right_or_corrupt(disk: &Disk, meta: &TableMeta, model: &Model) -> usize {
    let table = open(disk, "t", meta, 1 << 20);
    let mut right = 0;
    let mut judge = |same: Result<bool, Error>| match same {
        Ok(same) => {
            assert!(same, "a wrong answer");
            right += 1;
        }
        Err(e) => assert!(e.is_corrupt(), "{e}"),
    };
    for (key, versions) in model {
        judge(find(&table, as_ref(key)).map(|seen| seen == flat(versions)));
    }
    judge(find(&table, KeyRef::new(CfId(0), b"key3x")).map(|seen| seen.is_empty()));
    judge(table.range_deletes().map(|seen| *seen == *ranges()));
    let mut cursor = table.cursor(CursorOptions::COMPACTION);
    let walked = cursor.seek_first().and_then(|()| {
        for (key, versions) in model {
            if !cursor.valid() || cursor.key() != as_ref(key) || entries(&mut cursor)? != flat(versions) {
                return Ok(false);
            }
            cursor.next_key()?;
        }
        Ok(!cursor.valid())
    });
    judge(walked);
    let walked = cursor.seek_last().and_then(|()| {
        for key in model.keys().rev() {
            if !cursor.valid() || cursor.key() != as_ref(key) {
                return Ok(false);
            }
            cursor.prev_key()?;
        }
        Ok(!cursor.valid())
    });
    judge(walked);
    right
}

fn verify(disk: &Disk, meta: &TableMeta) -> Result<(), Error> {
    open(disk, "t", meta, 0).verify()
}

#[test]
fn every_flipped_bit() {
    for compression in [Compression::None, Compression::Lz4].into_iter().filter(|c| is_available(*c)) {
        let (disk, model) = (Disk::default(), model());
        let meta = build(&disk, "t", &model, &ranges(), options(160, compression));
        let whole = disk.bytes("t");
        assert_eq!(right_or_corrupt(&disk, &meta, &model), model.len() + 4);
        verify(&disk, &meta).unwrap();
        let mut partly_right = 0;
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.set("t", &bytes);
            assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()), "bit {bit} unnoticed");
            partly_right += usize::from(right_or_corrupt(&disk, &meta, &model) > 0);
        }
        // Damage in one block leaves the others readable.
        assert!(partly_right > 1000, "{partly_right}");
    }
}

#[test]
fn every_truncation_and_some_growth() {
    let (disk, model) = (Disk::default(), model());
    let meta = build(&disk, "t", &model, &ranges(), options(160, Compression::None));
    let whole = disk.bytes("t");
    for len in 0..whole.len() {
        disk.set("t", &whole[..len]);
        assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()), "length {len}");
        assert_eq!(right_or_corrupt(&disk, &meta, &model), 0);
    }
    disk.set("t", &[&whole[..], b"x"].concat());
    assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()));
}

#[test]
fn swapped_blocks_and_blocks_of_another_table() {
    let (disk, mut model) = (Disk::default(), Model::new());
    for i in 0..40u64 {
        add(&mut model, 0, alloc::format!("key{i:02}").as_bytes(), u64::MAX, 5, put(&[i as u8; 30]));
    }
    let meta = build(&disk, "t", &model, &[], options(160, Compression::None));
    let whole = disk.bytes("t");
    let table = open(&disk, "t", &meta, 0);
    let place = |i| table.loaded().unwrap().index.block(i).unwrap();
    let (a, a_len) = place(1);
    let same_len = (2..8).map(place).find(|(_, len)| *len == a_len);
    let (b, _) = same_len.expect("two blocks of one length");
    let (a, b, len) = (a as usize, b as usize, a_len as usize);
    let mut swapped = whole.clone();
    swapped[a..a + len].copy_from_slice(&whole[b..b + len]);
    swapped[b..b + len].copy_from_slice(&whole[a..a + len]);
    disk.set("t", &swapped);
    assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()));
    let broken = model.keys().filter(|key| match find(&open(&disk, "t", &meta, 0), as_ref(key)) {
        Ok(seen) => {
            assert_eq!(seen, flat(&model[*key]));
            false
        }
        Err(e) => e.is_corrupt(),
    });
    assert!(broken.count() >= 4);

    // The same content under another uid: equal in all but checksums.
    let file = disk.create("other").unwrap();
    let mut builder = TableBuilder::new(file, "other", options(160, Compression::None), UID + 1).unwrap();
    for (key, versions) in &model {
        for body in versions.values() {
            let entry = EntryRef {
                version: Version::MAX,
                seq: Seq(5),
                kind: body.kind,
                meta: 0,
                expires_at: NEVER,
                value: &body.value,
            };
            builder.add(as_ref(key), &entry).unwrap();
        }
    }
    builder.finish().unwrap();
    let other = disk.bytes("other");
    assert_eq!(other[a..a + len - 4], whole[a..a + len - 4]);
    let mut mixed = whole.clone();
    mixed[a..a + len].copy_from_slice(&other[a..a + len]);
    disk.set("t", &mixed);
    assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()));
    disk.set("t", &other);
    assert!(verify(&disk, &meta).is_err_and(|e| e.is_corrupt()));
}

#[test]
fn a_failed_load_is_tried_again() {
    let (disk, model) = (Disk::default(), model());
    let meta = build(&disk, "t", &model, &ranges(), options(160, Compression::None));
    let whole = disk.bytes("t");
    let table = open(&disk, "t", &meta, 1 << 20);
    disk.set("t", &whole[..whole.len() - 1]);
    let key = KeyRef::new(CfId(0), b"key1");
    assert!(find(&table, key).is_err_and(|e| e.is_corrupt()));
    disk.set("t", &whole);
    table.shared.files().close_all();
    assert_eq!(find(&table, key).unwrap().len(), 1);
}

#[test]
fn a_missing_codec_is_unsupported() {
    for codec in [Compression::Lz4, Compression::Zstd] {
        let disk = Disk::default();
        let built = TableBuilder::new(disk.create("t").unwrap(), "t", options(4096, codec), UID);
        assert_eq!(built.is_ok(), is_available(codec));
    }
    let mut out = vec![1, 2, 3];
    out.push(9);
    let crc = {
        let mut place = UID.to_le_bytes().to_vec();
        place.extend_from_slice(&7u64.to_le_bytes());
        crc::crc32c(&[&place[..], &out].concat())
    };
    out.extend_from_slice(&crc.to_le_bytes());
    let loaded = Block::load(out, super::super::block::Place { file: "t", uid: UID, offset: 7 });
    assert!(
        matches!(loaded, Err(Error::Unsupported { what, file }) if what == "codec number 9" && file == "t")
    );
}
