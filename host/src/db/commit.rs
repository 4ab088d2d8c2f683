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
//! 4. A leader that is alone may be told to wait a little for others (`write_batch_wait`); it holds no lock then, and
//!    not while the database closes.
//! 5. The leader keeps the leadership while the engine is busy with its own batch, so a batch with preconditions is
//!    not overtaken for ever.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nokv_core::clock::Clock;
use nokv_core::engine::{Engine, Member, Prepared, Stall, Ticket};
use nokv_core::formats::Seq;
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::signals::HostSignals;
use super::write_counters::{LeaderCounts, WriteCounters, WriteSnapshot};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, now, spin_loop, spins};

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
    scale: u32,
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

    /// Waits until told something; [`Told::Nothing`] when `until` came first. Counts time asleep.
    fn wait(&self, until: Option<Instant>, clock: &dyn Clock, counters: &WriteCounters) -> Told<I> {
        // A leader logs a group in less than a microsecond: usually shorter than going to sleep.
        for _ in 0..spins(256) {
            if self.was_told.load(Ordering::Acquire) {
                break;
            }
            spin_loop();
        }
        let mut told = self.told.lock();
        if matches!(*told, Told::Nothing) {
            let asleep = clock.monotonic_ns();
            while matches!(*told, Told::Nothing) {
                match until {
                    None => self.wake.wait(&mut told),
                    Some(until) => {
                        if self.wake.wait_until(&mut told, until).timed_out() {
                            break;
                        }
                    }
                }
            }
            counters.waited(clock.monotonic_ns().saturating_sub(asleep));
        }
        if !matches!(*told, Told::Nothing) {
            self.was_told.store(false, Ordering::Release);
        }
        std::mem::replace(&mut told, Told::Nothing)
    }
}

struct State<I> {
    led: bool,
    /// The leader waits for others to come along.
    is_awaiting: bool,
    waiting: VecDeque<Arc<Request<I>>>,
    counts: LeaderCounts,
}

/// What the options say of batches and of log records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueOptions {
    /// Most operations of one batch; `u64::MAX` = no limit.
    pub(crate) batch_count_max: u64,
    /// Most encoded bytes of one batch; `u64::MAX` = no limit here.
    pub(crate) batch_bytes_max: u64,
    /// Values from this length on go to the value log.
    pub(crate) separate_from: usize,
    /// Most batches of one record.
    pub(crate) record_batches_max: usize,
    /// A record takes no more batches behind this many bytes.
    pub(crate) record_bytes_max: usize,
    /// How long a leader that is alone waits for others.
    pub(crate) wait: Duration,
}

impl QueueOptions {
    /// Most batches and bytes of one record, for writers whose limits are multiplied by `scale`.
    pub(crate) fn limits(&self, scale: u32) -> (usize, usize) {
        let scale = scale.max(1) as usize;
        (self.record_batches_max.saturating_mul(scale), self.record_bytes_max.saturating_mul(scale))
    }

    /// Refuses a batch above the hard limits.
    #[inline]
    fn check(&self, batch: &WriteBatch) -> Result<()> {
        let (count, bytes) = (batch.len() as u64, batch.bytes() as u64);
        if count <= self.batch_count_max && bytes <= self.batch_bytes_max {
            return Ok(());
        }
        let limit = if count > self.batch_count_max { self.batch_count_max } else { self.batch_bytes_max };
        Err(Error::BatchTooLarge { bytes, count, limit })
    }
}

/// How one batch is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Return when it survives power loss.
    pub(crate) sync: bool,
    /// What the limits of its log record are multiplied by: above 1 for hot keys.
    pub(crate) scale: u32,
}

/// See the module.
pub(crate) struct CommitQueue<I> {
    options: QueueOptions,
    clock: Arc<dyn Clock>,
    state: Mutex<State<I>>,
    /// Told when a batch comes while the leader waits for one.
    arrived: Condvar,
    counters: WriteCounters,
}

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
        if deadline.is_some_and(|d| now() >= d) {
            return Err(Error::DeadlineExceeded);
        }
        Ok(())
    }
}

impl<I: MemIndex> CommitQueue<I> {
    pub(crate) fn new(options: QueueOptions, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            led: false,
            is_awaiting: false,
            waiting: VecDeque::new(),
            counts: LeaderCounts::default(),
        };
        Self {
            options,
            clock,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            counters: WriteCounters::default(),
        }
    }

    /// The counts, and what waits now.
    pub(crate) fn snapshot(&self) -> WriteSnapshot {
        let state = self.state.lock();
        let mut snapshot = self.counters.snapshot(&state.counts);
        for request in &state.waiting {
            snapshot.queue_depth += 1;
            snapshot.queue_entries += request.batch.len() as u64;
            snapshot.queue_bytes += request.batch.bytes() as u64;
        }
        snapshot
    }

    /// The database closes: a leader that waits for others stops waiting.
    pub(crate) fn stop_waiting(&self) {
        let state = self.state.lock();
        self.arrived.notify_all();
        drop(state);
    }

    /// Refuses a batch above the hard limits, and counts that.
    #[inline]
    pub(crate) fn check(&self, batch: &WriteBatch) -> Result<()> {
        self.options.check(batch).inspect_err(|_| self.counters.refused())
    }

    /// Commits `batch`; it is visible, and durable if asked for, on return. Gives its last seq and the batch's
    /// memory back.
    pub(crate) fn commit<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        batch: WriteBatch,
        options: &WriteOptions,
        ask: Ask,
    ) -> Result<(Seq, WriteBatch)> {
        if batch.is_empty() {
            return Ok((target.engine.published(), batch));
        }
        self.check(&batch)?;
        slow_down(target, batch.bytes() + batch.value_bytes_max(), options.deadline)?;
        let (prepared, _separated) = self.prepare(target, &batch)?;
        let followers = {
            let mut state = self.state.lock();
            if state.led {
                None
            } else {
                state.led = true;
                Some(self.take_followers(&mut state, &prepared, ask.scale))
            }
        };
        if let Some(followers) = followers {
            let ticket = self.lead(target, &prepared, options, ask.scale, followers)?;
            let last = self.finish(target, &prepared, &ticket, ask.sync)?;
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
            scale: ask.scale,
            told: Mutex::new(Told::Nothing),
            was_told: AtomicBool::new(false),
            wake: Condvar::new(),
        });
        let ticket = self.follow(target, &request, options)?;
        let last = self.finish(target, &request.batch, &ticket, ask.sync)?;
        Ok((last, batch))
    }

    /// Large values go to the value log.
    #[inline]
    fn prepare<'b, 'e, V: Vfs>(
        &self,
        target: &Target<'e, V, I>,
        batch: &'b WriteBatch,
    ) -> Result<Prepared<'b, 'e, V, I>> {
        if batch.value_bytes_max() < self.options.separate_from {
            return target.engine.prepare(batch);
        }
        let started = self.clock.monotonic_ns();
        let prepared = target.engine.prepare(batch);
        self.counters.separated(self.clock.monotonic_ns().saturating_sub(started));
        prepared
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
                if state.is_awaiting {
                    self.arrived.notify_one();
                }
            } else {
                state.led = true;
                let followers = self.take_followers(&mut state, &request.batch, request.scale);
                drop(state);
                return self.lead(target, &request.batch, options, request.scale, followers);
            }
        }
        let mut until = options.deadline;
        loop {
            match request.wait(until, &*self.clock, &self.counters) {
                Told::Outcome(outcome) => return outcome,
                Told::Lead => {
                    let followers =
                        self.take_followers(&mut self.state.lock(), &request.batch, request.scale);
                    return self.lead(target, &request.batch, options, request.scale, followers);
                }
                Told::Nothing => {
                    let mut state = self.state.lock();
                    if let Some(at) = state.waiting.iter().position(|r| Arc::ptr_eq(r, request)) {
                        state.waiting.remove(at);
                        return Err(Error::DeadlineExceeded);
                    }
                    // A leader has it, or made it the leader: it is told soon, and may be put back.
                    until = Some(now() + Duration::from_millis(1));
                }
            }
        }
    }

    /// Takes from the queue what one record holds beside `own`.
    fn take_followers(&self, state: &mut State<I>, own: &WriteBatch, scale: u32) -> Vec<Arc<Request<I>>> {
        let mut followers = Vec::new();
        let (mut scale, mut bytes) = (scale, own.bytes());
        while let Some(next) = state.waiting.front() {
            // A hot writer in the record makes it a large one.
            scale = scale.max(next.scale);
            let (batches_max, bytes_max) = self.options.limits(scale);
            if followers.len() + 1 >= batches_max || bytes >= bytes_max {
                break;
            }
            bytes = bytes.saturating_add(next.batch.bytes());
            followers.extend(state.waiting.pop_front());
        }
        followers
    }

    /// Alone in its record, the leader waits until another batch comes or `write_batch_wait` is over.
    #[cold]
    fn wait_for_others<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        own: &WriteBatch,
        options: &WriteOptions,
        scale: u32,
    ) -> Vec<Arc<Request<I>>> {
        let (batches_max, bytes_max) = self.options.limits(scale);
        if batches_max < 2 || own.bytes() >= bytes_max {
            return Vec::new();
        }
        let from = now();
        let mut wait = self.options.wait;
        if let Some(deadline) = options.deadline {
            // What is left of the time is for the write itself.
            wait = wait.min(deadline.saturating_duration_since(from) / 2);
        }
        let started = self.clock.monotonic_ns();
        self.counters.coalesces();
        let mut state = self.state.lock();
        state.is_awaiting = true;
        while state.waiting.is_empty() && !target.closing.load(Ordering::Acquire) {
            if self.arrived.wait_until(&mut state, from + wait).timed_out() {
                break;
            }
        }
        state.is_awaiting = false;
        let followers = self.take_followers(&mut state, own, scale);
        drop(state);
        self.counters.waited(self.clock.monotonic_ns().saturating_sub(started));
        followers
    }

    /// Logs the own batch and those of `followers`, then passes the leadership on.
    fn lead<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        own: &WriteBatch,
        options: &WriteOptions,
        scale: u32,
        mut followers: Vec<Arc<Request<I>>>,
    ) -> Result<Ticket<I>> {
        if followers.is_empty() && !self.options.wait.is_zero() {
            followers = self.wait_for_others(target, own, options, scale);
        }
        let mut own = Member { batch: own, disable_wal: options.disable_wal, outcome: None };
        let mut counts = LeaderCounts::default();
        // Before the engine is asked: what happens from here on is seen by `wait_change`.
        let mut epoch = target.signals.epoch();
        if followers.is_empty() {
            Self::log(target, core::slice::from_mut(&mut own), &mut counts);
        } else {
            own.outcome = self.log_group(target, &own, &followers, &mut counts);
        }
        let mut waiting_since = None;
        while matches!(own.outcome, Some(Err(Error::Busy(_)))) {
            waiting_since.get_or_insert_with(|| self.clock.monotonic_ns());
            if let Err(error) = self.wait_while_busy(target, options.deadline, epoch) {
                own.outcome = Some(Err(error));
                break;
            }
            epoch = target.signals.epoch();
            Self::log(target, core::slice::from_mut(&mut own), &mut counts);
        }
        if let Some(since) = waiting_since {
            self.counters.waited(self.clock.monotonic_ns().saturating_sub(since));
        }
        self.pass_on(&counts);
        own.outcome.unwrap_or(Err(Error::Busy("the write was not taken")))
    }

    /// Has the engine log a group, and counts it.
    #[inline]
    fn log<V: Vfs>(target: &Target<'_, V, I>, group: &mut [Member<'_, I>], counts: &mut LeaderCounts) {
        target.engine.log(group);
        let (mut batches, mut entries, mut bytes) = (0, 0, 0);
        for member in group.iter().filter(|m| matches!(m.outcome, Some(Ok(_)))) {
            batches += 1;
            entries += member.batch.len();
            bytes += member.batch.bytes();
        }
        if batches > 0 {
            counts.logged(batches, entries, bytes);
        }
    }

    fn log_group<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        own: &Member<'_, I>,
        followers: &[Arc<Request<I>>],
        counts: &mut LeaderCounts,
    ) -> Option<Result<Ticket<I>>> {
        let mut group = Vec::with_capacity(followers.len() + 1);
        group.push(Member { batch: own.batch, disable_wal: own.disable_wal, outcome: None });
        group.extend(followers.iter().map(|r| Member {
            batch: &r.batch,
            disable_wal: r.disable_wal,
            outcome: None,
        }));
        Self::log(target, &mut group, counts);
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

    #[inline]
    fn finish<V: Vfs>(
        &self,
        target: &Target<'_, V, I>,
        batch: &WriteBatch,
        ticket: &Ticket<I>,
        sync: bool,
    ) -> Result<Seq> {
        let engine = target.engine;
        let started = WriteCounters::samples(ticket.last_seq().0).then(|| self.clock.monotonic_ns());
        if engine.apply(batch, ticket) {
            target.signals.wake_published();
        }
        if let Some(started) = started {
            self.counters.applied(self.clock.monotonic_ns().saturating_sub(started));
        }
        if !engine.is_published(ticket) {
            target.signals.wait_published(|| engine.is_published(ticket));
        }
        if sync {
            engine.sync_to(ticket)?;
        }
        Ok(ticket.last_seq())
    }

    /// Makes the next one in the queue the leader.
    fn pass_on(&self, counts: &LeaderCounts) {
        let mut state = self.state.lock();
        state.counts.add(counts);
        match state.waiting.pop_front() {
            Some(next) => {
                drop(state);
                next.tell(Told::Lead);
            }
            None => state.led = false,
        }
    }
}

/// A background step that fails and is tried again makes no event: look again after a while.
fn next_look(deadline: Option<Instant>) -> Instant {
    let soon = now() + Duration::from_millis(50);
    deadline.map_or(soon, |d| d.min(soon))
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
                let until = now() + Duration::from_nanos(owed.min(100_000_000));
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
