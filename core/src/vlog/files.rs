//! Names of value-log files, and the segments that a directory holds.
//!
//! Who may call it: the value log, tools, checkpoints.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, Vfs, join};

const ROOT: &str = "vlog";

/// The directory of all buckets.
pub(super) fn root_dir(dir: &str) -> String {
    join(dir, ROOT)
}

/// The directory of a bucket of the database in `dir`.
pub fn bucket_dir(dir: &str, bucket: u16) -> String {
    join(dir, &format!("{ROOT}/bucket-{bucket:03}"))
}

/// The path of a segment of the database in `dir`.
pub fn segment_path(dir: &str, bucket: u16, segment: u32) -> String {
    join(dir, &format!("{ROOT}/bucket-{bucket:03}/{segment:05}.vlog"))
}

fn number<T: core::str::FromStr>(digits: &str, width: usize) -> Option<T> {
    let plain = digits.len() >= width && digits.bytes().all(|b| b.is_ascii_digit());
    let shortest = digits.len() == width || !digits.starts_with('0');
    if plain && shortest { digits.parse().ok() } else { None }
}

/// All segments below `dir`, ascending: (bucket, segment, length). Foreign names are passed over.
pub(crate) fn list_segments<V: Vfs>(fs: &V, dir: &str) -> Result<Vec<(u16, u32, u64)>> {
    let root = root_dir(dir);
    let buckets = match fs.list(&root) {
        Ok(buckets) => buckets,
        Err(error) if error.kind == IoErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", root, error)),
    };
    let mut segments = Vec::new();
    for entry in buckets.iter().filter(|entry| entry.is_dir) {
        let Some(bucket) = entry.name.strip_prefix("bucket-").and_then(|n| number::<u16>(n, 3)) else {
            continue;
        };
        let path = bucket_dir(dir, bucket);
        for file in fs.list(&path).at("list", &path)? {
            let segment = file.name.strip_suffix(".vlog").and_then(|n| number::<u32>(n, 5));
            if let Some(segment) = segment.filter(|_| !file.is_dir) {
                segments.push((bucket, segment, file.size));
            }
        }
    }
    segments.sort_unstable();
    Ok(segments)
}
