//! With `appendfsync always` nothing that tells of a write leaves before the write is durable.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nokv::redis::store::embedded::Embedded;
use nokv::redis::{Bound, Config, ServeError, conf_file};
use nokv::{Db, Options};
use nokv_core::vfs::Vfs;
use nokv_vfs_mem::{CrashImage, CrashMode, FaultFs, MemFs, Op};

/// Lets syncs through, or holds them.
#[derive(Default)]
struct Gate {
    /// Is it closed, and how many stand before it.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().expect("the gate");
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |(is_closed, _)| *is_closed).expect("the gate");
        state.1 -= 1;
    }

    fn set_closed(&self, is_closed: bool) {
        self.state.lock().expect("the gate").0 = is_closed;
        self.changed.notify_all();
    }

    fn until_somebody_waits(&self) {
        let state = self.state.lock().expect("the gate");
        drop(self.changed.wait_while(state, |(_, waiting)| *waiting == 0).expect("the gate"));
    }
}

/// Opens it, also when a test fails: the server could not end otherwise.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.set_closed(false);
    }
}

struct Server {
    at: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

fn server<V: Vfs>(fs: V, conf: &str) -> Server {
    let mut config = Config { port: 0, ..Config::default() };
    conf_file::read(conf, &mut config).expect("settings");
    let db = Db::open_on(fs, Options::new("db")).expect("a database");
    let bound = Bound::bind(Arc::new(Embedded::new(db).expect("families")), config).expect("a port");
    let at = bound.local_addrs()[0];
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || bound.run(stopped));
    Server { at, stop: Some(stop), thread: Some(thread) }
}

impl Server {
    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.at).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        Client(BufReader::new(stream))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("a good end");
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, command: &str) {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Reads up to a line that is `last`.
    fn until(&mut self, last: &str) {
        while self.line() != last {}
    }

    /// Reads up to a line that shows `command`.
    fn sees(&mut self, command: &str) {
        while !self.line().contains(command) {}
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.line()
    }

    /// Has nothing arrived?
    fn is_silent(&mut self) -> bool {
        assert!(self.0.buffer().is_empty(), "all was read");
        self.0.get_ref().set_nonblocking(true).expect("a mode");
        let read = self.0.get_mut().read(&mut [0; 64]);
        self.0.get_ref().set_nonblocking(false).expect("a mode");
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn replies_events_and_messages_wait_for_the_sync() {
    let gate = Arc::new(Gate::default());
    let fs = FaultFs::new(MemFs::new());
    let at_gate = gate.clone();
    fs.observe(move |op, _| {
        if matches!(op, Op::Sync | Op::Flush) {
            at_gate.pass();
        }
    });
    let server = server(fs, "appendfsync always\nnotify-keyspace-events KEA");
    let _opens = Opens(gate.clone());
    let (mut events, mut messages, mut waits) = (server.client(), server.client(), server.client());
    let (mut monitor, mut writer, mut reader) = (server.client(), server.client(), server.client());
    events.send("subscribe __keyevent@0__:set");
    events.until(":1");
    messages.send("subscribe c");
    messages.until(":1");
    assert_eq!(monitor.ask("monitor"), "+OK");
    waits.send("blpop q 0");
    monitor.sees("blpop");

    gate.set_closed(true);
    writer.send("set k v\r\npublish c m\r\nrpush q x\r\nincr k");
    // What a monitor sees has not been written yet: it is not held up.
    monitor.sees("incr");
    reader.send("get k");
    monitor.sees("get");
    gate.until_somebody_waits();
    // The server has long turned to others, and has had nobody to tell.
    for n in 0..10 {
        server.client().send(&format!("echo {n}"));
        monitor.sees(&format!("\"{n}\""));
    }
    for (client, who) in [
        (&mut events, "an event"),
        (&mut messages, "a message behind a write"),
        (&mut waits, "a reply to who waited"),
        (&mut writer, "the reply of the write"),
        (&mut reader, "a reply that tells of the write"),
    ] {
        assert!(client.is_silent(), "{who} left before the sync");
    }

    gate.set_closed(false);
    events.until("__keyevent@0__:set");
    assert_eq!([events.line(), events.line()], ["$1", "k"]);
    messages.until("message");
    messages.until("m");
    waits.until("x");
    assert_eq!([writer.line(), writer.line(), writer.line()], ["+OK", ":1", ":1"]);
    assert!(writer.line().starts_with("-ERR value is not"));
    assert_eq!([reader.line(), reader.line()], ["$1", "v"]);
}

/// What a power cut leaves of nothing but what is durable: has it this key?
fn is_there_after_a_cut(fs: &MemFs, key: &str) -> bool {
    let after = fs.crash_clone(1, CrashMode::Posix, CrashImage::None);
    let db = Db::open_on(after, Options::new("db")).expect("it opens after a power cut");
    db.get(key.as_bytes()).expect("a read").is_some()
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged_with_always() {
    let fs = MemFs::new();
    let server = server(fs.clone(), "appendfsync always\nnotify-keyspace-events KEA");
    let (mut writer, mut events) = (server.client(), server.client());
    events.send("subscribe __keyevent@0__:set");
    events.until(":1");
    for n in 0..10 {
        assert_eq!(writer.ask(&format!("set reply{n} v")), "+OK");
        assert!(is_there_after_a_cut(&fs, &format!("reply{n}")));
        events.until(&format!("reply{n}"));
        // Whoever heard of it, before its reply was read.
        writer.send(&format!("set event{n} v"));
        events.until(&format!("event{n}"));
        assert!(is_there_after_a_cut(&fs, &format!("event{n}")));
        assert_eq!(writer.line(), "+OK");
    }
}

#[test]
fn without_a_sync_a_power_cut_takes_what_was_acknowledged() {
    // So the test above can fail: it is the sync that keeps it, not the file system.
    let fs = MemFs::new();
    let server = server(fs.clone(), "appendfsync no");
    let mut writer = server.client();
    assert_eq!(writer.ask("set k v"), "+OK");
    assert!(!is_there_after_a_cut(&fs, "k"));
    assert_eq!(writer.ask("save"), "+OK");
    assert!(is_there_after_a_cut(&fs, "k"));
}
