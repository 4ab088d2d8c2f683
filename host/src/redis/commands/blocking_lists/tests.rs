use crate::redis::testing::{Bench, replies};

/// A client that waits.
fn waiting(bench: &mut Bench, command: &str) -> crate::redis::server::client::ClientRef {
    let client = bench.connect();
    assert_eq!(bench.run_as(&client, command), "");
    assert!(client.borrow().blocked.is_some());
    client
}

#[test]
fn first_come_first_served() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..3).map(|_| waiting(&mut bench, "blpop l 0")).collect();
    assert_eq!(bench.run("rpush l a b"), ":2");
    assert_eq!(replies(&clients[0]), "[l a]");
    assert_eq!(replies(&clients[1]), "[l b]");
    assert_eq!(replies(&clients[2]), "");
    assert_eq!(bench.run("exists l"), ":0");
    bench.run("rpush l c d");
    assert_eq!(replies(&clients[2]), "[l c]");
    assert_eq!(bench.run("lrange l 0 -1"), "[d]");
    assert!(bench.server.state.common.waiting.is_empty());
}

#[test]
fn who_finds_nothing_keeps_its_place() {
    let mut bench = Bench::new();
    let first = waiting(&mut bench, "blpop k1 k2 0");
    let second = waiting(&mut bench, "blpop k2 0");
    bench.script(
        "
        > set k1 x
        +OK
        > del k1
        :1
        > sadd k1 x
        :1
        > del k1
        :1
        > rpush k2 a
        :1
        ",
    );
    assert_eq!(replies(&first), "[k2 a]");
    assert_eq!(replies(&second), "");
    bench.run("rpush k2 b");
    assert_eq!(replies(&second), "[k2 b]");
}

#[test]
fn elements_go_on_through_a_chain() {
    let mut bench = Bench::new();
    let last = waiting(&mut bench, "brpop c 0");
    let middle = waiting(&mut bench, "brpoplpush b c 0");
    let first = waiting(&mut bench, "blmove a b left right 0");
    assert_eq!(bench.run("rpush a x"), ":1");
    assert_eq!(replies(&first), "x");
    assert_eq!(replies(&middle), "x");
    assert_eq!(replies(&last), "[c x]");
    assert_eq!(bench.run("dbsize"), ":0");
}

#[test]
fn a_transaction_is_over_before_anyone_is_served() {
    let mut bench = Bench::new();
    let client = waiting(&mut bench, "blmpop 0 2 k l left count 2");
    bench.script(
        "
        > multi
        +OK
        > rpush l a
        +QUEUED
        > del l
        +QUEUED
        > exec
        [:1 :1]
        ",
    );
    assert_eq!(replies(&client), "");
    bench.script(
        "
        > multi
        +OK
        > rpush l b c
        +QUEUED
        > lpush l a
        +QUEUED
        > blpop none 0
        +QUEUED
        > blmove none l left left 0
        +QUEUED
        > exec
        [:2 :3 nil nil]
        ",
    );
    assert_eq!(replies(&client), "[l [a b]]");
    assert_eq!(bench.run("lrange l 0 -1"), "[c]");
}

#[test]
fn a_target_of_another_type_is_an_error_and_takes_nothing() {
    let mut bench = Bench::new();
    bench.run("set t x");
    let first = waiting(&mut bench, "brpoplpush l t 0");
    let second = waiting(&mut bench, "brpoplpush l u 0");
    bench.run("rpush l a");
    assert_eq!(replies(&first), "-WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_eq!(replies(&second), "a");
    assert_eq!(bench.run("lrange u 0 -1"), "[a]");
}

#[test]
fn who_goes_or_gives_up_is_not_served() {
    let mut bench = Bench::new();
    let gone = waiting(&mut bench, "blpop l 0");
    let tired = waiting(&mut bench, "blmove l m left left 5");
    let last = waiting(&mut bench, "blpop l 0");
    bench.server.forget(&gone);
    assert!(bench.server.state.stop_waiting(&tired, None));
    assert_eq!(replies(&tired), "nil");
    bench.run("rpush l a");
    assert_eq!(replies(&last), "[l a]");
    assert!(bench.server.state.common.waiting.is_empty());
}

#[test]
fn timeouts_are_numbers_of_seconds() {
    Bench::new().script(
        "
        > blpop l x
        -ERR timeout is not a float or out of range
        > blpop l nan
        -ERR timeout is not a float or out of range
        > blpop l -0.1
        -ERR timeout is negative
        > brpoplpush l m 1e300
        -ERR timeout is out of range
        > blmove l m left left inf
        -ERR timeout is out of range
        > blmpop -1 1 l left
        -ERR timeout is negative
        > rpush l a b
        :2
        > brpop l 1.5
        [l b]
        > brpoplpush l m 0
        a
        > blmpop 0 1 m left
        [m [a]]
        ",
    );
}
