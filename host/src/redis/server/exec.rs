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
use crate::redis::store::effects::{Class, Event, Listeners, Notice};
use crate::redis::store::keyspace::Keyspace;

/// Keys that expire before a command, at most. The rest is done between commands.
const EXPIRE_BEFORE: usize = 16;
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

    /// The same, later.
    #[cfg(test)]
    pub const fn ahead_by(mut self, ms: u64) -> Self {
        self.unix_ms += ms;
        self
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
        let result = self.transaction(client, command, args, None);
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
        ready: Option<&[u8]>,
    ) -> Answer<Reply> {
        // A store that takes no writes is read all the same: what expired is hidden as it is.
        let _ = self.expire_due(EXPIRE_BEFORE);
        if command.name == "watch" {
            let _ = self.expire_watched(client.borrow().db, args);
        }
        if command.name != "exec" {
            return self.tries(client, command, args, ready);
        }
        let (db, user) = (client.borrow().db, client.borrow().user.clone());
        let result = self.tries(client, command, args, None);
        let mut client = client.borrow_mut();
        client.queue = None;
        client.watched.clear();
        if result.is_err() {
            client.db = db;
            client.user = user;
        }
        result
    }

    fn tries(
        &mut self,
        client: &ClientRef,
        command: &'static Command,
        args: &[&[u8]],
        ready: Option<&[u8]>,
    ) -> Answer<Reply> {
        let db = client.borrow().db;
        for _ in 0..TRIES {
            self.begin();
            self.keys.starts(command.flags.has(Flags::WRITE));
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
                ready,
            };
            let reply = match (command.handler)(&mut call) {
                Ok(reply) => reply,
                Err(fail) => {
                    // It tells of what is stored, too.
                    if matches!(fail, Fail::Said(_)) {
                        let seq = self.keys.txn().backend().seq();
                        self.wait_until_durable(client, seq);
                    }
                    return Err(fail);
                }
            };
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
        effects.is_watched = !self.state.common.waiting.is_empty();
        self.state.rewatched.clear();
    }

    /// After a commit: when its reply may leave, and what listeners are told.
    fn committed(&mut self, client: &ClientRef, seq: u64) {
        self.wait_until_durable(client, seq);
        self.state.rewatch(self.keys.txn().changes(), seq);
        self.tell(seq);
    }

    /// With `appendfsync always` what a client is told from now on leaves when everything up to `seq` is durable.
    fn wait_until_durable(&self, client: &ClientRef, seq: u64) {
        if self.state.config.sync == SyncPolicy::Always {
            let mut client = client.borrow_mut();
            client.needs_durable = client.needs_durable.max(seq);
        }
    }

    /// What a commit tells those who listen, and those who wait for keys.
    fn tell(&mut self, seq: u64) {
        if self.state.config.sync == SyncPolicy::Always {
            let committed = &self.state.common.committed;
            committed.set(committed.get().max(seq));
        }
        let effects = self.keys.effects();
        self.state.counters.expired += std::mem::take(&mut effects.expired);
        if effects.notices.is_empty() && effects.touched.is_empty() && effects.swapped.is_empty() {
            return;
        }
        let notices = std::mem::take(&mut effects.notices);
        let touched = std::mem::take(&mut effects.touched);
        let swapped = std::mem::take(&mut effects.swapped);
        for notice in &notices {
            match notice {
                Notice::Event(event) => self.state.notify(event),
                Notice::Message { to, channel, message } => {
                    self.state.pubsub.publish(&self.state.clients, *to, channel, message);
                }
            }
        }
        let waiting = &self.state.common.waiting;
        waiting.note_ready(touched);
        for (a, b) in swapped {
            for db in [a, b] {
                waiting.note_ready(waiting.keys_of(db).into_iter().map(|key| (db, key)));
            }
        }
    }

    /// Takes up to `limit` keys out whose time has come; false if that may not have been all.
    ///
    /// # Errors
    /// What the store met.
    pub fn expire_due(&mut self, limit: usize) -> Answer<bool> {
        let is_paused = self.state.pause.is_some();
        if self.keys.next_due() > self.clock.unix_ms() || !self.state.config.active_expire || is_paused {
            return Ok(true);
        }
        self.begin();
        let taken = self.keys.expire_due(limit)?;
        Ok(self.took_out()? && taken < limit)
    }

    /// What is to be watched starts without what is over: that it goes later changes nothing.
    fn expire_watched(&mut self, db: u8, args: &[&[u8]]) -> Answer<()> {
        if self.state.pause.is_some() {
            return Ok(());
        }
        self.begin();
        for key in args.iter().skip(1) {
            self.keys.expire_key(db, key)?;
        }
        self.took_out().map(drop)
    }

    /// Commits what went; false if it has to be tried again.
    fn took_out(&mut self) -> Answer<bool> {
        match self.keys.commit() {
            Ok(seq) => {
                self.tell(seq);
                Ok(true)
            }
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Answers those who wait for the number of keys, if it is known by now.
    pub fn serve_counted(&mut self) {
        if !self.state.common.waiting.is_for_count() || matches!(self.keys.counts().are_known(), Ok(false)) {
            return;
        }
        for id in self.state.common.waiting.take_for_count() {
            let Some(client) = self.state.clients.get(&id).map(Rc::clone) else { continue };
            let blocked = client.borrow_mut().blocked.take();
            if let Some(blocked) = blocked {
                self.retry(&client, blocked, None, None);
            }
        }
    }

    /// Runs commands again that wait for keys which were written, key by key in the order of the writes, each for that key
    /// alone: those that wait for the type that it has now, first come first served. Who finds nothing again keeps its
    /// place in all queues; one that is to end is not among them.
    pub fn serve_waiting(&mut self) {
        while let Some((db, key)) = self.state.common.waiting.next_ready() {
            for id in self.state.common.waiting.of(db, &key) {
                self.begin();
                // A key that cannot be read now is met by the command itself, which says so.
                let kind = match self.keys.find(db, &key) {
                    Ok(None) => break,
                    Ok(Some(found)) => Some(found.kind),
                    Err(_) => None,
                };
                let Some(client) = self.state.clients.get(&id).map(Rc::clone) else { continue };
                if client.borrow().close.is_some() {
                    continue;
                }
                let Some(blocked) = client.borrow_mut().blocked.take() else { continue };
                self.retry(&client, blocked, kind, Some(&key));
            }
        }
    }

    fn retry(&mut self, client: &ClientRef, blocked: Blocked, kind: Option<Kind>, ready: Option<&[u8]>) {
        let args: Vec<&[u8]> = blocked.args.iter().map(Vec::as_slice).collect();
        let answer = match self.state.table.resolve(&args) {
            Ok(entry) if kind.is_some_and(|kind| waits_for(entry.command) != kind) => {
                client.borrow_mut().blocked = Some(blocked);
                return;
            }
            Ok(entry) => self.transaction(client, entry.command, &args, ready),
            Err(fail) => Err(fail),
        };
        let id = client.borrow().id;
        if client.borrow().blocked.is_some() {
            // It waits on, as from the beginning.
            client.borrow_mut().blocked = Some(blocked);
            return;
        }
        self.state.common.waiting.remove(id, &blocked);
        let reply = answer.unwrap_or_else(|fail| self.failed(client, &fail));
        let mut client = client.borrow_mut();
        client.reply(&reply);
        client.wake.notify_one();
    }

    /// A client is gone.
    pub fn forget(&mut self, client: &ClientRef) {
        client.borrow_mut().stop_waiting();
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
            self.pubsub.publish(&self.clients, Listeners::Channels, &channel, event.name.as_bytes());
        }
        if listened.meets(Class::KEYEVENT) {
            let channel = [b"__keyevent@", &number[..], b"__:", event.name.as_bytes()].concat();
            self.pubsub.publish(&self.clients, Listeners::Channels, &channel, &event.key);
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
    /// Which of the keys that a command takes from it is to try: all, or the one that it was woken for.
    pub fn candidates<'k>(&self, keys: &'k [&'k [u8]]) -> &'k [&'k [u8]] {
        let Some(ready) = self.ready else { return keys };
        let at = keys.iter().position(|key| *key == ready);
        at.and_then(|at| keys.get(at..=at)).unwrap_or_default()
    }

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
        let blocked = Blocked::new(self.args, self.db, keys, (since, until), otherwise);
        self.state.common.waiting.add(client.id, &blocked);
        client.blocked = Some(blocked);
        Reply::None
    }

    /// Lets the client wait until the keys are counted; the command runs again then.
    ///
    /// # Errors
    /// Within a transaction, which cannot wait.
    pub fn wait_for_count(&mut self) -> Answer<Reply> {
        const LOADING: &str = "LOADING The keys are being counted; try again";
        if self.in_exec {
            return Err(Fail::of(LOADING));
        }
        let reply = self.wait_for(&[], 0.0, Reply::Error(LOADING.into()));
        let client = self.client.borrow();
        if client.blocked.is_some() {
            self.state.common.waiting.add_for_count(client.id);
        }
        Ok(reply)
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
                self.keys.starts(command.flags.has(Flags::WRITE));
                let result = (command.handler)(&mut Call {
                    args: &args,
                    command,
                    db,
                    keys: &mut *self.keys,
                    state: &mut *self.state,
                    client: self.client,
                    in_exec: true,
                    ready: None,
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
