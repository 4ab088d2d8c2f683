//! Manifest: a log of groups of edits; what a database is, is the fold of them.
//!
//! Who may call it: `core::manifest`, which keeps the file; tools that print one.
//!
//! ```text
//! manifest := frame*                       a record frame of walfs: crc u32, len u32, data, trailer, zeros to 8
//! data     := format u16, zero u16, count u32, db_id u64, number u64, durable u64, edit*
//! edit     := tag varint, len varint, body                                     `count` of them
//! body     := by tag:
//!   1 database        id u64
//!   2 add table       level u8, ingest u8, table
//!   3 remove table    id, level u8, ingest u8
//!   4 wal floor       segment
//!   5 flushed seq     seq
//!   6 last seq        seq
//!   7 expiry cut      unix_ms
//!   8 next file id    id
//!   9 create family   id, name (the rest, UTF-8)
//!  10 drop family     id, at_seq
//!  11 vlog head       bucket, segment
//!  12 vlog segment    bucket, segment, sealed u8, size
//!  13 vlog remove     bucket, segment
//!  14 raft pointer    group, segment, offset, applied index and term, committed, snapshot index and term,
//!                     truncated index and term          (reserved: kept, not yet used)
//!  15 region          the rest, opaque                  (reserved: kept, not yet used)
//! table    := id, file_bytes, crc u32, has_global_seq u8, [global_seq], props (see `table_props`)
//! ```
//! Numbers without a width are varints.
//!
//! 1. A group is atomic: it is one frame, whole or absent.
//! 2. `number` counts the groups of a file from 0 without a hole, so that a lost or doubled frame is noticed. Group
//!    0 holds a whole state.
//! 3. `durable` is the length of the file that was known to be synced when the group was written. Damage below the
//!    `durable` of any whole group is rot; damage behind it may be the torn end of a write that was never synced.
//! 4. An unknown tag is an error ([`UNKNOWN_EDIT`]), never skipped.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::entry::Seq;
use crate::key::CfId;
use crate::table_props::{TableId, TableMeta, TableProps};
use crate::walfs::{FRAME_HEAD_BYTES, Found, Position, encode_frame, frame_at};
use crate::{varint, versions};

mod cluster;

pub use cluster::{RaftPointer, RegionEpoch, RegionMeta, RegionPeer, RegionState};

/// What [`Group::decode`] says of an edit that only a later format knows.
pub const UNKNOWN_EDIT: &str = "edit known to manifest format 1";
/// What [`Group::decode`] says of a later format.
pub const UNKNOWN_FORMAT: &str = "manifest format 1";

/// Bytes of a group before its edits.
const GROUP_HEADER_BYTES: usize = 32;

/// One change of what a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The database this manifest is of. First edit of group 0.
    Database {
        /// Drawn when the database was made.
        id: u64,
    },
    /// A table is live.
    AddTable {
        /// Its level.
        level: u8,
        /// In the level's ingest set?
        ingest: bool,
        /// The table.
        meta: Arc<TableMeta>,
    },
    /// A table is not live any more, or (with an add of the same id in the same group) moves.
    RemoveTable {
        /// The table.
        id: TableId,
        /// The level it was in.
        level: u8,
        /// Was it in the level's ingest set?
        ingest: bool,
    },
    /// Log segments below this number are not needed any more.
    WalFloor {
        /// First needed segment.
        segment: u32,
    },
    /// Tables hold every write with a seq up to this one.
    FlushedSeq {
        /// The highest such seq.
        seq: Seq,
    },
    /// No seq up to this one is given again.
    LastSeq {
        /// The highest seq given.
        seq: Seq,
    },
    /// Entries that expired up to this time may be gone: the engine's time never goes below it.
    ExpiryCut {
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// File numbers below this one were given out.
    NextFileId {
        /// The next number.
        id: u64,
    },
    /// A column family exists.
    CreateFamily {
        /// Its number, never reused.
        id: CfId,
        /// Its name.
        name: String,
    },
    /// A column family does not exist any more; its entries may go.
    DropFamily {
        /// Its number.
        id: CfId,
        /// The last seq given before the drop.
        at_seq: Seq,
    },
    /// The segment of a value-log bucket that takes appends.
    VlogHead {
        /// The bucket.
        bucket: u16,
        /// The segment.
        segment: u32,
    },
    /// A value-log segment exists.
    VlogSegment {
        /// The bucket.
        bucket: u16,
        /// The segment.
        segment: u32,
        /// Takes no more appends: `size` is final.
        sealed: bool,
        /// Length of the file in bytes, header included; at least this much if it is not sealed.
        size: u64,
    },
    /// A value-log segment is not named by anything any more and may be unlinked.
    VlogRemove {
        /// The bucket.
        bucket: u16,
        /// The segment.
        segment: u32,
    },
    /// Where the log of a raft group stands.
    RaftPointer(RaftPointer),
    /// A raft group is gone: what the log holds of it before a place is not needed.
    RaftRemove {
        /// The group.
        group: u64,
        /// The place.
        before: Position,
    },
    /// A region is there, or is now like this.
    Region(RegionMeta),
    /// A region is forgotten.
    RegionRemove {
        /// The region.
        id: u64,
    },
}

impl Edit {
    const fn tag(&self) -> u64 {
        match self {
            Self::Database { .. } => 1,
            Self::AddTable { .. } => 2,
            Self::RemoveTable { .. } => 3,
            Self::WalFloor { .. } => 4,
            Self::FlushedSeq { .. } => 5,
            Self::LastSeq { .. } => 6,
            Self::ExpiryCut { .. } => 7,
            Self::NextFileId { .. } => 8,
            Self::CreateFamily { .. } => 9,
            Self::DropFamily { .. } => 10,
            Self::VlogHead { .. } => 11,
            Self::VlogSegment { .. } => 12,
            Self::VlogRemove { .. } => 13,
            Self::RaftPointer(_) => 14,
            Self::Region(_) => 15,
            Self::RaftRemove { .. } => 16,
            Self::RegionRemove { .. } => 17,
        }
    }

    /// Appends tag, length and body; `body` is scratch space.
    fn encode(&self, body: &mut Vec<u8>, out: &mut Vec<u8>) {
        body.clear();
        let varints =
            |body: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| varint::encode(*v, body));
        match self {
            Self::Database { id } => body.extend_from_slice(&id.to_le_bytes()),
            Self::AddTable { level, ingest, meta } => {
                body.extend_from_slice(&[*level, u8::from(*ingest)]);
                encode_table(meta, body);
            }
            Self::RemoveTable { id, level, ingest } => {
                varint::encode(id.0, body);
                body.extend_from_slice(&[*level, u8::from(*ingest)]);
            }
            Self::WalFloor { segment } => varint::encode(u64::from(*segment), body),
            Self::FlushedSeq { seq } | Self::LastSeq { seq } => varint::encode(seq.0, body),
            Self::ExpiryCut { unix_ms } => varint::encode(*unix_ms, body),
            Self::NextFileId { id } => varint::encode(*id, body),
            Self::CreateFamily { id, name } => {
                varint::encode(u64::from(id.0), body);
                body.extend_from_slice(name.as_bytes());
            }
            Self::DropFamily { id, at_seq } => varints(body, &[u64::from(id.0), at_seq.0]),
            Self::VlogHead { bucket, segment } | Self::VlogRemove { bucket, segment } => {
                varints(body, &[u64::from(*bucket), u64::from(*segment)]);
            }
            Self::VlogSegment { bucket, segment, sealed, size } => {
                varints(body, &[u64::from(*bucket), u64::from(*segment)]);
                body.push(u8::from(*sealed));
                varint::encode(*size, body);
            }
            Self::RaftPointer(pointer) => pointer.encode(body),
            Self::Region(region) => region.encode(body),
            Self::RaftRemove { group, before } => {
                varints(body, &[*group, u64::from(before.segment), before.offset]);
            }
            Self::RegionRemove { id } => varint::encode(*id, body),
        }
        varint::encode(self.tag(), out);
        varint::encode(body.len() as u64, out);
        out.extend_from_slice(body);
    }

    /// Takes an edit.
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let start = r.offset();
        let tag = r.varint("tag of an edit")?;
        let body = r.prefixed("body of an edit")?;
        let base = r.offset() - body.len();
        let mut r = Reader::new(body);
        let edit = Self::decode_body(tag, &mut r).map_err(|m| {
            if m.what == UNKNOWN_EDIT { Malformed::new(start, m.what) } else { shift(m, base) }
        })?;
        r.finish("end of an edit").map_err(|m| shift(m, base))?;
        Ok(edit)
    }

    fn decode_body(tag: u64, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match tag {
            1 => Self::Database { id: r.u64("database id")? },
            2 => Self::AddTable {
                level: r.u8("level")?,
                ingest: bool_(r, "ingest flag")?,
                meta: Arc::new(decode_table(r)?),
            },
            3 => Self::RemoveTable {
                id: TableId(r.varint("table id")?),
                level: r.u8("level")?,
                ingest: bool_(r, "ingest flag")?,
            },
            4 => Self::WalFloor { segment: r.varint_u32("log segment")? },
            5 => Self::FlushedSeq { seq: seq(r, "flushed seq")? },
            6 => Self::LastSeq { seq: seq(r, "last seq")? },
            7 => Self::ExpiryCut { unix_ms: r.varint("expiry cut")? },
            8 => Self::NextFileId { id: r.varint("next file id")? },
            9 => {
                let id = CfId(r.varint_u32("family")?);
                let name = core::str::from_utf8(r.take(r.remaining(), "name")?)
                    .map_err(|_| r.malformed("family name in UTF-8"))?;
                Self::CreateFamily { id, name: name.into() }
            }
            10 => Self::DropFamily {
                id: CfId(r.varint_u32("family")?),
                at_seq: seq(r, "seq of a family drop")?,
            },
            11 => Self::VlogHead { bucket: bucket(r)?, segment: r.varint_u32("value-log segment")? },
            12 => Self::VlogSegment {
                bucket: bucket(r)?,
                segment: r.varint_u32("value-log segment")?,
                sealed: bool_(r, "sealed flag")?,
                size: r.varint("size of a value-log segment")?,
            },
            13 => Self::VlogRemove { bucket: bucket(r)?, segment: r.varint_u32("value-log segment")? },
            14 => Self::RaftPointer(RaftPointer::decode(r)?),
            15 => Self::Region(RegionMeta::decode(r)?),
            16 => Self::RaftRemove {
                group: r.varint("raft group")?,
                before: Position { segment: r.varint_u32("log segment")?, offset: r.varint("log offset")? },
            },
            17 => Self::RegionRemove { id: r.varint("region id")? },
            _ => return Err(r.malformed(UNKNOWN_EDIT)),
        })
    }
}

fn shift(m: Malformed, base: usize) -> Malformed {
    Malformed { offset: m.offset.saturating_add(base as u64), ..m }
}

fn bool_(r: &mut Reader<'_>, what: &'static str) -> Result<bool, Malformed> {
    match r.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(r.malformed(what)),
    }
}

fn bucket(r: &mut Reader<'_>) -> Result<u16, Malformed> {
    u16::try_from(r.varint("bucket")?).map_err(|_| r.malformed("bucket"))
}

fn seq(r: &mut Reader<'_>, what: &'static str) -> Result<Seq, Malformed> {
    match Seq(r.varint(what)?) {
        seq if seq <= Seq::MAX => Ok(seq),
        _ => Err(r.malformed(what)),
    }
}

fn encode_table(meta: &TableMeta, out: &mut Vec<u8>) {
    varint::encode(meta.id.0, out);
    varint::encode(meta.file_bytes, out);
    out.extend_from_slice(&meta.checksum.to_le_bytes());
    out.push(u8::from(meta.global_seq.is_some()));
    if let Some(seq) = meta.global_seq {
        varint::encode(seq.0, out);
    }
    meta.props.encode(out);
}

fn decode_table(r: &mut Reader<'_>) -> Result<TableMeta, Malformed> {
    let id = TableId(r.varint("table id")?);
    let file_bytes = r.varint("length of a table file")?;
    let checksum = r.u32("checksum of a table file")?;
    let global_seq = if bool_(r, "global seq flag")? { Some(seq(r, "global seq")?) } else { None };
    let props = TableProps::decode(r)?;
    if global_seq.is_some_and(|seq| (props.seq_min, props.seq_max) != (seq, seq)) {
        return Err(r.malformed("seqs of a table with a global seq"));
    }
    Ok(TableMeta { id, file_bytes, checksum, global_seq, props })
}

/// An atomic group of edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The database.
    pub db_id: u64,
    /// Its number in the file, from 0.
    pub number: u64,
    /// Length of the file that was known to be synced when the group was written.
    pub durable: u64,
    /// The edits, in order.
    pub edits: Vec<Edit>,
}

impl Group {
    /// Appends the group as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.edits.len()).expect("a group has less than 2^32 edits");
        let mut data = Vec::with_capacity(GROUP_HEADER_BYTES + self.edits.len() * 16);
        data.extend_from_slice(&versions::MANIFEST.to_le_bytes());
        data.extend_from_slice(&0u16.to_le_bytes());
        data.extend_from_slice(&count.to_le_bytes());
        for field in [self.db_id, self.number, self.durable] {
            data.extend_from_slice(&field.to_le_bytes());
        }
        let mut body = Vec::new();
        for edit in &self.edits {
            edit.encode(&mut body, &mut data);
        }
        encode_frame(&data, out);
    }

    /// Reads the frame at the start of `bytes` and the group in it; gives the frame's length with it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let (data, len) = decode_frame(bytes)?;
        Ok((Self::decode_data(data).map_err(|m| shift(m, FRAME_HEAD_BYTES))?, len))
    }

    /// Reads a group from the data of a frame.
    pub fn decode_data(data: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(data);
        if r.u16("manifest format")? != versions::MANIFEST {
            return Err(Malformed::new(0, UNKNOWN_FORMAT));
        }
        if r.u16("zero in a manifest group")? != 0 {
            return Err(Malformed::new(2, "zero in a manifest group"));
        }
        let count = r.u32("count of edits")?;
        let mut group = Self {
            db_id: r.u64("database id")?,
            number: r.u64("group number")?,
            durable: r.u64("durable length")?,
            edits: Vec::new(),
        };
        // Not reserved by `count`: an edit takes at least two bytes, so the loop ends with the data.
        for _ in 0..count {
            group.edits.push(Edit::decode(&mut r)?);
        }
        r.finish("end of a manifest group")?;
        Ok(group)
    }
}

/// The data of the frame at the start of `bytes`, and the frame's length. Data that [`Group::decode_data`] then
/// refuses was written like that: only a frame that does not check can be the torn end of a write.
pub fn decode_frame(bytes: &[u8]) -> Result<(&[u8], usize), Malformed> {
    match frame_at(bytes, 0) {
        Found::Record(frame) => Ok((frame.payload, frame.end as usize)),
        Found::End => Err(Malformed::new(0, "a whole record")),
        Found::Damage(malformed) => Err(malformed),
    }
}

#[cfg(test)]
mod tests;
