//! Background threads: they only run what the engine hands out.

use std::sync::Arc;
use std::time::Duration;

use nokv_core::engine::{Engine, GcReport, GcStep, GcTick, Work};
use nokv_core::{Error, MemIndex, Result, Vfs};

use super::events::{Event, EventListener};
use super::hot::HotRings;
use super::signals::HostSignals;
use super::watchdog::watchdog_loop;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Mutex, now};

/// How often an idle thread looks for work that only time brings (expired data).
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How often a collection that cannot go on looks whether it can.
const GC_LOOK: Duration = Duration::from_millis(10);
/// How long a step that failed for want of space waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Least time between two steps of the hot rings.
const HOT_STEP_PAUSE: Duration = Duration::from_millis(100);

/// The threads of a database.
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    /// Per thread: the epoch at which it found nothing to do.
    idle_at: Arc<Vec<Mutex<Option<u64>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(crate) struct WorkerOptions {
    pub(crate) compactors: usize,
    /// How often values are collected by themselves; `None`: never.
    pub(crate) gc_interval: Option<Duration>,
    /// Threads for that.
    pub(crate) gc_threads: usize,
    pub(crate) watchdog_interval: Option<Duration>,
    pub(crate) listener: Option<Arc<dyn EventListener>>,
    pub(crate) hot: Arc<HotRings>,
}

impl Workers {
    /// Starts one thread for short steps and `compactors` for all.
    pub(crate) fn start<V: Vfs, I: MemIndex>(
        engine: &Arc<Engine<V, I>>,
        signals: &Arc<HostSignals>,
        options: WorkerOptions,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let all_signals = signals.clone();
        let count = options.compactors + 1;
        let idle_at: Arc<Vec<Mutex<Option<u64>>>> = Arc::new((0..count).map(|_| Mutex::new(None)).collect());
        let workers = Self { stop: stop.clone(), idle_at: idle_at.clone(), threads: Mutex::default() };
        for n in 0..count {
            let (engine, signals, stop) = (engine.clone(), signals.clone(), stop.clone());
            let (idle_at, listener) = (idle_at.clone(), options.listener.clone());
            let name = if n == 0 { "nokv-flush".to_string() } else { format!("nokv-compact-{n}") };
            let spawned = workers.spawn(name, move || {
                work_loop(&engine, &signals, &stop, &idle_at[n], n == 0, listener.as_deref());
            });
            spawned.inspect_err(|_| workers.stop(&all_signals))?;
        }
        if let Some(interval) = options.watchdog_interval {
            let (engine, signals, stop) = (engine.clone(), signals.clone(), stop.clone());
            let listener = options.listener.clone();
            let spawned = workers.spawn("nokv-watchdog".to_string(), move || {
                let _guard = OnPanic { engine: &*engine, signals: &signals };
                watchdog_loop(&engine, &signals, &stop, interval, listener.as_deref());
            });
            spawned.inspect_err(|_| workers.stop(&all_signals))?;
        }
        if let Some(interval) = options.gc_interval {
            for n in 0..options.gc_threads.max(1) {
                let (engine, signals, stop) = (engine.clone(), signals.clone(), stop.clone());
                let listener = options.listener.clone();
                let interval = (n == 0).then_some(interval);
                let spawned = workers.spawn(format!("nokv-gc-{n}"), move || {
                    gc_loop(&engine, &signals, &stop, interval, listener.as_deref());
                });
                spawned.inspect_err(|_| workers.stop(&all_signals))?;
            }
        }
        if let Some(interval) = options.hot.step_interval() {
            let (engine, signals) = (engine.clone(), signals.clone());
            let (hot, stop) = (options.hot, workers.stop.clone());
            let spawned = workers.spawn("nokv-hot".to_string(), move || {
                hot_loop(&engine, &signals, &stop, interval, &hot);
            });
            spawned.inspect_err(|_| workers.stop(&all_signals))?;
        }
        Ok(workers)
    }

    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|e| Error::InvalidArgument(format!("cannot start a background thread: {e}")))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Waits until no thread has anything to do, nor will have without new writes.
    pub(crate) fn wait_idle(&self, signals: &HostSignals, is_hopeless: impl Fn() -> bool) {
        while !is_hopeless() && !self.stop.load(Ordering::Acquire) {
            let epoch = signals.epoch();
            if self.idle_at.iter().all(|idle| *idle.lock() == Some(epoch)) {
                return;
            }
            signals.bump();
            let epoch = signals.epoch();
            signals.wait_change(epoch, Some(now() + Duration::from_millis(20)));
        }
    }

    /// Stops the threads; each ends after its current step.
    pub(crate) fn stop(&self, signals: &HostSignals) {
        self.stop.store(true, Ordering::Release);
        signals.bump();
        for thread in self.threads.lock().drain(..) {
            // A handle that is dropped by a background thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn work_loop<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    stop: &AtomicBool,
    idle_at: &Mutex<Option<u64>>,
    small_only: bool,
    listener: Option<&dyn EventListener>,
) {
    // A step that dies closes the database to writes: nobody would finish its work.
    let _guard = OnPanic { engine, signals };
    while let Some(epoch) = signals.epoch_unless(stop) {
        let Some(work) = engine.next_work(small_only) else {
            *idle_at.lock() = Some(epoch);
            signals.wait_change(epoch, Some(now() + IDLE_LOOK));
            *idle_at.lock() = None;
            continue;
        };
        // Collections make room for a flush.
        let _urgent = matches!(work, Work::Flush(_)).then(|| signals.urgent());
        if !run_step(engine, signals, work, listener) {
            retry_later(signals, stop);
        }
    }
}

/// Runs one step and tells of it; false if it failed.
fn run_step<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    work: Work<I>,
    listener: Option<&dyn EventListener>,
) -> bool {
    let what = format!("{work:?}");
    let started = now();
    let result = engine.run_work(work);
    if matches!(result, Err(Error::Busy(_))) {
        // Given up because the database closes: nothing failed.
        return true;
    }
    if let Some(listener) = listener {
        listener.on_event(&Event::step(&what, started.elapsed(), &result));
    }
    match &result {
        Ok(()) => tracing::debug!(step = what, took = ?started.elapsed(), "background step"),
        Err(error) => tracing::error!(step = what, %error, "background step failed"),
    }
    signals.bump();
    result.is_ok()
}

fn retry_later(signals: &HostSignals, stop: &AtomicBool) {
    if !stop.load(Ordering::Acquire) {
        let epoch = signals.epoch();
        signals.wait_change(epoch, Some(now() + RETRY_AFTER));
    }
}

struct OnPanic<'a, V: Vfs, I: MemIndex> {
    engine: &'a Engine<V, I>,
    signals: &'a HostSignals,
}

impl<V: Vfs, I: MemIndex> Drop for OnPanic<'_, V, I> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.engine.poison(&Error::InvalidArgument("a background thread died".to_string()));
            self.signals.bump();
        }
    }
}

/// Runs steps of automatic collections; the first of these threads also looks for what to collect, each `interval`.
fn gc_loop<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    stop: &AtomicBool,
    interval: Option<Duration>,
    listener: Option<&dyn EventListener>,
) {
    let _guard = OnPanic { engine, signals };
    let mut next = interval.map(|interval| now() + interval);
    while let Some(epoch) = signals.epoch_unless(stop) {
        if let Some(work) = engine.next_collection() {
            if !run_step(engine, signals, work, listener) {
                retry_later(signals, stop);
            }
            continue;
        }
        let at_once = now();
        if let (Some(interval), Some(at)) = (interval, next)
            && at <= at_once
        {
            // A pass that ended looks again at once: there may be more.
            next = match engine.gc_tick() {
                Ok(GcTick::Started(_)) => Some(at_once),
                Ok(GcTick::Running) => Some(at_once + GC_LOOK),
                Ok(GcTick::Nothing | GcTick::Skipped) => Some(at_once + interval),
                Err(error) => {
                    if !matches!(error, Error::Closed | Error::ReadOnly(_)) {
                        tracing::error!(%error, "value-log collection failed");
                    }
                    Some(at_once + interval)
                }
            };
            continue;
        }
        // Writers that leave, for which a job may wait, wake nobody.
        let soon = engine.has_collections().then(|| at_once + GC_LOOK);
        let until = [soon, next].into_iter().flatten().min().unwrap_or(at_once + IDLE_LOOK);
        signals.wait_change(epoch, Some(until.max(at_once)));
    }
}

/// The step of the hot rings: each `interval`, and soon after the tree changed, when hot keys lie in new blocks.
fn hot_loop<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    stop: &AtomicBool,
    interval: Duration,
    hot: &HotRings,
) {
    let soon = interval.min(HOT_STEP_PAUSE);
    let (mut last, mut seen) = (now(), engine.view().id);
    while let Some(epoch) = signals.epoch_unless(stop) {
        let next = last + if engine.view().id == seen { interval } else { soon };
        if now() < next {
            signals.wait_change(epoch, Some(next));
            continue;
        }
        seen = engine.view().id;
        hot.step(engine);
        last = now();
    }
}

/// Runs one value-log collection on the calling thread.
pub(crate) fn collect<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    signals: &HostSignals,
    ratio: f64,
    stop: Option<&AtomicBool>,
) -> Result<GcReport> {
    let mut gc = engine.gc_start(ratio)?;
    loop {
        if stop.is_some_and(|stop| stop.load(Ordering::Acquire)) {
            engine.gc_abandon(gc);
            return Err(Error::Closed);
        }
        let epoch = signals.epoch();
        match engine.gc_step(&mut gc)? {
            GcStep::Done(report) => return Ok(report),
            GcStep::Again => {}
            GcStep::Wait => {
                signals.wait_change(epoch, Some(now() + Duration::from_millis(10)));
            }
        }
    }
}
