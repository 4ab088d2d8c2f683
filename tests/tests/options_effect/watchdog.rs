//! Effects of the options of the log's watchdog.

use super::Case;

pub const CASES: &[Case] = &[];
