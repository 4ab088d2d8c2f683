//! Reading a manifest: the groups of the file, and the decision whether its damaged end is torn or rotten.
//!
//! Who may call it: `store`. Pure.

use alloc::format;

use nokv_formats::manifest::{Group, UNKNOWN_EDIT, UNKNOWN_FORMAT, decode_frame};
use nokv_formats::walfs::find_whole_record;
use nokv_formats::{Malformed, TableId};

use super::state::ManifestState;
use crate::error::{Error, Result};

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

/// Folds the groups of `bytes`, the whole of the manifest `file` of the database `db_id`.
///
/// # Errors
/// `Corrupt` for damage that a crash cannot leave; `Unsupported` for groups of a later format.
pub(super) fn replay(file: &str, bytes: &[u8], db_id: u64) -> Result<Replayed> {
    let mut state = ManifestState::default();
    let mut at = 0usize;
    let mut next_group = 0u64;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (data, len) = match decode_frame(rest) {
            Ok(frame) => frame,
            Err(malformed) => {
                check_torn(file, bytes, at, db_id, next_group, malformed)?;
                return Ok(Replayed { state, next_group, whole_bytes: at as u64, torn: true });
            }
        };
        let group = Group::decode_data(data).map_err(|m| match m.what {
            UNKNOWN_EDIT | UNKNOWN_FORMAT => {
                Error::Unsupported { what: format!("a manifest newer than {}", m.what), file: file.into() }
            }
            // The frame's checksum holds, so this was written: never a torn end.
            _ => Error::malformed(file, at as u64, m),
        })?;
        let corrupt = |what: &'static str| Error::corrupt(file, at as u64, what);
        if group.db_id != db_id {
            return Err(corrupt("a group of another database"));
        }
        if group.number != next_group {
            return Err(corrupt("groups numbered without a hole"));
        }
        if group.durable > at as u64 {
            return Err(corrupt("a durable length within the file"));
        }
        state.fold(&group.edits).map_err(|(_, what)| corrupt(what))?;
        if next_group == 0 {
            state.retired.clear();
        }
        next_group += 1;
        at += len;
    }
    if next_group == 0 {
        return Err(Error::corrupt(file, 0, "at least one group"));
    }
    if state.db_id != db_id {
        return Err(Error::corrupt(file, 0, "the database that CURRENT names"));
    }
    Ok(Replayed { state, next_group, whole_bytes: at as u64, torn: false })
}

/// The longest whole prefix of a manifest, for repair: what [`replay`] refuses ends it. Without `db_id` the database
/// is the one that group 0 names.
///
/// # Errors
/// `Unsupported` for groups of a later format.
pub(super) fn replay_prefix(file: &str, bytes: &[u8], db_id: Option<u64>) -> Result<Prefix> {
    let (mut state, mut at, mut groups) = (ManifestState::default(), 0usize, 0u64);
    let mut problem = None;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let decoded = decode_frame(rest).and_then(|(data, len)| Ok((Group::decode_data(data)?, len)));
        let (group, len) = match decoded {
            Ok(decoded) => decoded,
            Err(m) if matches!(m.what, UNKNOWN_EDIT | UNKNOWN_FORMAT) => {
                let what = format!("a manifest newer than {}", m.what);
                return Err(Error::Unsupported { what, file: file.into() });
            }
            Err(m) => {
                problem = Some((at as u64, m.what));
                break;
            }
        };
        if group.number != groups || db_id.is_some_and(|id| id != group.db_id) {
            problem = Some((at as u64, "the next group of this database"));
            break;
        }
        let mut next = state.clone();
        if let Err((_, what)) = next.fold(&group.edits) {
            problem = Some((at as u64, what));
            break;
        }
        if next.db_id != group.db_id {
            problem = Some((at as u64, "a group of this database"));
            break;
        }
        state = next;
        if groups == 0 {
            state.retired.clear();
        }
        groups += 1;
        at += len;
    }
    Ok(Prefix { state, groups, whole_bytes: at as u64, problem })
}

/// The frame at `at` does not check. It is a torn end if no whole group behind it says that it was synced.
///
/// Group 0 is synced before `CURRENT` names the file, so it cannot be torn.
fn check_torn(file: &str, bytes: &[u8], at: usize, db_id: u64, next: u64, what: Malformed) -> Result<()> {
    if next == 0 {
        return Err(Error::malformed(file, at as u64, what));
    }
    let (mut from, mut budget) = (at + 8, bytes.len().saturating_mul(8));
    while let Some(frame) = find_whole_record(bytes, from, &mut budget) {
        if let Ok(group) = Group::decode_data(frame.payload)
            && (group.db_id, group.number >= next, group.durable > at as u64) == (db_id, true, true)
        {
            return Err(Error::malformed(file, at as u64, what));
        }
        from = usize::try_from(frame.end).unwrap_or(usize::MAX);
    }
    Ok(())
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
