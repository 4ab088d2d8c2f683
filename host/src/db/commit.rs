//! The commit queue: one leader at a time logs its own batch and those that wait; then each member inserts its
//! own.
//!
//! A writer that finds no leader leads at once. One that finds a leader queues its batch and sleeps until it is
//! told what came of it, or is made the leader.
//!
//! 1. `led` is true while there is a leader, also between one leaving and the next waking up.
//! 2. A leader tells every follower that got a ticket or an error before it waits for anything: what has a ticket
//!    must be applied by its own writer before the engine is drained.
//! 3. A follower that the engine was too busy for goes back to the head of the queue.
//! 4. The leader keeps the leadership while the engine is busy with its own batch, so a batch with preconditions is
//!    not overtaken for ever.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nokv_core::engine::{Engine, Member, Stall, Ticket};
use nokv_core::formats::Seq;
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use parking_lot::{Condvar, Mutex};

use super::signals::HostSignals;

/// What a write is to survive, and how long it may wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// `Some(true)`: returns when the write, and all before it, survive power loss. `Some(false)`: returns when it
    /// survives the death of the process (`kill -9`). `None`: as `Options::sync_writes` says.
    pub sync: Option<bool>,
    /// Writes no log record: after a crash the batch may be gone, as a whole, unless it was flushed. Not together
    /// with `sync: Some(true)`.
    pub disable_wal: bool,
    /// Gives [`Error::DeadlineExceeded`], with nothing written, if the write cannot start before.
    pub deadline: Option<Instant>,
}

/// What a queued writer was told.
enum Told<I> {
    Nothing,
    Lead,
    Outcome(Result<Ticket<I>>),
}

struct Request<I> {
    batch: WriteBatch,
    disable_wal: bool,
    told: Mutex<Told<I>>,
    was_told: AtomicBool,
    wake: Condvar,
}

impl<I> Request<I> {
    fn tell(&self, told: Told<I>) {
        *self.told.lock() = told;
        self.was_told.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits until told something; [`Told::Nothing`] when `until` came first.
    fn wait(&self, until: Option<Instant>) -> Told<I> {
        // A leader logs a group in less than a microsecond: usually shorter than going to sleep.
        for _ in 0..256 {
            if self.was_told.load(Ordering::Acquire) {
                break;
            }
            std::hint::spin_loop();
        }
        let mut told = self.told.lock();
        loop {
            if !matches!(*told, Told::Nothing) {
                self.was_told.store(false, Ordering::Release);
                return std::mem::replace(&mut told, Told::Nothing);
            }
            match until {
                None => self.wake.wait(&mut told),
                Some(until) => {
                    if self.wake.wait_until(&mut told, until).timed_out() {
                        return std::mem::replace(&mut told, Told::Nothing);
                    }
                }
            }
        }
    }
}

struct State<I> {
    led: bool,
    waiting: VecDeque<Arc<Request<I>>>,
}

/// See the module.
pub(crate) struct CommitQueue<I> {
    state: Mutex<State<I>>,
}

/// Most batches in one group.
const GROUP_MAX: usize = 64;
/// A group takes no more followers behind this many bytes.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The database as a writer needs it.
pub(crate) struct Target<'a, V: Vfs, I: MemIndex> {
    pub(crate) engine: &'a Engine<V, I>,
    pub(crate) signals: &'a HostSignals,
    /// The database closes: waiting ends.
    pub(crate) closing: &'a AtomicBool,
}

impl<V: Vfs, I: MemIndex> Target<'_, V, I> {
    /// Why waiting makes no sense, if it does not.
    fn check(&self, deadline: Option<Instant>) -> Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(cause) = self.engine.failure() {
            return Err(Error::ReadOnly(cause.to_string()));
        }
        // A full disk keeps memtables from being flushed: nothing was written, and the writer is told why.
        if let Some(hindrance) = self.engine.hindrance() {
            return Err(hindrance);
        }
        if deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(Error::DeadlineExceeded);
        }
        Ok(())
    }
}

impl<I: MemIndex> CommitQueue<I> {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(State { led: false, waiting: VecDeque::new() }) }
    }

    /// Commits `batch`; it is visible, and durable if asked for, on return. Gives its last seq and the batch's
    /// memory back.
    pub(crate) fn commit<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        batch: WriteBatch,
        options: &WriteOptions,
        sync: bool,
    ) -> Result<(Seq, WriteBatch)> {
        if batch.is_empty() {
            return Ok((target.engine.published(), batch));
        }
        slow_down(target, batch.bytes() + batch.value_bytes_max(), options.deadline)?;
        let (prepared, _separated) = target.engine.prepare(&batch)?;
        let followers = {
            let mut state = self.state.lock();
            if state.led {
                None
            } else {
                state.led = true;
                Some(take_followers(&mut state))
            }
        };
        if let Some(followers) = followers {
            let ticket = self.lead(target, &prepared, options, followers)?;
            let last = finish(target, &prepared, &ticket, sync)?;
            drop(prepared);
            return Ok((last, batch));
        }
        let owned = match prepared {
            Cow::Owned(owned) => owned,
            Cow::Borrowed(_) => batch.clone(),
        };
        let request = Arc::new(Request {
            batch: owned,
            disable_wal: options.disable_wal,
            told: Mutex::new(Told::Nothing),
            was_told: AtomicBool::new(false),
            wake: Condvar::new(),
        });
        let ticket = self.follow(target, &request, options)?;
        let last = finish(target, &request.batch, &ticket, sync)?;
        Ok((last, batch))
    }

    /// Queues a request, or leads if the leader has left meanwhile; gives its ticket.
    fn follow<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        request: &Arc<Request<I>>,
        options: &WriteOptions,
    ) -> Result<Ticket<I>> {
        {
            let mut state = self.state.lock();
            if state.led {
                state.waiting.push_back(request.clone());
            } else {
                state.led = true;
                let followers = take_followers(&mut state);
                drop(state);
                return self.lead(target, &request.batch, options, followers);
            }
        }
        let mut until = options.deadline;
        loop {
            match request.wait(until) {
                Told::Outcome(outcome) => return outcome,
                Told::Lead => {
                    let followers = take_followers(&mut self.state.lock());
                    return self.lead(target, &request.batch, options, followers);
                }
                Told::Nothing => {
                    let mut state = self.state.lock();
                    if let Some(at) = state.waiting.iter().position(|r| Arc::ptr_eq(r, request)) {
                        state.waiting.remove(at);
                        return Err(Error::DeadlineExceeded);
                    }
                    // A leader has it, or made it the leader: it is told soon, and may be put back.
                    until = Some(Instant::now() + Duration::from_millis(1));
                }
            }
        }
    }

    /// Logs the own batch and those of `followers`, then passes the leadership on.
    fn lead<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        own: &WriteBatch,
        options: &WriteOptions,
        followers: Vec<Arc<Request<I>>>,
    ) -> Result<Ticket<I>> {
        let mut own = Member { batch: own, disable_wal: options.disable_wal, outcome: None };
        // Before the engine is asked: what happens from here on is seen by `wait_change`.
        let mut epoch = target.signals.epoch();
        if followers.is_empty() {
            target.engine.log(core::slice::from_mut(&mut own));
        } else {
            own.outcome = self.log_group(target, &own, &followers);
        }
        while matches!(own.outcome, Some(Err(Error::Busy(_)))) {
            if let Err(error) = self.wait_while_busy(target, options.deadline, epoch) {
                own.outcome = Some(Err(error));
                break;
            }
            epoch = target.signals.epoch();
            target.engine.log(core::slice::from_mut(&mut own));
        }
        self.pass_on();
        own.outcome.unwrap_or(Err(Error::Busy("the write was not taken")))
    }

    fn log_group<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        own: &Member<'_, I>,
        followers: &[Arc<Request<I>>],
    ) -> Option<Result<Ticket<I>>> {
        let mut group = Vec::with_capacity(followers.len() + 1);
        group.push(Member { batch: own.batch, disable_wal: own.disable_wal, outcome: None });
        group.extend(followers.iter().map(|r| Member {
            batch: &r.batch,
            disable_wal: r.disable_wal,
            outcome: None,
        }));
        target.engine.log(&mut group);
        let mut members = group.into_iter();
        let outcome = members.next().and_then(|m| m.outcome);
        let mut put_back = Vec::new();
        for (request, member) in followers.iter().zip(members) {
            match member.outcome {
                Some(Err(Error::Busy(_))) | None => put_back.push(request),
                Some(outcome) => request.tell(Told::Outcome(outcome)),
            }
        }
        let mut state = self.state.lock();
        for request in put_back.into_iter().rev() {
            state.waiting.push_front(request.clone());
        }
        outcome
    }

    /// The engine was too busy for the own batch: waits for an event.
    #[cold]
    fn wait_while_busy<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        deadline: Option<Instant>,
        epoch: u64,
    ) -> Result<()> {
        if !target.engine.is_drained() {
            // Whoever has a ticket was told so and inserts without the leadership: soon done.
            target.signals.wait_published(|| target.engine.is_drained());
            return Ok(());
        }
        target.check(deadline)?;
        target.signals.wait_change(epoch, Some(next_look(deadline)));
        Ok(())
    }

    /// Makes the next one in the queue the leader.
    fn pass_on(&self) {
        let mut state = self.state.lock();
        match state.waiting.pop_front() {
            Some(next) => {
                drop(state);
                next.tell(Told::Lead);
            }
            None => state.led = false,
        }
    }
}

fn take_followers<I>(state: &mut State<I>) -> Vec<Arc<Request<I>>> {
    let mut bytes = 0;
    let mut followers = Vec::new();
    while followers.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
        let Some(next) = state.waiting.pop_front() else { break };
        bytes += next.batch.bytes();
        followers.push(next);
    }
    followers
}

/// A background step that fails and is tried again makes no event: look again after a while.
fn next_look(deadline: Option<Instant>) -> Instant {
    let soon = Instant::now() + Duration::from_millis(50);
    deadline.map_or(soon, |d| d.min(soon))
}

#[inline]
fn finish<V: Vfs, I: MemIndex>(
    target: &Target<'_, V, I>,
    batch: &WriteBatch,
    ticket: &Ticket<I>,
    sync: bool,
) -> Result<Seq> {
    let engine = target.engine;
    if engine.apply(batch, ticket) {
        target.signals.wake_published();
    }
    if !engine.is_published(ticket) {
        target.signals.wait_published(|| engine.is_published(ticket));
    }
    if sync {
        engine.sync_to(ticket)?;
    }
    Ok(ticket.last_seq())
}

/// Waits as long as background debt asks for.
#[inline]
fn slow_down<V: Vfs, I: MemIndex>(
    target: &Target<'_, V, I>,
    bytes: usize,
    deadline: Option<Instant>,
) -> Result<()> {
    match target.engine.stall() {
        Stall::None => Ok(()),
        stall => wait_for_debt(target, bytes, deadline, stall),
    }
}

#[cold]
fn wait_for_debt<V: Vfs, I: MemIndex>(
    target: &Target<'_, V, I>,
    bytes: usize,
    deadline: Option<Instant>,
    mut stall: Stall,
) -> Result<()> {
    use std::cell::Cell;
    thread_local!(static OWED: Cell<u64> = const { Cell::new(0) });
    loop {
        let epoch = target.signals.epoch();
        match stall {
            Stall::None => return Ok(()),
            Stall::Slow { ns_per_kib } => {
                // Too short to sleep for: owed until it is worth it.
                let owed = OWED.get() + ns_per_kib * (bytes as u64).div_ceil(1024);
                if owed < 1_000_000 {
                    OWED.set(owed);
                    return Ok(());
                }
                OWED.set(0);
                let until = Instant::now() + Duration::from_nanos(owed.min(100_000_000));
                if deadline.is_some_and(|d| d < until) {
                    return Err(Error::DeadlineExceeded);
                }
                target.signals.wait_change(epoch, Some(until));
                return Ok(());
            }
            Stall::Stop => {
                target.check(deadline)?;
                target.signals.wait_change(epoch, Some(next_look(deadline)));
            }
        }
        stall = target.engine.stall();
    }
}
