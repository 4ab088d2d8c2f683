//! Effects of the options of the tree.

use super::Case;

pub const CASES: &[Case] = &[];
