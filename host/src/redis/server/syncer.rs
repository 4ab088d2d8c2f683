//! Makes durable what was acknowledged, on a thread of its own: one sync serves all who wait.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::redis::config::SyncPolicy;
use crate::redis::store::backend::Backend;

/// What `everysec` means.
const EVERY: Duration = Duration::from_secs(1);

/// How far writes are durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable {
    /// Everything up to this seq is.
    pub(super) seq: u64,
    /// A sync failed: nothing more will be.
    pub(super) failure: Option<String>,
}

/// The thread.
pub(super) struct Syncer {
    ask: Option<Sender<SyncPolicy>>,
    durable: watch::Receiver<Durable>,
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
                match asked.recv_timeout(wait) {
                    Ok(new) => {
                        policy = new;
                        // One sync serves all who asked by now.
                        while let Ok(new) = asked.try_recv() {
                            policy = new;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let written = backend.seq();
                if policy == SyncPolicy::No || written == synced {
                    tell.send_modify(|durable| durable.seq = durable.seq.max(synced));
                    continue;
                }
                match backend.sync() {
                    Ok(seq) => {
                        synced = seq;
                        tell.send_modify(|durable| durable.seq = seq);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a sync failed; the database takes no more writes");
                        tell.send_modify(|durable| durable.failure = Some(error.to_string()));
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("nokv-redis-sync".to_owned()).spawn(run)?;
        Ok(Self { ask: Some(ask), durable, thread: Some(thread) })
    }

    /// Asks for a sync, or tells of a new policy.
    pub(super) fn ask(&self, policy: SyncPolicy) {
        if let Some(ask) = &self.ask {
            // The thread ends only after `self`.
            let _ = ask.send(policy);
        }
    }

    /// How far writes are durable.
    pub(super) fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
