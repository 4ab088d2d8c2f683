//! Effects of the options of statistics.

use super::Case;

pub const CASES: &[Case] = &[];
