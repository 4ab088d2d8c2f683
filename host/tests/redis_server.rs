//! The Redis server over sockets: limits, access, messages, the end.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nokv::redis::store::embedded::Embedded;
use nokv::redis::{Bound, Config, ServeError, conf_file};
use nokv::{Db, Options};
use nokv_vfs_mem::MemFs;

struct Server {
    at: SocketAddr,
    db: Db<MemFs>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

fn server(conf: &str) -> Server {
    let mut config = Config { port: 0, ..Config::default() };
    conf_file::read(conf, &mut config).expect("settings");
    let db = Db::open_on(MemFs::new(), Options::new("db")).expect("a database");
    let bound = Bound::bind(Arc::new(Embedded::new(db.clone()).expect("families")), config).expect("a port");
    let at = bound.local_addrs()[0];
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || bound.run(stopped));
    Server { at, db, stop: Some(stop), thread: Some(thread) }
}

impl Server {
    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("a good end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

struct Client(TcpStream);

impl Server {
    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.at).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Client(stream)
    }

    /// Asks until the answer is this one.
    fn until(&self, command: &str, is_it: impl Fn(&str) -> bool) {
        let mut client = self.client();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = client.ask(command);
            if is_it(&answer) {
                return;
            }
            assert!(Instant::now() < end, "{command}: {answer}");
            std::thread::yield_now();
        }
    }
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever is refused may be gone.
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// A line, without its end; empty if the connection has ended.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => line.push(byte[0]),
                _ => return String::new(),
            }
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// A whole reply; its parts with blanks between them.
    fn reply(&mut self) -> String {
        let line = self.line();
        let (mark, rest) = line.split_at(line.len().min(1));
        let count = || rest.parse::<i64>().unwrap_or(0);
        match mark {
            "$" | "=" if count() < 0 => "nil".to_owned(),
            "$" | "=" => {
                let mut bytes = vec![0; count() as usize + 2];
                self.0.read_exact(&mut bytes).expect("a bulk");
                String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
            }
            "*" | "~" | ">" | "%" if count() >= 0 => {
                let parts = if mark == "%" { 2 * count() } else { count() };
                let parts: Vec<String> = (0..parts).map(|_| self.reply()).collect();
                parts.join(" ")
            }
            "*" | "_" => "nil".to_owned(),
            ":" | "+" => rest.to_owned(),
            _ => line,
        }
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    fn is_gone(&mut self) -> bool {
        self.0.read_to_end(&mut Vec::new()).is_ok() || self.0.read(&mut [0]).is_err()
    }
}

#[test]
fn a_stranger_may_send_little_and_one_over_ends_the_connection() {
    let server = server("requirepass secret");
    let words = |count: usize, bytes: usize| {
        let word = format!("${bytes}\r\n{}\r\n", "x".repeat(bytes));
        format!("*{count}\r\n{}", word.repeat(count))
    };
    let mut client = server.client();
    client.send(words(10, 1));
    assert!(client.reply().starts_with("-ERR unknown command"));
    client.send(words(1, 16 << 10));
    assert!(client.reply().starts_with("-ERR unknown command"));
    assert_eq!(client.ask("get a"), "-NOAUTH Authentication required.");
    assert!(client.ask("hello 3").starts_with("-NOAUTH HELLO must be called"));
    assert!(client.ask("auth wrong").starts_with("-WRONGPASS"));
    assert_eq!(client.ask("auth secret"), "OK");
    client.send(words(11, 1));
    assert!(client.reply().starts_with("-ERR unknown command"));
    for (request, what) in [
        ("*11\r\n".to_owned(), "-ERR Protocol error: unauthenticated multibulk length"),
        ("*1\r\n$16385\r\n".to_owned(), "-ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.reply(), what);
        assert!(client.is_gone());
    }
}

#[test]
fn headers_of_large_requests_take_nothing() {
    let server = server("");
    let mut waiting: Vec<Client> = (0..20).map(|_| server.client()).collect();
    waiting.iter_mut().for_each(|client| client.send("*1048576\r\n$536870912\r\n"));
    server.until("info clients", |info| info.contains("connected_clients:21"));
    server.until("info memory", |info| {
        let line = info.lines().find_map(|line| line.strip_prefix("mem_clients_normal:"));
        line.and_then(|bytes| bytes.trim().parse::<u64>().ok())
            .is_some_and(|bytes| (400..2000).contains(&bytes))
    });
    for (request, what) in [
        ("*1048577\r\n", "-ERR Protocol error: invalid multibulk length"),
        ("*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length"),
    ] {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.reply(), what);
        assert!(client.is_gone());
    }
}

#[test]
fn a_transaction_and_a_command_are_bounded_by_the_query_buffer() {
    let server = server("client-query-buffer-limit 1mb");
    let value = "x".repeat(300_000);
    let set = format!("*3\r\n$3\r\nset\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len());
    let mut client = server.client();
    assert_eq!(client.ask("multi"), "OK");
    for _ in 0..3 {
        client.send(&set);
        assert_eq!(client.reply(), "QUEUED");
    }
    assert_eq!(client.ask("discard"), "OK");
    assert_eq!(client.ask("multi"), "OK");
    for _ in 0..3 {
        client.send(&set);
        assert_eq!(client.reply(), "QUEUED");
    }
    client.send(&set);
    assert!(client.is_gone());
    let mut client = server.client();
    client.send("*2\r\n$3\r\nget\r\n$2000000\r\n");
    client.send(vec![b'x'; 2_000_000]);
    assert!(client.is_gone());
}

#[test]
fn a_subscriber_that_does_not_read_goes_and_others_are_served() {
    let server = server("client-output-buffer-limit pubsub 1mb 0 0");
    let mut slow = server.client();
    assert_eq!(slow.ask("subscribe c"), "subscribe c 1");
    let mut client = server.client();
    let publish = format!("*3\r\n$7\r\npublish\r\n$1\r\nc\r\n$100000\r\n{}\r\n", "m".repeat(100_000));
    let mut told = 0;
    loop {
        client.send(&publish);
        if client.reply() != "1" {
            break;
        }
        told += 1;
        assert!(told < 2000, "it is still there");
    }
    assert!(told >= 10);
    assert_eq!(client.ask("ping"), "PONG");
}

#[test]
fn a_client_that_does_not_read_its_replies_waits_with_bounded_memory() {
    let server = server("");
    let mut client = server.client();
    let value = "x".repeat(100_000);
    client.send(format!("*3\r\n$3\r\nset\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len()));
    assert_eq!(client.reply(), "OK");
    client.send("get k\r\n".repeat(1000));
    let most = |info: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix("client_recent_max_output_buffer:"));
        line.and_then(|bytes| bytes.trim().parse::<usize>().ok()).unwrap_or(usize::MAX)
    };
    server.until("info clients", |info| most(info) > 100_000);
    server.until("info clients", |info| {
        assert!(most(info) < (1 << 20) + 300_000, "{}", most(info));
        true
    });
    for _ in 0..1000 {
        assert_eq!(client.reply().len(), value.len());
    }
}

#[test]
fn connections_are_bounded() {
    let server = server("maxclients 2");
    let (mut one, _two) = (server.client(), server.client());
    assert_eq!(one.ask("ping"), "PONG");
    let mut third = server.client();
    assert_eq!(third.line(), "-ERR max number of clients reached");
}

#[test]
fn other_machines_are_refused_without_a_password() {
    let bind = |conf: &str| {
        let mut config = Config { port: 0, ..Config::default() };
        conf_file::read(conf, &mut config).expect("settings");
        let db = Db::open_on(MemFs::new(), Options::new("db")).expect("a database");
        Bound::bind(Arc::new(Embedded::new(db).expect("families")), config)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    let refused = bind("bind 0.0.0.0").expect_err("a refusal");
    assert!(refused.contains("requirepass"), "{refused}");
    assert_eq!(bind("bind 0.0.0.0\nprotected-mode no"), Ok(()));
    assert_eq!(bind("bind 0.0.0.0\nrequirepass p"), Ok(()));
    assert!(bind("bind 0.0.0.0\nrequirepass p\nuser bob on nopass ~* +@all").is_err());
    assert!(bind("tls-port 1").is_err());
}

#[test]
fn users_may_do_what_their_rules_say() {
    let server = server("user bob on >p ~a* &c* +@all -@dangerous\n");
    let mut bob = server.client();
    assert_eq!(bob.ask("auth bob p"), "OK");
    assert_eq!(bob.ask("acl whoami"), "bob");
    assert_eq!(bob.ask("set a1 x"), "OK");
    assert_eq!(bob.ask("set b x"), "-NOPERM No permissions to access a key");
    assert_eq!(bob.ask("publish d x"), "-NOPERM No permissions to access a channel");
    assert_eq!(
        bob.ask("config get a"),
        "-NOPERM User bob has no permissions to run the 'config|get' command"
    );
    // What is queued is checked again when it runs.
    assert_eq!(bob.ask("multi"), "OK");
    assert_eq!(bob.ask("set a1 y"), "QUEUED");
    let mut root = server.client();
    assert_eq!(root.ask("acl setuser bob -set"), "OK");
    assert!(bob.ask("exec").contains("NOPERM"));
    assert_eq!(root.ask("get a1"), "x");
    assert!(root.ask("acl log").contains("config|get"));
    assert_eq!(root.ask("acl deluser bob"), "1");
    assert!(bob.is_gone());
}

#[test]
fn messages_and_events_arrive_in_both_protocols() {
    let server = server("notify-keyspace-events KEA");
    let (mut two, mut three, mut client) = (server.client(), server.client(), server.client());
    assert_eq!(two.ask("psubscribe __key*"), "psubscribe __key* 1");
    assert!(three.ask("hello 3").starts_with("server redis"));
    three.send("subscribe __keyevent@0__:set\r\n");
    assert_eq!(three.line(), ">3");
    assert_eq!([three.reply(), three.reply(), three.reply()], ["subscribe", "__keyevent@0__:set", "1"]);
    assert_eq!(client.ask("set k v"), "OK");
    assert_eq!(two.reply(), "pmessage __key* __keyspace@0__:k set");
    assert_eq!(two.reply(), "pmessage __key* __keyevent@0__:set k");
    assert_eq!(three.reply(), "message __keyevent@0__:set k");
    assert!(two.ask("get k").starts_with("-ERR Can't execute 'get'"));
    assert_eq!(three.ask("get k"), "v");
    assert_eq!(two.ask("ping"), "pong ");
    assert_eq!(two.ask("reset"), "RESET");
    assert_eq!(two.ask("get k"), "v");
    assert_eq!(client.ask("pubsub numpat"), "0");
}

#[test]
fn a_pause_holds_writes_up() {
    let server = server("");
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.ask("client pause 100000 write"), "OK");
    assert_eq!(two.ask("get k"), "nil");
    two.send("set k v\r\nget k\r\n");
    assert_eq!(one.ask("get k"), "nil");
    assert_eq!(one.ask("client unpause"), "OK");
    assert_eq!((two.reply(), two.reply()), ("OK".to_owned(), "v".to_owned()));
}

#[test]
fn a_client_that_sent_much_while_it_waits_is_missed_when_it_goes() {
    let server = server("");
    let set = format!("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$3000000\r\n{}\r\n", "x".repeat(3_000_000));
    let mut blocked = server.client();
    blocked.send("blpop q 0\r\n");
    server.until("info clients", |info| info.contains("blocked_clients:1"));
    blocked.send(&set);
    drop(blocked);
    server.until("info clients", |info| info.contains("blocked_clients:0"));
    let mut client = server.client();
    assert_eq!(client.ask("rpush q v"), "1");
    assert_eq!(client.ask("llen q"), "1");

    // So is one that CLIENT PAUSE holds up.
    assert_eq!(client.ask("client pause 1000000 write"), "OK");
    let mut paused = server.client();
    assert_eq!(paused.ask("client setname paused"), "OK");
    paused.send("set a b\r\n");
    paused.send(&set);
    drop(paused);
    server.until("client list", |list| !list.contains("name=paused"));
    assert_eq!(client.ask("client unpause"), "OK");
    assert_eq!(client.ask("exists a k"), "0");
}

#[test]
fn what_a_client_sends_while_it_waits_counts_and_is_served_afterwards() {
    let server = server("client-query-buffer-limit 2mb");
    let mut client = server.client();
    let mut waits = server.client();
    waits.send("blpop q 0\r\n");
    waits.send(format!("rpush list {}\r\n", "x".repeat(70)).repeat(20_000));
    server.until("client list", |list| {
        let sizes = list.split(' ').filter_map(|field| field.strip_prefix("tot-mem=")?.parse::<u64>().ok());
        sizes.max() > Some(83 * 20_000)
    });
    assert_eq!(client.ask("exists list"), "0");
    assert_eq!(client.ask("rpush q v"), "1");
    assert_eq!(waits.reply(), "q v");
    assert!((1..=20_000).all(|n| waits.reply() == n.to_string()));
    waits.send("blpop q 0\r\n");
    waits.send("ping\r\n".repeat(400_000));
    assert!(waits.is_gone());
    assert_eq!(client.ask("rpush q v"), "1");
    assert_eq!(client.ask("llen q"), "1");
}

#[test]
fn replies_are_left_out_and_names_are_checked() {
    let server = server("");
    let mut client = server.client();
    client.send("client reply skip\r\nset a 1\r\nget a\r\n");
    assert_eq!(client.reply(), "1");
    client.send("client reply off\r\nping\r\nclient reply on\r\n");
    assert_eq!(client.reply(), "OK");
    assert!(client.ask("client setname \"a b\"").starts_with("-ERR Client names"));
    assert_eq!(client.ask("client setinfo lib-name x"), "OK");
    assert!(client.ask("client list").contains("lib-name=x"));
    assert!(client.ask("client no-evict maybe").starts_with("-ERR syntax"));
}

#[test]
fn the_statistics_have_the_counters_and_the_end_is_clean() {
    let mut server = server("");
    let mut client = server.client();
    assert_eq!(client.ask("set a 1"), "OK");
    assert!(client.ask("nonsense").starts_with("-ERR unknown"));
    let end = Instant::now() + Duration::from_secs(20);
    while server.db.stats().redis.errors_total == 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    let stats = server.db.stats().redis;
    assert_eq!((stats.commands_total, stats.connections_active), (1, 1));
    assert_eq!(stats.commands_per_operation.get("set"), Some(&1));
    client.send("shutdown\r\n");
    assert!(client.is_gone());
    server.end();
    assert_eq!(server.db.get(b"a").expect("a read").as_deref(), Some(&b"1"[..]));
}
