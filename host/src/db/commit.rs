//! The commit queue: one leader at a time logs its own batch and all that wait; then each member inserts its own.
//!
//! A writer that finds no leader leads at once. One that finds a leader queues its batch and waits for the
//! leadership; when it gets it, its batch may be logged already. The leader keeps the leadership while the engine
//! is busy, so a batch with preconditions is not overtaken for ever.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use nokv_core::engine::{Engine, Member, Stall, Ticket};
use nokv_core::formats::Seq;
use nokv_core::write::WriteBatch;
use nokv_core::{Error, MemIndex, Result, Vfs};
use parking_lot::{Mutex, MutexGuard};

use super::signals::HostSignals;

/// What a write is to survive, and how long it may wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// `Some(true)`: returns when the write, and all before it, survive power loss. `Some(false)`: returns when it
    /// survives the death of the process (`kill -9`). `None`: as `Options::sync_writes` says.
    pub sync: Option<bool>,
    /// Writes no log record: after a crash the batch may be gone, as a whole, unless it was flushed.
    pub disable_wal: bool,
    /// Gives [`Error::DeadlineExceeded`], with nothing written, if the write cannot start before.
    pub deadline: Option<Instant>,
}

struct Request<I> {
    batch: WriteBatch,
    disable_wal: bool,
    outcome: Mutex<Option<Result<Ticket<I>>>>,
}

/// See the module.
pub(crate) struct CommitQueue<I> {
    leader: Mutex<()>,
    waiting: Mutex<Vec<Arc<Request<I>>>>,
}

/// Most batches in one group.
const GROUP_MAX: usize = 64;

impl<I: MemIndex> CommitQueue<I> {
    pub(crate) const fn new() -> Self {
        Self { leader: Mutex::new(()), waiting: Mutex::new(Vec::new()) }
    }

    /// Commits `batch`; it is visible, and durable if asked for, on return. Gives its last seq and the batch's
    /// memory back.
    pub(crate) fn commit<V: Vfs>(
        &self,
        engine: &Engine<V, I>,
        signals: &HostSignals,
        batch: WriteBatch,
        options: &WriteOptions,
        sync: bool,
    ) -> Result<(Seq, WriteBatch)> {
        if batch.is_empty() {
            return Ok((engine.published(), batch));
        }
        slow_down(engine, signals, batch.bytes() + batch.value_bytes_max(), options.deadline)?;
        let (prepared, _separated) = engine.prepare(&batch)?;
        if let Some(leadership) = self.leader.try_lock() {
            let ticket =
                self.lead(engine, signals, leadership, &prepared, options.disable_wal, options.deadline)?;
            let last = finish(engine, signals, &prepared, &ticket, sync)?;
            drop(prepared);
            return Ok((last, batch));
        }
        let owned = match prepared {
            Cow::Owned(owned) => owned,
            Cow::Borrowed(_) => batch.clone(),
        };
        let request =
            Arc::new(Request { batch: owned, disable_wal: options.disable_wal, outcome: Mutex::new(None) });
        self.waiting.lock().push(request.clone());
        let leadership = match options.deadline {
            None => Some(self.leader.lock()),
            Some(deadline) => self.leader.try_lock_until(deadline),
        };
        // Logged by another leader meanwhile? Taken requests always have their outcome when the leadership is free.
        let withdrawn = {
            let mut waiting = self.waiting.lock();
            let at = waiting.iter().position(|r| Arc::ptr_eq(r, &request));
            at.map(|at| waiting.swap_remove(at)).is_some()
        };
        let ticket = match (withdrawn, leadership) {
            (true, Some(leadership)) => {
                self.lead(engine, signals, leadership, &request.batch, request.disable_wal, options.deadline)?
            }
            (true, None) => return Err(Error::DeadlineExceeded),
            (false, leadership) => {
                // A leader took it: its outcome comes before that leader leaves.
                drop(leadership.unwrap_or_else(|| self.leader.lock()));
                let outcome = request.outcome.lock().take();
                outcome.unwrap_or(Err(Error::Busy("the write was not taken")))?
            }
        };
        let last = finish(engine, signals, &request.batch, &ticket, sync)?;
        Ok((last, batch))
    }

    /// Waits until every batch that was logged is applied, and keeps new ones out for ever.
    pub(crate) fn shut<V: Vfs>(&self, engine: &Engine<V, I>, signals: &HostSignals) {
        let leadership = self.leader.lock();
        signals.wait_published(|| engine.is_drained());
        drop(leadership);
    }

    /// Logs the own batch and those that wait.
    fn lead<V: Vfs>(
        &self,
        engine: &Engine<V, I>,
        signals: &HostSignals,
        leadership: MutexGuard<'_, ()>,
        own: &WriteBatch,
        disable_wal: bool,
        deadline: Option<Instant>,
    ) -> Result<Ticket<I>> {
        let followers: Vec<Arc<Request<I>>> = {
            let mut waiting = self.waiting.lock();
            let take = waiting.len().min(GROUP_MAX);
            waiting.drain(..take).collect()
        };
        let mut own = Member { batch: own, disable_wal, outcome: None };
        let result = if followers.is_empty() {
            log_until_done(engine, signals, core::slice::from_mut(&mut own), deadline)
        } else {
            let mut group = Vec::with_capacity(followers.len() + 1);
            group.push(own);
            group.extend(followers.iter().map(|r| Member {
                batch: &r.batch,
                disable_wal: r.disable_wal,
                outcome: None,
            }));
            let result = log_until_done(engine, signals, &mut group, deadline);
            let mut members = group.into_iter();
            let first = members.next();
            for (request, member) in followers.iter().zip(members) {
                *request.outcome.lock() = member.outcome;
            }
            own = match first {
                Some(member) => member,
                None => return Err(Error::Busy("an empty group")),
            };
            result
        };
        drop(leadership);
        result?;
        own.outcome.unwrap_or(Err(Error::Busy("the write was not taken")))
    }
}

/// Logs the members, waiting and trying again for those that the engine is too busy for.
fn log_until_done<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    group: &mut [Member<'_, I>],
    deadline: Option<Instant>,
) -> Result<()> {
    let epoch = signals.epoch();
    engine.log(group);
    let busy = |m: &Member<'_, I>| matches!(m.outcome, Some(Err(Error::Busy(_))));
    if !group.iter().any(busy) {
        return Ok(());
    }
    wait_and_retry(engine, signals, group, deadline, epoch)
}

#[cold]
fn wait_and_retry<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    group: &mut [Member<'_, I>],
    deadline: Option<Instant>,
    mut epoch: u64,
) -> Result<()> {
    for member in group {
        while matches!(member.outcome, Some(Err(Error::Busy(_)))) {
            if !engine.is_drained() {
                // Members of earlier groups insert without the leadership: soon done.
                signals.wait_published(|| engine.is_drained());
            } else if !signals.wait_change(epoch, Some(next_look(deadline)))
                && deadline.is_some_and(|d| Instant::now() >= d)
            {
                member.outcome = Some(Err(Error::DeadlineExceeded));
                break;
            }
            epoch = signals.epoch();
            engine.log(core::slice::from_mut(member));
        }
    }
    Ok(())
}

/// A background step that fails and is tried again makes no event: look again after a while.
fn next_look(deadline: Option<Instant>) -> Instant {
    let soon = Instant::now() + std::time::Duration::from_millis(50);
    deadline.map_or(soon, |d| d.min(soon))
}

#[inline]
fn finish<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    batch: &WriteBatch,
    ticket: &Ticket<I>,
    sync: bool,
) -> Result<Seq> {
    if engine.apply(batch, ticket) {
        signals.wake_published();
    }
    if !engine.is_published(ticket) {
        signals.wait_published(|| engine.is_published(ticket));
    }
    if sync {
        engine.sync_to(ticket)?;
    }
    Ok(ticket.last_seq())
}

/// Waits as long as background debt asks for.
#[inline]
fn slow_down<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    bytes: usize,
    deadline: Option<Instant>,
) -> Result<()> {
    match engine.stall() {
        Stall::None => Ok(()),
        stall => wait_for_debt(engine, signals, bytes, deadline, stall),
    }
}

#[cold]
fn wait_for_debt<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    bytes: usize,
    deadline: Option<Instant>,
    mut stall: Stall,
) -> Result<()> {
    use std::cell::Cell;
    use std::time::Duration;
    thread_local!(static OWED: Cell<u64> = const { Cell::new(0) });
    loop {
        let epoch = signals.epoch();
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
                signals.wait_change(epoch, Some(until));
                return Ok(());
            }
            Stall::Stop => {
                if engine.failure().is_some() {
                    return Ok(());
                }
                signals.wait_change(epoch, Some(next_look(deadline)));
                if deadline.is_some_and(|d| Instant::now() >= d) {
                    return Err(Error::DeadlineExceeded);
                }
            }
        }
        stall = engine.stall();
    }
}
