//! Checksums that tests can have ignored, with the feature `planted`: the part of the planted bugs of `nokv-core` that
//! lies in this crate. Who may call it: `nokv_core::planted`.

/// A checksum that may be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Of a table's blocks and sections.
    Block,
    /// Of a log record.
    LogRecord,
    /// Of a value-log record.
    Value,
}

#[cfg(feature = "planted")]
mod on {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Checksum;

    static IGNORED: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Ignores one checksum from now on, or none.
    pub fn ignore(checksum: Option<Checksum>) {
        IGNORED.store(checksum.map_or(u8::MAX, |checksum| checksum as u8), Ordering::SeqCst);
    }

    /// Is it ignored?
    pub(crate) fn ignores(checksum: Checksum) -> bool {
        IGNORED.load(Ordering::Relaxed) == checksum as u8
    }
}

#[cfg(feature = "planted")]
pub use on::ignore;
#[cfg(feature = "planted")]
pub(crate) use on::ignores;

/// Is it ignored? Never.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) const fn ignores(_: Checksum) -> bool {
    false
}
