//! The workloads: each goes through one part of the engine, with little data.

use nokv_core::MemIndex;
use nokv_vfs_mem::MemFs;

use super::drive::Drive;
use super::track::Op;

/// The name of a key.
pub fn key(n: usize) -> String {
    format!("key{n:04}")
}

fn del(cf: u32, n: usize) -> Op {
    Op::Delete(cf, key(n).into_bytes())
}

/// Creation, synced and unsynced writes, batches across families, groups, values in both places, flush, a clean
/// close, a death.
pub fn writes<I: MemIndex>(mut d: Drive<MemFs, I>) {
    for i in 0..12 {
        let ops = vec![d.put(0, &key(i), 50), d.put(1, &key(i), 200), d.put(2, &key(i + 1), 1)];
        d.write(ops);
        if i % 4 == 3 {
            d.sync();
        }
    }
    let groups: Vec<_> = (0..3).map(|i| vec![d.put(0, &key(i), 700), del(1, i)]).collect();
    d.write_group(groups);
    for i in 0..8 {
        // Some go to the value log, some are just too small.
        let ops = vec![d.put(0, &key(20 + i), 2000 + 500 * i), d.put(1, &key(i), 0), del(2, i)];
        d.write(ops);
        if i == 5 {
            d.sync();
        }
    }
    d.flush();
    for i in 0..4 {
        let value = d.value(40);
        d.write(vec![Op::PutVersion(2, b"versioned".to_vec(), 10 + i as u64, value)]);
        let ops = vec![d.put(0, &key(i), 3500), Op::DeleteRange(0, key(20).into(), key(20 + i).into())];
        d.write(ops);
    }
    d.die_and_reopen();
    for i in 0..4 {
        let ops = vec![d.put(0, &key(40 + i), 4000)];
        d.write(ops);
    }
    d.sync();
    d.reopen();
    for i in 0..4 {
        let ops = vec![d.put(0, &key(50 + i), 400)];
        d.write(ops);
    }
    d.close();
}
