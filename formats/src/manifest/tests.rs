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
        any::<Vec<u8>>().prop_map(Edit::Region),
    ]
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
fn an_unknown_edit_is_an_error_that_names_the_format() {
    let mut out = Vec::new();
    Group { db_id: 1, number: 0, durable: 0, edits: alloc::vec![Edit::Region(Vec::new())] }.encode(&mut out);
    let (data, _) = decode_frame(&out).unwrap();
    let mut data = data.to_vec();
    data[GROUP_HEADER_BYTES] = 16;
    assert_eq!(Group::decode_data(&data), Err(Malformed::new(GROUP_HEADER_BYTES, UNKNOWN_EDIT)));
    data[0] = 2;
    assert_eq!(Group::decode_data(&data), Err(Malformed::new(0, UNKNOWN_FORMAT)));
}
