//! A file system and a memtable index that are written against the public interface only, as a user would write
//! them: what they need and cannot get is a fault of the seams.

mod index;
mod map_fs;

pub use index::TreeIndex;
pub use map_fs::MapFs;
