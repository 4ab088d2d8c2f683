//! What all clients share beside the keys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursors::Cursors;
use parking_lot::Mutex;

use super::client::{Client, ClientRef, Close, Common};
use super::diagnosis::{Histogram, Latency, Slow, SlowLog, cut};
use super::exec::now_ms;
use super::monitor;
use super::pubsub::PubSub;
use super::syncer::SyncHandle;
use super::watching::Rewatched;
use crate::db::{RedisMetrics, RedisSnapshot};
use crate::redis::acl::{Acl, User};
use crate::redis::commands::{Entry, Flags, Table};
use crate::redis::config::Config;
use crate::redis::resp::reply::Reply;

/// Longest time that a client which is to end may take to read its last replies.
const LAST_REPLIES: Duration = Duration::from_secs(5);
/// What other machines are told while nobody needs a password.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode: the default user needs no password, so only this \
    machine may connect. Give it one (CONFIG SET requirepass, from this machine), or start the server with protected-mode \
    no.\r\n";

/// What all clients share.
pub struct State {
    /// The commands.
    pub table: &'static Table,
    /// The settings.
    pub config: Config,
    /// The users.
    pub acl: Acl,
    /// All clients by their numbers.
    pub clients: BTreeMap<u64, ClientRef>,
    /// Who listens to which channel.
    pub pubsub: PubSub,
    /// What the transaction under way does to watched keys, beside what it writes.
    pub rewatched: Rewatched,
    /// What they themselves know of each other.
    pub common: Rc<Common>,
    /// Positions of SCAN and its like.
    pub cursors: Cursors,
    /// Counters of `INFO`.
    pub counters: Counters,
    /// SLOWLOG.
    pub slow: SlowLog,
    /// LATENCY.
    pub latency: Latency,
    /// When the server started.
    pub started: Instant,
    /// A random number of this run, in hexadecimal.
    pub run_id: String,
    /// Where it listens.
    pub tcp_port: u16,
    /// Clients that see all commands.
    pub monitors: usize,
    /// CLIENT PAUSE.
    pub pause: Option<Pause>,
    /// The server is to end.
    pub shutdown: bool,
    /// Whoever syncs.
    pub sync: Option<SyncHandle>,
    /// Bytes of all clients' buffers.
    pub clients_bytes: usize,
    /// What the statistics show.
    pub shared: Arc<Shared>,
    next_client: u64,
}

/// Clients are not served for a time.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// Until then.
    pub until: Instant,
    /// Not only what writes.
    pub is_for_all: bool,
}

/// Counters as other threads read them.
#[derive(Debug, Default)]
pub struct Shared(Mutex<RedisSnapshot>);

impl RedisMetrics for Shared {
    fn counts(&self) -> RedisSnapshot {
        self.0.lock().clone()
    }
}

/// Counters of `INFO` and of the statistics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands that ran.
    pub commands: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Clients that were let go because all together took too much memory.
    pub evicted_clients: u64,
    /// Keys that expired.
    pub expired: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Bytes that arrived.
    pub bytes_in: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// AUTH that failed.
    pub auth_denied: u64,
    /// Commands that a user may not run, and keys and channels that he may not use.
    pub acl_denied: [u64; 3],
    /// Counters of each command, by its place in the table.
    pub by_command: Vec<CommandCounters>,
    /// Error replies by their code.
    pub by_error: BTreeMap<String, u64>,
    /// Commands in a second, lately.
    pub rate: Rate,
}

/// How many in a second: over the last 16 looks.
#[derive(Debug, Default)]
pub struct Rate {
    samples: [f64; 16],
    at: usize,
    last: Option<(Instant, u64)>,
}

impl Rate {
    /// Looks at a counter.
    pub fn look(&mut self, count: u64) {
        let now = Instant::now();
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64();
            if seconds < 0.05 {
                return;
            }
            self.samples[self.at % 16] = count.saturating_sub(before) as f64 / seconds;
            self.at += 1;
        }
        self.last = Some((now, count));
    }

    /// The mean.
    pub fn per_second(&self) -> u64 {
        let count = self.at.clamp(1, 16);
        (self.samples.iter().take(count).sum::<f64>() / count as f64) as u64
    }
}

/// Counters of one command.
#[derive(Debug, Default, Clone)]
pub struct CommandCounters {
    /// It ran.
    pub calls: u64,
    /// Time in it.
    pub nanos: u64,
    /// It was refused before it ran.
    pub rejected: u64,
    /// It failed.
    pub failed: u64,
    /// How long it took.
    pub times: Histogram,
}

impl State {
    /// A server's state at its start.
    ///
    /// # Errors
    /// A rule of a user makes no sense.
    pub fn new(config: Config) -> Result<Self, String> {
        let table = Table::shared();
        let counters = Counters {
            by_command: vec![CommandCounters::default(); table.entries().len()],
            ..Counters::default()
        };
        let mut random = [0u8; 20];
        // It is a name, not a secret.
        let _ = getrandom::fill(&mut random);
        Ok(Self {
            table,
            acl: Acl::new(&config)?,
            common: Common::new(config.output),
            tcp_port: config.port,
            config,
            clients: BTreeMap::new(),
            pubsub: PubSub::default(),
            rewatched: Rewatched::new(),
            cursors: Cursors::default(),
            counters,
            slow: SlowLog::default(),
            latency: Latency::default(),
            started: Instant::now(),
            run_id: crate::redis::acl::user::hex(&random),
            monitors: 0,
            pause: None,
            shutdown: false,
            sync: None,
            clients_bytes: 0,
            shared: Arc::default(),
            next_client: 0,
        })
    }

    /// A command ran.
    pub fn note_run(
        &mut self,
        client: &ClientRef,
        entry: &'static Entry,
        args: &[&[u8]],
        spent: Duration,
        has_failed: bool,
    ) {
        self.counters.commands += 1;
        let command = entry.command;
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        if let Some(counters) = self.counters.by_command.get_mut(entry.index) {
            counters.calls += 1;
            counters.nanos += nanos;
            counters.failed += u64::from(has_failed);
            counters.times.note(spent);
        }
        let micros = nanos / 1000;
        let threshold = self.config.latency_ms;
        if threshold != 0 && micros >= threshold.saturating_mul(1000) {
            let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
            self.latency.note(event, now_ms() / 1000, micros / 1000);
        }
        let is_slow = u64::try_from(self.config.slow_micros).is_ok_and(|from| micros >= from);
        if is_slow && self.config.slow_kept > 0 && !command.flags.has(Flags::SKIP_SLOWLOG) {
            let client = client.borrow();
            let (peer, name) = (client.peer.clone(), client.name.clone());
            let args = cut(&monitor::shown(args));
            let slow = Slow { id: 0, at_unix: now_ms() / 1000, micros, args, peer, name };
            self.slow.note(slow, self.config.slow_kept);
        }
    }

    /// A command was refused.
    pub fn note_rejected(&mut self, entry: &Entry) {
        if let Some(counters) = self.counters.by_command.get_mut(entry.index) {
            counters.rejected += 1;
        }
    }

    /// An error was replied.
    pub fn note_error(&mut self, line: &str) {
        /// Codes that are counted one by one: a client could make up more of them.
        const CODES_MAX: usize = 128;
        self.counters.errors += 1;
        let code = line.split(' ').next().unwrap_or_default();
        if let Some(count) = self.counters.by_error.get_mut(code) {
            *count += 1;
        } else if self.counters.by_error.len() < CODES_MAX {
            self.counters.by_error.insert(code.to_owned(), 1);
        }
    }

    /// The number of the next client.
    pub const fn next_client(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client
    }

    /// Answers a client that waits for keys with `instead`, or with what it gets when it waited long enough.
    pub fn stop_waiting(&mut self, client: &ClientRef, instead: Option<Reply>) -> bool {
        let mut client = client.borrow_mut();
        let Some(blocked) = client.stop_waiting() else { return false };
        client.reply(&instead.unwrap_or(blocked.otherwise));
        client.wake.notify_one();
        true
    }

    /// A user is another one now: so are the clients that are logged in as him. Those who listen to what he may not hear any
    /// more are let go; without a user (`None`) all are. `me` reads its replies first.
    pub fn replace_user(&mut self, me: &ClientRef, name: &str, user: Option<&Rc<User>>) {
        for other in self.clients.values() {
            let mut client = other.borrow_mut();
            if client.user.as_ref().is_some_and(|old| old.name == name) {
                client.user = user.cloned();
                if !user.is_some_and(|user| user.may_keep(&client)) {
                    client.end(if Rc::ptr_eq(me, other) { Close::AfterReplies } else { Close::Now });
                }
            }
        }
    }

    /// Why a client from this address is not let in, as Redis' protected mode has it: while the default user needs no
    /// password only this machine comes in. One that `is_known` has shown a certificate.
    pub fn refusal(&self, peer: IpAddr, is_known: bool) -> Option<&'static [u8]> {
        let is_open = self.config.is_protected && self.acl.at_start().is_some();
        (is_open && !is_known && !peer.to_canonical().is_loopback()).then_some(PROTECTED)
    }

    /// Notes how much a client's buffers hold.
    pub fn note_bytes(&mut self, client: &mut Client) {
        let bytes = client.bytes();
        self.clients_bytes = (self.clients_bytes + bytes).saturating_sub(client.counted);
        client.counted = bytes;
    }

    /// Lets the largest clients go while all together hold more than `maxmemory-clients`.
    pub fn shed_clients(&mut self) {
        let max = self.config.clients_bytes_max;
        while max != 0 && self.clients_bytes > max {
            let may_go = |client: &&ClientRef| {
                let client = client.borrow();
                client.counted > 0 && !client.no_evict && client.close != Some(Close::Now)
            };
            let largest = self.clients.values().filter(may_go).max_by_key(|client| client.borrow().counted);
            let Some(largest) = largest else { return };
            let mut client = largest.borrow_mut();
            tracing::warn!(
                client = client.id,
                bytes = client.counted,
                "clients take too much memory; one is let go"
            );
            self.clients_bytes = self.clients_bytes.saturating_sub(client.counted);
            client.counted = 0;
            client.drop_now();
            self.counters.evicted_clients += 1;
        }
    }

    /// Looks at all clients: who idles, who does not read, how much they hold.
    pub fn look_at_clients(&mut self) {
        let timeout = self.config.timeout;
        let clients: Vec<ClientRef> = self.clients.values().cloned().collect();
        for client in &clients {
            let mut client = client.borrow_mut();
            client.hold_to_limits();
            let is_idle = timeout != 0 && client.active.elapsed().as_secs() > timeout;
            if is_idle && client.blocked.is_none() && !client.is_listener() {
                client.end(Close::AfterReplies);
            }
            if client.closing.is_some_and(|since| since.elapsed() > LAST_REPLIES) {
                client.drop_now();
            }
            if client.close != Some(Close::Now) {
                self.note_bytes(&mut client);
            }
        }
        self.shed_clients();
        if self.pause.is_some_and(|pause| pause.until <= Instant::now()) {
            self.end_pause();
        }
    }

    /// Clients are served again.
    pub fn end_pause(&mut self) {
        self.pause = None;
        self.clients.values().for_each(|client| client.borrow().wake.notify_one());
    }

    /// Shows the counters to other threads.
    pub fn publish_counters(&mut self) {
        self.counters.rate.look(self.counters.commands);
        let mut shared = self.shared.0.lock();
        shared.connections_active = i64::try_from(self.clients.len()).unwrap_or(i64::MAX);
        shared.connections_accepted = self.counters.connections;
        shared.errors_total = self.counters.errors;
        if shared.commands_total != self.counters.commands {
            shared.commands_total = self.counters.commands;
            for entry in self.table.entries() {
                let calls = self.counters.by_command.get(entry.index).map_or(0, |counters| counters.calls);
                if calls > 0 {
                    match shared.commands_per_operation.get_mut(&entry.full) {
                        Some(count) => *count = calls,
                        None => {
                            shared.commands_per_operation.insert(entry.full.clone(), calls);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_largest_client_goes_one_byte_over_the_limit() {
        let mut state = State::new(Config { clients_bytes_max: 100, ..Config::default() }).expect("a state");
        for (id, bytes) in [(1, 40), (2, 60)] {
            let mut client = Client::new(id, String::new(), String::new(), state.common.clone());
            client.query_bytes = bytes;
            state.clients.insert(id, Rc::new(RefCell::new(client)));
        }
        state.look_at_clients();
        assert_eq!((state.clients_bytes, state.counters.evicted_clients), (100, 0));
        state.clients[&1].borrow_mut().query_bytes = 41;
        state.look_at_clients();
        assert_eq!((state.clients_bytes, state.counters.evicted_clients), (41, 1));
        assert_eq!(state.clients[&2].borrow().close, Some(Close::Now));
    }
}
