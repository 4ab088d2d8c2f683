//! For tests: a server on a file system in memory, commands as text, replies as text.

use std::sync::Arc;

use nokv_vfs_mem::MemFs;

use super::config::Config;
use super::notify;
use super::resp::reply::Protocol;
use super::server::client::{Client, ClientRef};
use super::server::exec::{Clock, Server};
use super::server::state::State;
use super::store::embedded::Embedded;
use super::store::keyspace::Keyspace;
use crate::db::{Db, Options};

/// The database on `fs`.
pub fn database(fs: &MemFs) -> Db<MemFs> {
    database_with(fs, Options::new("db"))
}

/// The database on `fs`, with these options.
pub fn database_with(fs: &MemFs, options: Options) -> Db<MemFs> {
    Db::open_on(fs.clone(), options).expect("a database in memory")
}

/// The keys of a database on `fs`.
pub fn keyspace(fs: &MemFs) -> Keyspace {
    keyspace_with(database(fs))
}

/// The keys of a database.
pub fn keyspace_with(db: Db<MemFs>) -> Keyspace {
    let backend = Embedded::new(db).expect("the families");
    let mut keys = Keyspace::open(Arc::new(backend), 1_000).expect("the keys");
    while !keys.counts().are_known().expect("a count") {
        std::thread::yield_now();
    }
    keys
}

/// A server that runs commands for a client or two.
pub struct Bench {
    /// The server.
    pub server: Server,
    /// The client of [`Bench::run`].
    pub client: ClientRef,
    /// Milliseconds by which its clock is ahead.
    ahead_ms: u64,
}

impl Bench {
    /// A server without keys.
    pub fn new() -> Self {
        Self::on(keyspace(&MemFs::new()))
    }

    /// A server on these keys.
    pub fn on(keys: Keyspace) -> Self {
        let state = State::new(Config::default()).expect("settings that do");
        let mut server = Server { keys, state, clock: Clock::now() };
        let client = connect(&mut server);
        Self { server, client, ahead_ms: 0 }
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.ahead_ms += ms;
        self.server.clock = Clock::now().ahead_by(self.ahead_ms);
    }

    /// A client that is told the events of these classes in database 0.
    pub fn listen(&mut self, classes: &str) -> ClientRef {
        let listener = self.connect();
        let id = listener.borrow().id;
        let pattern = b"__keyevent@0__:*".to_vec();
        self.server.state.pubsub.patterns.insert(pattern, [id].into());
        self.server.state.config.notify = notify::parse(classes).expect("classes");
        listener
    }

    /// Another client.
    pub fn connect(&mut self) -> ClientRef {
        connect(&mut self.server)
    }

    /// Runs a command: words by blanks, `'two words'` and `"a\x00b"` as in an inline request. The reply as
    /// [`show`] has it.
    pub fn run(&mut self, command: &str) -> String {
        let client = self.client.clone();
        self.run_as(&client, command)
    }

    /// [`Bench::run`] for another client.
    pub fn run_as(&mut self, client: &ClientRef, command: &str) -> String {
        let words = words(command);
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.server.clock = Clock::now().ahead_by(self.ahead_ms);
        self.server.request(client, &args);
        replies(client)
    }

    /// Speaks the other version of the protocol from now on.
    pub fn speak(&mut self, protocol: Protocol) {
        self.client.borrow_mut().protocol = protocol;
    }

    /// Lines `> command`, each followed by the reply that it must have.
    pub fn script(&mut self, script: &str) {
        let mut got = String::new();
        let mut wanted = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            wanted.push_str(line);
            wanted.push('\n');
            if let Some(command) = line.strip_prefix("> ") {
                got.push_str(line);
                got.push('\n');
                got.push_str(&self.run(command));
                got.push('\n');
            }
        }
        assert_eq!(got, wanted);
    }
}

fn connect(server: &mut Server) -> ClientRef {
    let id = server.state.next_client();
    let common = server.state.common.clone();
    let mut client = Client::new(id, "test:1".to_owned(), "test:2".to_owned(), common);
    client.user = server.state.acl.at_start();
    let client = ClientRef::new(client.into());
    server.state.clients.insert(id, client.clone());
    client
}

/// The events that a client of [`Bench::listen`] was told since: `set k, expire k`.
pub fn events(listener: &ClientRef) -> String {
    // `[pmessage pattern __keyevent@0__:name key]`
    let told = replies(listener);
    let events = told.split("pmessage __keyevent@0__:* __keyevent@0__:").skip(1);
    events.map(|event| event.trim_end_matches(['[', ' ', ']', '>'])).collect::<Vec<_>>().join(", ")
}

/// What a client was told since, as text.
pub fn replies(client: &ClientRef) -> String {
    let out = std::mem::take(&mut client.borrow_mut().out);
    let mut rest = &out[..];
    let mut shown = Vec::new();
    while !rest.is_empty() {
        shown.push(show(&mut rest));
    }
    shown.join(" ")
}

/// One reply: bytes as they are, `:1`, `+OK`, `-ERR ..`, `,1.5`, `#t`, `nil`, `[a b]`, `~[a b]`, `%[k v]`.
pub fn show(bytes: &mut &[u8]) -> String {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    *bytes = &bytes[end + 2..];
    let (mark, text) = line.split_at(1);
    let length: i64 = text.parse().unwrap_or(-1);
    match mark {
        "_" => "nil".to_owned(),
        "$" | "*" if length < 0 => "nil".to_owned(),
        "$" | "=" => {
            let shown = String::from_utf8_lossy(&bytes[..length as usize]).into_owned();
            *bytes = &bytes[length as usize + 2..];
            shown
        }
        "*" | "~" | "%" | ">" => {
            let items = if mark == "%" { 2 * length } else { length };
            let items: Vec<String> = (0..items).map(|_| show(bytes)).collect();
            format!("{}[{}]", if mark == "*" { "" } else { mark }, items.join(" "))
        }
        _ => line,
    }
}

/// Words by blanks, with quotes and `\xhh`.
pub fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start().as_bytes();
    while !rest.is_empty() {
        let mut word = Vec::new();
        let mut quote = None;
        while let [byte, after @ ..] = rest {
            rest = after;
            match (*byte, quote) {
                (b'\\', Some(b'"')) => match rest {
                    [b'x', high, low, after @ ..] => {
                        let digits = [*high, *low];
                        let digits = std::str::from_utf8(&digits).expect("hex");
                        word.push(u8::from_str_radix(digits, 16).expect("hex"));
                        rest = after;
                    }
                    [byte, after @ ..] => {
                        word.push(*byte);
                        rest = after;
                    }
                    [] => {}
                },
                (byte, Some(open)) if byte == open => quote = None,
                (b'"' | b'\'', None) => quote = Some(*byte),
                (b' ', None) => break,
                (byte, _) => word.push(byte),
            }
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    words
}
