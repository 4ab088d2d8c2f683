//! Many clients that wait for keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nokv::redis::Config;
use nokv_tests::redis::oracle::OurRedis;
use nokv_tests::redis::wire::{Client, Wire};

fn client(at: SocketAddr) -> Client {
    Client::connect(at).expect("a connection")
}

fn call(client: &mut Client, line: &str) -> Wire {
    client.call(line).expect("a reply")
}

/// Sends a command whose answer comes later.
fn ask(client: &mut Client, line: &str) {
    let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    client.push(&words);
    client.send().expect("sent");
}

/// Returns when so many clients wait.
fn until_waiting(client: &mut Client, count: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    let wanted = format!("blocked_clients:{count}\r\n");
    loop {
        let Wire::Bulk(info) = call(client, "INFO clients") else { panic!("no INFO") };
        if String::from_utf8_lossy(&info).contains(&wanted) {
            return;
        }
        assert!(Instant::now() < end, "not {count} clients wait: {}", info.escape_ascii());
        std::thread::yield_now();
    }
}

/// Clients that wait with this command, in the order of the list.
fn waiting(at: SocketAddr, control: &mut Client, count: usize, line: &str) -> Vec<Client> {
    (0..count)
        .map(|n| {
            let mut waiter = client(at);
            ask(&mut waiter, line);
            until_waiting(control, n + 1);
            waiter
        })
        .collect()
}

fn numbers(count: usize) -> String {
    (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}

fn next(client: &mut Client) -> String {
    client.read().expect("a reply").show()
}

#[test]
fn who_came_first_is_served_first() {
    let server = OurRedis::start(Config::default());
    let mut control = client(server.at());
    // By one push, and by a push for each.
    let mut waiters = waiting(server.at(), &mut control, 300, "BLPOP none q 0");
    assert_eq!(call(&mut control, &format!("RPUSH q {}", numbers(200))), Wire::Int(200));
    for n in 200..300 {
        assert_eq!(call(&mut control, &format!("RPUSH q {n}")), Wire::Int(1));
    }
    for (n, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(next(waiter), format!("*[\"q\" \"{n}\"]"));
    }
    until_waiting(&mut control, 0);
    assert_eq!(call(&mut control, "EXISTS q"), Wire::Int(0));

    // In a transaction they are served at its end.
    let mut waiters = waiting(server.at(), &mut control, 10, "BZPOPMIN z 0");
    for line in ["MULTI", "ZADD z 5 five", "ZADD z 1 one", "ZREM z five", "EXEC"] {
        call(&mut control, line);
    }
    assert_eq!(next(&mut waiters[0]), "*[\"z\" \"one\" \"1\"]");
    assert_eq!(call(&mut control, "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i"), Wire::Int(9));
    for (n, waiter) in waiters[1..].iter_mut().enumerate() {
        let member = char::from(b'a' + n as u8);
        assert_eq!(next(waiter), format!("*[\"z\" \"{member}\" \"{}\"]", n + 1));
    }

    // From one to the next.
    let mut waiters: Vec<Client> = (0..50).map(|_| client(server.at())).collect();
    for (n, waiter) in waiters.iter_mut().enumerate() {
        ask(waiter, &format!("BLMOVE l{n} l{} LEFT RIGHT 0", n + 1));
    }
    until_waiting(&mut control, 50);
    assert_eq!(call(&mut control, "RPUSH l0 x"), Wire::Int(1));
    for waiter in &mut waiters {
        assert_eq!(next(waiter), "\"x\"");
    }
    assert_eq!(call(&mut control, "LRANGE l50 0 -1").show(), "*[\"x\"]");
    assert_eq!(call(&mut control, "DBSIZE"), Wire::Int(1));
}

#[test]
fn who_waits_too_long_is_told_in_time() {
    let server = OurRedis::start(Config::default());
    let mut control = client(server.at());
    let started = Instant::now();
    let mut waiters: Vec<Client> = (0..200).map(|_| client(server.at())).collect();
    for (n, waiter) in waiters.iter_mut().enumerate() {
        let line = ["BLPOP q 0.3", "BRPOP q p 0.3", "BZPOPMAX z 0.3", "BLMOVE q p LEFT LEFT 0.3"][n % 4];
        ask(waiter, line);
    }
    let sent = started.elapsed();
    for waiter in &mut waiters {
        assert_eq!(waiter.read().expect("a reply"), Wire::Nil);
    }
    let waited = started.elapsed();
    eprintln!("200 clients with 0.3 s: sent within {sent:?}, all told after {waited:?}");
    assert!(waited >= Duration::from_millis(300) && waited < sent + Duration::from_secs(10), "{waited:?}");
    until_waiting(&mut control, 0);
    // Nothing waits any more: what comes now stays.
    assert_eq!(call(&mut control, "RPUSH q a"), Wire::Int(1));
    assert_eq!(call(&mut control, "LLEN q"), Wire::Int(1));
    // Whoever was told goes on.
    assert_eq!(call(&mut waiters[0], "BLPOP q 0.3").show(), "*[\"q\" \"a\"]");
}

#[test]
fn who_goes_while_it_waits_gets_nothing_and_takes_nothing() {
    let server = OurRedis::start(Config::default());
    let mut control = client(server.at());
    let waiters = waiting(server.at(), &mut control, 100, "BLPOP q 0");
    // Every other one goes.
    let mut rest: Vec<Client> =
        waiters.into_iter().enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, w)| w).collect();
    until_waiting(&mut control, 50);
    call(&mut control, &format!("RPUSH q {}", numbers(60)));
    for (n, waiter) in rest.iter_mut().enumerate() {
        assert_eq!(next(waiter), format!("*[\"q\" \"{n}\"]"));
    }
    assert_eq!(call(&mut control, "LLEN q"), Wire::Int(10));
    // One that is woken by CLIENT UNBLOCK, and one that is killed.
    let mut two: Vec<Client> = (0..2).map(|_| client(server.at())).collect();
    let ids: Vec<Wire> = two.iter_mut().map(|client| call(client, "CLIENT ID")).collect();
    two.iter_mut().for_each(|client| ask(client, "BLPOP none 0"));
    until_waiting(&mut control, 2);
    let id = |n: usize| if let Wire::Int(id) = ids[n] { id } else { panic!("no number") };
    assert_eq!(call(&mut control, &format!("CLIENT UNBLOCK {} ERROR", id(0))), Wire::Int(1));
    assert!(next(&mut two[0]).contains("UNBLOCKED"));
    assert_eq!(call(&mut control, &format!("CLIENT KILL ID {}", id(1))), Wire::Int(1));
    assert!(two[1].read().is_err());
    until_waiting(&mut control, 0);
}
