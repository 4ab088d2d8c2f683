//! The manifest file and its one writer.
//!
//! Who may call it: the engine, under its install lock. Write orders: see the tables in [`super`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::current::{CleanClose, Current};
use nokv_formats::manifest::{Edit, Group};
use nokv_formats::{CfId, crc};

use super::current_file::{self, probe, sync_dir, unlink_if_there};
use super::replay::{parse_name, replay};
use super::state::ManifestState;
use crate::error::{Error, IoContext, Result};
use crate::frames::Frames;
use crate::planted::{self, Bug};
use crate::vfs::{OpenMode, Vfs, VfsFile, join};

/// A manifest longer than this is rewritten, unless told otherwise.
pub const MANIFEST_REWRITE_BYTES: u64 = 4 << 20;
/// A manifest that is longer than this is damaged.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 32;

/// The groups of the manifest at `path`, which is refused as damaged if it is longer than any manifest gets.
pub(super) fn open_frames<V: Vfs>(fs: &V, path: &str) -> Result<Frames<V::File>> {
    let frames = Frames::open(fs, path)?;
    if frames.len() > MANIFEST_BYTES_MAX {
        return Err(Error::corrupt(path, MANIFEST_BYTES_MAX, "a shorter file"));
    }
    Ok(frames)
}

/// The name of a manifest file.
pub fn manifest_name(number: u64) -> String {
    format!("MANIFEST-{number:06}")
}

/// What [`Manifest::open`] gives.
pub struct Opened<V: Vfs> {
    /// The manifest, which holds the state.
    pub manifest: Manifest<V>,
    /// What the last clean close left; `None` if the database was not closed cleanly.
    pub clean: Option<CleanClose>,
    /// The manifest ended in a group that was not written whole and is left out, at this offset. The state must
    /// match the files all the same, and nothing may be swept.
    pub torn_at: Option<u64>,
}

/// The manifest of an open database.
pub struct Manifest<V: Vfs> {
    fs: V,
    dir: String,
    current: Current,
    state: ManifestState,
    /// `None` for a read-only manifest, and before [`Manifest::begin_writes`].
    file: Option<V::File>,
    read_only: bool,
    /// What was read may not be on the disk, or may not be written into.
    rewrite_first: bool,
    torn: bool,
    len: u64,
    /// How much of `len` is known to be synced.
    durable: u64,
    /// CRC-32C of the first `len` bytes.
    crc: u32,
    next_group: u64,
    /// Higher than the number of any manifest file in the directory.
    next_number: u64,
    rewrite_bytes: u64,
    /// Length after the last rewrite: a state that is longer than the threshold is not rewritten each time.
    base_len: u64,
    dead: Option<String>,
}

impl<V: Vfs> Manifest<V> {
    /// Makes the manifest of a new database, with the families `default`, `lock` and `write`. `dir` exists.
    ///
    /// # Errors
    /// `InvalidArgument` if a database is there; see [`probe`] for what else is refused.
    pub fn create(fs: V, dir: &str, db_id: u64) -> Result<Self> {
        if probe(&fs, dir)? {
            return Err(Error::InvalidArgument(format!("{dir} holds a database already")));
        }
        let families = [(CfId::DEFAULT, "default"), (CfId::LOCK, "lock"), (CfId::WRITE, "write")];
        let mut edits = Vec::from([Edit::Database { id: db_id }, Edit::NextFileId { id: 1 }]);
        edits.extend(families.map(|(id, name)| Edit::CreateFamily { id, name: name.to_string() }));
        Self::create_with(fs, dir, &edits)
    }

    /// Makes the database that `edits` say, with `CURRENT` naming it. The files that they name are durable already.
    ///
    /// # Errors
    /// As [`Manifest::create`]; [`Error::InvalidArgument`] for edits that break a rule.
    pub fn create_with(fs: V, dir: &str, edits: &[Edit]) -> Result<Self> {
        let mut state = ManifestState::default();
        state.apply(edits)?;
        let db_id = state.db_id;
        let mut manifest = Self {
            next_number: next_number(&fs, dir)?,
            fs,
            dir: dir.to_string(),
            current: Current { generation: 0, db_id, manifest: 0, clean: None },
            state,
            file: None,
            read_only: false,
            rewrite_first: false,
            torn: false,
            len: 0,
            durable: 0,
            crc: 0,
            next_group: 0,
            rewrite_bytes: MANIFEST_REWRITE_BYTES,
            base_len: 0,
            dead: None,
        };
        manifest.write_whole()?;
        Ok(manifest)
    }

    /// Writes `state` into a new manifest and makes `CURRENT` name it, whatever is there. For repair: the files that
    /// `state` names are durable already. Removes no other manifest.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the state breaks a rule; nothing was changed then.
    pub(crate) fn restore(fs: &V, dir: &str, state: ManifestState) -> Result<()> {
        // What is written must be read back by the next open.
        ManifestState::default().apply(&state.to_edits())?;
        let generation = current_file::highest_generation(fs, dir);
        let mut manifest = Self {
            next_number: next_number(fs, dir)?,
            fs: fs.clone(),
            dir: dir.to_string(),
            current: Current { generation, db_id: state.db_id, manifest: 0, clean: None },
            state,
            file: None,
            read_only: false,
            rewrite_first: false,
            torn: true,
            len: 0,
            durable: 0,
            crc: 0,
            next_group: 0,
            rewrite_bytes: MANIFEST_REWRITE_BYTES,
            base_len: 0,
            dead: None,
        };
        manifest.write_whole()
    }

    /// Opens the manifest of a database. Writes nothing; [`Manifest::begin_writes`] does.
    ///
    /// # Errors
    /// `Corrupt` for damage that a crash cannot leave, `Unsupported` for a later format.
    pub fn open(fs: V, dir: &str, read_only: bool) -> Result<Opened<V>> {
        let current = current_file::read(&fs, dir)?;
        let name = manifest_name(current.manifest);
        let path = join(dir, &name);
        let mut frames = open_frames(&fs, &path)?;
        if let Some(clean) = &current.clean {
            let len = frames.len();
            if clean.manifest_bytes != len {
                return Err(Error::corrupt(path, len, "the length that CURRENT states"));
            }
            if clean.manifest_crc != frames.crc(0, len)? {
                return Err(Error::corrupt(path, 0, "the checksum that CURRENT states"));
            }
        }
        let replayed = replay(&path, &mut frames, current.db_id)?;
        if replayed.torn && current.clean.is_some() {
            return Err(Error::corrupt(path, replayed.whole_bytes, "whole groups after a clean close"));
        }
        let crc = match &current.clean {
            Some(clean) => clean.manifest_crc,
            None => frames.crc(0, replayed.whole_bytes)?,
        };
        if frames.has_shrunk() {
            return Err(Error::corrupt(path, frames.len(), "the bytes that were there when it was opened"));
        }
        let clean = current.clean.clone();
        let links = fs.list(dir).at("list", dir)?.iter().find(|e| e.name == name).map_or(1, |e| e.links);
        let manifest = Self {
            next_number: next_number(&fs, dir)?.max(current.manifest + 1),
            fs,
            dir: dir.to_string(),
            state: replayed.state,
            file: None,
            read_only,
            rewrite_first: clean.is_none() || links > 1,
            torn: replayed.torn,
            len: replayed.whole_bytes,
            durable: if clean.is_some() { replayed.whole_bytes } else { 0 },
            crc,
            next_group: replayed.next_group,
            rewrite_bytes: MANIFEST_REWRITE_BYTES,
            base_len: 0,
            dead: None,
            current,
        };
        let torn_at = replayed.torn.then_some(replayed.whole_bytes);
        Ok(Opened { manifest, clean, torn_at })
    }

    /// The first write of an open: marks the database as not closed cleanly, and after an unclean stop writes the
    /// manifest anew. The caller has checked that the files are as the state says, and writes to none of them
    /// before. Does nothing the second time.
    ///
    /// # Errors
    /// A full disk leaves everything as it was.
    pub fn begin_writes(&mut self) -> Result<()> {
        self.check_alive()?;
        if self.file.is_some() {
            return Ok(());
        }
        if self.rewrite_first {
            return self.write_whole();
        }
        let path = self.path();
        let file = self.fs.open(&path, OpenMode::ReadWrite).at("open", &path)?;
        self.current.clean = None;
        self.write_current()?;
        self.file = Some(file);
        Ok(())
    }

    /// What the database is.
    pub fn state(&self) -> &ManifestState {
        &self.state
    }

    /// Length of the file, in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Path of the file.
    pub fn path(&self) -> String {
        join(&self.dir, &manifest_name(self.current.manifest))
    }

    /// Rewrites the file once it is longer than this; [`MANIFEST_REWRITE_BYTES`] unless set.
    pub fn set_rewrite_threshold(&mut self, bytes: u64) {
        self.rewrite_bytes = bytes;
    }

    /// Adds a group of edits, durably.
    ///
    /// # Errors
    /// `InvalidArgument` if an edit breaks a rule, and an I/O error `NoSpace`: nothing was changed. After any other
    /// error it is not known whether the group survives, and the manifest takes no more.
    pub fn append(&mut self, edits: &[Edit]) -> Result<()> {
        self.append_with(edits, true)
    }

    /// [`Manifest::append`]; without `sync` the group is durable with the next one that is, or [`Manifest::sync`].
    ///
    /// # Errors
    /// As [`Manifest::append`].
    pub fn append_with(&mut self, edits: &[Edit], sync: bool) -> Result<()> {
        self.check_alive()?;
        if self.file.is_none() {
            return Err(Error::InvalidArgument("begin_writes comes before the first append".to_string()));
        }
        if self.len > self.rewrite_bytes.max(self.base_len.saturating_mul(2)) {
            match self.write_whole() {
                // Out of space: the old file is as it was, go on with it.
                Err(error) if !error.is_no_space() || self.dead.is_some() => return Err(error),
                _ => {}
            }
        }
        let mut next = self.state.clone();
        next.apply(edits)?;
        let group = Group {
            db_id: self.current.db_id,
            number: self.next_group,
            durable: self.durable,
            edits: edits.to_vec(),
        };
        let mut frame = Vec::new();
        group.encode(&mut frame);
        let path = self.path();
        let Some(file) = &self.file else { return Err(Error::Closed) };
        let end = self.len + frame.len() as u64;
        if let Err(error) = file.write_at(&frame, self.len).at("write", &path) {
            if !error.is_no_space() {
                return self.die(error);
            }
            // ORDER: the part that was written is durably gone before the next group takes its place.
            let rolled_back = file.set_len(self.len).and_then(|()| file.sync());
            if let Err(rollback) = rolled_back.at("roll back a write of", &path) {
                return self.die(rollback);
            }
            self.durable = self.len;
            return Err(error);
        }
        if sync
            && !planted::is(Bug::EditNotSynced)
            && let Err(error) = file.sync().at("sync", &path)
        {
            return self.die(error);
        }
        if sync {
            self.durable = end;
        }
        self.len = end;
        self.crc = crc::extend(self.crc, &frame);
        self.next_group += 1;
        self.state = next;
        Ok(())
    }

    /// Makes every group durable that was added without a sync.
    ///
    /// # Errors
    /// After an error the manifest takes no more.
    pub fn sync(&mut self) -> Result<()> {
        self.check_alive()?;
        if self.durable == self.len {
            return Ok(());
        }
        let path = self.path();
        if let Some(file) = &self.file
            && let Err(error) = file.sync().at("sync", &path)
        {
            return self.die(error);
        }
        self.durable = self.len;
        Ok(())
    }

    /// Writes the whole state into a new file, and removes the old one.
    ///
    /// # Errors
    /// As [`Manifest::append`].
    pub fn rewrite(&mut self) -> Result<()> {
        self.check_alive()?;
        self.write_whole()
    }

    /// Marks the database as closed cleanly. The caller has synced log and value log, states where they end, and
    /// writes nothing afterwards; `manifest_bytes` and `manifest_crc` are filled in here.
    ///
    /// # Errors
    /// After an error the database counts as not closed cleanly.
    pub fn close_clean(&mut self, end: CleanClose) -> Result<()> {
        self.begin_writes()?;
        self.sync()?;
        self.current.clean = Some(CleanClose { manifest_bytes: self.len, manifest_crc: self.crc, ..end });
        self.write_current()
    }

    /// Removes manifest files that nothing names: what crashed rewrites left. Removes nothing in an open that cut a
    /// torn end. Gives how many it removed.
    ///
    /// # Errors
    /// `Io`; the rest stays.
    pub fn sweep(&mut self) -> Result<usize> {
        self.check_alive()?;
        if self.torn || self.file.is_none() {
            return Ok(0);
        }
        let mut removed = 0;
        for entry in self.fs.list(&self.dir).at("list", &self.dir)? {
            let stale = parse_name(&entry.name).is_some_and(|number| number != self.current.manifest);
            if stale || entry.name == "CURRENT.tmp" {
                removed += usize::from(unlink_if_there(&self.fs, &join(&self.dir, &entry.name))?);
            }
        }
        Ok(removed)
    }

    /// Why the manifest takes no more, if so.
    pub fn dead(&self) -> Option<&str> {
        self.dead.as_deref()
    }

    fn check_alive(&self) -> Result<()> {
        if let Some(cause) = &self.dead {
            return Err(Error::ReadOnly(cause.clone()));
        }
        if self.read_only {
            return Err(Error::ReadOnly("it was opened for reading".to_string()));
        }
        Ok(())
    }

    fn die<T>(&mut self, error: Error) -> Result<T> {
        self.dead = Some(error.to_string());
        Err(error)
    }

    fn write_current(&mut self) -> Result<()> {
        let old = self.current.clone();
        match current_file::write(&self.fs, &self.dir, &mut self.current) {
            Ok(()) => Ok(()),
            // Only with atomic rename is it sure that nothing changed.
            Err(error) if error.is_no_space() && self.fs.capabilities().atomic_rename => {
                self.current = old;
                Err(error)
            }
            Err(error) => self.die(error),
        }
    }

    /// Writes the state into a new file and makes `CURRENT` name it.
    fn write_whole(&mut self) -> Result<()> {
        let number = self.next_number;
        let path = join(&self.dir, &manifest_name(number));
        let next_number = number
            .checked_add(1)
            .ok_or_else(|| Error::corrupt(path.clone(), 0, "a manifest number below 2^64"))?;
        let mut frame = Vec::new();
        Group { db_id: self.current.db_id, number: 0, durable: 0, edits: self.state.to_edits() }
            .encode(&mut frame);
        let file = self.fs.create(&path).at("create", &path)?;
        self.next_number = next_number;
        if let Err(error) = file.write_at(&frame, 0).at("write", &path) {
            drop(file);
            if !error.is_no_space() {
                return self.die(error);
            }
            unlink_if_there(&self.fs, &path)?;
            return Err(error);
        }
        // ORDER: the new file and its name are durable before CURRENT names it.
        let synced = file.sync().at("sync", &path);
        let named = if planted::is(Bug::ManifestNameNotSynced) {
            synced
        } else {
            synced.and_then(|()| sync_dir(&self.fs, &self.dir))
        };
        if let Err(error) = named {
            return self.die(error);
        }
        let before = self.current.clone();
        let old = (self.current.manifest != 0).then(|| self.path());
        self.current.manifest = number;
        self.current.clean = None;
        if let Err(error) = self.write_current() {
            self.current = before;
            if self.dead.is_none() {
                unlink_if_there(&self.fs, &path)?;
            }
            return Err(error);
        }
        self.file = Some(file);
        self.rewrite_first = false;
        self.len = frame.len() as u64;
        self.durable = self.len;
        self.base_len = self.len;
        self.crc = crc::crc32c(&frame);
        self.next_group = 1;
        self.state.forget_retired();
        // ORDER: the old file goes only now that CURRENT durably names the new one. If that fails, a sweep will.
        if let Some(old) = old.filter(|_| !self.torn) {
            let _ = self.fs.unlink(&old);
        }
        Ok(())
    }
}

/// A number above those of all manifest files in `dir`.
fn next_number<V: Vfs>(fs: &V, dir: &str) -> Result<u64> {
    let entries = fs.list(dir).at("list", dir)?;
    let highest = entries.iter().filter_map(|entry| parse_name(&entry.name)).max().unwrap_or(0);
    highest
        .checked_add(1)
        .ok_or_else(|| Error::corrupt(join(dir, "MANIFEST"), 0, "a manifest number below 2^64"))
}
