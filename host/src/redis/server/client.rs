//! What is known of a client. Its connection and whoever answers it later share it; borrows are brief.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use super::held::{Names, Watches};
use super::waiting::Waiting;
use crate::redis::acl::User;
use crate::redis::config::OutputLimits;
use crate::redis::resp::reply::{Protocol, Reply};

/// A client, shared by its connection and the server.
pub type ClientRef = Rc<RefCell<Client>>;

/// What all clients share.
#[derive(Debug)]
pub struct Common {
    /// Limits of replies that wait.
    pub output: Cell<OutputLimits>,
    /// Who waits for which key.
    pub waiting: Waiting,
    /// With `appendfsync always`: the seq of the last commit. What is told of it has to wait until it is durable.
    pub committed: Cell<u64>,
}

impl Common {
    /// Nobody is there yet.
    pub fn new(output: OutputLimits) -> Rc<Self> {
        Rc::new(Self { output: Cell::new(output), waiting: Waiting::default(), committed: Cell::new(0) })
    }
}

/// What `CLIENT REPLY` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All replies.
    #[default]
    On,
    /// None until further notice.
    Off,
    /// Not the one of this command (`CLIENT REPLY SKIP` itself), nor of the next.
    SkipNext,
    /// Not the next one.
    Skip,
}

/// Commands that wait for `EXEC`.
#[derive(Debug, Default)]
pub struct Queue {
    /// Arguments of each.
    pub commands: Vec<Vec<Vec<u8>>>,
    /// One of them could not be queued: `EXEC` refuses.
    pub is_broken: bool,
    /// Bytes of all.
    pub bytes: usize,
}

/// A command that waits for keys.
#[derive(Debug)]
pub struct Blocked {
    /// Its arguments; it runs again when a key was written.
    pub args: Vec<Vec<u8>>,
    /// The database.
    pub db: u8,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
    /// When it gives up.
    pub until: Option<Instant>,
    /// What it is answered then.
    pub otherwise: Reply,
    /// Since when it waits.
    pub since: Instant,
    bytes: usize,
}

/// What an argument takes beside its bytes; a key that is waited for stands here and in the lists of all.
const ARG_OVERHEAD: usize = 32;
const KEY_OVERHEAD: usize = 128;

impl Blocked {
    /// What it takes, about.
    fn size(args: &[Vec<u8>], keys: &[Vec<u8>]) -> usize {
        let args: usize = args.iter().map(|arg| arg.len() + ARG_OVERHEAD).sum();
        args + keys.iter().map(|key| 2 * key.len() + KEY_OVERHEAD).sum::<usize>()
    }

    /// `args` wait for `keys` of a database from now on, until `until`, and are answered `otherwise` then.
    pub fn new(
        args: &[&[u8]],
        db: u8,
        keys: &[&[u8]],
        (since, until): (Instant, Option<Instant>),
        otherwise: Reply,
    ) -> Self {
        let owned = |parts: &[&[u8]]| parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
        let (args, keys) = (owned(args), owned(keys));
        let bytes = Self::size(&args, &keys);
        Self { args, db, keys, until, otherwise, since, bytes }
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// When all that is written has left.
    AfterReplies,
    /// Now.
    Now,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: u64,
    /// Its address, and the server's that it came to.
    pub peer: String,
    /// The server's address that it came to.
    pub local: String,
    /// The name that it gave itself.
    pub name: Vec<u8>,
    /// The library that it says it is.
    pub lib_name: Vec<u8>,
    /// The library's version.
    pub lib_version: Vec<u8>,
    /// Its database.
    pub db: u8,
    /// The version of the protocol.
    pub protocol: Protocol,
    /// The user; `None` before AUTH where it is required.
    pub user: Option<Rc<User>>,
    /// When it came.
    pub created: Instant,
    /// When it last sent a command.
    pub active: Instant,
    /// The name of its last command.
    pub last_command: &'static str,
    /// Bytes that have not left yet.
    pub out: Vec<u8>,
    /// Bytes that arrived and were not taken yet.
    pub query_bytes: usize,
    /// Wakes its connection: there is something to send, or to do.
    pub wake: Rc<Notify>,
    /// Its connection is to end.
    pub close: Option<Close>,
    /// Which replies it wants.
    pub reply_mode: ReplyMode,
    /// Commands since MULTI.
    pub queue: Option<Queue>,
    /// Keys since WATCH.
    pub watched: Watches,
    /// The command that waits for keys.
    pub blocked: Option<Blocked>,
    /// Channels that it listens to.
    pub channels: Names,
    /// Patterns of channels that it listens to.
    pub patterns: Names,
    /// Shard channels that it listens to.
    pub shard_channels: Names,
    /// It sees all commands.
    pub is_monitor: bool,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// The seq that must be durable before its replies leave.
    pub needs_durable: u64,
    /// Since when it has had more to read than the soft limit allows.
    pub over_soft_limit: Option<Instant>,
    /// What it shares with the others.
    pub common: Rc<Common>,
    /// Bytes that are on their way to the system.
    pub sending: usize,
    /// [`Client::bytes`] as the sum of all clients has it.
    pub counted: usize,
    /// Since when it is to end.
    pub closing: Option<Instant>,
    /// The connection's number in the system, where there is one.
    pub fd: i64,
    /// It is encrypted.
    pub is_tls: bool,
    /// It waits because of CLIENT PAUSE.
    pub is_postponed: bool,
}

impl Client {
    /// A client that just came.
    pub fn new(id: u64, peer: String, local: String, common: Rc<Common>) -> Self {
        let now = Instant::now();
        Self {
            id,
            peer,
            local,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            db: 0,
            protocol: Protocol::V2,
            user: None,
            created: now,
            active: now,
            last_command: "NULL",
            out: Vec::new(),
            query_bytes: 0,
            wake: Rc::new(Notify::new()),
            close: None,
            reply_mode: ReplyMode::On,
            queue: None,
            watched: Watches::default(),
            blocked: None,
            channels: Names::default(),
            patterns: Names::default(),
            shard_channels: Names::default(),
            is_monitor: false,
            no_evict: false,
            no_touch: false,
            needs_durable: 0,
            over_soft_limit: None,
            common,
            sending: 0,
            counted: 0,
            closing: None,
            fd: -1,
            is_tls: false,
            is_postponed: false,
        }
    }

    /// Channels and patterns that it listens to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Bytes of its buffers, and of what it watches, listens to and waits for.
    pub fn bytes(&self) -> usize {
        let held = self.channels.bytes() + self.patterns.bytes() + self.shard_channels.bytes();
        let held = held + self.watched.bytes() + self.blocked.as_ref().map_or(0, |blocked| blocked.bytes);
        self.query_bytes + self.queue.as_ref().map_or(0, |queue| queue.bytes) + self.waiting_bytes() + held
    }

    /// Bytes that it has to read yet.
    pub const fn waiting_bytes(&self) -> usize {
        self.out.len() + self.sending
    }

    /// Is it one that listens?
    pub fn is_listener(&self) -> bool {
        self.is_monitor || self.subscriptions() > 0
    }

    /// Writes a reply where `CLIENT REPLY` allows it. The one of a command that waits comes later, and is what it speaks of.
    pub fn reply(&mut self, reply: &Reply) {
        if self.blocked.is_some() {
            return;
        }
        match self.reply_mode {
            ReplyMode::On => self.write(reply),
            ReplyMode::Off => {}
            ReplyMode::SkipNext => self.reply_mode = ReplyMode::Skip,
            ReplyMode::Skip => self.reply_mode = ReplyMode::On,
        }
    }

    /// Writes what was not asked for, and wakes its connection. What it tells of has to be durable first, as for replies.
    /// One that is to end hears no more.
    pub fn push(&mut self, message: &Reply) {
        self.needs_durable = self.needs_durable.max(self.common.committed.get());
        self.push_at_once(message);
    }

    /// [`Client::push`] of what tells of no write.
    pub fn push_at_once(&mut self, message: &Reply) {
        if self.close.is_none() {
            self.write(message);
            self.wake.notify_one();
        }
    }

    fn write(&mut self, reply: &Reply) {
        if self.close != Some(Close::Now) {
            reply.write(self.protocol, &mut self.out);
            self.hold_to_limits();
        }
    }

    /// Lets it go if it has more to read than `client-output-buffer-limit` allows.
    pub fn hold_to_limits(&mut self) {
        let limits = self.common.output.get();
        let limit = if self.is_listener() { limits.pubsub } else { limits.normal };
        let waiting = self.waiting_bytes();
        let is_over = limit.hard != 0 && waiting > limit.hard;
        let is_over_soft = limit.soft != 0 && waiting > limit.soft;
        if !is_over_soft {
            self.over_soft_limit = None;
        } else {
            let since = self.over_soft_limit.get_or_insert_with(Instant::now);
            if since.elapsed().as_secs() >= limit.soft_seconds.max(1) {
                tracing::warn!(client = self.id, waiting, "a client does not read; it is let go");
                return self.drop_now();
            }
        }
        if is_over {
            tracing::warn!(client = self.id, waiting, "a client does not read; it is let go");
            self.drop_now();
        }
    }

    /// Ends its connection with what it has not read.
    pub fn drop_now(&mut self) {
        self.out = Vec::new();
        self.end(Close::Now);
    }

    /// Ends its connection. All ways to an end lead here, so that one that is to end waits for nothing: no element goes to
    /// whoever does not read it.
    pub fn end(&mut self, close: Close) {
        self.closing.get_or_insert_with(Instant::now);
        if self.close != Some(Close::Now) {
            self.close = Some(close);
        }
        self.stop_waiting();
        self.wake.notify_one();
    }

    /// It waits for keys no more; gives what waited.
    pub fn stop_waiting(&mut self) -> Option<Blocked> {
        let blocked = self.blocked.take()?;
        self.common.waiting.remove(self.id, &blocked);
        Some(blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::config::OutputLimit;

    #[test]
    fn a_client_goes_one_byte_over_its_limit() {
        let hard = OutputLimit { hard: 20, ..OutputLimit::default() };
        let limits = OutputLimits { normal: hard, pubsub: OutputLimit::default() };
        let mut client = Client::new(1, String::new(), String::new(), Common::new(limits));
        for _ in 0..4 {
            client.reply(&Reply::Ok);
        }
        assert_eq!((client.waiting_bytes(), client.close), (20, None));
        client.reply(&Reply::Ok);
        assert_eq!((client.waiting_bytes(), client.close), (0, Some(Close::Now)));
        client.push(&Reply::Ok);
        assert_eq!(client.waiting_bytes(), 0);
    }
}
