//! Makes durable what was acknowledged, on a thread of its own: one sync serves all who wait.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::redis::config::SyncPolicy;
use crate::redis::store::backend::Backend;

/// What `everysec` means.
const EVERY: Duration = Duration::from_secs(1);

/// How far writes are durable.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    /// Everything up to this seq is.
    pub seq: u64,
    /// When the last sync ended, in seconds since the Unix epoch; 0: there was none.
    pub at_unix: u64,
    /// Syncs.
    pub syncs: u64,
    /// A sync failed: nothing more will be.
    pub failure: Option<String>,
}

/// What the thread is told.
enum Ask {
    /// Sync now.
    Now,
    /// Sync by this policy from now on.
    Policy(SyncPolicy),
    /// End.
    End,
}

/// Whoever asks for syncs has one.
#[derive(Clone)]
pub struct SyncHandle {
    ask: Sender<Ask>,
    durable: watch::Receiver<Durable>,
}

impl SyncHandle {
    /// Asks for a sync.
    pub fn now(&self) {
        // The thread is gone only when the server ends, which syncs.
        let _ = self.ask.send(Ask::Now);
    }

    /// Another policy from now on.
    pub fn follow(&self, policy: SyncPolicy) {
        // As above.
        let _ = self.ask.send(Ask::Policy(policy));
    }

    /// How far writes are durable, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }

    /// How far writes are durable.
    pub fn durable(&self) -> Durable {
        self.durable.borrow().clone()
    }
}

/// The thread.
pub(super) struct Syncer {
    handle: SyncHandle,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(backend: Arc<dyn Backend>, mut policy: SyncPolicy) -> std::io::Result<Self> {
        let (ask, asked) = channel();
        let (tell, durable) = watch::channel(Durable::default());
        let run = move || {
            let mut synced = 0;
            loop {
                let wait = if policy == SyncPolicy::EverySecond { EVERY } else { Duration::MAX };
                // One sync serves all who asked by now.
                let mut is_asked = policy != SyncPolicy::No;
                let mut next = asked.recv_timeout(wait);
                loop {
                    match next {
                        Ok(Ask::Now) => is_asked = true,
                        Ok(Ask::Policy(new)) => {
                            policy = new;
                            is_asked = true;
                        }
                        Ok(Ask::End) | Err(RecvTimeoutError::Disconnected) => return,
                        Err(RecvTimeoutError::Timeout) => break,
                    }
                    next = asked.recv_timeout(Duration::ZERO);
                }
                if is_asked {
                    synced = sync(&*backend, synced, &tell);
                }
            }
        };
        let thread = std::thread::Builder::new().name("nokv-redis-sync".to_owned()).spawn(run)?;
        Ok(Self { handle: SyncHandle { ask, durable }, thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> SyncHandle {
        self.handle.clone()
    }
}

fn sync(backend: &dyn Backend, synced: u64, tell: &watch::Sender<Durable>) -> u64 {
    let at_unix = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if backend.seq() == synced {
        tell.send_modify(|durable| durable.seq = durable.seq.max(synced));
        return synced;
    }
    match backend.sync() {
        Ok(seq) => {
            tell.send_modify(|durable| {
                durable.seq = seq;
                durable.syncs += 1;
                durable.at_unix = at_unix();
            });
            seq
        }
        Err(error) => {
            tracing::error!(%error, "a sync failed; the database takes no more writes");
            tell.send_modify(|durable| durable.failure = Some(error.to_string()));
            synced
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let _ = self.handle.ask.send(Ask::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
