//! Ctrl-C: a command that runs for long ends cleanly.
//!
//! Who may call it: commands that can stop between two steps. While a [`Watch`] lives, the first SIGINT only marks it,
//! and a second one ends the process at once; without one SIGINT ends the process at once, as it does by default. The
//! handlers are set once for the process and stay. Where they cannot be set, nothing changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::SIGINT;
use signal_hook::flag::{register, register_conditional_shutdown};

use super::store::Exit;

/// What the handlers read and write.
struct Flags {
    /// SIGINT came.
    came: Arc<AtomicBool>,
    /// The next SIGINT ends the process.
    is_final: Arc<AtomicBool>,
}

static FLAGS: OnceLock<Flags> = OnceLock::new();

fn flags() -> &'static Flags {
    FLAGS.get_or_init(|| {
        let flags = Flags { came: Arc::default(), is_final: Arc::new(AtomicBool::new(true)) };
        let code = i32::from(Exit::Interrupted.code());
        // In the order in which they run. Without the first of them the process just ends, and without the others it
        // ends at the next signal.
        let _ = register_conditional_shutdown(SIGINT, code, Arc::clone(&flags.is_final))
            .and_then(|_| register(SIGINT, Arc::clone(&flags.is_final)))
            .and_then(|_| register(SIGINT, Arc::clone(&flags.came)));
        flags
    })
}

/// Catches the first SIGINT while it lives. One at a time.
pub(super) struct Watch(&'static Flags);

impl Watch {
    /// From now on.
    pub(super) fn start() -> Self {
        let flags = flags();
        flags.came.store(false, Ordering::SeqCst);
        flags.is_final.store(false, Ordering::SeqCst);
        Self(flags)
    }

    /// Did SIGINT come?
    pub(super) fn is_interrupted(&self) -> bool {
        self.0.came.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.is_final.store(true, Ordering::SeqCst);
    }
}
