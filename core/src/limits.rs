//! Hard limits of the engine and the relations between them.

pub use nokv_formats::key::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Levels of the tree, level 0 included.
pub const LEVELS: usize = 7;

/// Values above this share of a log segment go to the value log.
pub const WAL_SEGMENT_SHARE_OF_A_VALUE: usize = 8;

/// The smallest log segment, in bytes: a record with the longest key and the largest inline value fits.
pub const WAL_SEGMENT_BYTES_MIN: usize = 256 << 10;

const _: () = assert!(
    WAL_SEGMENT_BYTES_MIN / WAL_SEGMENT_SHARE_OF_A_VALUE + KEY_BYTES_MAX + 4096 <= WAL_SEGMENT_BYTES_MIN
);
