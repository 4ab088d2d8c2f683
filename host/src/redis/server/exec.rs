//! One request after another: may it run, run it, commit, answer, tell the others.
//!
//! ```text
//! request -> resolve -> may it? -> queue (MULTI) | transaction:
//!   begin, keys that are due expire, handler, commit        again from `begin` if another writer came between
//!   -> reply -> events to listeners -> commands that waited for what was written
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nokv_core::formats::redis::Kind;

use super::client::{Blocked, Client, ClientRef, Close};
use super::state::State;
use crate::redis::acl::{Denied, Refusal};
use crate::redis::commands::args::check_name;
use crate::redis::commands::{Call, Command, Entry, Flags, clients};
use crate::redis::config::SyncPolicy;
use crate::redis::fail::{Answer, Fail};
use crate::redis::resp::reply::{Protocol, Reply, push_integer};
use crate::redis::store::backend::CommitError;
use crate::redis::store::effects::{Class, Event};
use crate::redis::store::keyspace::Keyspace;

/// Keys that expire within one transaction.
const EXPIRE_AT_ONCE: usize = 64;
/// Commands that are tried again because other writers came between.
const TRIES: usize = 100;
/// What an argument that is queued takes beside its bytes, about.
const ARG_OVERHEAD: usize = 32;

/// The keys and what the clients share.
pub struct Server {
    /// The keys.
    pub keys: Keyspace,
    /// The rest.
    pub state: State,
    /// The time, as far as commands need it.
    pub clock: Clock,
}

/// The time, looked at once before what runs together, and once after each command.
#[derive(Debug)]
pub struct Clock {
    /// When it was looked at first, and the time of the system then.
    since: Instant,
    unix_ms: u64,
    /// From then to the last look.
    passed: Duration,
}

impl Clock {
    /// Now.
    pub fn now() -> Self {
        Self { since: Instant::now(), unix_ms: now_ms(), passed: Duration::ZERO }
    }

    /// The last look.
    pub fn last(&self) -> Instant {
        self.since + self.passed
    }

    /// Looks again; gives the time since the last look.
    pub fn step(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.passed, self.since.elapsed());
        self.passed.saturating_sub(before)
    }

    /// The last look, in Unix milliseconds.
    pub const fn unix_ms(&self) -> u64 {
        self.unix_ms + self.passed.as_secs() * 1000 + self.passed.subsec_millis() as u64
    }
}

/// The time, in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Server {
    /// Runs one request of a client and writes its reply.
    pub fn request(&mut self, client: &ClientRef, args: &[&[u8]]) {
        if args.is_empty() {
            return;
        }
        let reply = self.admit(client, args).unwrap_or_else(|fail| self.failed(client, &fail));
        client.borrow_mut().reply(&reply);
        self.serve_waiting();
    }

    fn failed(&mut self, client: &ClientRef, fail: &Fail) -> Reply {
        let line = fail.line().into_owned();
        self.state.note_error(&line);
        // A command that could not be queued breaks its transaction.
        if let Some(queue) = &mut client.borrow_mut().queue
            && !matches!(fail, Fail::Said(text) if text.starts_with("ERR MULTI") || text.starts_with("ERR WATCH"))
        {
            queue.is_broken = true;
        }
        Reply::Error(line.into())
    }

    /// Is this one not served for now, by CLIENT PAUSE?
    pub fn is_postponed(&self, client: &ClientRef, args: &[&[u8]]) -> bool {
        let Some(pause) = &self.state.pause else { return false };
        let Some(command) = args.first().and_then(|name| self.state.table.find(name)) else {
            return pause.is_for_all;
        };
        let writes = |command: &Command| {
            command.flags.has(Flags::WRITE) || matches!(command.name, "publish" | "spublish")
        };
        let queue_writes = || {
            let client = client.borrow();
            let queue = client.queue.iter().flat_map(|queue| &queue.commands);
            let mut commands = queue.filter_map(|args| self.state.table.find(args.first()?));
            commands.any(writes)
        };
        pause.is_for_all || writes(command) || (command.name == "exec" && queue_writes())
    }

    /// Runs it, or queues it.
    fn admit(&mut self, client: &ClientRef, args: &[&[u8]]) -> Answer<Reply> {
        let entry = self.state.table.resolve(args)?;
        if let Err(fail) = self.may_run(client, entry, args) {
            self.state.note_rejected(entry);
            return Err(fail);
        }
        if let Some(queue) = &mut client.borrow_mut().queue
            && !is_of_multi(entry.command)
        {
            queue.bytes += args.iter().map(|arg| arg.len() + ARG_OVERHEAD).sum::<usize>();
            queue.commands.push(args.iter().map(|arg| arg.to_vec()).collect());
            return Ok(Reply::Status("QUEUED".into()));
        }
        self.run(client, entry, args)
    }

    fn may_run(&mut self, client: &ClientRef, entry: &'static Entry, args: &[&[u8]]) -> Answer<()> {
        let (command, flags) = (entry.command, entry.command.flags);
        {
            let mut client = client.borrow_mut();
            client.active = self.clock.last();
            client.last_command = &entry.full;
            if client.user.is_none() && !flags.has(Flags::NO_AUTH) {
                return Err(Fail::of("NOAUTH Authentication required."));
            }
            if client.queue.is_some() && flags.has(Flags::NO_MULTI) && !is_of_multi(command) {
                return Err(Fail::of("ERR Command not allowed inside a transaction"));
            }
        }
        self.state.check_access(client, entry, args, false)?;
        let client = client.borrow();
        if client.protocol == Protocol::V2 && client.subscriptions() > 0 && !may_run_subscribed(command) {
            return Err(Fail::text(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context",
                entry.full
            )));
        }
        Ok(())
    }

    /// Runs a command in a transaction of its own.
    ///
    /// # Errors
    /// What the command, or the commit, says.
    pub fn run(&mut self, client: &ClientRef, entry: &'static Entry, args: &[&[u8]]) -> Answer<Reply> {
        let command = entry.command;
        // The commands of a transaction come before what ran them.
        let is_exec = command.name == "exec";
        if !is_exec {
            self.state.feed_monitors(client, command, args);
        }
        let result = self.transaction(client, command, args);
        if is_exec {
            self.state.feed_monitors(client, command, args);
        }
        let spent = self.clock.step();
        self.state.note_run(client, entry, args, spent, result.is_err());
        result
    }

    fn transaction(
        &mut self,
        client: &ClientRef,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Answer<Reply> {
        // A store that takes no writes is read all the same: what expired is hidden as it is.
        let _ = self.expire_due();
        if command.name != "exec" {
            return self.tries(client, command, args);
        }
        let (db, user) = (client.borrow().db, client.borrow().user.clone());
        let result = self.tries(client, command, args);
        let mut client = client.borrow_mut();
        client.queue = None;
        client.watched.clear();
        if result.is_err() {
            client.db = db;
            client.user = user;
        }
        result
    }

    fn tries(&mut self, client: &ClientRef, command: &'static Command, args: &[&[u8]]) -> Answer<Reply> {
        let db = client.borrow().db;
        for _ in 0..TRIES {
            self.begin();
            // A try before may have selected another one.
            client.borrow_mut().db = db;
            let mut call = Call {
                args,
                command,
                db,
                keys: &mut self.keys,
                state: &mut self.state,
                client,
                in_exec: false,
            };
            let reply = (command.handler)(&mut call)?;
            match self.keys.commit() {
                Ok(seq) => {
                    self.committed(client, seq);
                    return Ok(reply);
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(Fail::of("TRYAGAIN other writers of the database came between again and again"))
    }

    fn begin(&mut self) {
        self.keys.begin(self.clock.unix_ms());
        let listened = self.state.config.notify;
        let effects = self.keys.effects();
        effects.listened = listened;
        effects.is_watched = !self.state.waiting.is_empty();
    }

    /// After a commit: when its reply may leave, and what listeners are told.
    fn committed(&mut self, client: &ClientRef, seq: u64) {
        if self.state.config.sync == SyncPolicy::Always {
            client.borrow_mut().needs_durable = seq;
        }
        self.tell();
    }

    fn tell(&mut self) {
        let effects = self.keys.effects();
        self.state.counters.expired += std::mem::take(&mut effects.expired);
        if effects.events.is_empty() && effects.touched.is_empty() && effects.swapped.is_empty() {
            return;
        }
        let events = std::mem::take(&mut effects.events);
        let touched = std::mem::take(&mut effects.touched);
        let swapped = std::mem::take(&mut effects.swapped);
        for event in &events {
            self.state.notify(event);
        }
        self.state.waiting.ready.extend(touched);
        for (a, b) in swapped {
            for db in [a, b] {
                let keys = self.state.waiting.keys_of(db);
                self.state.waiting.ready.extend(keys.into_iter().map(|key| (db, key)));
            }
        }
    }

    /// Takes keys out whose time has come; some, where there are many.
    ///
    /// # Errors
    /// What the store met.
    pub fn expire_due(&mut self) -> Answer<()> {
        let is_paused = self.state.pause.is_some();
        if self.keys.next_due() > self.clock.unix_ms() || !self.state.config.active_expire || is_paused {
            return Ok(());
        }
        self.begin();
        self.keys.expire_due(EXPIRE_AT_ONCE)?;
        match self.keys.commit() {
            Ok(_) => self.tell(),
            // The next command tries again.
            Err(CommitError::Conflict) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Runs commands again that wait for keys which were written: those that wait for the type that the key has now,
    /// first come first served. Who finds nothing again keeps its place in all queues.
    pub fn serve_waiting(&mut self) {
        while let Some((db, key)) = self.state.waiting.ready.pop_front() {
            for id in self.state.waiting.of(db, &key) {
                self.begin();
                // A key that cannot be read now is met by the command itself, which says so.
                let kind = match self.keys.find(db, &key) {
                    Ok(None) => break,
                    Ok(Some(found)) => Some(found.kind),
                    Err(_) => None,
                };
                let Some(client) = self.state.clients.get(&id).map(Rc::clone) else { continue };
                let Some(blocked) = client.borrow_mut().blocked.take() else { continue };
                self.retry(&client, blocked, kind);
            }
        }
    }

    fn retry(&mut self, client: &ClientRef, blocked: Blocked, kind: Option<Kind>) {
        let args: Vec<&[u8]> = blocked.args.iter().map(Vec::as_slice).collect();
        let answer = match self.state.table.resolve(&args) {
            Ok(entry) if kind.is_some_and(|kind| waits_for(entry.command) != kind) => {
                client.borrow_mut().blocked = Some(blocked);
                return;
            }
            Ok(entry) => self.transaction(client, entry.command, &args),
            Err(fail) => Err(fail),
        };
        let id = client.borrow().id;
        if client.borrow().blocked.is_some() {
            // It waits on, as from the beginning.
            client.borrow_mut().blocked = Some(blocked);
            return;
        }
        self.state.waiting.remove(id, &blocked);
        let reply = answer.unwrap_or_else(|fail| self.failed(client, &fail));
        let mut client = client.borrow_mut();
        client.reply(&reply);
        client.wake.notify_one();
    }

    /// A client is gone.
    pub fn forget(&mut self, client: &ClientRef) {
        let blocked = client.borrow_mut().blocked.take();
        if let Some(blocked) = blocked {
            let id = client.borrow().id;
            self.state.waiting.remove(id, &blocked);
        }
        self.state.forget(&client.borrow());
    }
}

/// The type of the keys that a command waits for.
fn waits_for(command: &Command) -> Kind {
    if command.group == "sorted-set" { Kind::SortedSet } else { Kind::List }
}

/// Commands that act on the transaction itself.
fn is_of_multi(command: &Command) -> bool {
    matches!(command.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn may_run_subscribed(command: &Command) -> bool {
    matches!(
        command.name,
        "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "ping"
            | "quit"
            | "reset"
    )
}

impl State {
    /// Publishes an event on the channels of its key and its name.
    pub fn notify(&self, event: &Event) {
        let listened = self.config.notify;
        let mut number = Vec::new();
        push_integer(&mut number, i64::from(event.db));
        if listened.meets(Class::KEYSPACE) {
            let channel = [b"__keyspace@", &number[..], b"__:", &event.key].concat();
            self.pubsub.publish(&self.clients, &channel, event.name.as_bytes());
        }
        if listened.meets(Class::KEYEVENT) {
            let channel = [b"__keyevent@", &number[..], b"__:", event.name.as_bytes()].concat();
            self.pubsub.publish(&self.clients, &channel, &event.key);
        }
    }

    /// May the client's user do this?
    ///
    /// # Errors
    /// What Redis says.
    pub fn check_access(
        &mut self,
        client: &ClientRef,
        entry: &Entry,
        args: &[&[u8]],
        in_exec: bool,
    ) -> Answer<()> {
        let client = client.borrow();
        let Some(user) = &client.user else { return Ok(()) };
        let Err(denied) = user.check(entry, args) else { return Ok(()) };
        let object = match &denied {
            Denied::Command => entry.full.clone().into_bytes(),
            Denied::Key(name) | Denied::Channel(name) => name.clone(),
        };
        self.counters.acl_denied[match denied {
            Denied::Command => 0,
            Denied::Key(_) => 1,
            Denied::Channel(_) => 2,
        }] += 1;
        let now = now_ms();
        self.acl.note(Refusal {
            id: 0,
            count: 1,
            reason: denied.reason(),
            context: if in_exec || client.queue.is_some() { "multi" } else { "toplevel" },
            object,
            user: user.name.clone(),
            client: clients::line(&client),
            created_ms: now,
            updated_ms: now,
        });
        Err(Fail::text(denied.line(user, &entry.full)))
    }

    fn forget(&mut self, client: &Client) {
        self.clients.remove(&client.id);
        self.clients_bytes = self.clients_bytes.saturating_sub(client.counted);
        if client.is_monitor {
            self.monitors = self.monitors.saturating_sub(1);
        }
        self.pubsub.forget(client);
    }
}

impl Call<'_> {
    /// Lets the client wait until one of `keys` is written; the command runs again then. After `seconds` (0: never) it is
    /// answered `otherwise`; at once within a transaction.
    pub fn wait_for(&mut self, keys: &[&[u8]], seconds: f64, otherwise: Reply) -> Reply {
        let mut client = self.client.borrow_mut();
        if self.in_exec || client.close.is_some() {
            return otherwise;
        }
        let since = Instant::now();
        let until = (seconds > 0.0)
            .then(|| std::time::Duration::try_from_secs_f64(seconds).ok())
            .flatten()
            .and_then(|wait| since.checked_add(wait));
        let blocked = Blocked {
            args: self.args.iter().map(|arg| arg.to_vec()).collect(),
            db: self.db,
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            until,
            otherwise,
            since,
        };
        self.state.waiting.add(client.id, &blocked);
        client.blocked = Some(blocked);
        Reply::None
    }

    /// Runs the commands of a queue as one transaction; gives their replies.
    ///
    /// # Errors
    /// What the store met: nothing was written then.
    pub fn run_queue(&mut self, queue: &[Vec<Vec<u8>>]) -> Answer<Vec<Reply>> {
        let mut replies = Vec::with_capacity(queue.len());
        for args in queue {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let entry = self.state.table.resolve(&args);
            let db = self.client.borrow().db;
            let result = entry.and_then(|entry| {
                let command = entry.command;
                // The user may have changed since it was queued.
                self.state.check_access(self.client, entry, &args, true)?;
                self.state.feed_monitors(self.client, command, &args);
                // Before it changes anything: what others of the transaction did stays.
                let keys = command.keys.positions(&args).unwrap_or_default();
                keys.iter().filter_map(|at| args.get(*at)).try_for_each(|key| check_name(key))?;
                let started = Instant::now();
                let result = (command.handler)(&mut Call {
                    args: &args,
                    command,
                    db,
                    keys: &mut *self.keys,
                    state: &mut *self.state,
                    client: self.client,
                    in_exec: true,
                });
                self.state.note_run(self.client, entry, &args, started.elapsed(), result.is_err());
                result
            });
            replies.push(match result {
                Ok(reply) => reply,
                Err(fail) if !fail.is_of_command() => return Err(fail),
                Err(fail) => {
                    let line = fail.line().into_owned();
                    self.state.note_error(&line);
                    Reply::Error(line.into())
                }
            });
        }
        Ok(replies)
    }

    /// Notes an event for those who listen.
    pub fn event(&mut self, class: Class, name: &'static str, key: &[u8]) {
        self.keys.event(class, name, self.db, key);
    }
}

/// Ends a client for what it sent.
pub fn protocol_error(client: &ClientRef, what: &str) {
    let mut client = client.borrow_mut();
    client.reply(&Reply::Error(format!("ERR Protocol error: {what}").into()));
    client.end(Close::AfterReplies);
}
