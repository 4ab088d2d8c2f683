//! What lies in a log's directory, before anything is decided: segments, their headers, where their records
//! end and why. Writes nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::Malformed;
use nokv_formats::walfs::{
    FRAME_OVERHEAD_BYTES, HEADER_BYTES, Position, SegmentHeader, parse_segment_file_name,
};

use crate::error::{Error, IoContext, Result};
use crate::frames::{Frames, Look};
use crate::vfs::{OpenMode, Vfs, VfsFile, join};

/// A segment of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Where its records end.
    pub end: u64,
    /// How many records it has.
    pub entries: u64,
    /// Log index of its first record, 0 for none.
    pub first_log_index: u64,
    /// When it was made, in nanoseconds since the Unix epoch, 0 if unknown.
    pub created_ns: u64,
    /// When its header was written last, in nanoseconds since the Unix epoch, 0 if unknown.
    pub modified_ns: u64,
    /// Is it sealed?
    pub sealed: bool,
    /// The owner's own word in its header.
    pub marker: u32,
}

/// A place where a segment's bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub offset: u64,
    pub what: &'static str,
    /// Whole records behind it, in this segment.
    pub behind: u64,
}

impl Damage {
    pub fn error(&self, path: &str, behind: u64) -> Error {
        Error::corrupt(
            path,
            self.offset,
            alloc::format!("expected {}; {behind} whole records behind it", self.what),
        )
    }
}

/// A segment file as found.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    pub number: u32,
    pub path: String,
    pub file_bytes: u64,
    pub links: u32,
}

/// The segment files of `dir`, in order.
pub(crate) fn list_segments<V: Vfs>(fs: &V, dir: &str, ext: &str) -> Result<Vec<SegmentFile>> {
    let mut found: Vec<_> = fs
        .list(dir)
        .at("list", dir)?
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| {
            Some(SegmentFile {
                number: parse_segment_file_name(&entry.name, ext)?,
                path: join(dir, &entry.name),
                file_bytes: entry.size,
                links: entry.links,
            })
        })
        .collect();
    found.sort_by_key(|f| f.number);
    Ok(found)
}

/// Reads a whole segment file into `buf`.
pub(crate) fn read_segment<V: Vfs>(fs: &V, path: &str, buf: &mut Vec<u8>) -> Result<()> {
    let file = fs.open(path, OpenMode::Read).at("open", path)?;
    let size = file.size().at("size", path)?;
    let size = usize::try_from(size).map_err(|_| Error::InvalidArgument(too_large(path)))?;
    buf.clear();
    buf.try_reserve_exact(size).map_err(|_| Error::InvalidArgument(too_large(path)))?;
    buf.resize(size, 0);
    let read = file.read_at(buf, 0).at("read", path)?;
    buf.truncate(read);
    Ok(())
}

fn too_large(path: &str) -> String {
    alloc::format!("{path} does not fit in memory")
}

/// No record has it: none could follow. So the index behind the last one is always a number.
pub(crate) const NO_LOG_INDEX: u64 = u64::MAX;

/// Refuses [`NO_LOG_INDEX`].
pub(crate) fn check_log_index(log_index: u64) -> Result<()> {
    if log_index == NO_LOG_INDEX {
        return Err(Error::InvalidArgument("the highest number is no log index: none could follow".into()));
    }
    Ok(())
}

/// The log index of the record `ordinal` of a segment whose first one has `first`, 0 for none; `None` if it would be
/// none.
pub(crate) fn log_index_of(first: u64, ordinal: u64) -> Option<u64> {
    match first {
        0 => Some(0),
        first => first.checked_add(ordinal).filter(|index| *index != NO_LOG_INDEX),
    }
}

/// A segment with what its bytes say.
#[derive(Debug, Clone)]
pub(crate) struct Surveyed {
    pub number: u32,
    pub path: String,
    pub file_bytes: u64,
    pub links: u32,
    pub header: core::result::Result<SegmentHeader, Malformed>,
    /// Was the header damaged, and made up from the records?
    pub header_rebuilt: bool,
    /// The header's first log index as it stands, checked or not.
    pub raw_first_index: u64,
    pub end: u64,
    pub entries: u64,
    pub damage: Option<Damage>,
}

impl Surveyed {
    pub fn is_sealed(&self) -> bool {
        self.header.as_ref().is_ok_and(SegmentHeader::is_sealed)
    }

    /// No record can follow: its log index would be the highest number, which is none.
    fn is_counted_out(&self) -> bool {
        let first = self.header.as_ref().map_or(0, |h| h.first_log_index);
        first != 0 && first.saturating_add(self.entries) == NO_LOG_INDEX
    }

    pub fn info(&self) -> SegmentInfo {
        let header = self.header.as_ref().ok();
        SegmentInfo {
            number: self.number,
            file_bytes: self.file_bytes,
            end: self.end,
            entries: self.entries,
            first_log_index: header.map_or(0, |h| h.first_log_index),
            created_ns: header.map_or(0, |h| h.created_ns),
            modified_ns: header.map_or(0, |h| h.modified_ns),
            sealed: self.is_sealed(),
            marker: header.map_or(0, |h| h.marker),
        }
    }

    /// What the header proves to be durable. A new header's write offset proves nothing about the segments
    /// before it; one that moved was stored after a sync that covered them.
    pub fn durable_claim(&self) -> Option<Position> {
        let header = self.header.as_ref().ok()?;
        (header.is_sealed() || header.write_offset > HEADER_BYTES as u64)
            .then_some(Position { segment: self.number, offset: header.write_offset })
    }
}

/// Looks at one segment. With `trust_seal`, a sealed one with a whole header is not read to its end.
pub(crate) fn survey_segment<V: Vfs>(fs: &V, found: &SegmentFile, trust_seal: bool) -> Result<Surveyed> {
    let mut surveyed = Surveyed {
        number: found.number,
        path: found.path.to_string(),
        file_bytes: found.file_bytes,
        links: found.links,
        header: Err(Malformed::new(0, "a segment header of 64 bytes")),
        header_rebuilt: false,
        raw_first_index: 0,
        end: HEADER_BYTES as u64,
        entries: 0,
        damage: None,
    };
    if trust_seal {
        let file = fs.open(&found.path, OpenMode::Read).at("open", &found.path)?;
        let mut head = [0; HEADER_BYTES];
        let read = file.read_at(&mut head, 0).at("read", &found.path)?;
        if let Ok(header) = SegmentHeader::decode(&head[..read])
            && header.is_sealed()
            && header.write_offset <= found.file_bytes
            // More records than fit: the header lies, so the records are counted.
            && header.entry_count <= header.write_offset / FRAME_OVERHEAD_BYTES as u64
            && log_index_of(header.first_log_index, header.entry_count.saturating_sub(1)).is_some()
        {
            surveyed.header = Ok(header);
            surveyed.end = header.write_offset;
            surveyed.entries = header.entry_count;
            return Ok(surveyed);
        }
    }
    let mut frames = Frames::open(fs, &found.path)?;
    let head = frames.bytes(0, HEADER_BYTES)?;
    surveyed.header = SegmentHeader::decode(head);
    surveyed.raw_first_index =
        head.get(44..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
    let first_index = surveyed.header.as_ref().map_or(0, |h| h.first_log_index);
    let stop = loop {
        match frames.look(surveyed.end)? {
            Look::Record(_) if log_index_of(first_index, surveyed.entries).is_none() => {
                break Look::Damage("a log index that another can follow");
            }
            Look::Record(place) => {
                surveyed.entries += 1;
                surveyed.end = place.end;
            }
            other => break other,
        }
    };
    let behind = frames.count_from(surveyed.end.saturating_add(8))?;
    surveyed.damage = match stop {
        Look::Damage(what) => Some(Damage { offset: surveyed.end, what, behind }),
        _ if behind > 0 => Some(Damage { offset: surveyed.end, what: "a record, not zeros", behind }),
        _ => short_of_header(&surveyed),
    };
    Ok(surveyed)
}

/// A sealed segment must end where its header says, an active one not before.
fn short_of_header(s: &Surveyed) -> Option<Damage> {
    let header = s.header.as_ref().ok()?;
    let wrong = if header.is_sealed() {
        header.write_offset != s.end || header.entry_count != s.entries
    } else {
        header.write_offset > s.end
    };
    let what = "records up to the header's write offset";
    wrong.then_some(Damage { offset: s.end, what, behind: 0 })
}

/// Records missing between a segment that was not sealed and the next: its log indexes say so.
fn lost_end(s: &Surveyed, next: Option<&Surveyed>) -> Option<Damage> {
    let (first, next_first) = (s.info().first_log_index, next?.info().first_log_index);
    let follows = first.saturating_add(s.entries);
    let is_lost = !s.is_sealed() && first != 0 && next_first != 0 && next_first != follows;
    is_lost.then_some(Damage {
        offset: s.end,
        what: "records up to the start of the next segment",
        behind: 0,
    })
}

/// Where a log's records end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At the end of the last segment, or before zeros.
    Clean,
    /// At bytes that no sync ever covered: an append that a stop interrupted.
    Torn { segment: u32, damage: Damage, behind: u64 },
    /// At damage to what should be there.
    Rot { segment: u32, damage: Damage, behind: u64 },
}

/// Judges a general log, whose records carry no proof of their own: damage is a torn tail if nothing whole
/// lies behind it, or if it lies behind everything that a header claims. A record that no log index is left for was
/// never appended, so that is no torn tail. (The original moves the write offset
/// with every append, ours only after a sync: both are claims that damage before it is not a torn append.)
pub(crate) fn judge(segments: &[Surveyed]) -> Verdict {
    let mut previous: Option<u32> = None;
    let claim = segments.iter().filter_map(Surveyed::durable_claim).max().unwrap_or_default();
    for (i, s) in segments.iter().enumerate() {
        let later = segments.iter().skip(i + 1).fold(0u64, |sum, s| sum.saturating_add(s.entries));
        if previous.is_some_and(|p| p.checked_add(1) != Some(s.number)) {
            let segment = previous.unwrap_or(0).saturating_add(1);
            let what = "a segment: its file is missing";
            let damage = Damage { offset: 0, what, behind: 0 };
            return Verdict::Rot { segment, damage, behind: later.saturating_add(s.entries) };
        }
        previous = Some(s.number);
        let Some(damage) = s.damage.clone().or_else(|| lost_end(s, segments.get(i + 1))) else { continue };
        let behind = damage.behind.saturating_add(later);
        let segment = s.number;
        let before_claim = Position { segment, offset: damage.offset } < claim;
        // A rebuilt header claims nothing, which is not the same as claiming that nothing was durable.
        let is_torn =
            !s.is_sealed() && !s.is_counted_out() && (behind == 0 || !(s.header_rebuilt || before_claim));
        return if is_torn {
            Verdict::Torn { segment, damage, behind }
        } else {
            Verdict::Rot { segment, damage, behind }
        };
    }
    Verdict::Clean
}
