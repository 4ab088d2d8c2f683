//! An open database as the commands use it.
//!
//! Who may call it: the commands, on one thread; bars move on that thread while another one works.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nokv_core::engine::table_name;
use nokv_core::formats::vlog::SEGMENT_HEADER_BYTES;
use nokv_core::vlog::segment_path;
use serde_json::{Value as Json, json};

use super::failures::{failure, notes_of, text_of};
use crate::cli::progress::Progress;
use crate::cli::store::{Failure, Result, Store, Visit, Walk};
use crate::metrics::{self, MetricsOptions, MetricsServer, ServeError};
use crate::{CfId, Db, Error, IterOptions, Seq, WriteBatch, WriteOptions};

/// `nokv compact` collects value-log segments with at least this share of dead bytes.
const COMPACT_DISCARD_RATIO: f64 = 0.1;
/// How often a bar moves while another thread works.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An open database in a directory.
pub struct FileStore {
    pub(super) db: Db,
    pub(super) dir: String,
}

impl FileStore {
    fn fail(&self, error: &Error) -> Failure {
        failure(&self.dir, error)
    }
}

/// Runs `work` on a thread of its own while the bar shows `measure` on this one.
fn watch<T: Send>(
    progress: &Progress,
    total: u64,
    measure: impl Fn() -> u64,
    work: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let worker = scope.spawn(move || {
            let result = work();
            drop(ended);
            result
        });
        while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            progress.at(measure().min(total), Some(total));
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Bytes of all files below `dir`; what cannot be read counts nothing.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

impl Store for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.db.get(key).map_err(|e| self.fail(&e))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.synced(|batch| batch.put(CfId::DEFAULT, key, value))
    }

    fn del(&self, key: &[u8]) -> Result<()> {
        self.synced(|batch| batch.delete(CfId::DEFAULT, key))
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete(CfId::DEFAULT, key).map_err(|e| self.fail(&e))?;
        let unsynced = WriteOptions { sync: Some(false), ..WriteOptions::default() };
        self.db.write(batch, &unsynced).map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn write(&self, pairs: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (key, value) in pairs {
            batch.put(CfId::DEFAULT, key, value).map_err(|e| self.fail(&e))?;
        }
        let unsynced = WriteOptions { sync: Some(false), ..WriteOptions::default() };
        self.db.write(batch, &unsynced).map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn mark(&self) -> Result<u64> {
        Ok(self.db.published_seq().0)
    }

    fn changed_since(&self, key: &[u8], mark: u64) -> Result<bool> {
        let touched = self.db.touched_since(CfId::DEFAULT, key, Seq(mark)).map_err(|e| self.fail(&e))?;
        Ok(touched.is_some())
    }

    fn scan(&self, prefix: &[u8], reverse: bool, visit: &mut Visit<'_>) -> Result<()> {
        let prefix = (!prefix.is_empty()).then(|| prefix.to_vec());
        let options = IterOptions { prefix, reverse, no_cache: true, ..IterOptions::default() };
        let fail = |e: Error| self.fail(&e);
        let mut iter = self.db.iter(options).map_err(fail)?;
        iter.rewind().map_err(fail)?;
        while let Some(key) = iter.key() {
            let value = iter.value().map_err(fail)?;
            if visit(key, value.as_deref().unwrap_or_default())? == Walk::Stop {
                break;
            }
            if reverse { iter.prev_entry() } else { iter.next_entry() }.map_err(fail)?;
        }
        Ok(())
    }

    fn entries_about(&self) -> Option<u64> {
        u64::try_from(self.db.stats().entries).ok()
    }

    fn sync(&self) -> Result<()> {
        self.db.sync().map_err(|e| self.fail(&e))?;
        Ok(())
    }

    fn stats(&self) -> Result<Json> {
        let stats = self.db.stats();
        // A command that only looks is not the process whose numbers these would be.
        let stats = if self.db.options().read_only { stats.of_files() } else { stats };
        serde_json::to_value(stats)
            .map_err(|e| Failure::new(format!("statistics cannot be shown ({e})"), &self.dir, ""))
    }

    fn regions(&self) -> Result<Json> {
        let regions: Vec<Json> = self
            .db
            .engine()
            .regions()
            .iter()
            .map(|region| {
                let peers: Vec<Json> = region
                    .peers
                    .iter()
                    .map(|peer| json!({"store_id": peer.store_id, "peer_id": peer.peer_id}))
                    .collect();
                json!({
                    "id": region.id,
                    "state": format!("{:?}", region.state).to_lowercase(),
                    "start_key": region.start_key.escape_ascii().to_string(),
                    "end_key": region.end_key.escape_ascii().to_string(),
                    "epoch": {"version": region.epoch.version, "conf_version": region.epoch.conf_version},
                    "peers": peers,
                })
            })
            .collect();
        Ok(json!({ "regions": regions }))
    }

    fn notes(&self) -> Vec<String> {
        notes_of(&self.dir, self.db.engine().open_report(), self.db.options().read_only)
    }

    fn serve(&self, addr: &str, options: MetricsOptions) -> Result<MetricsServer> {
        metrics::serve_with(&self.db, addr, options).map_err(|error| {
            let next = match &error {
                ServeError::NotLoopback(_) => {
                    "use 127.0.0.1, or add --metrics-allow-remote: there is no password"
                }
                ServeError::Listen { .. } => "use another port; 0 takes a free one",
                _ => "use HOST:PORT, or PORT for 127.0.0.1",
            };
            Failure::new(error.to_string(), "--metrics-addr", next)
        })
    }

    #[cfg(feature = "redis")]
    fn redis(&self) -> Result<std::sync::Arc<dyn crate::redis::store::backend::Backend>> {
        let embedded = crate::redis::store::embedded::Embedded::new(self.db.clone());
        Ok(std::sync::Arc::new(embedded.map_err(|error| self.fail(&error))?))
    }

    fn manifest(&self) -> Result<Json> {
        let state = self.db.manifest();
        let families: Vec<Json> = state
            .families
            .iter()
            .map(|(id, f)| json!({"number": id.0, "name": f.name, "dropped_at_seq": f.dropped_at.map(|s| s.0)}))
            .collect();
        let tables: Vec<Json> = state
            .tables()
            .map(|(level, ingest, meta)| {
                let (first, last) = (&meta.props.smallest, &meta.props.largest);
                json!({
                    "level": level,
                    "ingest": ingest,
                    "file": format!("tables/{}", table_name(meta.id)),
                    "file_bytes": meta.file_bytes,
                    "entries": meta.props.entries(),
                    "seq_max": meta.props.seq_max.0,
                    "smallest_key": first.user_key.escape_ascii().to_string(),
                    "largest_key": last.user_key.escape_ascii().to_string(),
                })
            })
            .collect();
        let heads: Vec<Json> = state
            .vlog_heads
            .iter()
            .map(|(bucket, segment)| json!({"bucket": bucket, "segment": segment}))
            .collect();
        Ok(json!({
            "database_id": format!("{:016x}", state.db_id),
            "log_floor_segment": state.wal_floor,
            "flushed_seq": state.flushed_seq.0,
            "last_seq": state.last_seq.0,
            "next_file_id": state.next_file_id,
            "families": families,
            "tables": tables,
            "value_log_heads": heads,
        }))
    }

    fn vlog(&self) -> Result<Json> {
        let live = self.db.engine().value_log_live();
        let segments: Vec<Json> = self
            .db
            .engine()
            .value_log()
            .segments()
            .iter()
            .map(|s| {
                let live = live.get(&(s.bucket, s.segment)).copied().unwrap_or(0);
                json!({
                    "bucket": s.bucket,
                    "segment": s.segment,
                    "file": segment_path("", s.bucket, s.segment),
                    "file_bytes": s.size,
                    "live_bytes": live,
                    "dead_bytes": s.size.saturating_sub(live + SEGMENT_HEADER_BYTES),
                })
            })
            .collect();
        Ok(json!({ "segments": segments }))
    }

    fn compact(&self, progress: &Progress) -> Result<Json> {
        let fail = |e: Error| self.fail(&e);
        let size = || {
            let stats = self.db.stats();
            (stats.table_bytes(), stats.engine.space.value_log_bytes)
        };
        self.db.flush().map_err(fail)?;
        let before = size();
        let measure = || self.db.stats().counter("compaction_read_bytes");
        watch(progress, before.0, measure, || {
            self.db.cfs().iter().try_for_each(|(_, cf)| self.db.compact_range(*cf, None, None))
        })
        .map_err(fail)?;
        // Each run frees at least one segment and leaves none of its size behind.
        let collected = watch(progress, before.0, measure, || {
            let mut segments = 0;
            loop {
                match self.db.run_value_log_gc(COMPACT_DISCARD_RATIO) {
                    Ok(report) => segments += report.segments,
                    Err(Error::NothingToCollect) => return Ok(segments),
                    Err(error) => return Err(error),
                }
            }
        })
        .map_err(fail)?;
        self.db.wait_idle().map_err(fail)?;
        let after = size();
        Ok(json!({
            "tables_before_bytes": before.0,
            "tables_after_bytes": after.0,
            "value_log_before_bytes": before.1,
            "value_log_after_bytes": after.1,
            "value_log_segments_collected": collected,
        }))
    }

    fn checkpoint(&self, to: &Path, progress: &Progress) -> Result<Json> {
        let target = text_of(to)?;
        let stats = self.db.stats();
        let total = stats.table_bytes() + stats.engine.space.value_log_bytes;
        let made = watch(progress, total, || bytes_below(to), || self.db.checkpoint(target));
        let seq = made.map_err(|error| match error {
            Error::InvalidArgument(what) => {
                Failure::new(what, target, "name a directory that does not exist yet, or an empty one")
            }
            error => self.fail(&error),
        })?;
        Ok(json!({ "to": target, "seq": seq.0, "bytes": bytes_below(to) }))
    }

    fn close(self) -> Result<()> {
        self.db.close().map_err(|e| self.fail(&e))
    }
}

impl FileStore {
    fn synced(&self, fill: impl FnOnce(&mut WriteBatch) -> crate::Result<()>) -> Result<()> {
        let mut batch = WriteBatch::new();
        fill(&mut batch).map_err(|e| self.fail(&e))?;
        let synced = WriteOptions { sync: Some(true), ..WriteOptions::default() };
        self.db.write(batch, &synced).map_err(|e| self.fail(&e))?;
        Ok(())
    }
}
