//! One random stream to both servers; the replies must agree.

use std::net::SocketAddr;

use super::stream::{Draw, Drawn, How};
use super::wire::{Client, Wire};

/// Commands in one pipeline.
const PIPELINE: usize = 50;
/// Times may differ by so many of their units (milliseconds, or seconds): the commands did not come at the same moment.
const TIME_SLACK: i64 = 5_000;

/// Commands of strings, bits and keys.
pub const STRINGS: &[&str] = &[
    "SET {s} {v} [NX|XX] [GET] [EX {far}|PX {farms}|KEEPTTL]",
    "SET {s} {v}",
    "SET {s} {by}",
    "GET {s}",
    "GET {k}",
    "GETSET {s} {v}",
    "GETDEL {s}",
    "GETEX {s} [EX {far}|PX {farms}|PERSIST]",
    "SETNX {s} {v}",
    "SETEX {s} (-1|0|x|{far}) {v}",
    "PSETEX {s} {farms} {v}",
    "MSET +({s} {v})",
    "MSETNX +({s} {v})",
    "MGET +{k}",
    "APPEND {s} {v}",
    "STRLEN {k}",
    "GETRANGE {s} {i} {i}",
    "SUBSTR {s} {i} {i}",
    "SETRANGE {s} {off} {v}",
    "INCR {s}",
    "DECR {s}",
    "INCRBY {s} {by}",
    "DECRBY {s} {by}",
    "INCRBYFLOAT {s} {by}",
    "LCS {s} {s} [LEN|IDX [MINMATCHLEN {n}] [WITHMATCHLEN]]",
    "SETBIT {b} {bit} {01}",
    "GETBIT {b} {bit}",
    "BITCOUNT {b} [{i} {i} [BYTE|BIT]]",
    "BITPOS {b} {01} [{i} [{i} [BYTE|BIT]]]",
    "BITOP (AND|OR|XOR) {b} +{b}",
    "BITOP NOT {b} {b}",
    "BITFIELD {b} +(GET {type} {bit}|SET {type} {bit} {by}|INCRBY {type} {bit} {by}|OVERFLOW (WRAP|SAT|FAIL))",
    "BITFIELD_RO {b} +(GET {type} {bit})",
];

/// Commands of keys of all types.
pub const KEYS: &[&str] = &[
    "DEL +{k}",
    "UNLINK {k}",
    "EXISTS +{k}",
    "TOUCH +{k}",
    "TYPE {k}",
    "~KEYS {glob}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k} [REPLACE]",
    "EXPIRE {k} {far} [NX|XX|GT|LT]",
    "PEXPIRE {k} {farms} [NX|XX|GT|LT]",
    "EXPIRE {k} (-1|0|x|{far})",
    "t:TTL {k}",
    "t:PTTL {k}",
    "t:EXPIRETIME {k}",
    "t:PEXPIRETIME {k}",
    "PERSIST {k}",
    "DBSIZE",
    "SORT {l} [LIMIT {n} {n}] [ASC|DESC] ALPHA",
    "~SORT {l} BY {v} [GET #]",
    "~SORT_RO {z} BY nosort [GET #]",
    "SORT {t} ALPHA [DESC] [STORE {l}]",
    "MOVE {k} 1",
    "GET",
    "NOSUCH {m} {m}",
    "PING",
    "ECHO {v}",
    "SELECT 99",
];

/// Commands that end the life of a key soon.
pub const EXPIRIES: &[&str] = &[
    "PEXPIRE {k} {soon}",
    "SET {s} {v} PX {soon}",
    "GETEX {s} PX {soon}",
    "PSETEX {s} {soon} {v}",
    "COPY {k} {k} REPLACE",
    "RENAME {k} {k}",
];

/// Commands of hashes.
pub const HASHES: &[&str] = &[
    "HSET {h} +({m} {v})",
    "HSET {h} +({m} {by})",
    "HSETNX {h} {m} {v}",
    "HMSET {h} +({m} {v})",
    "HGET {h} {m}",
    "HMGET {h} +{m}",
    "%HGETALL {h}",
    "HDEL {h} +{m}",
    "HEXISTS {h} {m}",
    "HLEN {h}",
    "~HKEYS {h}",
    "~HVALS {h}",
    "HSTRLEN {h} {m}",
    "HINCRBY {h} {m} {by}",
    "HINCRBYFLOAT {h} {m} {by}",
    "HSET {h} {m}",
];

/// Commands of lists.
pub const LISTS: &[&str] = &[
    "LPUSH {l} +{v}",
    "RPUSH {l} +{v}",
    "LPUSHX {l} {v}",
    "RPUSHX {l} +{v}",
    "LPOP {l} [{n}]",
    "RPOP {l} [{n}]",
    "LLEN {l}",
    "LRANGE {l} {i} {i}",
    "LINDEX {l} {i}",
    "LSET {l} {i} {v}",
    "LINSERT {l} (BEFORE|AFTER) {v} {v}",
    "LREM {l} {i} {v}",
    "LTRIM {l} {i} {i}",
    "LPOS {l} {v} [RANK {i}] [COUNT {n}] [MAXLEN {n}]",
    "LMOVE {l} {l} (LEFT|RIGHT) (LEFT|RIGHT)",
    "RPOPLPUSH {l} {l}",
    "LMPOP 2 {l} {l} (LEFT|RIGHT) [COUNT {c}]",
    "RPUSH {l} +{v}",
    "RPUSH {l} +{m}",
];

/// Commands of sets.
pub const SETS: &[&str] = &[
    "SADD {t} +{m}",
    "SADD {t} +{v}",
    "SREM {t} +{m}",
    "~SMEMBERS {t}",
    "SISMEMBER {t} {m}",
    "SMISMEMBER {t} +{m}",
    "SCARD {t}",
    "~SRANDMEMBER {t} 1000",
    "SMOVE {t} {t} {m}",
    "~SINTER +{t}",
    "~SUNION +{t}",
    "~SDIFF +{t}",
    "SINTERSTORE {t} +{t}",
    "SUNIONSTORE {t} +{t}",
    "SDIFFSTORE {t} +{t}",
    "SINTERCARD 2 {t} {t} [LIMIT {n}]",
    "SADD {t} +{n}",
];

/// Commands of sorted sets.
pub const SORTED_SETS: &[&str] = &[
    "ZADD {z} +({f} {m})",
    "ZADD {z} [NX|XX] [GT|LT] [CH] +({f} {m})",
    "ZADD {z} [XX] INCR {f} {m}",
    "ZINCRBY {z} {f} {m}",
    "ZREM {z} +{m}",
    "ZCARD {z}",
    "ZSCORE {z} {m}",
    "ZMSCORE {z} +{m}",
    "ZRANK {z} {m}",
    "ZREVRANK {z} {m}",
    "ZCOUNT {z} {min} {max}",
    "ZLEXCOUNT {x} {lexmin} {lexmax}",
    "ZRANGE {z} {i} {i} [REV] [WITHSCORES]",
    "ZRANGE {z} {min} {max} BYSCORE [LIMIT {n} {n}] [WITHSCORES]",
    "ZRANGE {z} {max} {min} BYSCORE REV [LIMIT {n} {n}] [WITHSCORES]",
    "ZRANGE {x} {lexmin} {lexmax} BYLEX [LIMIT {n} {n}]",
    "ZRANGESTORE {z} {z} {i} {i}",
    "ZRANGESTORE {z} {z} {min} {max} BYSCORE",
    "ZREVRANGE {z} {i} {i} [WITHSCORES]",
    "ZRANGEBYSCORE {z} {min} {max} [WITHSCORES] [LIMIT {n} {n}]",
    "ZREVRANGEBYSCORE {z} {max} {min} [WITHSCORES]",
    "ZRANGEBYLEX {x} {lexmin} {lexmax}",
    "ZREVRANGEBYLEX {x} {lexmax} {lexmin} [LIMIT {n} {n}]",
    "ZREMRANGEBYRANK {z} {i} {i}",
    "ZREMRANGEBYSCORE {z} {min} {max}",
    "ZREMRANGEBYLEX {x} {lexmin} {lexmax}",
    "ZPOPMIN {z} [{n}]",
    "ZPOPMAX {z} [{n}]",
    "ZMPOP 2 {z} {z} (MIN|MAX) [COUNT {c}]",
    "ZUNION 2 {z} {z} [WEIGHTS {n} {n}] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]",
    "ZINTER 2 {z} {t} [WITHSCORES]",
    "ZDIFF 2 {z} {z} [WITHSCORES]",
    "ZINTERCARD 2 {z} {z} [LIMIT {n}]",
    "ZUNIONSTORE {z} 2 {z} {t} [WEIGHTS {f} {f}] [AGGREGATE (SUM|MIN|MAX)]",
    "ZINTERSTORE {z} 2 {z} {z}",
    "ZDIFFSTORE {z} 2 {z} {z}",
    "ZADD {z} +({n} {m})",
    "ZADD {x} +(0 {m})",
    "ZADD {x} 0 {m} 0 {m} 0 {m}",
    "ZREM {x} {m}",
];

/// What only the servers' versions make differ; then nothing is compared.
fn is_known(args: &[Vec<u8>], theirs: &Wire, ours: &Wire) -> bool {
    let name = args[0].to_ascii_uppercase();
    // The version of the oracle prints 17 digits, and rounds what is added up in another way.
    if let (Wire::Bulk(a), Wire::Bulk(b)) = (theirs, ours)
        && name.ends_with(b"FLOAT")
    {
        return number(a).zip(number(b)).is_some_and(|(a, b)| near(a, b));
    }
    // From 7.2 on these look at all arguments before they look for the key.
    matches!(ours, Wire::Line(b'-', _)) && [&b"BITPOS"[..], b"BITCOUNT", b"LPOS"].contains(&name.as_slice())
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// Equal, where numbers may be written in different ways.
fn same(a: &Wire, b: &Wire) -> bool {
    match (a, b) {
        (Wire::Items(mark, a), Wire::Items(other, b)) => {
            mark == other && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Wire::Bulk(a), Wire::Bulk(b)) => {
            // A score of -0 stays -0 in some of the oracle's encodings.
            let is_zero = |text: &[u8]| matches!(text, b"0" | b"-0");
            a == b
                || (is_zero(a) && is_zero(b))
                || (a.contains(&b'.') && number(a).zip(number(b)).is_some_and(|(a, b)| near(a, b)))
        }
        (Wire::Double(a), Wire::Double(b)) => near(*a, *b),
        // Ours show what is no UTF-8 as replacement characters.
        (Wire::Line(mark, a), Wire::Line(other, b)) => {
            mark == other && String::from_utf8_lossy(a) == String::from_utf8_lossy(b)
        }
        _ => a == b,
    }
}

fn sorted(reply: &Wire, by: usize) -> Wire {
    let Wire::Items(mark, items) = reply else { return reply.clone() };
    let mut chunks: Vec<&[Wire]> = items.chunks(by).collect();
    chunks.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    Wire::Items(*mark, chunks.concat())
}

fn agree(drawn: &Drawn, theirs: &Wire, ours: &Wire) -> bool {
    match drawn.how {
        How::Same => same(theirs, ours),
        How::AnyOrder => same(&sorted(theirs, 1), &sorted(ours, 1)),
        How::Pairs => same(&sorted(theirs, 2), &sorted(ours, 2)),
        How::Time => match (theirs, ours) {
            (Wire::Int(a), Wire::Int(b)) if *a > 0 && *b > 0 => (a - b).abs() <= TIME_SLACK,
            _ => theirs == ours,
        },
    }
}

fn shown(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| format!("\"{}\"", arg.escape_ascii())).collect::<Vec<_>>().join(" ")
}

/// Sends `commands` random ones from `seed` to both, in pipelines, some of them as transactions; gives their number.
///
/// # Panics
/// When replies differ, with the commands before.
pub fn run(theirs: SocketAddr, ours: SocketAddr, seed: u64, commands: u64, protocol: u8) -> u64 {
    let mut real = Client::connect(theirs).expect("the real server");
    let mut own = Client::connect(ours).expect("our server");
    for client in [&mut real, &mut own] {
        client.call("FLUSHALL").expect("an answer");
        client.call(&format!("HELLO {protocol}")).expect("an answer");
    }
    let templates = [STRINGS, KEYS, HASHES, LISTS, SETS, SORTED_SETS].concat();
    let mut draw = Draw::new(seed);
    let mut history: Vec<String> = Vec::new();
    let mut sent = 0;
    while sent < commands {
        let mut batch: Vec<Drawn> = (0..PIPELINE).map(|_| draw.command(&templates)).collect();
        // One pipeline in eight is a transaction.
        let is_transaction = (sent / PIPELINE as u64).is_multiple_of(8);
        if is_transaction {
            let word = |text: &str| Drawn { args: vec![text.as_bytes().to_vec()], how: How::Same };
            batch.insert(0, word("MULTI"));
            batch.push(word("EXEC"));
        }
        for drawn in &batch {
            real.push(&drawn.args);
            own.push(&drawn.args);
        }
        real.send().expect("sent");
        own.send().expect("sent");
        let hows: Vec<&Drawn> = batch.iter().collect();
        for drawn in &batch {
            let (a, b) = (real.read().expect("a reply"), own.read().expect("a reply"));
            let fits = if is_transaction && drawn.args[0] == b"EXEC" {
                exec_agrees(&hows[1..hows.len() - 1], &a, &b)
            } else {
                agree(drawn, &a, &b) || is_known(&drawn.args, &a, &b)
            };
            history.push(format!("{}  ->  {}", shown(&drawn.args), b.show()));
            assert!(
                fits,
                "seed {seed}, RESP{protocol}, after {sent} commands:\n{}\n  redis-server: {}\n  nokv redis:   {}",
                history[history.len().saturating_sub(60)..].join("\n"),
                a.show(),
                b.show()
            );
        }
        sent += batch.len() as u64;
        if (sent / PIPELINE as u64).is_multiple_of(20) {
            sent += expire(&mut real, &mut own, &mut draw, &mut history);
        }
    }
    sent
}

/// Keys expire on both; when both clocks are past their times, the same keys are left.
fn expire(real: &mut Client, own: &mut Client, draw: &mut Draw, history: &mut Vec<String>) -> u64 {
    let batch: Vec<Drawn> = (0..10).map(|_| draw.command(EXPIRIES)).collect();
    for client in [&mut *real, &mut *own] {
        batch.iter().for_each(|drawn| client.push(&drawn.args));
        client.send().expect("sent");
        // What is answered depends on the moment.
        batch.iter().for_each(|_| drop(client.read().expect("a reply")));
        let until = micros(client) + 50_000;
        while micros(client) < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    history.extend(batch.iter().map(|drawn| shown(&drawn.args)));
    // A copy or a new name that came a moment too late on one of them only is removed on both.
    let touched: Vec<Vec<u8>> = batch.iter().flat_map(|drawn| drawn.args[1..3].to_vec()).collect();
    let mut args = vec![b"DEL".to_vec()];
    args.extend(touched);
    for client in [&mut *real, &mut *own] {
        client.push(&args);
        client.send().expect("sent");
        client.read().expect("a reply");
    }
    let left = |client: &mut Client| {
        (client.call("DBSIZE").expect("a number"), client.call("KEYS *").expect("keys"))
    };
    let (theirs, ours) = (left(real), left(own));
    assert_eq!(
        theirs.0,
        ours.0,
        "numbers of keys after they expired:\n{}",
        history[history.len() - 20..].join("\n")
    );
    assert_eq!(sorted(&theirs.1, 1), sorted(&ours.1, 1), "keys that are left after others expired");
    batch.len() as u64 + 3
}

/// A server's clock.
fn micros(client: &mut Client) -> u64 {
    let number = |wire: &Wire| match wire {
        Wire::Bulk(text) => number(text).unwrap_or(0.0) as u64,
        _ => 0,
    };
    match client.call("TIME").expect("the time") {
        Wire::Items(_, parts) if parts.len() == 2 => number(&parts[0]) * 1_000_000 + number(&parts[1]),
        other => panic!("no time: {}", other.show()),
    }
}

/// Replies of EXEC: those of its commands. Tells the first that differs.
fn exec_agrees(queued: &[&Drawn], theirs: &Wire, ours: &Wire) -> bool {
    let (Wire::Items(_, a), Wire::Items(_, b)) = (theirs, ours) else { return theirs == ours };
    if a.len() != queued.len() || a.len() != b.len() {
        return false;
    }
    for (drawn, (a, b)) in queued.iter().zip(a.iter().zip(b)) {
        if !agree(drawn, a, b) && !is_known(&drawn.args, a, b) {
            eprintln!(
                "in EXEC: {}\n  redis-server: {}\n  nokv redis:   {}",
                shown(&drawn.args),
                a.show(),
                b.show()
            );
            return false;
        }
    }
    true
}
