//! Effects of the options of place, memtables and log.

use super::Case;

pub const CASES: &[Case] = &[];
