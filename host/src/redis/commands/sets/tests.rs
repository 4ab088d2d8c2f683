use nokv_core::formats::redis::{Head, Kind};

use crate::redis::resp::reply::Protocol;
use crate::redis::testing::Bench;

#[test]
fn members_come_and_go() {
    Bench::new().script(
        "
        > sadd s a b a
        :2
        > sadd s a
        :0
        > scard s
        :2
        > smembers s
        [a b]
        > sismember s a
        :1
        > sismember s z
        :0
        > smismember s a z b
        [:1 :0 :1]
        > smismember none a
        [:0]
        > srem s z
        :0
        > smove s t a
        :1
        > smove s t a
        :0
        > smove none t a
        :0
        > smove t t a
        :1
        > smembers t
        [a]
        > srem s b b
        :1
        > exists s
        :0
        > spop t
        a
        > exists t
        :0
        > dbsize
        :0
        ",
    );
}

#[test]
fn sets_are_combined() {
    Bench::new().script(
        "
        > sadd a 1 2 3 4
        :4
        > sadd b 3 4 5
        :3
        > sadd c 4
        :1
        > sinter a b
        [3 4]
        > sinter a b none
        []
        > sunion a b c none
        [1 2 3 4 5]
        > sdiff a b c
        [1 2]
        > sdiff none a
        []
        > sdiff a a
        []
        > sintercard 2 a b
        :2
        > sintercard 2 a b limit 1
        :1
        > sintercard 2 a b limit 0
        :2
        > sunionstore a a b
        :5
        > smembers a
        [1 2 3 4 5]
        > sdiffstore a a b
        :2
        > sinterstore a a c
        :0
        > exists a
        :0
        > set a text
        +OK
        > sunionstore a b c
        :3
        > type a
        +set
        > dbsize
        :3
        ",
    );
}

#[test]
fn what_is_wrong_is_said() {
    let mut bench = Bench::new();
    bench.script(
        "
        > set t x
        +OK
        > sadd s a
        :1
        > sadd t a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > sinter none t
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > smove s t a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > smove none t a
        :0
        > sunionstore s t
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > spop s -1
        -ERR value is out of range, must be positive
        > spop s 1 1
        -ERR syntax error
        > srandmember s x
        -ERR value is not an integer or out of range
        > srandmember s -9223372036854775808
        -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        > srandmember s -4194305
        -ERR value is out of range, at most 4194304 may repeat
        > sintercard 0 s
        -ERR numkeys should be greater than 0
        > sintercard 2 s
        -ERR Number of keys can't be greater than number of args
        > sintercard 1 s limit -1
        -ERR LIMIT can't be negative
        > sintercard 1 s limit
        -ERR syntax error
        > smembers s
        [a]
        ",
    );
    let long = "m".repeat(65_501);
    for command in ["sadd s b MEMBER", "srem s a MEMBER", "sismember s MEMBER", "smove s u MEMBER"] {
        let said = bench.run(&command.replace("MEMBER", &long));
        assert_eq!(said, "-ERR key, member or field is longer than 65500 bytes");
    }
    assert_eq!(bench.run("smembers s"), "[a]");
}

#[test]
fn chance_takes_what_it_gives() {
    let mut bench = Bench::new();
    for i in 0..200 {
        bench.run(&format!("sadd s {i}"));
    }
    let mut left: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    while left.len() > 20 {
        let popped = bench.run("spop s 9");
        let popped: Vec<&str> = popped[1..popped.len() - 1].split(' ').collect();
        assert_eq!(popped.len(), 9);
        left.retain(|member| !popped.contains(&member.as_str()));
        assert_eq!(bench.run("scard s"), format!(":{}", left.len()));
    }
    left.sort();
    assert_eq!(bench.run("smembers s"), format!("[{}]", left.join(" ")));
    let any = bench.run("srandmember s -1000");
    assert_eq!(any.split(' ').count(), 1000);
    assert_eq!(bench.run("srandmember s 1000"), format!("[{}]", left.join(" ")));
    assert!(left.contains(&bench.run("srandmember s")));
    assert_eq!(bench.run("spop s 1000"), format!("[{}]", left.join(" ")));
    assert_eq!(bench.run("exists s"), ":0");
    bench.speak(Protocol::V3);
    bench.run("sadd s a");
    assert_eq!(bench.run("srandmember s 2"), "[a]");
    assert_eq!(bench.run("smembers s"), "~[a]");
    assert_eq!(bench.run("spop s 2"), "~[a]");
}

#[test]
fn the_head_tells_sets_of_integers() {
    let mut bench = Bench::new();
    let mut is_plain = |commands: &str| {
        commands.split(';').for_each(|command| drop(bench.run(command)));
        bench.server.keys.begin(1_000);
        let of = bench.server.keys.collection(0, b"s", Kind::Set).expect("a set").expect("a set");
        !of.head.has(Head::NOT_INTEGERS)
    };
    assert!(is_plain("sadd s 1 -5 9223372036854775807"));
    assert!(!is_plain("sadd s 01"));
    assert!(!is_plain("srem s 01"));
    assert!(is_plain("del s;sadd t 1;sadd u 2;sunionstore s t u"));
    assert!(!is_plain("sadd u 1e3;sunionstore s t u"));
    assert!(!is_plain("del s;sadd s 9223372036854775808"));
}

#[test]
fn large_sets_are_combined_by_walks_and_by_looks() {
    let mut bench = Bench::new();
    for i in 0..300 {
        bench.run(&format!("sadd all {i}"));
        if i % 3 == 0 {
            bench.run(&format!("sadd third {i}"));
        }
    }
    bench.run("sadd few 3 4 6 1000");
    assert_eq!(bench.run("sinter all few third"), "[3 6]");
    assert_eq!(bench.run("sdiff few third all"), "[1000]");
    assert_eq!(bench.run("sdiff few third"), "[1000 4]");
    assert_eq!(bench.run("sintercard 2 all third"), ":100");
    assert_eq!(bench.run("sdiffstore rest all third"), ":200");
    assert_eq!(bench.run("sinterstore rest rest third"), ":0");
}
