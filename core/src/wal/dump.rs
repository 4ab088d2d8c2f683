//! Shows a log's records and how it ends, for tools. Writes nothing and takes no lock.

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::Seq;
use nokv_formats::bytes::Reader;
use nokv_formats::envelope::{
    Envelope, SECTION_BATCH, SECTION_COPIES, SECTION_HEAD_BYTES, SECTION_RAFT_ENTRIES, SECTION_RAFT_SNAPSHOT,
    SECTION_RAFT_STATE, decode_section_head,
};
use nokv_formats::walfs::{Found, Position, Scanner};

use super::open::rebuild_headers;
use super::survey::{SegmentInfo, Surveyed, Verdict, judge, list_segments, read_segment, survey_segment};
use super::truncate::{pending, pretend};
use crate::error::Result;
use crate::vfs::Vfs;

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndState {
    /// At zeros or at the end of its last segment.
    Clean,
    /// At an append that was interrupted: opening for writing removes it.
    TornTail {
        /// The segment.
        segment: u32,
        /// Where in its file, in bytes.
        offset: u64,
        /// What was expected there.
        what: &'static str,
        /// Whole records behind it, which go with it.
        whole_records_behind: u64,
    },
    /// At damage: opening for writing refuses.
    Damage {
        /// The segment.
        segment: u32,
        /// Where in its file, in bytes.
        offset: u64,
        /// What was expected there.
        what: &'static str,
        /// Whole records behind it.
        whole_records_behind: u64,
    },
}

/// A record that a dump shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpRecord<'a> {
    /// Where it is.
    pub position: Position,
    /// Its log index, 0 for none.
    pub log_index: u64,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// A section of a record of the engine's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpSection {
    /// Its kind: a number of [`nokv_formats::envelope`].
    pub kind: u8,
    /// Whose it is; 0 for the engine itself.
    pub group: u64,
    /// Length of its bytes.
    pub bytes: u64,
}

impl DumpSection {
    /// The name of its kind.
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            SECTION_BATCH => "batch",
            SECTION_RAFT_ENTRIES => "raft_entries",
            SECTION_RAFT_STATE => "raft_state",
            SECTION_RAFT_SNAPSHOT => "raft_snapshot",
            SECTION_COPIES => "copies",
            _ => "other",
        }
    }
}

/// What the envelope of a record of the engine's own log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRecord {
    /// Number of the record.
    pub record_no: u64,
    /// Seq of the batch's first operation, or of the one that comes next.
    pub first_seq: Seq,
    /// Part of the batch, from 0.
    pub part: u32,
    /// Is it the batch's last part?
    pub last_part: bool,
    /// The sections that start in it; none in a later part, where it cannot be told.
    pub sections: Vec<DumpSection>,
}

impl DumpRecord<'_> {
    /// The record as one of the engine's own log; `None` if it is none.
    pub fn own(&self) -> Option<OwnRecord> {
        own_record(self.payload, self.position)
    }
}

/// A payload at `position` as a record of the engine's own log; `None` if it is none.
pub fn own_record(payload: &[u8], position: Position) -> Option<OwnRecord> {
    let (envelope, mut chunk) = Envelope::decode(payload).ok()?;
    if envelope.at != position {
        return None;
    }
    let mut sections = Vec::new();
    while envelope.part == 0 && !chunk.is_empty() {
        let Ok(head) = decode_section_head(&mut Reader::new(chunk)) else { break };
        sections.push(DumpSection { kind: head.kind, group: head.group, bytes: head.len });
        // The last one may go on in the next part.
        let next = usize::try_from(head.len).ok().and_then(|len| len.checked_add(SECTION_HEAD_BYTES));
        chunk = next.and_then(|next| chunk.get(next..)).unwrap_or_default();
    }
    let Envelope { record_no, first_seq, part, last_part, .. } = envelope;
    Some(OwnRecord { record_no, first_seq, part, last_part, sections })
}

/// The records of a log up to its end. See [`dump`].
pub struct Dump<V: Vfs> {
    fs: V,
    segments: Vec<Surveyed>,
    end: EndState,
    bytes: Vec<u8>,
    loaded: Option<usize>,
    which: usize,
    offset: usize,
    ordinal: u64,
}

/// Looks at the log in `dir` whose segment files end in `ext`.
///
/// # Errors
/// What the file system says; damage is not an error here but an [`EndState`].
pub fn dump<V: Vfs>(fs: V, dir: &str, ext: &str) -> Result<Dump<V>> {
    let mut segments = Vec::new();
    for found in list_segments(&fs, dir, ext)? {
        segments.push(survey_segment(&fs, &found, false)?);
    }
    if let Some(truncation) = pending(&fs, dir)? {
        pretend(&mut segments, &truncation);
    }
    rebuild_headers(&mut segments, 0);
    let end = match judge(&segments) {
        Verdict::Clean => EndState::Clean,
        // What an opener may cut is still worth an error to one who looks, if there is something behind it.
        Verdict::Torn { segment, damage, behind: behind @ 0 } => EndState::TornTail {
            segment,
            offset: damage.offset,
            what: damage.what,
            whole_records_behind: behind,
        },
        Verdict::Rot { segment, damage, behind } | Verdict::Torn { segment, damage, behind } => {
            EndState::Damage {
                segment,
                offset: damage.offset,
                what: damage.what,
                whole_records_behind: behind,
            }
        }
    };
    if let EndState::TornTail { segment, .. } | EndState::Damage { segment, .. } = &end {
        segments.retain(|s| s.number <= *segment);
    }
    Ok(Dump { fs, segments, end, bytes: Vec::new(), loaded: None, which: 0, offset: 0, ordinal: 0 })
}

impl<V: Vfs> Dump<V> {
    /// The segments up to the end, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.segments.iter().map(Surveyed::info).collect()
    }

    /// How the log ends.
    pub const fn end_state(&self) -> &EndState {
        &self.end
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// What the file system says.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer and can fail")]
    pub fn next(&mut self) -> Result<Option<DumpRecord<'_>>> {
        loop {
            let Some(s) = self.segments.get(self.which) else { return Ok(None) };
            if self.loaded != Some(self.which) {
                read_segment(&self.fs, &s.path.to_string(), &mut self.bytes)?;
                self.loaded = Some(self.which);
                self.offset = Position::start_of(s.number).offset as usize;
                self.ordinal = 0;
            }
            let mut scanner = Scanner::starting_at(&self.bytes, self.offset);
            if (self.offset as u64) < s.end
                && let Found::Record(frame) = scanner.step()
            {
                let first = s.info().first_log_index;
                let log_index = if first == 0 { 0 } else { first.saturating_add(self.ordinal) };
                let position = Position { segment: s.number, offset: frame.offset };
                let (from, len) = (frame.offset as usize + 8, frame.payload.len());
                self.offset = frame.end as usize;
                self.ordinal += 1;
                let payload = self.bytes.get(from..from + len).unwrap_or_default();
                return Ok(Some(DumpRecord { position, log_index, payload }));
            }
            self.which += 1;
        }
    }
}
