//! What a database is when its `CURRENT` or its manifest cannot be read whole. Writes nothing.
//!
//! Who may call it: repair. Opening never comes here: it refuses what it cannot read.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::current::{CleanClose, Current, NAME, SLOTS};

use super::current_file;
use super::replay::{Prefix, parse_name, replay_prefix};
use super::state::ManifestState;
use super::store::{Manifest, manifest_name, open_frames};
use crate::error::{Error, IoContext, Result};
use crate::vfs::{IoErrorKind, Vfs, join};

/// A file of `CURRENT` or of the manifest that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Its path.
    pub file: String,
    /// What will be done about it.
    pub what: String,
    /// What that loses.
    pub lost: String,
    /// Is the file there, and to be kept aside?
    pub keep: bool,
}

/// What there is to know of a database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The state; `None` if no manifest has a readable start.
    pub state: Option<ManifestState>,
    /// What the last clean close left, where `CURRENT` can be read.
    pub clean: Option<CleanClose>,
    /// The database's number, where `CURRENT` can be read.
    pub db_id: Option<u64>,
    /// The state is older than the files: a manifest was cut or is lost.
    pub cut: bool,
    /// The manifest ended in a group that was not written whole, as a crash leaves it.
    pub torn: bool,
    /// What is wrong; empty if the manifest opens.
    pub problems: Vec<Problem>,
}

/// Finds the newest state that can be read.
///
/// # Errors
/// `Unsupported` for a later format; I/O errors.
pub(crate) fn find_state<V: Vfs>(fs: &V, dir: &str) -> Result<Found> {
    let cause = match Manifest::open(fs.clone(), dir, true) {
        Ok(opened) => {
            let state = Some(opened.manifest.state().clone());
            let torn = opened.torn_at.is_some();
            return Ok(Found { state, clean: opened.clean, torn, ..Found::default() });
        }
        Err(error) if is_damage(&error) => error,
        Err(error) => return Err(error),
    };
    let mut found = Found::default();
    let current = match current_file::read(fs, dir) {
        Ok(current) => Some(current),
        Err(error) if is_damage(&error) => {
            found.problems.extend(damaged_current(fs, dir, &error)?);
            None
        }
        Err(error) => return Err(error),
    };
    found.db_id = current.as_ref().map(|current| current.db_id);
    let of_current = found.problems.len();
    found.clean = current.as_ref().and_then(|current| current.clean.clone());
    let mut numbers: Vec<u64> =
        fs.list(dir).at("list", dir)?.iter().filter_map(|entry| parse_name(&entry.name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(current) = &current {
        numbers.retain(|n| *n != current.manifest);
        numbers.insert(0, current.manifest);
    }
    for number in numbers {
        let named = current.as_ref().is_some_and(|current| current.manifest == number);
        if let Some(state) = try_manifest(fs, dir, number, current.as_ref(), &cause, &mut found.problems)? {
            if !named && current.is_some() {
                let path = join(dir, &manifest_name(number));
                found.problems.push(Problem {
                    file: path,
                    what: "use this older manifest".to_string(),
                    lost: "all changes of the tree that it does not know".to_string(),
                    keep: true,
                });
            }
            found.state = Some(state);
            break;
        }
    }
    found.cut = found.state.is_none() || found.problems.len() > of_current;
    if let (Some(state), Some(clean)) = (&mut found.state, &found.clean) {
        state.last_seq = state.last_seq.max(clean.last_seq);
    }
    Ok(found)
}

fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => source.kind == IoErrorKind::NotFound,
        _ => false,
    }
}

fn damaged_current<V: Vfs>(fs: &V, dir: &str, cause: &Error) -> Result<Vec<Problem>> {
    let entries = fs.list(dir).at("list", dir)?;
    let mut problems = Vec::new();
    for name in [NAME, SLOTS[0], SLOTS[1]] {
        if !entries.iter().any(|e| e.name == name) {
            continue;
        }
        let path = join(dir, name);
        let whole = current_file::read_whole(fs, &path, nokv_formats::current::BYTES_MAX)
            .is_ok_and(|bytes| Current::decode(&bytes).is_ok());
        if !whole {
            problems.push(Problem {
                file: path,
                what: format!("replace it: {cause}"),
                lost: String::new(),
                keep: true,
            });
        }
    }
    if problems.is_empty() {
        let what = "write it anew: it is missing".to_string();
        problems.push(Problem { file: join(dir, NAME), what, lost: String::new(), keep: false });
    }
    Ok(problems)
}

/// The state of one manifest as far as it is whole, with what is wrong with it.
fn try_manifest<V: Vfs>(
    fs: &V,
    dir: &str,
    number: u64,
    current: Option<&Current>,
    cause: &Error,
    problems: &mut Vec<Problem>,
) -> Result<Option<ManifestState>> {
    let path = join(dir, &manifest_name(number));
    let problem =
        |what: String, lost: &str, keep| Problem { file: path.clone(), what, lost: lost.to_string(), keep };
    let mut frames = match open_frames(fs, &path) {
        Ok(frames) => frames,
        Err(error) if is_damage(&error) => {
            let lost = "all changes of the tree that no other manifest knows";
            problems.push(problem(format!("do without it: {error}"), lost, false));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Prefix { state, groups, whole_bytes, problem: broken } =
        replay_prefix(&path, &mut frames, current.map(|current| current.db_id))?;
    if groups == 0 {
        let what = broken.map_or("at least one group", |(_, what)| what);
        let lost = "all changes of the tree that no other manifest knows";
        problems.push(problem(format!("do without it: expected {what} at byte 0"), lost, true));
        return Ok(None);
    }
    let named = current.is_some_and(|current| current.manifest == number);
    if let Some((at, what)) = broken {
        let behind = frames.len().saturating_sub(whole_bytes);
        let what = format!("use its first {groups} edit groups: expected {what} at byte {at}");
        problems.push(problem(what, &format!("the edits in the {behind} bytes from there on"), true));
    } else if named {
        // Whole groups, and yet it does not open: it is not what the clean close left.
        let what = format!("use its {groups} edit groups: {cause}");
        problems.push(problem(what, "edits that were behind them, if any", true));
    }
    Ok(Some(state))
}
