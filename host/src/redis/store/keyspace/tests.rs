use std::sync::Arc;

use nokv_core::formats::CfId;
use nokv_core::write::WriteBatch;
use nokv_vfs_mem::MemFs;

use super::*;
use crate::db::WriteOptions;
use crate::redis::store::counts::Counts;
use crate::redis::store::effects::Notice;
use crate::redis::store::embedded::Embedded;
use crate::redis::testing::{Bench, database, events, keyspace, replies};

/// Sets `key` in database 0 at `now`, as a command that writes.
fn set(keys: &mut Keyspace, now: u64, key: &str, expires_at: u64) {
    keys.begin(now);
    keys.starts(true);
    let slot = keys.slot(0, key.as_bytes()).expect("a slot");
    keys.put(slot, b"v".to_vec(), expires_at).expect("a put");
    keys.commit().expect("a commit");
}

/// Takes out what is due at `now`; gives the number, and events.
fn expire(keys: &mut Keyspace, now: u64) -> (usize, Vec<String>) {
    keys.begin(now);
    keys.effects().listened = Class(u32::MAX);
    let taken = keys.expire_due(usize::MAX).expect("keys that expire");
    keys.commit().expect("a commit");
    let told = |notice: &Notice| match notice {
        Notice::Event(event) => Some(format!("{} {}", event.name, String::from_utf8_lossy(&event.key))),
        Notice::Message { .. } => None,
    };
    (taken, keys.effects().notices.iter().filter_map(told).collect())
}

/// Keys of database 0, as soon as they are counted.
fn count(keys: &mut Keyspace) -> i64 {
    loop {
        match keys.counts().of(0).expect("a count") {
            Some(count) => return count,
            None => std::thread::yield_now(),
        }
    }
}

fn live(keys: &mut Keyspace, now: u64) -> i64 {
    keys.begin(now);
    let mut cursor = keys.keys(0, b"").expect("a scan");
    std::iter::from_fn(|| cursor.advance().expect("a key").then_some(1)).sum()
}

#[test]
fn a_transaction_reads_as_of_its_own_time_not_the_systems() {
    let mut keys = keyspace(&MemFs::new());
    // By the system's clock both are long over.
    set(&mut keys, 1_000, "k", 2_000);
    for (now, is_there) in [(1_000, true), (1_999, true), (2_000, false), (1_500, true)] {
        keys.begin(now);
        assert_eq!(keys.find(0, b"k").expect("a lookup").is_some(), is_there, "{now}");
        assert_eq!(keys.holds(0, b"k").expect("a lookup"), is_there, "{now}");
        assert_eq!(live(&mut keys, now), i64::from(is_there), "{now}");
    }
}

#[test]
fn after_a_kill_keys_that_expired_are_counted_out_once() {
    for (is_merged, is_down_long) in [(false, true), (true, true), (false, false), (true, false)] {
        let fs = MemFs::new();
        let mut keys = keyspace(&fs);
        (0..50).for_each(|i| set(&mut keys, 1_000, &format!("plain{i}"), 0));
        (0..200).for_each(|i| set(&mut keys, 1_000, &format!("timed{i}"), 2_000));
        let fs = fs.kill_clone();
        if is_merged {
            // By the system's clock they are over, and nobody holds the merge back.
            let db = database(&fs);
            db.flush().expect("a flush");
            db.compact_range(CfId::DEFAULT, None, None).expect("a merge");
            assert!(db.get_stored(CfId::DEFAULT, b"timed1").expect("a read").is_none());
        }
        let mut keys = keyspace(&fs);
        assert_eq!(count(&mut keys), 250);
        if !is_down_long {
            // Set again before the server gets to them: rows of merged ones cannot be found by their keys.
            set(&mut keys, 3_000, "timed7", 0);
            assert_eq!(count(&mut keys), 250 + i64::from(is_merged));
        }
        let (taken, told) = expire(&mut keys, 3_000);
        let is_again = i64::from(!is_down_long);
        assert_eq!(taken, 200 - usize::from(!is_down_long && !is_merged));
        assert_eq!(told.len(), 200 - usize::from(!is_down_long));
        assert!(is_down_long || !told.contains(&"expired timed7".to_owned()));
        assert_eq!(count(&mut keys), 50 + is_again);
        assert_eq!(live(&mut keys, 3_000), 50 + is_again);
        // Counted anew, it is the same.
        assert_eq!(count(&mut keyspace(&fs.kill_clone())), 50 + is_again);
    }
}

#[test]
fn a_merge_leaves_what_expired_until_it_is_taken_out() {
    let fs = MemFs::new();
    let db = database(&fs);
    let backend = Arc::new(Embedded::new(db.clone()).expect("the families"));
    let mut keys = Keyspace::open(backend, 1_000).expect("the keys");
    set(&mut keys, 1_000, "k", 2_000);
    expire(&mut keys, 1_500);
    let merge = || {
        db.flush().expect("a flush");
        db.compact_range(CfId::DEFAULT, None, None).expect("a merge");
    };
    merge();
    keys.begin(1_999);
    assert!(keys.find(0, b"k").expect("a lookup").is_some());
    // Later ones go on being kept when the first is out.
    set(&mut keys, 1_999, "l", 3_000);
    assert_eq!(expire(&mut keys, 2_000), (1, vec!["expired k".to_owned()]));
    merge();
    keys.begin(2_999);
    assert!(keys.find(0, b"l").expect("a lookup").is_some());
}

#[test]
fn a_key_of_another_program_counts_from_the_first_write_of_a_client() {
    let fs = MemFs::new();
    let db = database(&fs);
    let mut batch = WriteBatch::new();
    for key in [b"a", b"b", b"c"] {
        batch.put_expiring(CfId::DEFAULT, key, b"v", 2_000).expect("a put");
    }
    db.write(batch, &WriteOptions::default()).expect("a write");
    let mut keys = keyspace(&fs.kill_clone());
    assert_eq!((count(&mut keys), live(&mut keys, 1_000)), (0, 3));
    set(&mut keys, 1_000, "a", 1_500);
    assert_eq!(count(&mut keys), 1);
    keys.begin(1_000);
    keys.starts(true);
    let slot = keys.slot(0, b"b").expect("a slot");
    assert!(keys.remove(&slot).expect("a removal"));
    keys.commit().expect("a commit");
    assert_eq!(count(&mut keys), 1);
    set(&mut keys, 3_000, "c", 0);
    assert_eq!(expire(&mut keys, 3_000).0, 1);
    assert_eq!((count(&mut keys), live(&mut keys, 3_000)), (1, 1));
    // Such counts are not handed on.
    assert!(keys.counts().to_store(1).is_none());
}

#[test]
fn a_key_that_expired_and_is_set_again_counts_once_and_tells_that_first() {
    let mut bench = Bench::new();
    bench.server.state.config.active_expire = false;
    for i in 0..300 {
        bench.run(&format!("SET k{i} v PX 50"));
    }
    bench.run("RPUSH l a b c");
    bench.run("PEXPIRE l 50");
    bench.pass(100);
    let listener = bench.listen("EAn");
    assert_eq!(bench.run("DBSIZE"), ":301");
    assert_eq!(bench.run("SET k299 w"), "+OK");
    assert_eq!(events(&listener), "expired k299, new k299, set k299");
    assert_eq!(bench.run("RPUSH l d"), ":1");
    assert_eq!(events(&listener), "expired l, new l, rpush l");
    assert_eq!(bench.run("LRANGE l 0 -1"), "[d]");
    assert_eq!(bench.run("DEL k298"), ":0");
    assert_eq!(events(&listener), "expired k298");
    // Reads take nothing out, and see nothing.
    assert_eq!(bench.run("GET k297"), "nil");
    assert_eq!(events(&listener), "");
    assert_eq!(bench.run("DBSIZE"), ":300");
    bench.server.state.config.active_expire = true;
    while !bench.server.expire_due(100).expect("keys that expire") {}
    assert_eq!(bench.run("DBSIZE"), ":2");
    assert_eq!(events(&listener).matches("expired").count(), 298);
    assert_eq!(bench.run("GET k299"), "w");
    assert_eq!(bench.server.state.counters.expired, 301);
}

#[test]
fn keys_that_expire_together_go_batch_after_batch() {
    let mut bench = Bench::new();
    for chunk in (0..6_000).collect::<Vec<_>>().chunks(500) {
        bench.run("MULTI");
        for i in chunk {
            bench.run(&format!("SET k{i} v PXAT 99999999999999"));
        }
        bench.run("EXEC");
    }
    let now = 99_999_999_999_999;
    let mut batches = 0;
    loop {
        bench.server.keys.begin(now);
        let taken = bench.server.keys.expire_due(128).expect("keys that expire");
        bench.server.keys.commit().expect("a commit");
        batches += 1;
        if taken < 128 {
            break;
        }
        // A transaction that fails forgets how far it came, and nothing is left behind.
        if batches == 5 {
            bench.server.keys.begin(now);
            assert_eq!(bench.server.keys.expire_due(128).expect("keys that expire"), 128);
        }
    }
    assert_eq!(batches, 6_000 / 128 + 1);
    assert_eq!(bench.run("DBSIZE"), ":0");
}

#[test]
fn new_keys_are_told_before_what_made_them() {
    let mut bench = Bench::new();
    let listener = bench.listen("EAn");
    let mut check = |command: &str, wanted: &str| {
        let reply = bench.run(command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        assert_eq!(events(&listener), wanted, "{command}");
    };
    // As redis-server 7.0.15 tells them.
    check("SET a 1", "new a, set a");
    check("SET a 2", "set a");
    check("SETEX e 100 1", "new e, set e, expire e");
    check("MSET m 1 a 1", "new m, set m, set a");
    check("APPEND p x", "new p, append p");
    check("SETBIT b 3 1", "new b, setbit b");
    check("BITOP AND o a b", "new o, set o");
    check("BITOP AND o a b", "set o");
    check("HSET h f v", "new h, hset h");
    check("HSET h g v", "hset h");
    check("RPUSH l 1 2", "new l, rpush l");
    check("LMOVE l l2 LEFT LEFT", "new l2, lpush l2, lpop l");
    check("LMOVE l l2 LEFT LEFT", "lpush l2, lpop l, del l");
    check("SADD s 1 2 3", "new s, sadd s");
    check("SMOVE s t 1", "srem s, new t, sadd t");
    check("SUNIONSTORE d s", "new d, sunionstore d");
    check("SUNIONSTORE d s", "sunionstore d");
    check("SDIFFSTORE d s s", "del d");
    check("ZADD z 1 a 2 b", "new z, zadd z");
    check("ZUNIONSTORE y 1 z", "new y, zunionstore y");
    check("ZRANGESTORE y z 0 -1", "zrangestore y");
    check("SORT s STORE so", "new so, sortstore so");
    check("SORT s STORE so", "sortstore so");
    check("RENAME a m", "new m, rename_from a, rename_to m");
    check("COPY m c", "new c, copy_to c");
    check("COPY m c REPLACE", "new c, copy_to c");
    check("SET x 1 PXAT 1", "new x, set x, expire x, expired x");
    bench.listen("EA");
    bench.run("SET no 1");
    assert_eq!(replies(&listener).matches("new").count(), 0);
}

#[test]
fn dbsize_waits_for_the_count_and_nobody_else() {
    let mut bench = Bench::new();
    bench.run("SET a 1");
    let (counts, known) = Counts::known_later();
    *bench.server.keys.counts() = counts;
    assert_eq!(bench.run("DBSIZE"), "");
    let other = bench.connect();
    assert_eq!(bench.run_as(&other, "SET b 1"), "+OK");
    assert_eq!(bench.run_as(&other, "RANDOMKEY").len(), 1);
    assert!(!bench.run_as(&other, "INFO keyspace").contains("db0"));
    for (command, reply) in [
        ("MULTI", "+OK"),
        ("DBSIZE", "+QUEUED"),
        ("EXEC", "[-LOADING The keys are being counted; try again]"),
    ] {
        assert_eq!(bench.run_as(&other, command), reply);
    }
    bench.server.serve_counted();
    assert_eq!(replies(&bench.client), "");
    // The count says that there was none at the start; one came since.
    known.send(Ok(Default::default())).expect("somebody who waits");
    bench.server.serve_counted();
    assert_eq!(replies(&bench.client), ":1");
    assert_eq!(bench.run("DBSIZE"), ":1");
    assert!(!bench.server.state.common.waiting.is_for_count());
}
