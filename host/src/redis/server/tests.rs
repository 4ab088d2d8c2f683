//! What clients see of each other.

use std::net::IpAddr;
use std::sync::Arc;

use nokv_vfs_mem::MemFs;

use super::client::{ClientRef, Close};
use crate::db::{Db, Options};
use crate::redis::config::{OutputLimit, SyncPolicy};
use crate::redis::resp::reply::Protocol;
use crate::redis::store::embedded::Embedded;
use crate::redis::store::keyspace::Keyspace;
use crate::redis::testing::{Bench, replies};

/// A client that waits.
fn waiting(bench: &mut Bench, command: &str) -> ClientRef {
    let client = bench.connect();
    assert_eq!(bench.run_as(&client, command), "");
    assert!(client.borrow().blocked.is_some());
    client
}

/// A client that listens.
fn listening(bench: &mut Bench, command: &str) -> ClientRef {
    let client = bench.connect();
    bench.run_as(&client, command);
    client
}

fn id(client: &ClientRef) -> u64 {
    client.borrow().id
}

#[test]
fn an_element_does_not_go_to_a_client_that_was_killed() {
    let mut bench = Bench::new();
    let killed = waiting(&mut bench, "blpop q 0");
    let next = waiting(&mut bench, "blpop q 0");
    assert_eq!(bench.run(&format!("client kill id {}", id(&killed))), ":1");
    assert_eq!(bench.run("rpush q x y"), ":2");
    assert_eq!((replies(&killed), replies(&next)), (String::new(), "[q x]".to_owned()));
    assert_eq!(bench.run("lrange q 0 -1"), "[y]");

    bench.run("del q");
    let killed = waiting(&mut bench, "brpoplpush q r 0");
    bench.run("multi");
    bench.run(&format!("client kill id {}", id(&killed)));
    bench.run("rpush q x");
    assert_eq!(bench.run("exec"), "[:1 :1]");
    assert_eq!(bench.run("lrange q 0 -1"), "[x]");
    assert!(bench.server.state.common.waiting.is_empty());
}

#[test]
fn an_element_does_not_go_to_a_client_over_its_limits() {
    let mut bench = Bench::new();
    let limit = OutputLimit { hard: 200, ..OutputLimit::default() };
    let mut limits = bench.server.state.common.output.get();
    limits.pubsub = limit;
    bench.server.state.common.output.set(limits);
    let slow = bench.connect();
    slow.borrow_mut().protocol = Protocol::V3;
    bench.run_as(&slow, "subscribe c");
    assert_eq!(bench.run_as(&slow, "blpop q 0"), "");
    assert_eq!(bench.run(&format!("publish c {}", "m".repeat(200))), ":1");
    assert_eq!(slow.borrow().close, Some(Close::Now));
    assert_eq!(bench.run("rpush q x"), ":1");
    assert_eq!(bench.run("llen q"), ":1");

    let large = waiting(&mut bench, "blpop p 0");
    large.borrow_mut().query_bytes = 10_000;
    bench.server.state.config.clients_bytes_max = 5_000;
    bench.server.state.look_at_clients();
    assert_eq!(large.borrow().close, Some(Close::Now));
    assert_eq!(bench.run("rpush p x"), ":1");
    assert_eq!(bench.run("llen p"), ":1");
    assert!(bench.server.state.common.waiting.is_empty());
}

#[test]
fn with_always_all_that_tells_of_a_write_waits_for_its_sync() {
    let mut bench = Bench::new();
    bench.run("config set notify-keyspace-events KEA");
    let events = listening(&mut bench, "psubscribe __key*");
    let messages = listening(&mut bench, "subscribe c");
    let monitor = listening(&mut bench, "monitor");
    let waits = waiting(&mut bench, "blpop q 0");
    let clients = [&events, &messages, &monitor, &waits];
    let needs = |client: &ClientRef| std::mem::take(&mut client.borrow_mut().needs_durable);
    let seq = |bench: &mut Bench| bench.server.keys.txn().backend().seq();
    bench.run("set k v");
    assert_eq!(clients.map(needs), [0; 4], "nothing waits without `always`");

    bench.server.state.config.sync = SyncPolicy::Always;
    bench.run("set k w");
    let written = seq(&mut bench);
    assert_eq!([&events, &monitor].map(needs), [written, 0]);
    bench.run("publish c m");
    assert_eq!(needs(&messages), written);
    bench.run("rpush q x");
    let served = seq(&mut bench);
    assert!(served > written);
    assert_eq!(needs(&waits), served);
    // An error tells of what is stored, too.
    let reader = bench.connect();
    assert!(bench.run_as(&reader, "incr k").starts_with("-ERR value is not"));
    assert_eq!(needs(&reader), served);
}

#[test]
fn messages_of_a_transaction_stand_in_their_place_among_its_events() {
    let mut bench = Bench::new();
    bench.run("config set notify-keyspace-events E$g");
    let listener = listening(&mut bench, "psubscribe *");
    let shard = listening(&mut bench, "ssubscribe s");
    bench.script(
        "
        > multi
        +OK
        > set k v
        +QUEUED
        > publish c m
        +QUEUED
        > spublish s n
        +QUEUED
        > publish nobody-but-the-pattern n
        +QUEUED
        > del k
        +QUEUED
        > exec
        [+OK :1 :1 :1 :1]
        ",
    );
    assert_eq!(
        replies(&listener),
        "[pmessage * __keyevent@0__:set k] [pmessage * c m] [pmessage * nobody-but-the-pattern n] \
         [pmessage * __keyevent@0__:del k]"
    );
    assert_eq!(replies(&shard), "[smessage s n]");
}

#[test]
fn messages_of_a_transaction_that_is_refused_are_not_told() {
    let mut bench = Bench::new();
    let options = Options { max_batch_bytes: 50_000, ..Options::new("small") };
    let db = Db::open_on(MemFs::new(), options).expect("a database");
    bench.server.keys =
        Keyspace::open(Arc::new(Embedded::new(db).expect("the families")), 1_000).expect("the keys");
    let listener = listening(&mut bench, "subscribe c");
    for command in ["multi", "publish c m", &format!("set k {}", "v".repeat(100_000))] {
        bench.run(command);
    }
    assert!(bench.run("exec").starts_with("-ERR the changes of this command, or transaction"));
    assert_eq!(bench.run("exists k"), ":0");
    assert_eq!(replies(&listener), "");
    // Nor with the next one that is not.
    bench.run("set k v");
    assert_eq!(replies(&listener), "");
}

#[test]
fn who_waits_is_served_from_the_key_that_was_written_first() {
    for (command, writes, expected) in [
        ("blpop x x y 0", ["rpush y 1", "rpush x 2"], "[y 1]"),
        ("brpop x y 0", ["rpush y 1", "rpush x 2"], "[y 1]"),
        ("blmpop 0 2 x y left", ["rpush y 1", "rpush x 2"], "[y [1]]"),
        ("bzpopmin x y 0", ["zadd y 1 a", "zadd x 2 b"], "[y a 1]"),
        ("bzmpop 0 2 x y min", ["zadd y 1 a", "zadd x 2 b"], "[y [[a 1]]]"),
        ("blpop x y 0", ["rpush x 2", "rpush y 1"], "[x 2]"),
    ] {
        let mut bench = Bench::new();
        let client = waiting(&mut bench, command);
        bench.run("multi");
        writes.iter().for_each(|write| drop(bench.run(write)));
        assert_eq!(bench.run("exec"), "[:1 :1]");
        assert_eq!(replies(&client), expected, "{command}");
        assert_eq!(bench.run("dbsize"), ":1", "{command}");
    }
}

#[test]
fn a_reply_that_is_skipped_is_skipped_also_when_it_comes_late() {
    let mut bench = Bench::new();
    let client = bench.connect();
    for command in ["client reply skip", "blpop q 0"] {
        assert_eq!(bench.run_as(&client, command), "");
    }
    assert_eq!(bench.run("rpush q x"), ":1");
    assert_eq!(replies(&client), "");
    assert_eq!(bench.run("llen q"), ":0");
    assert_eq!(bench.run_as(&client, "ping"), "+PONG");

    // One that gives up is not told, either; nor one that need not wait.
    for command in ["client reply skip", "blpop q 5"] {
        assert_eq!(bench.run_as(&client, command), "");
    }
    assert!(bench.server.state.stop_waiting(&client, None));
    assert_eq!(replies(&client), "");
    bench.run("rpush q y z");
    for command in ["client reply skip", "blpop q 0"] {
        assert_eq!(bench.run_as(&client, command), "");
    }
    assert_eq!(bench.run_as(&client, "blpop q 0"), "[q z]");
}

#[test]
fn who_listens_to_what_his_user_may_not_hear_any_more_is_let_go() {
    let mut bench = Bench::new();
    bench.run("acl setuser bob on nopass ~* &* +@all");
    let as_bob = |bench: &mut Bench, command: &str| {
        let client = bench.connect();
        client.borrow_mut().protocol = Protocol::V3;
        assert_eq!(bench.run_as(&client, "auth bob x"), "+OK");
        bench.run_as(&client, command);
        client
    };
    let lost = as_bob(&mut bench, "subscribe a1 b1");
    let lost_pattern = as_bob(&mut bench, "psubscribe a1");
    let lost_shard = as_bob(&mut bench, "ssubscribe b1");
    let kept = as_bob(&mut bench, "subscribe a1 a2");
    let kept_pattern = as_bob(&mut bench, "psubscribe a*");
    let silent = as_bob(&mut bench, "ping");
    let other = listening(&mut bench, "subscribe b1");
    let me = as_bob(&mut bench, "subscribe b1");
    assert_eq!(bench.run_as(&me, "acl setuser bob resetchannels &a*"), "+OK");
    let closed = |clients: &[&ClientRef]| clients.iter().map(|c| c.borrow().close).collect::<Vec<_>>();
    assert_eq!(closed(&[&lost, &lost_pattern, &lost_shard]), [Some(Close::Now); 3]);
    assert_eq!(closed(&[&kept, &kept_pattern, &silent, &other]), [None; 4]);
    assert_eq!(closed(&[&me]), [Some(Close::AfterReplies)], "it reads the reply first");
    bench.run("publish b1 m");
    assert_eq!([&lost, &lost_shard, &me].map(replies), ["", "", ""]);
    assert_eq!(replies(&other), "[message b1 m]");

    assert_eq!(bench.run("acl deluser bob"), ":1");
    assert_eq!(closed(&[&kept, &kept_pattern, &silent]), [Some(Close::Now); 3]);
}

#[test]
fn other_machines_are_kept_out_while_nobody_needs_a_password() {
    let mut bench = Bench::new();
    let refused = |bench: &Bench, peer: &str, is_known| {
        let peer: IpAddr = peer.parse().expect("an address");
        bench.server.state.refusal(peer, is_known).is_some()
    };
    let ours = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"];
    let others = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"];
    let open = |bench: &Bench| {
        assert!(ours.iter().all(|peer| !refused(bench, peer, false)));
        let all: Vec<bool> = others.iter().map(|peer| refused(bench, peer, false)).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        !all[0]
    };
    assert!(!open(&bench));
    assert!(!refused(&bench, others[0], true), "it has shown a certificate");
    bench.run("config set requirepass p");
    assert!(open(&bench));
    bench.run("config set requirepass ''");
    assert!(!open(&bench));
    bench.run("acl setuser default off");
    assert!(open(&bench));
    bench.run("acl setuser default on");
    assert!(bench.run("config set protected-mode no").contains("immutable"));
    assert!(!open(&bench));
    let text = bench.server.state.refusal(IpAddr::from([192, 0, 2, 1]), false).expect("a refusal");
    assert!(text.starts_with(b"-DENIED Redis is running in protected mode") && text.ends_with(b".\r\n"));
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    bench.server.state.config.is_protected = false;
    assert!(open(&bench));
}

#[test]
fn what_is_watched_heard_and_waited_for_counts() {
    const LONG: usize = 10_000;
    let long = "n".repeat(LONG);
    let mut bench = Bench::new();
    for (take, times, give_back) in [
        (format!("watch {long}"), 1, "unwatch"),
        (format!("watch {long}"), 1, "reset"),
        (format!("subscribe {long} {long}"), 2, "unsubscribe"),
        (format!("psubscribe {long}"), 2, "punsubscribe"),
        (format!("ssubscribe {long}"), 2, "sunsubscribe"),
        (format!("subscribe {long}"), 2, "reset"),
        (format!("blpop {long} 0"), 3, ""),
    ] {
        let client = bench.connect();
        client.borrow_mut().protocol = Protocol::V3;
        bench.run_as(&client, &take);
        bench.run_as(&client, &take);
        let bytes = client.borrow().bytes();
        assert!((times * LONG..times * LONG + 300).contains(&bytes), "{bytes}: {times} times {LONG}");
        bench.server.state.config.clients_bytes_max = times * LONG - 1;
        if give_back.is_empty() {
            bench.server.state.stop_waiting(&client, None);
            replies(&client);
        } else {
            bench.run_as(&client, give_back);
        }
        assert_eq!(client.borrow().bytes(), 0, "{give_back}");
        // It is the one that goes.
        bench.run_as(&client, &take);
        bench.server.state.look_at_clients();
        assert_eq!(client.borrow().close, Some(Close::Now));
        bench.server.forget(&client);
        assert_eq!(bench.server.state.clients_bytes, 0);
    }
}
