//! Effects of the options of tables and caches.

use super::Case;

pub const CASES: &[Case] = &[];
