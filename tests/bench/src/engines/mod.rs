//! The engines under test, behind one small trait. One file an engine; README.md lists the settings of each.
//!
//! An error of an engine ends the run: a bench has nothing to do about it.

use std::path::PathBuf;

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "nokv")]
mod nokv;
mod null;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;

/// What is done to an engine. Any thread may call any of it.
///
/// - A `put` that returned survives the death of the process or, with [`Config::sync`], a power cut. README.md tells
///   which engines promise less without `sync`.
/// - Reads lend their bytes to `look`: no engine copies more than it must.
pub trait Engine: Send + Sync {
    fn put(&self, key: &[u8], value: &[u8]);

    /// Gives the value to `look`; false if there is none.
    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool;

    /// Gives up to `count` keys and values from `from` on to `look`, in order; how many it gave.
    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize;

    /// Returns when background work is done.
    fn settle(&self) {}

    /// What the engine says about itself, for a person to read.
    fn stats(&self) -> String {
        String::new()
    }
}

/// How engines are opened: the same for all.
#[derive(Debug, Clone)]
pub struct Config {
    /// An empty directory.
    pub dir: PathBuf,
    /// Bytes of the block or page cache.
    pub cache_bytes: usize,
    /// Is a write durable when it returns?
    pub sync: bool,
    /// The most bytes of keys and values that will be in it: LMDB must know.
    pub data_bytes_max: u64,
    /// Further options of `nokv`, as TOML.
    pub nokv_toml: String,
}

/// Names of the engines in this build.
pub fn names() -> Vec<&'static str> {
    let mut names = vec!["null", "spin"];
    #[cfg(feature = "nokv")]
    names.extend(["nokv-art", "nokv-skiplist", "nokv-art-hot"]);
    #[cfg(feature = "rocksdb")]
    names.extend(["rocksdb", "rocksdb-tuned", "rocksdb-blob"]);
    #[cfg(feature = "fjall")]
    names.extend(["fjall", "fjall-blob"]);
    #[cfg(feature = "lmdb")]
    names.extend(["lmdb", "lmdb-map"]);
    #[cfg(feature = "redb")]
    names.push("redb");
    #[cfg(feature = "sled")]
    names.push("sled");
    names
}

/// Opens an engine by its name.
///
/// # Errors
/// A name that is not in this build, or options that are none.
pub fn open(name: &str, config: &Config) -> Result<Box<dyn Engine>, String> {
    Ok(match name {
        "null" => Box::new(null::Null),
        "spin" => Box::new(null::Spin),
        #[cfg(feature = "nokv")]
        "nokv-art" | "nokv-skiplist" | "nokv-art-hot" => Box::new(nokv::Nokv::open(name, config)?),
        #[cfg(feature = "rocksdb")]
        "rocksdb" | "rocksdb-tuned" | "rocksdb-blob" => Box::new(rocksdb::Rocks::open(name, config)),
        #[cfg(feature = "fjall")]
        "fjall" | "fjall-blob" => Box::new(fjall::Fjall::open(name, config)),
        #[cfg(feature = "lmdb")]
        "lmdb" | "lmdb-map" => Box::new(lmdb::Lmdb::open(name, config)),
        #[cfg(feature = "redb")]
        "redb" => Box::new(redb::Redb::open(config)),
        #[cfg(feature = "sled")]
        "sled" => Box::new(sled::Sled::open(config)),
        _ => return Err(format!("no engine {name} in this build; there are {}", names().join(", "))),
    })
}

/// Engines that hold no data: nothing read from them is checked.
pub fn is_hollow(name: &str) -> bool {
    matches!(name, "null" | "spin")
}
