//! Effects of the options of the write pipeline.

use super::Case;

pub const CASES: &[Case] = &[];
