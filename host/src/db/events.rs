//! What happens in the background, for those who want to know.

use std::time::Duration;

use nokv_core::{Error, Result};

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A background step ended.
    StepDone {
        /// What it was.
        what: String,
        /// How long it took.
        took: Duration,
    },
    /// A background step failed. Unless the cause may pass (a full disk), the database is read-only now.
    StepFailed {
        /// What it was.
        what: String,
        /// Why.
        error: Error,
    },
    /// The database is open.
    Opened,
    /// The database was closed.
    Closed,
}

impl Event {
    pub(crate) fn step(what: &str, took: Duration, result: &Result<()>) -> Self {
        match result {
            Ok(()) => Self::StepDone { what: what.to_string(), took },
            Err(error) => Self::StepFailed { what: what.to_string(), error: error.clone() },
        }
    }
}

/// Hears of events, on the thread where they happen: it must be quick and must not call the database.
pub trait EventListener: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &Event);
}
