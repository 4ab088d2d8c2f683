//! What a manifest says of raft groups and regions.
//!
//! Who may call it: `manifest`, whose edits 14 to 17 these are.
//!
//! ```text
//! pointer  := group, segment, offset, applied index, applied term, committed, snapshot index, snapshot term,
//!             truncated index, truncated term
//! removal  := group, segment, offset
//! region   := id, start key, end key, epoch version, epoch conf version, state u8, count, peer*
//! key      := len, bytes                                 an empty end key: up to the last key there can be
//! peer     := store id, peer id                                                                  `count` of them
//! ```
//! Numbers without a width are varints.

use alloc::vec::Vec;

use crate::bytes::{Malformed, Reader};
use crate::varint;
use crate::walfs::Position;

/// Where the log of a raft group stands.
///
/// A group's records from (`segment`, `offset`) on are needed: the log is not released from there on. Segment 0
/// says that no record was stated to be unneeded yet: then all of the group's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RaftPointer {
    /// The group.
    pub group: u64,
    /// Log segment of the group's oldest record that is needed.
    pub segment: u32,
    /// Where in it the record starts, in bytes.
    pub offset: u64,
    /// Last index whose effects are in the engine.
    pub applied_index: u64,
    /// Its term.
    pub applied_term: u64,
    /// Last committed index. Never below `applied_index`.
    pub committed: u64,
    /// Last index covered by a snapshot.
    pub snapshot_index: u64,
    /// Its term.
    pub snapshot_term: u64,
    /// Last index that was truncated from the front of the log.
    pub truncated_index: u64,
    /// Its term.
    pub truncated_term: u64,
}

impl RaftPointer {
    /// The group's oldest needed record; `None` where the pointer does not say.
    pub const fn position(&self) -> Option<Position> {
        match self.segment {
            0 => None,
            segment => Some(Position { segment, offset: self.offset }),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let fields = [
            self.group,
            u64::from(self.segment),
            self.offset,
            self.applied_index,
            self.applied_term,
            self.committed,
            self.snapshot_index,
            self.snapshot_term,
            self.truncated_index,
            self.truncated_term,
        ];
        fields.iter().for_each(|v| varint::encode(*v, out));
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            group: r.varint("raft group")?,
            segment: r.varint_u32("log segment")?,
            offset: r.varint("log offset")?,
            applied_index: r.varint("applied index")?,
            applied_term: r.varint("applied term")?,
            committed: r.varint("committed index")?,
            snapshot_index: r.varint("snapshot index")?,
            snapshot_term: r.varint("snapshot term")?,
            truncated_index: r.varint("truncated index")?,
            truncated_term: r.varint("truncated term")?,
        })
    }
}

/// How far a region is in its life. It only ever goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum RegionState {
    /// Known, not yet served.
    #[default]
    New = 0,
    /// Served.
    Running = 1,
    /// On its way out of this store.
    Removing = 2,
    /// Gone from this store; kept so that a late message does not bring it back.
    Tombstone = 3,
}

impl RegionState {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::New),
            1 => Some(Self::Running),
            2 => Some(Self::Removing),
            3 => Some(Self::Tombstone),
            _ => None,
        }
    }

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Running => "running",
            Self::Removing => "removing",
            Self::Tombstone => "tombstone",
        }
    }
}

/// Which version of a region is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegionEpoch {
    /// Grows with each split and merge.
    pub version: u64,
    /// Grows with each change of the peers.
    pub conf_version: u64,
}

/// A copy of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegionPeer {
    /// The store that holds it.
    pub store_id: u64,
    /// Its number among all peers of the cluster.
    pub peer_id: u64,
}

/// A range of keys that one raft group holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionMeta {
    /// Its number, never 0; the number of its raft group too.
    pub id: u64,
    /// Its first key.
    pub start_key: Vec<u8>,
    /// The first key behind it; empty: it has no end.
    pub end_key: Vec<u8>,
    /// Its version.
    pub epoch: RegionEpoch,
    /// Its copies.
    pub peers: Vec<RegionPeer>,
    /// How far it is in its life on this store.
    pub state: RegionState,
}

impl RegionMeta {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::encode(self.id, out);
        for key in [&self.start_key, &self.end_key] {
            varint::encode(key.len() as u64, out);
            out.extend_from_slice(key);
        }
        varint::encode(self.epoch.version, out);
        varint::encode(self.epoch.conf_version, out);
        out.push(self.state as u8);
        varint::encode(self.peers.len() as u64, out);
        for peer in &self.peers {
            varint::encode(peer.store_id, out);
            varint::encode(peer.peer_id, out);
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = r.varint("region id")?;
        let start_key = r.prefixed("start key of a region")?.to_vec();
        let end_key = r.prefixed("end key of a region")?.to_vec();
        let epoch = RegionEpoch {
            version: r.varint("version of a region")?,
            conf_version: r.varint("conf version of a region")?,
        };
        let what = "state of a region";
        let at = r.offset();
        let state = RegionState::of(r.u8(what)?).ok_or(Malformed::new(at, what))?;
        let count = r.varint("count of peers")?;
        let mut peers = Vec::new();
        // Not reserved by `count`: a peer takes at least two bytes, so the loop ends with the data.
        for _ in 0..count {
            peers.push(RegionPeer { store_id: r.varint("store id")?, peer_id: r.varint("peer id")? });
        }
        Ok(Self { id, start_key, end_key, epoch, peers, state })
    }
}
