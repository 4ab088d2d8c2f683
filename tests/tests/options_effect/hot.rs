//! Effects of the options of hot keys.

use super::Case;

pub const CASES: &[Case] = &[];
