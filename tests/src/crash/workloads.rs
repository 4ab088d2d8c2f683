//! The workloads: each goes through one part of the engine, with little data.

use nokv_core::MemIndex;
use nokv_core::vfs::Vfs;

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
pub fn writes<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
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

/// Small options for a tree of several levels.
fn fill<V: Vfs, I: MemIndex>(d: &mut Drive<V, I>, round: usize, keys: std::ops::Range<usize>, len: usize) {
    let ops: Vec<_> = keys.map(|n| d.put(0, &key((n * 7 + round) % 60), len)).collect();
    for part in ops.chunks(4) {
        d.write(part.to_vec());
    }
}

/// Flushes, compactions through several levels, range deletes, deletes.
pub fn levels<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for round in 0..7 {
        fill(&mut d, round, 0..24, 900);
        if round % 3 == 1 {
            let ops = vec![
                Op::DeleteRange(0, key(round).into(), key(round + 9).into()),
                del(0, 30 + round),
                d.put(1, &key(round), 100),
            ];
            d.write(ops);
        }
        if round == 4 {
            d.sync();
        }
        d.flush();
        d.work();
    }
    d.write(vec![Op::DeleteRange(0, key(10).into(), key(40).into())]);
    d.compact(0);
    d.flush();
    d.compact(0);
    d.work();
    d.close();
}

/// Large values, overwritten, collected; deaths and clean closes between.
pub fn collection<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for round in 0..3 {
        for i in 0..10 {
            let ops = vec![d.put(0, &key(i), 6000 + round), d.put(1, &key(i * 2), 30)];
            d.write(ops);
        }
        if round == 1 {
            d.sync();
        }
        d.flush();
    }
    d.compact(0);
    d.collect(0.3);
    d.work();
    for i in 0..6 {
        let ops = vec![d.put(0, &key(i), 9000), del(0, 9 - i)];
        d.write(ops);
    }
    // Pointers in the log to segments that are collected.
    d.collect(0.2);
    d.work();
    d.die_and_reopen();
    for i in 0..4 {
        let ops = vec![d.put(0, &key(i), 5000)];
        d.write(ops);
    }
    d.flush();
    d.collect(0.1);
    d.reopen();
    d.compact(0);
    d.collect(0.1);
    d.work();
    d.close();
}

/// Collections that leave numbers in another order than seqs, and none of the last ones in use.
pub fn numbers<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    // A table of level 0 is rewritten in its place, below a newer one: a higher number, the same seqs.
    for i in 0..8 {
        let ops = vec![d.put(0, &key(i / 2), 7000)];
        d.write(ops);
    }
    d.flush();
    let ops = (0..4).map(|i| d.put(0, &key(i), 20)).collect();
    d.write(ops);
    d.flush();
    d.collect(0.2);
    d.compact(0);
    d.collect(0.1);
    d.work();
    // The last segments go, with their numbers.
    d.write(vec![Op::DeleteRange(0, key(0).into(), key(99).into())]);
    d.flush();
    d.compact(0);
    d.collect(0.1);
    d.reopen();
    let ops = vec![d.put(0, &key(1), 7000), d.put(0, &key(2), 7000), d.put(0, &key(3), 7000)];
    d.write(ops);
    d.reopen();
    d.close();
}

/// Families come and go.
pub fn families<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    let a = d.create_family("first");
    for i in 0..4 {
        let ops = vec![d.put(a, &key(i), 300), d.put(0, &key(i), 300)];
        d.write(ops);
    }
    let b = d.create_family("second");
    for i in 0..4 {
        let ops = vec![d.put(a, &key(i), 4000), d.put(b, &key(i), 300), d.put(1, &key(i), 10)];
        d.write(ops);
    }
    d.sync();
    d.drop_family("first");
    let again = d.create_family("first");
    assert!(again > b);
    for i in 0..3 {
        let ops = vec![d.put(again, &key(i + 2), 500), d.put(b, &key(i), 3500)];
        d.write(ops);
    }
    d.flush();
    d.compact(a);
    d.work();
    d.drop_family("second");
    d.die_and_reopen();
    let ops = vec![d.put(again, &key(1), 20), d.put(0, &key(1), 20)];
    d.write(ops);
    d.flush();
    d.compact(b);
    d.collect(0.1);
    d.close();
}

/// Much data through the log: segments rotate, batches span segments, the manifest is rewritten.
pub fn log<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for round in 0..14 {
        let ops: Vec<_> = (0..16).map(|n| d.put(n as u32 % 3, &key(n), 2900)).collect();
        d.write(ops);
        match round % 6 {
            2 => d.sync(),
            4 => d.work(),
            5 if round > 8 => d.flush(),
            _ => {}
        }
        if round == 9 {
            d.die_and_reopen();
        }
    }
    d.reopen();
    for i in 0..3 {
        let ops = vec![d.put(0, &key(i), 2900)];
        d.write(ops);
    }
    d.close();
}

/// Checkpoints: of tables alone, of values, with writes before and after.
pub fn checkpoint<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for i in 0..10 {
        let ops = vec![d.put(0, &key(i), 4000), d.put(1, &key(i), 400)];
        d.write(ops);
        if i == 5 {
            d.flush();
        }
    }
    d.checkpoint("early");
    d.flush();
    d.work();
    d.checkpoint("backup/late");
    for i in 0..4 {
        let ops = vec![d.put(0, &key(i), 5000), del(1, i)];
        d.write(ops);
    }
    d.flush();
    d.compact(0);
    d.collect(0.1);
    d.close();
}

/// Bulk ingest, with and without a range that it replaces.
pub fn ingest<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for i in 0..8 {
        let ops = vec![d.put(0, &key(i), 800), d.put(1, &key(i), 40)];
        d.write(ops);
    }
    let keys: Vec<_> = (4..14).map(key).collect();
    d.ingest("one.sst", &keys, None);
    for i in 0..4 {
        let ops = vec![d.put(0, &key(3 + i), 100)];
        d.write(ops);
    }
    let keys: Vec<_> = (2..6).map(key).collect();
    d.ingest("two.sst", &keys, Some(("key0001", "key0012")));
    let ops = vec![d.put(0, &key(4), 100), del(0, 12)];
    d.write(ops);
    d.work();
    d.compact(0);
    d.die_and_reopen();
    let keys: Vec<_> = (20..24).map(key).collect();
    d.ingest("three.sst", &keys, Some(("key0000", "key0030")));
    d.close();
}

/// Batches without log records between those that have one.
pub fn unlogged<V: Vfs, I: MemIndex>(mut d: Drive<V, I>) {
    for round in 0..5 {
        for i in 0..6 {
            let ops = vec![d.put(0, &key(i + round), 600), d.put(1, &key(i), 4000 * (i % 2))];
            if i % 3 == 1 {
                d.write(ops)
            } else {
                d.write_unlogged(ops)
            }
            if i == 4 && round % 2 == 0 {
                d.sync();
            }
        }
        match round {
            1 | 3 => d.flush(),
            2 => d.die_and_reopen(),
            _ => {}
        }
    }
    d.reopen();
    let ops = vec![d.put(0, &key(1), 600)];
    d.write_unlogged(ops);
    d.close();
}
