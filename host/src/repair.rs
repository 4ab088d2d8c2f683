//! Repair of a damaged database: first a plan that says what is lost, then, on request, the doing.
//!
//! ```no_run
//! # fn main() -> nokv::Result<()> {
//! let fs = nokv::StdFs::new();
//! let plan = nokv::repair::plan(&fs, "data")?;
//! for step in &plan.steps {
//!     println!("{}: {}; lost: {}", step.file, step.what, step.lost);
//! }
//! nokv::repair::apply(&fs, "data", &plan)
//! # }
//! ```

use nokv_core::vfs::{IoErrorKind, join};
use nokv_core::{Error, Result, Vfs};

pub use nokv_core::engine::{RepairPlan, RepairStep};

/// Plans what it takes to make the database in `dir` open again with everything that can be saved. Writes nothing but
/// the lock file, which is taken while the plan is made, if it is there.
///
/// # Errors
/// [`Error::Locked`] while somebody has the database open; no database is there; files of a later format; I/O.
pub fn plan<V: Vfs>(fs: &V, dir: &str) -> Result<RepairPlan> {
    let path = join(dir, "LOCK");
    let _lock = match fs.size(&path) {
        Ok(_) => Some(fs.lock(&path).map_err(|error| match error.kind {
            IoErrorKind::WouldBlock => Error::Locked {
                file: path.clone(),
                pid: u32::try_from(error.code).ok().filter(|pid| *pid != 0),
            },
            _ => Error::io("lock", &path, error),
        })?),
        Err(_) => None,
    };
    nokv_core::engine::plan_repair(fs, dir)
}

/// Does what `plan` lists. Nothing is deleted: what is replaced or left out gets the ending `.damaged`. Interrupted at
/// any point, it can be planned and applied again.
///
/// # Errors
/// [`Error::Locked`]; [`Error::InvalidArgument`] if the directory changed since the plan was made; I/O.
pub fn apply<V: Vfs>(fs: &V, dir: &str, plan: &RepairPlan) -> Result<()> {
    nokv_core::engine::apply_repair(fs, dir, plan)
}
