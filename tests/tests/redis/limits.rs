//! Limits under load: memory stays bounded, and others are served.
//!
//! The server is a process of its own, so that its memory is its own, too, and its open files.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nokv::redis::Config;
use nokv_tests::redis::oracle::OurRedis;
use nokv_tests::redis::process::{ServerProcess, Shape};
use nokv_tests::redis::wire::{Client, Wire};

const MIB: u64 = 1 << 20;

fn server(place: &Path, conf: &str) -> ServerProcess {
    nokv_tests::real::process::set_program(env!("CARGO_BIN_EXE_net"));
    ServerProcess::start(place, conf, Shape::Usual).expect("a server")
}

fn place() -> tempfile::TempDir {
    nokv_tests::real::image::place("nokv-redis-limits-")
}

fn client(at: SocketAddr) -> Client {
    Client::connect(at).expect("a connection")
}

/// Is served while others do what they do: gives the longest that an answer took.
fn others_are_served(at: SocketAddr) -> Duration {
    let mut other = client(at);
    let mut longest = Duration::ZERO;
    for n in 0..200 {
        let asked = Instant::now();
        let answer = other.call(&format!("SET other {n}")).expect("a reply");
        assert_eq!(answer, Wire::Line(b'+', b"OK".to_vec()));
        longest = longest.max(asked.elapsed());
    }
    longest
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// Lets this process, and those that it starts, have as many open files as the system allows; gives the number.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[test]
fn ten_thousand_idle_connections() {
    const WANTED: u64 = 10_000;
    let open_files = raise_open_files();
    // What else this test program and the server have open.
    let count = WANTED.min(open_files.saturating_sub(600));
    let place = place();
    let server = server(place.path(), "maxclients 20000");
    assert!(others_are_served(server.at()) < Duration::from_secs(10));
    let before = server.resident_bytes();
    let started = Instant::now();
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..count {
        let mut stream =
            TcpStream::connect(server.at()).unwrap_or_else(|error| panic!("connection {n}: {error}"));
        // Half of them did something once.
        if n % 2 == 0 {
            stream.write_all(b"PING\r\n").expect("sent");
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"+PONG\r\n");
        }
        idle.push(stream);
    }
    let took = started.elapsed();
    let mut control = client(server.at());
    let Wire::Bulk(info) = control.call("INFO clients").expect("a reply") else { panic!("no INFO") };
    let info = String::from_utf8_lossy(&info).into_owned();
    assert!(info.contains(&format!("connected_clients:{}\r\n", count + 1)), "{info}");
    let longest = others_are_served(server.at());
    let each = server.resident_bytes().saturating_sub(before) / count.max(1);
    eprintln!(
        "{count} idle connections (the system lets a process have {open_files} open files): made in {took:?}, {each} \
         bytes of memory each; longest answer to another client {longest:?}"
    );
    assert!(each < 40 << 10, "{each} bytes of memory for an idle connection");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    for stream in idle.iter_mut().step_by(97) {
        stream.write_all(b"PING\r\n").expect("sent");
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+PONG\r\n");
    }
}

#[test]
fn a_client_that_never_reads_costs_no_more_than_its_limit() {
    let place = place();
    let server = server(place.path(), "client-output-buffer-limit pubsub 4mb 0 0");
    let mut control = client(server.at());
    let value = vec![b'v'; MIB as usize];
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    control.push(&words(&[b"SET", b"large", &value]));
    control.send().expect("sent");
    assert_eq!(control.read().expect("a reply").error(), None);

    // One that listens is let go.
    let mut listener = client(server.at());
    listener.call("SUBSCRIBE news").expect("a reply");
    let before = server.resident_bytes();
    let mut highest = before;
    let mut published = 0;
    let reached = loop {
        control.push(&words(&[b"PUBLISH", b"news", &value]));
        control.send().expect("sent");
        published += 1;
        highest = highest.max(server.resident_bytes());
        if control.read().expect("a reply") == Wire::Int(0) {
            break true;
        }
        if published == 100 {
            break false;
        }
    };
    eprintln!(
        "a listener with a limit of 4 MiB was let go at message {published} of 1 MiB; memory at most {} more",
        mib(highest - before)
    );
    assert!(reached, "it is still there after {published} MiB");
    assert!(highest - before < 32 * MIB, "{}", mib(highest - before));

    // One that asks is not served any further until it reads; 4 GiB of answers are asked for.
    let mut greedy = client(server.at());
    for _ in 0..4096 {
        greedy.push(&words(&[b"GET", b"large"]));
    }
    greedy.send().expect("sent");
    let before = server.resident_bytes();
    let longest = others_are_served(server.at());
    let more = server.resident_bytes().saturating_sub(before);
    eprintln!(
        "4 GiB of answers that nobody reads: {} of memory, longest answer to another {longest:?}",
        mib(more)
    );
    assert!(more < 32 * MIB, "{}", mib(more));
    // What it reads is right, and it goes on.
    for _ in 0..64 {
        assert!(greedy.read().expect("a reply") == Wire::Bulk(value.clone()));
    }

    // With a limit of its own, one answer that is larger ends it.
    control.push(&words(&[b"CONFIG", b"SET", b"client-output-buffer-limit", b"normal 1000000 0 0"]));
    control.send().expect("sent");
    assert_eq!(control.read().expect("a reply").error(), None);
    let mut third = client(server.at());
    assert!(third.call("GET large").is_err());
    assert!(others_are_served(server.at()) < Duration::from_secs(5));
}

#[test]
fn headers_of_512_mib_take_nothing() {
    let place = place();
    let server = server(place.path(), "");
    others_are_served(server.at());
    let before = server.resident_bytes();
    let headers: [&[u8]; 3] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        b"*1048576\r\n$536870912\r\n",
        b"*2\r\n$3\r\nGET\r\n$536870912\r\nx",
    ];
    let waiting: Vec<Client> = (0..300)
        .map(|n| {
            let mut client = client(server.at());
            client.send_raw(headers[n % 3]).expect("sent");
            client
        })
        .collect();
    let longest = others_are_served(server.at());
    let each = server.resident_bytes().saturating_sub(before) / waiting.len() as u64;
    eprintln!("300 headers of 512 MiB: {each} bytes of memory each; longest answer to another {longest:?}");
    assert!(each < 64 << 10, "{each} bytes of memory for a header");
}

#[test]
fn a_request_split_at_every_byte_has_the_same_answers() {
    let server = OurRedis::start(Config::default());
    let requests: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\na\r\n\x00$1\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nSET q \"a b\\x41\"\r\nget q\n\
        *1\r\n$5\r\nMULTI\r\n*4\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$0\r\n\r\n$2\r\nxx\r\nlrange l 0 -1\r\n*1\r\n$4\r\nEXEC\r\n*2\r\n$3\r\nGET\r\n$1\r\nl\r\n\
        *0\r\n\r\nPING\r\n*1\r\n$6\r\nNOSUCH\r\n*5\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$3\r\nv\r\n\r\nhgetall h\r\n";
    let mut control = client(server.at());
    let mut whole = Vec::new();
    let mut run = |parts: &mut dyn Iterator<Item = &[u8]>| {
        assert_eq!(control.call("FLUSHALL").expect("a reply").error(), None);
        let mut stream = TcpStream::connect(server.at()).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        for part in parts {
            stream.write_all(part).expect("sent");
            // The server has looked at it before the rest comes.
            control.call("PING").expect("a reply");
        }
        stream.write_all(b"QUIT\r\n").expect("sent");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).expect("answers");
        answers
    };
    whole.extend(run(&mut std::iter::once(requests)));
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(
        text.starts_with("+OK\r\n$6\r\na\r\n\0$1\r\n+OK\r\n$4\r\na bA\r\n+OK\r\n+QUEUED\r\n"),
        "{text:?}"
    );
    assert!(text.contains("-WRONGTYPE") && text.contains("-ERR unknown command"), "{text:?}");
    for at in 1..requests.len() {
        let answers = run(&mut [&requests[..at], &requests[at..]].into_iter());
        assert_eq!(answers.escape_ascii().to_string(), whole.escape_ascii().to_string(), "split at {at}");
    }
    let answers = run(&mut requests.chunks(1));
    assert_eq!(answers.escape_ascii().to_string(), whole.escape_ascii().to_string(), "one by one");
    eprintln!("{} bytes of requests split at every byte, and one by one", requests.len());
}

#[test]
fn as_many_arguments_as_there_may_be() {
    const MOST: usize = 1 << 20;
    let place = place();
    let mut server = server(place.path(), "");
    let mut client = client(server.at());
    let request = |words: &[&str], count: usize| {
        let mut bytes = format!("*{count}\r\n").into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
        }
        for n in words.len()..count {
            let word = (n % 10).to_string();
            bytes.extend(format!("$1\r\n{word}\r\n").into_bytes());
        }
        bytes
    };
    let mut answered = Vec::new();
    for (words, expected) in [
        (&["RPUSH", "l"][..], Wire::Int(MOST as i64 - 2)),
        (&["LLEN", "l"], Wire::Int(MOST as i64 - 2)),
        (&["EXISTS"], Wire::Int(0)),
        (&["SADD", "s"], Wire::Int(10)),
    ] {
        let count = if words[0] == "LLEN" { 2 } else { MOST };
        let asked = Instant::now();
        client.send_raw(&request(words, count)).expect("sent");
        assert_eq!(client.read().expect("a reply"), expected, "{words:?}");
        answered.push(format!("{} {:?}", words[0], asked.elapsed()));
    }
    let longest = others_are_served(server.at());
    eprintln!(
        "{MOST} arguments: {}; memory then {}; longest answer to another after it {longest:?}",
        answered.join(", "),
        mib(server.resident_bytes())
    );
    client.send_raw(format!("*{}\r\n", MOST + 1).as_bytes()).expect("sent");
    assert_eq!(
        client.read().expect("a reply").error().as_deref(),
        Some("ERR Protocol error: invalid multibulk length")
    );
    assert!(client.read().is_err());
    // And it lasts.
    server.kill().expect("it ran");
}

#[test]
fn a_pipeline_of_a_hundred_thousand_commands() {
    const COMMANDS: usize = 100_000;
    let place = place();
    let server = server(place.path(), "");
    others_are_served(server.at());
    let before = server.resident_bytes();
    let mut reader = client(server.at());
    let mut writer = reader.stream().try_clone().expect("a second handle");
    let started = Instant::now();
    let longest = std::thread::scope(|scope| {
        scope.spawn(move || {
            let requests = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n".repeat(COMMANDS);
            writer.write_all(&requests).expect("sent");
        });
        let at = server.at();
        let others = scope.spawn(move || others_are_served(at));
        for n in 1..=COMMANDS {
            assert_eq!(reader.read().expect("a reply"), Wire::Int(n as i64));
        }
        others.join().expect("they are")
    });
    let took = started.elapsed();
    // Nothing of it is read while it is sent.
    let values = vec![b'v'; 1000];
    let set = [&b"*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$1000\r\n"[..], &values, b"\r\n"].concat();
    let mut all = set.repeat(1);
    all.extend(b"*2\r\n$3\r\nGET\r\n$1\r\nv\r\n".repeat(COMMANDS));
    let mut writer = reader.stream().try_clone().expect("a second handle");
    let more = std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&all).expect("sent"));
        others_are_served(server.at());
        let more = server.resident_bytes().saturating_sub(before);
        assert_eq!(reader.read().expect("a reply").error(), None);
        for _ in 0..COMMANDS {
            assert!(reader.read().expect("a reply") == Wire::Bulk(values.clone()));
        }
        more
    });
    eprintln!(
        "{COMMANDS} commands in a pipeline: {took:?}, longest answer to another {longest:?}; as many answers that are \
         read late: {} of memory",
        mib(more)
    );
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert!(more < 64 * MIB, "{}", mib(more));
}
