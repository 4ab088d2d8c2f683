//! The Redis server: beside a real one with the same commands, and killed under load.

pub mod compare;
#[cfg(target_os = "linux")]
pub mod kill;
#[cfg(target_os = "linux")]
pub mod kill_large;
pub mod oracle;
#[cfg(target_os = "linux")]
pub mod process;
pub mod stream;
pub mod wire;
