//! The kept corpus: `tests/fuzz/corpus/TARGET/HASH`, found by fuzzing, and the seeds, made by the code as it is.

use std::path::{Path, PathBuf};

use nokv_core::formats::key::key_hash;
use nokv_core::formats::{CfId, KeyRef};

use super::Target;
use super::seeds::seeds;

/// Where the files of a target are.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus").join(target.name)
}

/// The name of an input: a hash of its bytes.
pub fn name_of(bytes: &[u8]) -> String {
    format!("{:016x}", key_hash(KeyRef::new(CfId(0), bytes)))
}

/// The kept files of a target, by name.
///
/// # Panics
/// If the folder cannot be read.
pub fn kept(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry of the corpus").path();
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// Kept files and seeds.
pub fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = seeds(target.name);
    inputs.extend(kept(target).into_iter().map(|(_, bytes)| bytes));
    inputs
}
