//! Round trips, golden bytes and damage of manifest groups.

use proptest::prelude::*;

use super::*;
use crate::entry::Version;
use crate::key::KeyBuf;
use crate::table_props::VlogLive;
use crate::vlog::tests::assert_golden;

fn table(id: u64, key: Vec<u8>, global: Option<u32>, live: u16) -> Arc<TableMeta> {
    let key = KeyBuf { cf: CfId(2), user_key: key };
    let seq = global.map(|seq| Seq(seq.into()));
    let props = TableProps {
        uid: 7,
        smallest: key.clone(),
        largest: key,
        puts: 1,
        seq_min: seq.unwrap_or(Seq(3)),
        seq_max: seq.unwrap_or(Seq(4)),
        version_min: Version::MAX,
        version_max: Version::MAX,
        live: (0..live % 3).map(|b| VlogLive { bucket: b, segment: 9, bytes: id }).collect(),
        ..TableProps::default()
    };
    Arc::new(TableMeta { id: TableId(id), file_bytes: id, checksum: 5, global_seq: seq, props })
}

fn edits() -> impl Strategy<Value = Edit> {
    let seq = (0u64..1 << 56).prop_map(Seq);
    prop_oneof![
        any::<u64>().prop_map(|id| Edit::Database { id }),
        (any::<(u8, bool, u64, Vec<u8>, Option<u32>, u16)>()).prop_map(
            |(level, ingest, id, key, global, live)| Edit::AddTable {
                level,
                ingest,
                meta: table(id, key, global, live)
            }
        ),
        any::<(u64, u8, bool)>().prop_map(|(id, level, ingest)| Edit::RemoveTable {
            id: TableId(id),
            level,
            ingest
        }),
        any::<u32>().prop_map(|segment| Edit::WalFloor { segment }),
        seq.clone().prop_map(|seq| Edit::FlushedSeq { seq }),
        seq.clone().prop_map(|seq| Edit::LastSeq { seq }),
        any::<u64>().prop_map(|unix_ms| Edit::ExpiryCut { unix_ms }),
        any::<u64>().prop_map(|id| Edit::NextFileId { id }),
        any::<(u32, String)>().prop_map(|(id, name)| Edit::CreateFamily { id: CfId(id), name }),
        (any::<u32>(), seq).prop_map(|(id, at_seq)| Edit::DropFamily { id: CfId(id), at_seq }),
        any::<(u16, u32)>().prop_map(|(bucket, segment)| Edit::VlogHead { bucket, segment }),
        any::<(u16, u32, bool, u64)>().prop_map(|(bucket, segment, sealed, size)| Edit::VlogSegment {
            bucket,
            segment,
            sealed,
            size
        }),
        any::<(u16, u32)>().prop_map(|(bucket, segment)| Edit::VlogRemove { bucket, segment }),
        any::<(u64, u32, [u64; 8])>().prop_map(|(group, segment, n)| Edit::RaftPointer(RaftPointer {
            group,
            segment,
            offset: n[0],
            applied_index: n[1],
            applied_term: n[2],
            committed: n[3],
            snapshot_index: n[4],
            snapshot_term: n[5],
            truncated_index: n[6],
            truncated_term: n[7],
        })),
        region().prop_map(Edit::Region),
        any::<(u64, u32, u64)>().prop_map(|(group, segment, offset)| Edit::RaftRemove {
            group,
            before: Position { segment, offset },
        }),
        any::<u64>().prop_map(|id| Edit::RegionRemove { id }),
    ]
}

fn region() -> impl Strategy<Value = RegionMeta> {
    let state = prop::sample::select(alloc::vec![
        RegionState::New,
        RegionState::Running,
        RegionState::Removing,
        RegionState::Tombstone
    ]);
    (any::<(u64, Vec<u8>, Vec<u8>, u64, u64)>(), state, any::<Vec<(u64, u64)>>()).prop_map(
        |((id, start_key, end_key, version, conf_version), state, peers)| RegionMeta {
            id,
            start_key,
            end_key,
            epoch: RegionEpoch { version, conf_version },
            peers: peers.into_iter().map(|(store_id, peer_id)| RegionPeer { store_id, peer_id }).collect(),
            state,
        },
    )
}

proptest! {
    #[test]
    fn round_trip(ids: [u64; 3], edits in prop::collection::vec(edits(), 0..8), tail: Vec<u8>) {
        let group = Group { db_id: ids[0], number: ids[1], durable: ids[2], edits };
        let mut out = Vec::new();
        group.encode(&mut out);
        let len = out.len();
        prop_assert_eq!(len % 8, 0);
        out.extend_from_slice(&tail);
        prop_assert_eq!(Group::decode(&out), Ok((group, len)));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed(
        edits in prop::collection::vec(edits(), 0..4), at: prop::sample::Index,
    ) {
        let mut out = Vec::new();
        Group { db_id: 1, number: 2, durable: 3, edits }.encode(&mut out);
        prop_assert!(Group::decode(&out[..at.index(out.len())]).is_err());
        let bit = at.index(out.len() * 8);
        out[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Group::decode(&out).is_err());
    }

    #[test]
    fn any_data_decodes_or_not(data: Vec<u8>, tag in 0u8..20) {
        let _ = Group::decode(&data);
        let _ = Group::decode_data(&data);
        let mut edit = alloc::vec![tag, data.len().min(100) as u8];
        edit.extend_from_slice(&data);
        let _ = Edit::decode(&mut Reader::new(&edit));
    }
}

#[test]
fn golden_group() {
    let mut out = Vec::new();
    let edits = alloc::vec![
        Edit::Database { id: 0x11 },
        Edit::RemoveTable { id: TableId(300), level: 1, ingest: true },
        Edit::WalFloor { segment: 4 },
        Edit::CreateFamily { id: CfId(3), name: "cats".into() },
        Edit::VlogSegment { bucket: 1, segment: 2, sealed: true, size: 128 },
    ];
    Group { db_id: 0x11, number: 5, durable: 64, edits }.encode(&mut out);
    assert_golden(
        &out,
        "0-4    eaa4eb1d          crc of 4-8, 8-73
         4-8    41000000          length
         8-10   0100              format 1
         10-12  0000              zero
         12-16  05000000          count
         16-24  1100000000000000  database id
         24-32  0500000000000000  group number
         32-40  4000000000000000  durable length
         40-42  0108              database, 8 bytes
         42-50  1100000000000000  id
         50-52  0304              remove table, 4 bytes
         52-54  ac02              table 300
         54-56  0101              level 1, ingest
         56-58  0401              wal floor, 1 byte
         58-59  04                segment
         59-61  0905              create family, 5 bytes
         61-66  0363617473        family 3, name
         66-68  0c05              vlog segment, 5 bytes
         68-71  010201            bucket 1, segment 2, sealed
         71-73  8001              size 128
         73-81  deadbeeffeedface  trailer
         81-88  00000000000000    padding",
    );
}

#[test]
fn golden_group_of_a_store() {
    let mut out = Vec::new();
    let edits = alloc::vec![
        Edit::RaftPointer(RaftPointer {
            group: 9,
            segment: 3,
            offset: 640,
            applied_index: 7,
            applied_term: 2,
            committed: 8,
            snapshot_index: 5,
            snapshot_term: 1,
            truncated_index: 4,
            truncated_term: 1,
        }),
        Edit::Region(RegionMeta {
            id: 9,
            start_key: b"a".to_vec(),
            end_key: Vec::new(),
            epoch: RegionEpoch { version: 2, conf_version: 3 },
            peers: alloc::vec![
                RegionPeer { store_id: 1, peer_id: 11 },
                RegionPeer { store_id: 2, peer_id: 12 }
            ],
            state: RegionState::Running,
        }),
        Edit::RaftRemove { group: 300, before: Position { segment: 2, offset: 64 } },
        Edit::RegionRemove { id: 300 },
    ];
    Group { db_id: 0x11, number: 6, durable: 88, edits }.encode(&mut out);
    assert_golden(
        &out,
        "0-4    3f06eea9          crc of 4-8, 8-77
         4-8    45000000          length
         8-10   0100              format 1
         10-12  0000              zero
         12-16  04000000          count
         16-24  1100000000000000  database id
         24-32  0600000000000000  group number
         32-40  5800000000000000  durable length
         40-42  0e0b              raft pointer, 11 bytes
         42-43  09                group
         43-46  038005            segment 3, offset 640
         46-49  070208            applied 7 of term 2, committed 8
         49-51  0501              snapshot 5 of term 1
         51-53  0401              truncated 4 of term 1
         53-55  0f0c              region, 12 bytes
         55-56  09                id
         56-58  0161              start key
         58-59  00                no end key
         59-61  0203              epoch: version 2, conf version 3
         61-62  01                running
         62-67  02010b020c        two peers: store 1 peer 11, store 2 peer 12
         67-69  1004              raft remove, 4 bytes
         69-71  ac02              group 300
         71-73  0240              before segment 2, offset 64
         73-75  1102              region remove, 2 bytes
         75-77  ac02              region 300
         77-85  deadbeeffeedface  trailer
         85-88  000000            padding",
    );
}

#[test]
fn a_region_in_an_unknown_state_or_with_a_lying_count_is_malformed() {
    let region = RegionMeta { id: 1, ..RegionMeta::default() };
    let mut body = Vec::new();
    region.encode(&mut body);
    assert_eq!(body, [1, 0, 0, 0, 0, 0, 0]);
    let decode = |body: &[u8]| RegionMeta::decode(&mut Reader::new(body));
    assert_eq!(decode(&body), Ok(region));
    body[5] = 4;
    assert_eq!(decode(&body), Err(Malformed::new(5, "state of a region")));
    body[5] = 0;
    // 2^63 peers, and no byte of them.
    body.truncate(6);
    varint::encode(1 << 63, &mut body);
    assert_eq!(decode(&body).unwrap_err().what, "store id");
}

#[test]
fn an_unknown_edit_is_an_error_that_names_the_format() {
    let mut out = Vec::new();
    Group { db_id: 1, number: 0, durable: 0, edits: alloc::vec![Edit::RegionRemove { id: 1 }] }
        .encode(&mut out);
    let (data, _) = decode_frame(&out).unwrap();
    let mut data = data.to_vec();
    data[GROUP_HEADER_BYTES] = 18;
    assert_eq!(Group::decode_data(&data), Err(Malformed::new(GROUP_HEADER_BYTES, UNKNOWN_EDIT)));
    data[0] = 2;
    assert_eq!(Group::decode_data(&data), Err(Malformed::new(0, UNKNOWN_FORMAT)));
}
