//! Looks at every segment of a log, also behind damage, for tools. Writes nothing and takes no lock.

use alloc::vec::Vec;

use nokv_formats::Malformed;
use nokv_formats::walfs::{SegmentHeader, decode_index, index_file_name};

use super::dump::{EndState, dump};
use super::survey::{SegmentInfo, Surveyed, list_segments, read_segment, survey_segment};
use super::truncate::{pending, pretend};
use crate::error::{Error, Result};
use crate::vfs::{IoErrorKind, Vfs, join};

/// An index file beside a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// There is none.
    Absent,
    /// It agrees with its segment.
    Good,
    /// It does not, or its segment is not sealed: nobody believes it, and it is made again.
    Ignored,
}

/// What a segment's file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentCheck {
    /// The segment, as far as its records are whole.
    pub info: SegmentInfo,
    /// What is wrong with its header. The records say the rest.
    pub header: core::result::Result<(), Malformed>,
    /// Where its bytes are not what they should be, what was expected, and how many whole records lie behind.
    pub damage: Option<(u64, &'static str, u64)>,
    /// The index file.
    pub index: IndexState,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// All segments, oldest first.
    pub segments: Vec<SegmentCheck>,
    /// How the log as a whole ends.
    pub end: EndState,
}

impl Verified {
    /// Is there damage that is more than an append that was interrupted?
    pub fn is_damaged(&self) -> bool {
        matches!(self.end, EndState::Damage { .. }) || self.segments.iter().any(|s| s.header.is_err())
    }
}

/// Checks every record, header and index of the log in `dir` whose segment files end in `ext`.
///
/// # Errors
/// What the file system says; damage is a finding.
pub fn verify<V: Vfs>(fs: V, dir: &str, ext: &str) -> Result<Verified> {
    let mut bytes = Vec::new();
    let mut surveyed = Vec::new();
    let mut indexes = Vec::new();
    for found in list_segments(&fs, dir, ext)? {
        let segment = survey_segment(&fs, &found, false)?;
        indexes.push(index_state(&fs, dir, ext, &segment, &mut bytes)?);
        surveyed.push(segment);
    }
    // What a truncation that was interrupted removes at the next opening is not part of the log.
    if let Some(truncation) = pending(&fs, dir)? {
        pretend(&mut surveyed, &truncation);
    }
    let check = |(s, index): (&Surveyed, IndexState)| SegmentCheck {
        info: s.info(),
        header: s.header.as_ref().map(|_| ()).map_err(|m| *m),
        damage: s.damage.as_ref().map(|d| (d.offset, d.what, d.behind)),
        index,
    };
    let segments = surveyed.iter().zip(indexes).map(check).collect();
    let end = dump(fs, dir, ext)?.end_state().clone();
    Ok(Verified { segments, end })
}

fn index_state<V: Vfs>(
    fs: &V,
    dir: &str,
    ext: &str,
    s: &Surveyed,
    bytes: &mut Vec<u8>,
) -> Result<IndexState> {
    match read_segment(fs, &join(dir, &index_file_name(s.number, ext)), bytes) {
        Ok(()) => {}
        Err(Error::Io { source, .. }) if source.kind == IoErrorKind::NotFound => {
            return Ok(IndexState::Absent);
        }
        Err(e) => return Err(e),
    }
    let sealed = s.header.as_ref().ok().filter(|header| SegmentHeader::is_sealed(header));
    let good = sealed.is_some_and(|header| decode_index(bytes, header).is_ok());
    Ok(if good { IndexState::Good } else { IndexState::Ignored })
}
