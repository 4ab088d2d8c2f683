//! Following a log as it grows.
//!
//! - [`FileTail`] follows a log that another process writes; the caller asks again for news.

mod file;

pub use file::FileTail;
