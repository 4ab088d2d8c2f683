//! A checkpoint: a second database with the same content, that shares files which are never written again.
//!
//! The caller flushes first, so that tables hold everything: the copy then needs no log and makes its own. Tables
//! and sealed value-log segments are linked where the file system can, else copied; segments that may still be
//! written to are copied up to their length.
//!
//! | step | crash after it leaves |
//! |---|---|
//! | a. files linked or copied, synced, directories synced | a directory without CURRENT: no database |
//! | b. manifest and CURRENT, durable | the checkpoint |

use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::Seq;
use nokv_formats::manifest::Edit;

use crate::engine::compaction::table_name;
use crate::engine::{Engine, TABLE_DIR};
use crate::error::{Error, IoContext, Result};
use crate::index::MemIndex;
use crate::manifest::{Manifest, probe};
use crate::planted::{self, Bug};
use crate::vfs::{IoErrorKind, OpenMode, Vfs, VfsFile, join};
use crate::vlog::segment_path;

/// Bytes copied at a time.
const COPY_BYTES: usize = 256 << 10;

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Makes a checkpoint in `target` of everything that is flushed; gives the seq up to which that is. Files of
    /// the tree do not change while it runs; writers and readers go on.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `target` holds a database or other files.
    pub fn checkpoint(&self, target: &str) -> Result<Seq> {
        self.check_open()?;
        let fs = &self.fs;
        if probe(fs, target)? || !crate::engine::open::list_or_empty(fs, target)?.is_empty() {
            return Err(Error::InvalidArgument(alloc::format!("{target} is not empty")));
        }
        // Held to the end: nothing leaves the tree, so every file stays.
        let install = self.install.lock();
        let mut segments = self.without_removed(&install, &self.sync_values()?);
        segments.retain(|s| s.settled || !planted::is(Bug::CheckpointWithoutHeads));
        let mut state = install.manifest.state().clone();
        let tables = join(target, TABLE_DIR);
        fs.create_dir_all(&tables).at("create directory", &tables)?;
        for (_, _, meta) in state.tables() {
            let name = table_name(meta.id);
            self.link_or_copy(&self.table_path(meta.id), &join(&tables, &name), meta.file_bytes)?;
        }
        fs.sync_dir(&tables).at("sync", &tables)?;
        let mut extra = Vec::new();
        self.push_value_log_edits(&install, &segments, &mut extra);
        state.apply(&extra)?;
        for segment in &segments {
            let from = segment_path(&self.dir, segment.bucket, segment.segment);
            let to = segment_path(target, segment.bucket, segment.segment);
            if let Some((dir, _)) = to.rsplit_once('/') {
                fs.create_dir_all(dir).at("create directory", dir)?;
            }
            if segment.settled {
                self.link_or_copy(&from, &to, segment.size)?;
            } else {
                // Its size counts appends under way, which no table names: the file may end before them.
                let there = fs.size(&from).at("get size of", &from)?;
                self.copy(&from, &to, segment.size.min(there))?;
            }
            if let Some((dir, _)) = to.rsplit_once('/') {
                fs.sync_dir(dir).at("sync", dir)?;
            }
        }
        let vlog_dir = join(target, "vlog");
        if !crate::engine::open::list_or_empty(fs, &vlog_dir)?.is_empty() {
            fs.sync_dir(&vlog_dir).at("sync", &vlog_dir)?;
        }
        fs.sync_dir(target).at("sync", target)?;
        crate::engine::open::sync_parents(fs, target)?;
        // ORDER: every file is durable before CURRENT names them.
        let edits: Vec<Edit> = state
            .to_edits()
            .into_iter()
            // Without a floor the log is made by the first open. The copy has no records of raft groups, so it is in
            // none: as a member it would have forgotten what it voted for.
            .filter(|edit| !is_of_member(edit))
            .collect();
        Manifest::create_with(fs.clone(), target, &edits)?;
        Ok(state.flushed_seq)
    }

    fn link_or_copy(&self, from: &str, to: &str, bytes: u64) -> Result<()> {
        if self.fs.capabilities().hard_links {
            match self.fs.link(from, to) {
                Ok(()) => return Ok(()),
                // Another file system, or one that cannot after all.
                Err(error) if error.kind == IoErrorKind::NoSpace => return Err(Error::io("link", to, error)),
                Err(_) => {}
            }
        }
        self.copy(from, to, bytes)
    }

    fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<()> {
        copy_file(&self.fs, from, to, bytes, &mut |n| self.signals.background_io(n))
    }
}

/// Does an edit say what only the original is: its log, its raft groups, its regions?
const fn is_of_member(edit: &Edit) -> bool {
    matches!(edit, Edit::WalFloor { .. } | Edit::RaftPointer(_) | Edit::RaftRemove { .. } | Edit::Region(_))
}

/// Copies the first `bytes` bytes of a file into a new one and syncs it.
pub(crate) fn copy_file<V: Vfs>(
    fs: &V,
    from: &str,
    to: &str,
    bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let source = fs.open(from, OpenMode::Read).at("open", from)?;
    let target = fs.create(to).at("create", to)?;
    let mut buf = alloc::vec![0; COPY_BYTES.min(usize::try_from(bytes).unwrap_or(COPY_BYTES))];
    let mut at = 0;
    while at < bytes {
        let want = buf.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        let part = buf.get_mut(..want).ok_or_else(|| Error::InvalidArgument("copy buffer".to_string()))?;
        source.read_exact_at(part, at).at("read", from)?;
        target.write_at(part, at).at("write", to)?;
        progress(want as u64);
        at += want as u64;
    }
    target.sync().at("sync", to)
}
