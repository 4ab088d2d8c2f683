//! Following a log as it grows.
//!
//! - [`TailReader`] follows a log of this process and sleeps until there is news: the log tells a [`LogWatch`] of every
//!   append, commit and close. Nothing is polled.
//! - [`FileTail`] follows a log that another process writes; the caller asks again for news.
//!
//! ```
//! use nokv::StdFs;
//! use nokv::core::wal::{Log, LogOptions};
//! use nokv::wal_tail::{LogWatch, TailReader, Tailed};
//!
//! let dir = std::env::temp_dir().join(format!("nokv-tail-{}", std::process::id()));
//! let watch = LogWatch::new();
//! let log = Log::open(StdFs::new(), dir.to_str().unwrap(), watch.told_by(LogOptions::default()))?;
//! std::thread::scope(|scope| {
//!     let follower = scope.spawn(|| {
//!         let mut tail = TailReader::new(log.reader(), &watch);
//!         let mut seen = 0;
//!         while let Tailed::Record(record) = tail.next(None)? {
//!             seen += record.payload.len();
//!         }
//!         Ok::<_, nokv::Error>(seen)
//!     });
//!     log.append(b"hello", 0)?;
//!     log.append(b"world", 0)?;
//!     log.close()?;
//!     assert_eq!(follower.join().unwrap()?, 10);
//!     Ok::<_, nokv::Error>(())
//! })?;
//! # std::fs::remove_dir_all(dir).unwrap();
//! # Ok::<(), nokv::Error>(())
//! ```

mod file;
mod watch;

pub use file::FileTail;
pub use watch::{LogWatch, TailReader, Tailed};
