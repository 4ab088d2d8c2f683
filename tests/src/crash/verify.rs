//! What must hold of an image.

use std::collections::BTreeSet;
use std::sync::Arc;

use nokv_core::MemIndex;
use nokv_core::engine::{Engine, EngineOptions};
use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::table::CursorOptions;
use nokv_core::vfs::{IoErrorKind, Vfs, join};
use nokv_core::{Error, Result};
use nokv_vfs_mem::{CrashImage, CrashMode, MemFs};

use super::drive::{DIR, environment, write};
use super::track::{Content, Copy, Mark, Op, Track};

/// What is wrong.
pub type Verdict<T> = std::result::Result<T, String>;

/// What an image recovered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Last seq.
    pub last: u64,
    /// Last seq in tables.
    pub flushed: u64,
}

/// How an image came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The process died.
    Killed,
    /// The power went.
    PowerCut,
}

fn context<T>(what: &str, result: Result<T>) -> Verdict<T> {
    result.map_err(|e| format!("{what}: {e}"))
}

/// What reads show of `families`, through scans both ways and through point reads.
///
/// # Errors
/// What reading gives; answers that differ.
pub fn content_of<V: Vfs, I: MemIndex>(engine: &Engine<V, I>, families: &BTreeSet<u32>) -> Verdict<Content> {
    let mut content = Content::new();
    for cf in families {
        let mut scan = context("scan", engine.scan(CfId(*cf), &[], None, None, CursorOptions::SCAN))?;
        context("scan", scan.seek_first())?;
        let mut keys = Vec::new();
        while let (Some(key), Some(entry)) = (scan.key(), scan.entry()) {
            let value = context("value", engine.value_of(key, &entry))?;
            keys.push(key.user_key.to_vec());
            content.insert((*cf, key.user_key.to_vec()), Arc::from(&*value));
            let hit = context("get", engine.get(key, Version::MAX))?;
            if hit.is_none_or(|hit| *hit.value != *value) {
                return Err(format!("get and scan differ on {}", text(key.user_key)));
            }
            context("scan", scan.next())?;
        }
        context("reverse scan", scan.seek_last())?;
        while let Some(key) = scan.key() {
            if keys.pop().as_deref() != Some(key.user_key) {
                return Err(format!("the reverse scan differs at {}", text(key.user_key)));
            }
            context("reverse scan", scan.prev())?;
        }
        if let Some(left) = keys.pop() {
            return Err(format!("the reverse scan does not show {}", text(&left)));
        }
    }
    Ok(content)
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// Compares what reads show with what they should.
///
/// # Errors
/// The first difference.
pub fn compare<V: Vfs, I: MemIndex>(
    engine: &Engine<V, I>,
    families: &BTreeSet<u32>,
    expected: &Content,
) -> Verdict<()> {
    let found = content_of(engine, families)?;
    let expected: Content = expected
        .iter()
        .filter(|((cf, _), _)| families.contains(cf))
        .map(|(k, v)| (k.clone(), Arc::clone(v)))
        .collect();
    if found == expected {
        return Ok(());
    }
    for ((cf, key), value) in &expected {
        match found.get(&(*cf, key.clone())) {
            None => return Err(format!("lost: family {cf} key {}", text(key))),
            Some(other) if other != value => {
                return Err(format!("wrong value: family {cf} key {}", text(key)));
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().find(|key| !expected.contains_key(*key));
    Err(format!("should not be there: {:?}", extra.map(|(cf, key)| (cf, text(key)))))
}

fn check<V: Vfs, I: MemIndex>(engine: &Engine<V, I>) -> Verdict<()> {
    // A key that was never written is not found.
    let absent = context("get", engine.get(KeyRef::new(CfId(0), b"never written"), Version::MAX))?;
    if absent.is_some() {
        return Err("a key that was never written is there".to_owned());
    }
    let report = context("check", engine.check(&mut |_| {}))?;
    if report.is_clean() { Ok(()) } else { Err(format!("check: {:?}", report.problems)) }
}

fn live_families<V: Vfs, I: MemIndex>(engine: &Engine<V, I>) -> BTreeSet<u32> {
    engine.families().iter().map(|(_, cf)| cf.0).collect()
}

/// What `verify` is told beside the image.
pub struct Question<'a, I: MemIndex> {
    /// Options to open with.
    pub options: &'a EngineOptions<I::Config>,
    /// The oracle.
    pub track: &'a Track,
    /// Where the workload was.
    pub mark: &'a Mark,
    /// How the image came to be.
    pub origin: Origin,
    /// For further images.
    pub seed: u64,
    /// For further images.
    pub mode: CrashMode,
}

impl<I: MemIndex> Question<'_, I> {
    fn open(&self, fs: &MemFs, dir: &str) -> Result<Arc<Engine<MemFs, I>>> {
        Engine::open(fs.clone(), dir, self.options.clone(), environment())
    }

    /// Opens the image and compares what is there with the oracle.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn recover(&self, fs: &MemFs) -> Verdict<(Arc<Engine<MemFs, I>>, Recovered)> {
        let engine = context("open", self.open(fs, DIR))?;
        let found = self.judge(&engine)?;
        Ok((engine, found))
    }

    fn judge(&self, engine: &Engine<MemFs, I>) -> Verdict<Recovered> {
        let mark = self.mark;
        if engine.open_report().created && mark.created {
            return Err("the database is gone".to_owned());
        }
        let found = Recovered { last: engine.published().0, flushed: engine.flushed_seq().0 };
        if found.flushed < mark.flushed[0] {
            let told = mark.flushed[0];
            return Err(format!(
                "flushed up to seq {}, and {told} was acknowledged as flushed",
                found.flushed
            ));
        }
        if found.flushed > found.last {
            return Err(format!("flushed up to seq {} of {}", found.flushed, found.last));
        }
        let must = match self.origin {
            Origin::Killed => mark.acknowledged.max(mark.synced),
            Origin::PowerCut => mark.synced,
        };
        let low = self.track.seq_at_least(mark.epoch, must, mark.flushed[0]);
        let high = self.track.seq_at_most(mark.epoch, mark.registered);
        if found.last < low || found.last > high {
            return Err(format!("recovered to seq {}, not within {low}..={high}", found.last));
        }
        if !self.track.steps_up_to(mark.epoch, found.last).1 {
            return Err(format!("recovered to seq {}, in the middle of a batch", found.last));
        }
        if engine.durable_seq().0 != found.last {
            return Err("what recovery delivered does not count as durable".to_owned());
        }
        let families = live_families(engine);
        if !mark.families.contains(&families) {
            return Err(format!("families {families:?}, not one of {:?}", mark.families));
        }
        compare(engine, &families, &self.track.expected(self.mark.epoch, found.last, found.flushed))
            .map_err(|e| format!("recovered to seq {} (flushed {}): {e}", found.last, found.flushed))?;
        Ok(found)
    }

    /// Everything: recovers, goes on, closes, opens again.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn verify(&self, fs: &MemFs) -> Verdict<Recovered> {
        for copy in &self.mark.copies {
            self.verify_copy(fs, copy).map_err(|e| format!("copy {}: {e}", copy.dir))?;
        }
        if self.mark.created && self.seed.is_multiple_of(8) {
            self.verify_read_only(fs).map_err(|e| format!("read-only: {e}"))?;
        }
        let (engine, found) = self.recover(fs)?;
        check(&engine)?;
        let mut state = Content::clone(&self.track.expected(self.mark.epoch, found.last, found.flushed));
        let families = live_families(&engine);
        self.go_on(fs, &engine, &families, &mut state, "after recovery")?;
        drop(engine);
        let engine = context("open after a clean close", self.open(fs, DIR))?;
        if !engine.open_report().clean {
            return Err("a clean close is not seen as one".to_owned());
        }
        compare(&engine, &families, &state).map_err(|e| format!("after a clean close: {e}"))?;
        check(&engine).map_err(|e| format!("after a clean close: {e}"))?;
        if engine.open_report().cut.is_some() {
            return Err("a cut after a clean close".to_owned());
        }
        strangers(fs, DIR, &engine)?;
        context("close", engine.close())?;
        Ok(found)
    }

    /// Writes a batch, syncs, loses power in a copy of the disk, flushes, closes.
    fn go_on(
        &self,
        fs: &MemFs,
        engine: &Arc<Engine<MemFs, I>>,
        families: &BTreeSet<u32>,
        state: &mut Content,
        what: &str,
    ) -> Verdict<()> {
        let ops: Vec<Op> = [(0u32, 10usize), (1, 5000), (2, 300)]
            .iter()
            .map(|(cf, len)| Op::Put(*cf, b"key0001".to_vec(), vec![*cf as u8 + 1; *len].into()))
            .collect();
        let err = |e: String| format!("{what}: {e}");
        context("write", write(engine, &ops, true)).map_err(err)?;
        context("sync", engine.sync()).map_err(err)?;
        for op in &ops {
            if let Op::Put(cf, key, value) = op {
                state.insert((*cf, key.clone()), Arc::clone(value));
            }
        }
        let last = engine.published();
        let after = fs.crash_clone(self.seed, self.mode, CrashImage::None);
        let again = context("open after another power cut", self.open(&after, DIR)).map_err(err)?;
        if again.published() != last {
            let told = again.published();
            return Err(err(format!("another power cut: seq {told} instead of the synced {last}")));
        }
        compare(&again, families, state).map_err(|e| err(format!("another power cut: {e}")))?;
        drop(again);
        context("flush", engine.flush_all()).map_err(err)?;
        context("work", engine.run_all_work()).map_err(err)?;
        compare(engine, families, state).map_err(|e| err(format!("flushed: {e}")))?;
        context("close", engine.close()).map_err(err)
    }

    fn verify_read_only(&self, fs: &MemFs) -> Verdict<()> {
        let calls = fs.calls();
        let options = EngineOptions { read_only: true, ..self.options.clone() };
        let engine: Arc<Engine<MemFs, I>> =
            context("open", Engine::open(fs.clone(), DIR, options, environment()))?;
        self.judge(&engine)?;
        context("close", engine.close())?;
        if fs.calls() == calls { Ok(()) } else { Err("it wrote".to_owned()) }
    }

    /// A copy is whole, or it is no database.
    fn verify_copy(&self, fs: &MemFs, copy: &Copy) -> Verdict<()> {
        let options = EngineOptions { create_if_missing: false, ..self.options.clone() };
        let opened: Result<Arc<Engine<MemFs, I>>> =
            Engine::open(fs.clone(), &copy.dir, options, environment());
        let engine = match opened {
            Ok(engine) => engine,
            Err(error) if copy.done => return Err(format!("open: {error}")),
            Err(error) => {
                let names = match fs.list(&copy.dir) {
                    Ok(names) => names,
                    Err(e) if e.kind == IoErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(e.to_string()),
                };
                // Without atomic rename a slot that was torn while it was made is no database either.
                let named = names.iter().any(|e| e.name == "CURRENT");
                return match error {
                    Error::Corrupt { .. } | Error::Io { .. } if !named => Ok(()),
                    error => Err(format!("an unfinished copy: {error}")),
                };
            }
        };
        if engine.published().0 != copy.seq {
            return Err(format!("seq {} instead of {}", engine.published(), copy.seq));
        }
        let families = live_families(&engine);
        let expected = self.track.expected(self.mark.epoch, copy.seq, copy.seq);
        compare(&engine, &families, &expected)?;
        check(&engine)?;
        // Writing into the copy leaves the source alone: that is compared behind this.
        let mut state = Content::clone(&expected);
        let ops = vec![
            Op::Put(0, b"only in the copy".to_vec(), vec![9; 4000].into()),
            Op::Delete(0, b"key0003".to_vec()),
        ];
        context("write", write(&engine, &ops, true))?;
        state.insert((0, b"only in the copy".to_vec()), vec![9; 4000].into());
        state.remove(&(0, b"key0003".to_vec()));
        context("flush", engine.flush_all())?;
        while !context("compact", engine.compact_range_step(CfId(0), None, None))? {}
        compare(&engine, &families, &state)?;
        context("close", engine.close())
    }
}

/// Looks for files that nothing names.
///
/// # Errors
/// Some are there: which.
pub fn strangers<V: Vfs, I: MemIndex>(fs: &V, dir: &str, engine: &Engine<V, I>) -> Verdict<()> {
    let state = engine.manifest_state();
    let list = |dir: &str| match fs.list(dir) {
        Ok(entries) => Ok(entries),
        Err(e) if e.kind == IoErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("list {dir}: {e}")),
    };
    let mut found = Vec::new();
    let mut manifests = 0;
    for entry in list(dir)? {
        match entry.name.as_str() {
            "LOCK" | "wal" | "tables" | "vlog" => {}
            "CURRENT" if fs.capabilities().atomic_rename => {}
            "CURRENT-A" | "CURRENT-B" if !fs.capabilities().atomic_rename => {}
            name if name.starts_with("MANIFEST-") && !name.ends_with(".tmp") => manifests += 1,
            name => found.push(name.to_owned()),
        }
    }
    if manifests != 1 {
        found.push(format!("{manifests} manifests"));
    }
    for entry in list(&join(dir, "tables"))? {
        let id = entry.name.strip_suffix(".sst").and_then(|n| n.parse().ok());
        if id.is_none_or(|id| state.table(nokv_core::formats::TableId(id)).is_none()) {
            found.push(format!("tables/{}", entry.name));
        }
    }
    for entry in list(&join(dir, "wal"))? {
        let number = entry.name.strip_suffix(".wal").and_then(|n| n.parse::<u32>().ok());
        if number.is_none_or(|n| n < state.wal_floor) {
            found.push(format!("wal/{}", entry.name));
        }
    }
    let vlog = join(dir, "vlog");
    for bucket in list(&vlog)? {
        let number = bucket.name.strip_prefix("bucket-").and_then(|n| n.parse::<u16>().ok());
        for entry in list(&join(&vlog, &bucket.name))? {
            let segment = entry.name.strip_suffix(".vlog").and_then(|n| n.parse::<u32>().ok());
            let named = number.zip(segment).is_some_and(|id| state.vlog_segments.contains_key(&id));
            if !named {
                found.push(format!("vlog/{}/{}", bucket.name, entry.name));
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("files that nothing names: {found:?}")) }
}
