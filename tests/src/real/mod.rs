//! Real processes on real files: they are killed, stopped, run out of space, and are counted.
//!
//! Who may call it: the list of layers, the suite `real`, and the program `net`, which is also the process that dies
//! (`net --child ...`). On systems other than Linux the layers say that they were not run, and count no case.
//!
//! Workloads, options and the moments of kills are drawn from `NOKV_REAL_SEED` (1 without it). What a process has done
//! when it is killed depends on the machine all the same: a failing image is kept, with what it should hold.

#[cfg(target_os = "linux")]
pub mod campaign;
#[cfg(target_os = "linux")]
pub mod child;
#[cfg(target_os = "linux")]
pub mod dice;
#[cfg(target_os = "linux")]
pub mod full;
#[cfg(target_os = "linux")]
pub mod image;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub mod model;
#[cfg(target_os = "linux")]
pub mod options;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod record;
#[cfg(target_os = "linux")]
pub mod resources;
#[cfg(target_os = "linux")]
pub mod script;
#[cfg(target_os = "linux")]
pub mod verify;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{child_main, images, kills, resources, tmpfs_full};
#[cfg(target_os = "linux")]
pub use linux::{child_main, images, kills, resources, tmpfs_full};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    //! What other systems than Linux get: nothing is run, and that is said.

    use std::process::ExitCode;

    use crate::net::{Scale, not_run};

    const WHY: &str = "it needs Linux";

    /// This program is nobody's child here.
    pub const fn child_main() -> Option<ExitCode> {
        None
    }

    /// Not run.
    pub fn kills(_: Scale) -> u64 {
        not_run(WHY)
    }

    /// Not run.
    pub fn images(_: Scale) -> u64 {
        not_run(WHY)
    }

    /// Not run.
    pub fn tmpfs_full(_: Scale) -> u64 {
        not_run(WHY)
    }

    /// Not run.
    pub fn resources(_: Scale) -> u64 {
        not_run(WHY)
    }
}
