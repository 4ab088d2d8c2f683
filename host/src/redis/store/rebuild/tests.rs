use std::sync::{Arc, Mutex};

use super::*;
use crate::db::{Db, Options};
use crate::redis::testing::{Bench, database_with, keyspace_with};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

const BATCH_BYTES: usize = 64 << 10;
const COUNT: usize = 600;

/// A database whose batches are small.
fn small(fs: &MemFs) -> Db<MemFs> {
    database_with(fs, Options { mem_table_bytes: BATCH_BYTES, ..Options::new("db") })
}

fn bench() -> (Bench, MemFs) {
    let fs = MemFs::new();
    (Bench::on(keyspace_with(small(&fs))), fs)
}

/// Each with 200 bytes: all of them are more than a batch.
fn name(i: usize) -> String {
    format!("{i:04}{}", "x".repeat(196))
}

/// Runs `command` with the words of all elements, many at a time.
fn fill(bench: &mut Bench, command: &str, words: impl Fn(usize) -> String) {
    for from in (0..COUNT).step_by(100) {
        let words: Vec<String> = (from..from + 100).map(&words).collect();
        let reply = bench.run(&format!("{command} {}", words.join(" ")));
        assert!(reply.starts_with(':') || reply == "+OK", "{reply}");
    }
}

fn stored(keys: &mut Keyspace) -> (usize, usize, usize) {
    [(Table::Elements, &b""[..]), (Table::Scores, b""), (Table::System, redis::SYSTEM_BUILDING)]
        .map(|(table, prefix)| {
            let mut cursor = keys.txn().backend().scan(table, prefix, None, false).expect("a scan");
            let mut count = 0;
            while cursor.advance().expect("an entry") && cursor.key().starts_with(prefix) {
                count += 1;
            }
            count
        })
        .into()
}

/// A removal of more than a batch, its reply, what tells how many are left, and how many scores each of them has.
fn removes(make: impl Fn(&mut Bench), remove: &str, reply: &str, len: &str, left: usize, scores: usize) {
    let (mut bench, _fs) = bench();
    make(&mut bench);
    assert_eq!(bench.run("EXPIRE k 1000"), ":1");
    let given = bench.run(remove);
    assert!(reply.is_empty() || given == reply, "{given}");
    assert!(!given.starts_with('-'), "{given}");
    assert_eq!(bench.run(len), format!(":{left}"), "{remove:.40}");
    assert_eq!(bench.run("TTL k"), if left == 0 { ":-2" } else { ":1000" });
    // The next transaction would remove what was left behind.
    bench.run("PING");
    assert_eq!(stored(&mut bench.server.keys), (left, left * scores, 0), "{remove:.40}");
    // It goes when its time comes, by the number that it has now.
    let expired = bench.server.keys.now() + 1_001_000;
    bench.server.keys.begin(expired);
    bench.server.keys.expire_due(64).expect("what is due");
    bench.server.keys.commit().expect("a commit");
    assert_eq!(stored(&mut bench.server.keys), (0, 0, 0), "{remove:.40}");
}

fn many(command: &str, range: std::ops::Range<usize>) -> String {
    format!("{command} {}", range.map(name).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_removal_of_more_than_a_batch_works() {
    let set = |bench: &mut Bench| fill(bench, "SADD k", name);
    let hash = |bench: &mut Bench| fill(bench, "HSET k", |i| format!("{} v", name(i)));
    let zset = |bench: &mut Bench| fill(bench, "ZADD k", |i| format!("{i} {}", name(i)));
    removes(set, "SPOP k 500", "", "SCARD k", 100, 0);
    removes(set, &many("SREM k", 50..550), ":500", "SCARD k", 100, 0);
    removes(hash, &many("HDEL k", 0..599), ":599", "HLEN k", 1, 0);
    removes(zset, &many("ZREM k", 0..400), ":400", "ZCARD k", 200, 1);
    removes(zset, "ZREMRANGEBYRANK k 0 249", ":250", "ZCARD k", 350, 1);
    removes(zset, "ZREMRANGEBYSCORE k 100 349", ":250", "ZCARD k", 350, 1);
    removes(zset, "ZPOPMIN k 300", "", "ZCARD k", 300, 1);
    removes(zset, "ZMPOP 1 k MAX COUNT 200", "", "ZCARD k", 400, 1);
    removes(set, "SPOP k 600", "", "SCARD k", 0, 0);
}

/// Elements of lists are found by short positions: it takes many of them.
#[test]
fn a_long_list_loses_more_than_a_batch() {
    for (command, reply, left) in [
        ("LREM k 0 a", ":4000", 2000),
        ("LREM k -3500 a", ":3500", 2500),
        ("LTRIM k 100 -101", "+OK", 5800),
        ("LPOP k 5000", "", 1000),
        ("LMPOP 1 k RIGHT COUNT 5999", "", 1),
    ] {
        let make = |bench: &mut Bench| {
            (0..20).for_each(|_| drop(bench.run(&format!("RPUSH k {}", "a a b ".repeat(100)))))
        };
        removes(make, command, reply, "LLEN k", left, 0);
    }
}

#[test]
fn an_addition_of_more_than_a_batch_works_and_keeps_the_order() {
    let (mut bench, _fs) = bench();
    bench.run("RPUSH l first");
    assert_eq!(bench.run(&many("RPUSH l", 0..COUNT)), ":601");
    assert_eq!(bench.run("LINDEX l 0"), "first");
    for i in [0, 1, 299, 599] {
        assert_eq!(bench.run(&format!("LINDEX l {}", i + 1)), name(i));
    }
    assert_eq!(bench.run(&many("LPUSH l", 0..COUNT)), ":1201");
    assert_eq!(bench.run("LINDEX l 0"), name(599));
    assert_eq!(bench.run("DBSIZE"), ":1");
}

#[test]
fn a_transaction_of_many_removals_is_whole() {
    let (mut bench, _fs) = bench();
    fill(&mut bench, "SADD a", name);
    fill(&mut bench, "SADD b", name);
    bench.run("MULTI");
    for from in (0..500).step_by(100) {
        bench.run(&many("SREM a", from..from + 100));
        bench.run(&many("SREM b", from..from + 99));
    }
    bench.run("SET s v");
    bench.run("RENAME a c");
    assert_eq!(bench.run("EXEC").matches(":100").count(), 5);
    assert_eq!(bench.run("SCARD c"), ":100");
    assert_eq!(bench.run("SCARD b"), ":105");
    assert_eq!(bench.run(&format!("SISMEMBER b {}", name(99))), ":1");
    assert_eq!(bench.run("DBSIZE"), ":3");
    bench.run("PING");
    assert_eq!(stored(&mut bench.server.keys), (205, 0, 0));
}

#[test]
fn what_cannot_be_made_to_fit_changes_nothing() {
    let (mut bench, _fs) = bench();
    let pairs: Vec<String> = (0..COUNT).map(|i| format!("{} v", name(i))).collect();
    let refused = bench.run(&format!("MSET {}", pairs.join(" ")));
    assert!(
        refused.starts_with("-ERR the changes of this command, or transaction, are more than one batch"),
        "{refused}"
    );
    assert_eq!(bench.run("DBSIZE"), ":0");
    assert_eq!(bench.run("SET k v"), "+OK");
    // Nothing is written ahead under a range that the transaction deletes.
    for line in ["MULTI", "FLUSHDB", &many("SADD s", 0..COUNT)] {
        bench.run(line);
    }
    assert_eq!(bench.run("EXEC"), refused);
    assert_eq!((bench.run("GET k"), bench.run("EXISTS s")), ("v".to_owned(), ":0".to_owned()));
    bench.run("PING");
    assert_eq!(stored(&mut bench.server.keys), (0, 0, 0));
}

#[test]
fn a_crash_at_any_moment_leaves_all_or_nothing() {
    let fs = MemFs::new();
    let images = Arc::new(Mutex::new(Vec::new()));
    {
        let mut bench = Bench::on(keyspace_with(small(&fs)));
        fill(&mut bench, "ZADD k", |i| format!("{i} {}", name(i)));
        bench.server.keys.txn().backend().sync().expect("a sync");
        let (seen, disk) = (images.clone(), fs.clone());
        fs.set_call_hook(Box::new(move |call, _, _| {
            let image = if call % 2 == 0 { CrashImage::Random } else { CrashImage::None };
            let mut images = seen.lock().expect("no panic");
            images.push(disk.crash_clone(call, CrashMode::Posix, image));
            images.push(disk.kill_clone());
        }));
        assert_eq!(bench.run(&many("ZREM k", 0..500)), ":500");
        fs.clear_call_hook();
    }
    let images = std::mem::take(&mut *images.lock().expect("no panic"));
    assert!(images.len() > 4, "{}", images.len());
    let mut seen = [false; 2];
    for fs in images {
        let mut keys = keyspace_with(small(&fs));
        let found = keys.collection(0, b"k", Kind::SortedSet).expect("a lookup").expect("the set");
        let count = found.head.count as usize;
        assert!(count == COUNT || count == 100, "{count}");
        seen[usize::from(count == 100)] = true;
        assert_eq!(stored(&mut keys), (count, count, 0));
    }
    assert!(seen[0]);
}
