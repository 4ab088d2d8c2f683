//! What bytes are: live, dead, expired; amplification; density.

use nokv::stats::{LevelBytes, SegmentBytes};
use nokv::{CfId, Expiry, Options};

use super::{NOW_MS, Slow, quiet};

fn level(db: &Slow, number: usize) -> LevelBytes {
    let stats = db.stats();
    let (level, size) = (stats.engine.levels[number], stats.lsm.levels[number]);
    let sum = level.live_bytes + level.dead_bytes + level.expired_bytes;
    assert_eq!(sum as i64, size.size_bytes + size.ingest_size_bytes);
    assert_eq!(size.stale_bytes as u64, level.dead_bytes + level.expired_bytes);
    level
}

fn segment(db: &Slow, number: usize) -> SegmentBytes {
    let segment = db.stats().engine.value_log_segments[number];
    let sum = segment.live_bytes + segment.dead_bytes + segment.expired_bytes + segment.pinned_bytes;
    assert!(segment.size_bytes > sum && segment.size_bytes - sum < 100, "the header's bytes: {segment:?}");
    segment
}

#[test]
fn deletes_are_the_dead_bytes_of_a_level() {
    let db = Slow::open(quiet());
    db.fill(0..100, &[1; 100]);
    db.db.flush().unwrap();
    assert_eq!((level(&db, 0).dead_bytes, level(&db, 0).entries), (0, 100));
    // Not so many in one table that it is merged for their sake.
    for k in 0..10 {
        db.db.del(format!("key{k:05}").as_bytes()).unwrap();
    }
    db.fill(100..190, &[1; 100]);
    let before = level(&db, 0).live_bytes;
    db.db.flush().unwrap();
    let after = level(&db, 0);
    let second = after.live_bytes + after.dead_bytes - before;
    assert_eq!((after.dead_bytes, after.entries), (second / 10, 200));
}

#[test]
fn what_has_expired_is_told_of_levels_and_segments() {
    let db = Slow::open(quiet());
    for k in [b"a", b"b"] {
        db.db.set_with_ttl(k, &[1; 8 << 10], Expiry::At(NOW_MS + 1000)).unwrap();
    }
    db.db.close().unwrap();
    // Read-only, so that nothing is merged for its sake.
    let db = Slow::open_on(db.fs.inner().clone(), Options { read_only: true, ..quiet() });
    assert_eq!((level(&db, 0).expired_bytes, segment(&db, 0).expired_bytes), (0, 0));
    let (size, values) = (level(&db, 0).live_bytes, segment(&db, 0).live_bytes);
    db.clock.advance_ms(1000);
    assert_eq!((level(&db, 0).expired_bytes, level(&db, 0).live_bytes), (size, 0));
    assert_eq!((segment(&db, 0).expired_bytes, segment(&db, 0).live_bytes), (values, 0));
}

#[test]
fn overwritten_values_are_the_dead_bytes_of_a_segment() {
    let db = Slow::open(quiet());
    db.fill(0..10, &[1; 8 << 10]);
    db.db.flush().unwrap();
    let one = segment(&db, 0).live_bytes / 10;
    assert_eq!(segment(&db, 0).dead_bytes, 0);
    db.fill(0..3, &[2; 8 << 10]);
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    db.db.wait_idle().unwrap();
    let after = segment(&db, 0);
    assert_eq!((after.dead_bytes, after.live_bytes), (3 * one, 10 * one));
    let stats = db.stats();
    assert_eq!(stats.engine.space.value_log_live_bytes, 10 * one);
    assert_eq!(stats.lsm.value_bytes_total as u64, 10 * one);
    assert_eq!(stats.engine.space.value_log_bytes, after.size_bytes);
    let head = stats.value_log.heads[&0];
    assert_eq!((u64::from(head.fid), head.offset), (u64::from(after.segment), after.size_bytes));
}

#[test]
fn density_is_the_share_of_separated_values_and_alerts_above_the_threshold() {
    for (threshold, alert) in [(0.9, true), (1.0, false), (0.0, false)] {
        let db = Slow::open(Options { compaction_value_alert_threshold: threshold, ..quiet() });
        assert_eq!((db.stats().lsm.value_density_max, db.stats().lsm.value_density_alert), (0.0, false));
        db.fill(0..20, &[1; 8 << 10]);
        db.db.flush().unwrap();
        let lsm = db.stats().lsm;
        let (values, size) = (lsm.levels[0].value_bytes as f64, lsm.levels[0].size_bytes as f64);
        assert_eq!(lsm.levels[0].value_density, values / (values + size));
        assert_eq!(lsm.value_density_max, lsm.levels[0].value_density);
        assert_eq!(lsm.value_density_alert, alert, "{}", lsm.value_density_max);
    }
}

#[test]
fn writing_again_and_again_amplifies_writes() {
    let db = Slow::open(quiet());
    assert_eq!(db.stats().engine.space.write_amplification, 0.0);
    db.fill(0..100, &[1; 1000]);
    let logged = db.stats().engine.space.write_amplification;
    assert!(logged > 1.0 && logged < 1.2, "log only: {logged}");
    db.db.flush().unwrap();
    let flushed = db.stats().engine.space.write_amplification;
    assert!(flushed > 1.9 && flushed < 2.3, "log and table: {flushed}");
}

#[test]
fn overwritten_data_amplifies_space_until_it_is_merged() {
    let db = Slow::open(Options { compression: nokv::Compression::None, ..quiet() });
    assert_eq!(db.stats().engine.space.space_amplification, 0.0);
    db.fill(0..200, &[1; 100]);
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    assert_eq!(db.stats().engine.space.space_amplification, 1.0);
    db.fill(0..200, &[2; 100]);
    db.db.flush().unwrap();
    let twice = db.stats().engine.space.space_amplification;
    assert!(twice > 1.9 && twice < 2.1, "{twice}");
    db.db.compact_range(CfId::DEFAULT, None, None).unwrap();
    assert_eq!(db.stats().engine.space.space_amplification, 1.0);
}
