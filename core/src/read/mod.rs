//! Reads: which sources a view has, how they are merged, what of a key is visible.

pub mod level_cursor;
pub mod merge;
pub mod point;
pub mod range_set;
pub mod resolve;
pub mod scan;
pub mod view;
