//! Whose log a directory holds: a program's own, or a database's.
//!
//! Who may call it: whoever opens a general log or a segment for writing, before anything is changed. The engine
//! writes its log without `walfs.lock`, and its records carry their own place and number: another writer there would
//! cut what the engine just appended, and the engine could not read on behind foreign records. A directory is a
//! database's if
//! 1. its first record is the engine's; or
//! 2. the directory that it lies in has a `CURRENT` file (also when the log has no record yet); or
//! 3. it is the database's own directory: it holds a `CURRENT` file or a manifest.

use alloc::format;
use alloc::string::String;

use nokv_formats::envelope::{ENVELOPE_BYTES, Envelope};
use nokv_formats::walfs::{FRAME_HEAD_BYTES, Position};

use super::survey::{SegmentFile, list_segments};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};

/// The forms of the file that names a database's manifest.
const CURRENT_NAMES: [&str; 3] = ["CURRENT", "CURRENT-A", "CURRENT-B"];

/// How the names of manifests begin.
const MANIFEST_PREFIX: &str = "MANIFEST-";

/// Refuses the log directory of a database, and the database's own directory. Writes nothing.
pub(super) fn refuse_database_log<V: Vfs>(fs: &V, dir: &str, ext: &str) -> Result<()> {
    if let Some(current) = current_beside(fs, dir)?.or(named_inside(fs, dir)?) {
        let text = format!("{dir} belongs to a database ({current}): only the database writes there");
        return Err(Error::InvalidArgument(text));
    }
    let segments = match list_segments(fs, dir, ext) {
        Err(Error::Io { source, .. }) if source.kind == IoErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for segment in &segments {
        match first_record(fs, segment)? {
            First::Engine => {
                let text = format!(
                    "{dir} holds the log of a database ({}): only the database writes there",
                    segment.path
                );
                return Err(Error::InvalidArgument(text));
            }
            First::Other => return Ok(()),
            First::Nothing => {}
        }
    }
    Ok(())
}

enum First {
    Engine,
    Other,
    Nothing,
}

/// Whose the first record of a segment is. Its head tells: also where the rest is damaged the engine wrote it.
fn first_record<V: Vfs>(fs: &V, segment: &SegmentFile) -> Result<First> {
    let file = fs.open(&segment.path, OpenMode::Read).at("open", &segment.path)?;
    let start = Position::start_of(segment.number);
    let mut bytes = [0; FRAME_HEAD_BYTES + ENVELOPE_BYTES];
    let read = file.read_at(&mut bytes, start.offset).at("read", &segment.path)?;
    let head = bytes.get(..read.min(bytes.len())).unwrap_or_default();
    let payload = head.get(FRAME_HEAD_BYTES..).unwrap_or_default();
    if Envelope::decode(payload).is_ok_and(|(envelope, _)| envelope.at == start) {
        return Ok(First::Engine);
    }
    Ok(if head.iter().all(|byte| *byte == 0) { First::Nothing } else { First::Other })
}

/// The path of a `CURRENT` file or manifest in `dir` itself.
fn named_inside<V: Vfs>(fs: &V, dir: &str) -> Result<Option<String>> {
    let entries = match fs.list(dir) {
        // Also what is no directory: making the log's says so.
        Err(e) if matches!(e.kind, IoErrorKind::NotFound | IoErrorKind::InvalidInput) => return Ok(None),
        listed => listed.at("list", dir)?,
    };
    let is_ours = |name: &str| CURRENT_NAMES.contains(&name) || name.starts_with(MANIFEST_PREFIX);
    let ours = entries.iter().filter(|entry| !entry.is_dir && is_ours(&entry.name));
    // CURRENT before the manifests.
    Ok(ours.map(|entry| &entry.name).min().map(|name| join(dir, name)))
}

/// The path of the `CURRENT` file in the directory that `dir` lies in.
fn current_beside<V: Vfs>(fs: &V, dir: &str) -> Result<Option<String>> {
    for name in CURRENT_NAMES {
        if let Some(parent) = parent_by_name(dir) {
            let path = join(parent, name);
            match fs.size(&path) {
                Ok(_) => return Ok(Some(path)),
                Err(e) if matches!(e.kind, IoErrorKind::NotFound | IoErrorKind::InvalidInput) => {}
                Err(e) => return Err(Error::io("size", path, e)),
            }
        }
        // A link, or a path that ends in dots, has its parent elsewhere. Hosts without `..` have neither.
        let path = join(&join(dir, ".."), name);
        if fs.size(&path).is_ok() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The parent as the path spells it; `None` where it does not.
fn parent_by_name(dir: &str) -> Option<&str> {
    let dir = dir.trim_end_matches('/');
    let (parent, name) = dir.rsplit_once('/').unwrap_or(("", dir));
    (!matches!(name, "" | "." | "..")).then_some(match parent {
        "" if dir.starts_with('/') => "/",
        parent => parent,
    })
}
