//! Effects of the options of the value log.

use super::Case;

pub const CASES: &[Case] = &[];
