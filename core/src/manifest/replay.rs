//! Reading a manifest: the groups of the file, and the decision whether its damaged end is torn or rotten.
//!
//! Who may call it: `store`, `salvage`, `current_file`. Writes nothing.

use alloc::format;

use nokv_formats::TableId;
use nokv_formats::manifest::{Group, UNKNOWN_EDIT, UNKNOWN_FORMAT};

use super::state::ManifestState;
use crate::error::{Error, Result};
use crate::frames::{Frames, Look};
use crate::vfs::VfsFile;

/// What a manifest holds.
pub(super) struct Replayed {
    pub state: ManifestState,
    /// Number of the next group.
    pub next_group: u64,
    /// Length of the whole groups.
    pub whole_bytes: u64,
    /// Is there anything behind them?
    pub torn: bool,
}

/// What [`replay_prefix`] gives.
pub(super) struct Prefix {
    pub state: ManifestState,
    /// How many groups are whole.
    pub groups: u64,
    /// Their length.
    pub whole_bytes: u64,
    /// Why it ends there, if not at the end of the file.
    pub problem: Option<(u64, &'static str)>,
}

/// Folds the groups of the manifest `file` of the database `db_id`.
///
/// # Errors
/// `Corrupt` for damage that a crash cannot leave; `Unsupported` for groups of a later format.
pub(super) fn replay<F: VfsFile>(file: &str, frames: &mut Frames<F>, db_id: u64) -> Result<Replayed> {
    let mut state = ManifestState::default();
    let mut at = 0u64;
    let mut next_group = 0u64;
    while at < frames.len() {
        let (data, end) = match frame(frames, at)? {
            Ok(frame) => frame,
            Err(what) => {
                check_torn(file, frames, at, db_id, next_group, what)?;
                return Ok(Replayed { state, next_group, whole_bytes: at, torn: true });
            }
        };
        let group = Group::decode_data(data).map_err(|m| match m.what {
            UNKNOWN_EDIT | UNKNOWN_FORMAT => {
                Error::Unsupported { what: format!("a manifest newer than {}", m.what), file: file.into() }
            }
            // The frame's checksum holds, so this was written: never a torn end.
            _ => Error::malformed(file, at, m),
        })?;
        let corrupt = |what: &'static str| Error::corrupt(file, at, what);
        if group.db_id != db_id {
            return Err(corrupt("a group of another database"));
        }
        if group.number != next_group {
            return Err(corrupt("groups numbered without a hole"));
        }
        if group.durable > at {
            return Err(corrupt("a durable length within the file"));
        }
        state.fold(&group.edits).map_err(|(_, what)| corrupt(what))?;
        if next_group == 0 {
            state.retired.clear();
        }
        next_group += 1;
        at = end;
    }
    if next_group == 0 {
        return Err(Error::corrupt(file, 0, "at least one group"));
    }
    if state.db_id != db_id {
        return Err(Error::corrupt(file, 0, "the database that CURRENT names"));
    }
    Ok(Replayed { state, next_group, whole_bytes: at, torn: false })
}

/// The longest whole prefix of a manifest, for repair: what [`replay`] refuses ends it. Without `db_id` the database
/// is the one that group 0 names.
///
/// # Errors
/// `Unsupported` for groups of a later format.
pub(super) fn replay_prefix<F: VfsFile>(
    file: &str,
    frames: &mut Frames<F>,
    db_id: Option<u64>,
) -> Result<Prefix> {
    let (mut state, mut at, mut groups) = (ManifestState::default(), 0u64, 0u64);
    let mut problem = None;
    while at < frames.len() {
        let decoded = frame(frames, at)?
            .and_then(|(data, end)| Ok((Group::decode_data(data).map_err(|m| m.what)?, end)));
        let (group, end) = match decoded {
            Ok(decoded) => decoded,
            Err(what @ (UNKNOWN_EDIT | UNKNOWN_FORMAT)) => {
                let what = format!("a manifest newer than {what}");
                return Err(Error::Unsupported { what, file: file.into() });
            }
            Err(what) => {
                problem = Some((at, what));
                break;
            }
        };
        if group.number != groups || db_id.is_some_and(|id| id != group.db_id) {
            problem = Some((at, "the next group of this database"));
            break;
        }
        let mut next = state.clone();
        if let Err((_, what)) = next.fold(&group.edits) {
            problem = Some((at, what));
            break;
        }
        if next.db_id != group.db_id {
            problem = Some((at, "a group of this database"));
            break;
        }
        state = next;
        if groups == 0 {
            state.retired.clear();
        }
        groups += 1;
        at = end;
    }
    Ok(Prefix { state, groups, whole_bytes: at, problem })
}

/// The frame at `at` does not check. It is a torn end if no whole group behind it says that it was synced.
///
/// Group 0 is synced before `CURRENT` names the file, so it cannot be torn.
fn check_torn<F: VfsFile>(
    file: &str,
    frames: &mut Frames<F>,
    at: u64,
    db_id: u64,
    next: u64,
    what: &'static str,
) -> Result<()> {
    if next == 0 {
        return Err(Error::corrupt(file, at, what));
    }
    let (mut from, mut budget) = (at + 8, frames.len().saturating_mul(8));
    while let Some(place) = frames.find(from, &mut budget)? {
        if let Some(data) = frames.payload(&place)?
            && let Ok(group) = Group::decode_data(data)
            && (group.db_id, group.number >= next, group.durable > at) == (db_id, true, true)
        {
            return Err(Error::corrupt(file, at, what));
        }
        from = place.end;
    }
    Ok(())
}

/// The data of the frame at `at`, and where it ends; or what was expected there.
type Framed<'a> = core::result::Result<(&'a [u8], u64), &'static str>;

fn frame<F: VfsFile>(frames: &mut Frames<F>, at: u64) -> Result<Framed<'_>> {
    let place = match frames.look(at)? {
        Look::Record(place) => place,
        Look::End => return Ok(Err("a whole record")),
        Look::Damage(what) => return Ok(Err(what)),
    };
    Ok(frames.payload(&place)?.map(|data| (data, place.end)).ok_or("the checksum of a record"))
}

/// The number in `name`, if it is a manifest's.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("MANIFEST-")?;
    let plain = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Is the state that of a database in which nothing was ever stored?
pub(super) fn is_fresh(state: &ManifestState, next_group: u64) -> bool {
    next_group == 1
        && state.tables().next().is_none()
        && state.vlog_segments.is_empty()
        && state.raft.is_empty()
        && state.regions.is_empty()
        && state.last_seq.0 == 0
        && TableId(state.next_file_id) <= TableId(1)
}
