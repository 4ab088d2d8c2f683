//! A thread that removes old segments of a [`Log`] while it is alive.
//!
//! Who may call it: programs that use a log of their own; a database releases its log itself. The work is
//! [`Log::clean_step`]; this adds the thread and the clock. Invariants
//! 1. Dropping the guard stops the thread before it returns, and waits for a step that runs.
//! 2. No lock of the guard is held during a step.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nokv_core::wal::{Cleaned, Log};
use nokv_core::{Clock, Result, Vfs};

use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

/// A shorter interval would only burn time.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Stops the cleaner when it is dropped. See the module.
#[must_use = "the cleaner stops when its guard is dropped"]
pub struct CleanerGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    ended: bool,
    /// Calls of [`CleanerGuard::run_now`].
    asked: u64,
    /// The last of these calls that a whole step came after.
    answered: u64,
    last: Option<Result<Cleaned>>,
}

impl CleanerGuard {
    /// Runs a step each `interval`, the first one at once. `can_delete` may keep a segment, and all behind it.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start<V: Vfs>(
        log: Arc<Log<V>>,
        clock: Arc<dyn Clock>,
        interval: Duration,
        can_delete: impl Fn(u32) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("nokv-wal-clean".into()).spawn(move || {
                // Whoever waits for a step learns that none will come, also after a panic of the predicate.
                let ending = Ending(shared);
                while let Some(asked) = ending.0.next_step(interval) {
                    let done = log.clean_step(clock.unix_ms(), &can_delete);
                    if let Err(e) = &done {
                        tracing::warn!(error = %e, "removing old log segments failed");
                    }
                    ending.0.note(asked, done);
                }
            })?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Runs a step now instead of at the end of the interval, and waits for it; gives what it did. `None` if the
    /// cleaner died.
    pub fn run_now(&self) -> Option<Result<Cleaned>> {
        let mut state = self.shared.state.lock();
        state.asked += 1;
        let wanted = state.asked;
        self.shared.changed.notify_all();
        while state.answered < wanted && !state.ended {
            self.shared.changed.wait(&mut state);
        }
        if state.answered < wanted { None } else { state.last.clone() }
    }

    /// What the last step did; `None` before the first.
    pub fn last(&self) -> Option<Result<Cleaned>> {
        self.shared.state.lock().last.clone()
    }
}

impl Shared {
    /// Waits for the interval, a call or the end. Gives the calls that the next step answers; `None` at the end.
    fn next_step(&self, interval: Duration) -> Option<u64> {
        let mut state = self.state.lock();
        if state.last.is_some() && !state.stop && state.answered == state.asked {
            self.changed.wait_for(&mut state, interval.max(INTERVAL_MIN));
        }
        (!state.stop).then_some(state.asked)
    }

    fn note(&self, asked: u64, done: Result<Cleaned>) {
        let mut state = self.state.lock();
        state.last = Some(done);
        state.answered = asked;
        self.changed.notify_all();
    }
}

struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Drop for CleanerGuard {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the caller's predicate is not passed on.
            let _ = thread.join();
        }
    }
}
