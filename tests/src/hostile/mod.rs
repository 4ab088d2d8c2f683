//! Hostile bytes: a function for each decoder that takes any bytes whatever, and what runs them.
//!
//! Who may call it: the fuzz targets of `tests/fuzz`, which are one line each; the layer `hostile` and the suite of that
//! name, which replay the kept corpus and mutate it on any toolchain.
//!
//! A target
//! 1. never panics, never hangs, and holds no more memory than its bound: an error is an answer.
//! 2. takes what it is given twice where the format has checksums: as it is, and with every checksum put right
//!    ([`fixup`]), since a mutated byte would otherwise never get past the first one.
//! 3. checks round trips: what decodes encodes to the bytes it came from, and what was encoded decodes to what it was.
//! 4. is a function of its input alone: no time, no randomness, no file outside of memory.

pub mod blocks;
pub mod corpus;
pub mod engine;
pub mod fixup;
pub mod formats;
pub mod image;
pub mod logs;
pub mod mutate;
pub mod ops;
pub mod seeds;
pub mod suite;
pub mod tables;
pub mod text;

/// How much memory a target may hold at once, beside what it held before: `fixed + per_byte * bytes of input`.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Whatever the input is, in bytes.
    pub fixed: usize,
    /// For each byte that the input stands for.
    pub per_byte: usize,
}

/// A decoder, or several that work on the same bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of its fuzz target and of its folder in the corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// How many bytes an input stands for, where that is more than it has.
    pub weight: fn(&[u8]) -> usize,
    /// The memory that it may hold.
    pub bound: Bound,
    /// Mutations that a slice runs; a whole run does [`suite::FULL`] times as many.
    pub mutations: u64,
}

/// A decoder of bytes that only looks at them.
const LIGHT: Bound = Bound { fixed: 4 << 10, per_byte: 16 };

const fn light(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, weight: <[u8]>::len, bound: LIGHT, mutations: 3000 }
}

/// A target on a directory of files.
const fn directory(name: &'static str, run: fn(&[u8]), bound: Bound, mutations: u64) -> Target {
    Target { name, run, weight: image::weight, bound, mutations }
}

const LOGS: Bound = Bound { fixed: 1 << 20, per_byte: 16 };
const ENGINE: Bound = Bound { fixed: 4 << 20, per_byte: 16 };

/// All of them.
pub const TARGETS: &[Target] = &[
    light("varint", formats::varint),
    light("names", formats::names),
    light("batch", formats::batch),
    light("value_ptr", formats::value_ptr),
    light("value_log", formats::value_log),
    light("current", formats::current),
    light("manifest", formats::manifest),
    light("journal_record", formats::journal_record),
    light("envelope", formats::envelope),
    light("walfs_segment", formats::walfs_segment),
    light("walfs_index", formats::walfs_index),
    light("walfs_truncation", formats::walfs_truncation),
    light("filter", blocks::filter),
    light("table_props", blocks::table_props),
    light("table_index", blocks::table_index),
    light("range_deletes", blocks::range_deletes),
    light("table_footer", blocks::table_footer),
    light("stored_block", blocks::stored_block),
    light("block", blocks::block),
    Target {
        // A compressed block may be 256 times as long as it is stored.
        bound: Bound { fixed: 1 << 20, per_byte: 600 },
        mutations: 1000,
        ..light("table_file", tables::table_file)
    },
    Target {
        bound: Bound { fixed: 4 << 20, per_byte: 600 },
        mutations: 150,
        ..light("ingest", tables::ingest)
    },
    directory("log", logs::log, LOGS, 600),
    directory("segment_file", logs::segment_file, LOGS, 600),
    directory("record_log", logs::record_log, Bound { fixed: 3 << 20, per_byte: 16 }, 200),
    directory("journal", logs::journal, LOGS, 600),
    directory("batch_log", logs::batch_log, LOGS, 600),
    directory("manifest_files", logs::manifest_files, LOGS, 1000),
    directory("open", engine::open, ENGINE, 250),
    directory("repair", engine::repair, ENGINE, 100),
    Target { bound: Bound { fixed: 256 << 10, per_byte: 256 }, ..light("options", text::options) },
    #[cfg(feature = "cli")]
    Target { bound: Bound { fixed: 64 << 10, per_byte: 64 }, ..light("deb822", text::deb822) },
    #[cfg(feature = "cli")]
    Target { bound: Bound { fixed: 64 << 10, per_byte: 64 }, ..light("tsv", text::tsv) },
    #[cfg(feature = "cli")]
    Target { bound: Bound { fixed: 64 << 10, per_byte: 64 }, ..light("jsonl", text::jsonl) },
    #[cfg(feature = "cli")]
    Target { bound: Bound { fixed: 64 << 10, per_byte: 64 }, ..light("arguments", text::arguments) },
    Target { bound: Bound { fixed: 8 << 20, per_byte: 4096 }, mutations: 60, ..light("ops", ops::ops) },
];

/// The target of that name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"))
}

/// Runs a target by its name: all that a fuzz target does.
///
/// # Panics
/// When the target finds something, or there is none of that name.
pub fn run(name: &str, bytes: &[u8]) {
    (target(name).run)(bytes);
}
