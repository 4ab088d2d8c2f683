//! A small database that has every kind of file and entry, and what it must answer.
//!
//! Who may call it: the suites of damage, repair and golden files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nokv::core::vfs::join;
use nokv::{
    CfId, Compression, Db, Expiry, IterOptions, ManualClock, Options, Result, Version, Vfs, WriteBatch,
};

/// The time of its clock, in Unix milliseconds.
pub const NOW_MS: u64 = 1_000_000;
/// The versions of the keys of the family `lock`.
pub const VERSIONS: [u64; 3] = [3, 7, 9];

/// Options under which it has several small tables and value-log segments.
pub fn options(dir: &str) -> Options {
    let mut options = Options::new(dir);
    options.mem_table_bytes = 128 << 10;
    options.wal_segment_bytes = 256 << 10;
    options.table_bytes = 4 << 10;
    options.block_bytes = 512;
    options.level_base_bytes = 64 << 20;
    options.level0_compaction_tables = 100;
    options.num_level_zero_tables = 100;
    options.level0_stop_tables = 200;
    options.value_threshold_bytes = 256;
    options.value_log_segment_bytes = 64 << 10;
    options.value_log_gc_interval = Duration::ZERO;
    options.compression = Compression::None;
    options.clock = Some(Arc::new(ManualClock::new(NOW_MS)));
    options
}

/// The same, for reading only.
pub fn read_only(dir: &str) -> Options {
    let mut options = options(dir);
    options.read_only = true;
    options
}

/// What reads must give: (family, key, version) to value, in the order of scans. Plain entries have version `MAX`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Keys of the default family, and those of the family `extra`.
    pub plain: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    /// Versioned entries of the family `lock`.
    pub versioned: BTreeMap<(Vec<u8>, u64), Vec<u8>>,
}

/// How much a small database holds. What it has of each kind does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Keys of the first round, of which a third is written again; a multiple of 12.
    pub plain: u32,
    /// Large values, and keys of the second family.
    pub large: u32,
    /// Keys with versions.
    pub versioned: u32,
    /// Keys of the last batch.
    pub last: u32,
}

/// That of [`fill`] and [`read`].
pub const USUAL: Size = Size { plain: 120, large: 12, versioned: 10, last: 20 };
/// As little as still has two tables in one level, and several blocks in each.
pub const LEAST: Size = Size { plain: 84, large: 4, versioned: 3, last: 5 };

impl Size {
    /// Keys that [`fill_sized`] writes, and some next to them.
    fn keys(self) -> impl Iterator<Item = Vec<u8>> {
        let near = |from: u32, count: u32| from..from + count + 2;
        near(0, self.plain).chain(near(199, self.large + 1)).chain(near(299, self.last + 1)).map(key)
    }
}

/// Key `i`.
pub fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

fn large(i: u32, round: u8) -> Vec<u8> {
    (0..300 + i % 50).map(|b| (b as u8).wrapping_mul(31).wrapping_add(round)).collect()
}

/// Fills a new database; gives what it must answer. It has tables in level 0 and below, a value log, range deletes,
/// versions, expiries, a second family and a log; with `log_too` the last writes are in the log alone.
///
/// # Errors
/// None, on a file system that works.
pub fn fill<V: Vfs>(db: &Db<V>, log_too: bool) -> Result<Content> {
    fill_sized(db, log_too, USUAL)
}

/// The same in another size.
///
/// # Errors
/// None, on a file system that works.
pub fn fill_sized<V: Vfs>(db: &Db<V>, log_too: bool, size: Size) -> Result<Content> {
    let mut content = Content::default();
    let extra = db.create_cf("extra")?;
    let cf = CfId::DEFAULT;
    let put = |content: &mut Content, cf: CfId, key: Vec<u8>, value: Vec<u8>| -> Result<()> {
        db.set_cf(cf, &key, &value)?;
        content.plain.insert((cf.0, key), value);
        Ok(())
    };
    for i in 0..size.plain {
        put(&mut content, cf, key(i), format!("first {i} ").repeat(3).into_bytes())?;
    }
    for i in 0..size.large {
        put(&mut content, cf, key(200 + i), large(i, 1))?;
        put(&mut content, extra, key(i), format!("extra {i}").into_bytes())?;
    }
    db.set_with_ttl(b"expiring", b"gone soon", Expiry::At(NOW_MS + 5_000))?;
    content.plain.insert((cf.0, b"expiring".to_vec()), b"gone soon".to_vec());
    db.set_with_ttl(b"expired", b"gone", Expiry::At(NOW_MS - 1))?;
    for i in 0..size.versioned {
        for version in VERSIONS {
            let value = format!("version {version} of {i}").into_bytes();
            db.set_versioned_entry(CfId::LOCK, &key(i), Version(version), &value, i as u8)?;
            content.versioned.insert((key(i), version), value);
        }
    }
    db.flush()?;
    db.compact_range(cf, None, None)?;
    for i in (0..size.plain).step_by(3) {
        put(&mut content, cf, key(i), format!("second {i}").into_bytes())?;
    }
    for i in 0..size.large / 2 {
        put(&mut content, cf, key(200 + i), large(i, 2))?;
    }
    let deleted = size.plain / 6 * 5;
    db.del(&key(deleted))?;
    content.plain.remove(&(cf.0, key(deleted)));
    let (start, end) = (size.plain / 12 * 5, size.plain / 2);
    db.delete_range(cf, &key(start), &key(end))?;
    for i in start..end {
        content.plain.remove(&(cf.0, key(i)));
    }
    db.flush()?;
    let mut batch = WriteBatch::new();
    for i in 300..300 + size.last {
        let value = format!("third {i}").into_bytes();
        batch.put(cf, &key(i), &value)?;
        content.plain.insert((cf.0, key(i)), value);
    }
    db.write(batch, &Default::default())?;
    put(&mut content, cf, key(198 + size.large), large(3, 3))?;
    if !log_too {
        db.flush()?;
    }
    Ok(content)
}

/// Everything that the database answers, by points, scans both ways and versions.
///
/// # Errors
/// What any of the reads gives.
///
/// # Panics
/// If points and scans disagree.
pub fn read<V: Vfs>(db: &Db<V>) -> Result<Content> {
    read_sized(db, USUAL)
}

/// The same of a database of another size.
///
/// # Errors
/// What any of the reads gives.
///
/// # Panics
/// If points and scans disagree.
pub fn read_sized<V: Vfs>(db: &Db<V>, size: Size) -> Result<Content> {
    let mut content = Content::default();
    // A repair that lost the name makes one up.
    let extra = db.cf("extra").or_else(|| db.cf("recovered-3"));
    let families = [Some(CfId::DEFAULT), extra];
    for cf in families.into_iter().flatten() {
        for item in db.iter(IterOptions { cf, ..IterOptions::default() })? {
            let (key, value) = item?;
            content.plain.insert((cf.0, key.to_vec()), value.to_vec());
        }
        let reverse = IterOptions { cf, reverse: true, ..IterOptions::default() };
        let mut count = 0;
        for item in db.iter(reverse)? {
            let (key, value) = item?;
            count += 1;
            let forward = content.plain.get(&(cf.0, key.to_vec()));
            assert_eq!(forward.map(|v| &v[..]), Some(&value[..]), "scans disagree on {key:?}");
        }
        assert_eq!(count, content.plain.keys().filter(|(id, _)| *id == cf.0).count());
        for key in size.keys() {
            let value = db.get_cf(cf, &key)?;
            let scanned = content.plain.get(&(cf.0, key.clone()));
            assert_eq!(value.as_deref(), scanned.map(Vec::as_slice), "point read of {}", key.escape_ascii());
        }
    }
    for i in 0..size.versioned {
        for version in VERSIONS {
            if let Some(entry) = db.get_versioned_entry(CfId::LOCK, &key(i), Version(version))?
                && entry.version == Version(version)
            {
                content.versioned.insert((key(i), version), entry.value.to_vec());
            }
        }
    }
    Ok(content)
}

/// All files below `dir`, ascending.
///
/// # Panics
/// If a directory cannot be listed.
pub fn files<V: Vfs>(fs: &V, dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs.list(dir).expect("a directory that is there") {
        let path = join(dir, &entry.name);
        if entry.is_dir { found.extend(files(fs, &path)) } else { found.push(path) }
    }
    found.sort();
    found
}
