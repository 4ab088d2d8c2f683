//! Reading and replacing `CURRENT`, in the form that the file system allows.
//!
//! Who may call it: `store`; the engine calls [`probe`] before it opens or creates a database.

use alloc::vec;
use alloc::vec::Vec;

use nokv_formats::current::{self, BYTES_MAX, Current, NAME, SLOTS, UNKNOWN_FORMAT};

use super::replay::{is_fresh, parse_name, replay};
use crate::error::{Error, IoContext, Result};
use crate::frames::Frames;
use crate::planted::{self, Bug};
use crate::rewrite::write_again;
use crate::vfs::{DirEntry, IoErrorKind, OpenMode, Vfs, VfsFile, join};

const TMP: &str = "CURRENT.tmp";
/// A manifest of a database in which nothing was stored is shorter.
const FRESH_MANIFEST_BYTES_MAX: u64 = 4096;

/// Is there a database in `dir`? `false` means that one may be made there: `dir` is missing or empty, or holds
/// only what an unfinished [`super::Manifest::create`] leaves. Empty directories, lock files (`LOCK`, `*.lock`),
/// hidden names and `*.tmp` do not count. Writes nothing.
///
/// # Errors
/// `Corrupt` if `CURRENT` is missing, empty or damaged beside other files: that is a damaged database, not a new one.
pub fn probe<V: Vfs>(fs: &V, dir: &str) -> Result<bool> {
    let entries = match fs.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind == IoErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    let damage = match read_from(fs, dir, &entries) {
        Ok(Some(_)) => return Ok(true),
        Ok(None) => Error::corrupt(join(dir, NAME), 0, "CURRENT is missing beside other files"),
        // A single file is replaced by a rename, so it is whole or it is damaged. Slots may be torn by a crash
        // of `create`.
        Err(error) if entries.iter().any(|e| e.name == NAME) => return Err(error),
        Err(error) if error.is_corrupt() => error,
        Err(error) => return Err(error),
    };
    for entry in &entries {
        if !may_be_in_a_new_database(fs, dir, entry)? {
            return Err(damage);
        }
    }
    Ok(false)
}

fn may_be_in_a_new_database<V: Vfs>(fs: &V, dir: &str, entry: &DirEntry) -> Result<bool> {
    let (name, path) = (entry.name.as_str(), join(dir, &entry.name));
    if name == "lost+found" || name.starts_with('.') {
        return Ok(true);
    }
    if entry.is_dir {
        return Ok(fs.list(&path).at("list", &path)?.is_empty());
    }
    if name == "LOCK" || name.ends_with(".lock") || name.ends_with(".tmp") || SLOTS.contains(&name) {
        return Ok(true);
    }
    if parse_name(name).is_none() || entry.size > FRESH_MANIFEST_BYTES_MAX {
        return Ok(false);
    }
    let mut frames = Frames::open(fs, &path)?;
    if frames.len() > FRESH_MANIFEST_BYTES_MAX {
        return Ok(false);
    }
    // The id is in the first group; any will do.
    let db_id =
        frames.bytes(0, 24)?.get(16..24).and_then(|b| b.first_chunk().copied()).map_or(0, u64::from_le_bytes);
    Ok(match replay(&path, &mut frames, db_id) {
        Ok(replayed) => is_fresh(&replayed.state, replayed.next_group),
        Err(Error::Corrupt { .. }) => true,
        Err(error) => return Err(error),
    })
}

/// What `CURRENT` says; an error if there is none.
pub(super) fn read<V: Vfs>(fs: &V, dir: &str) -> Result<Current> {
    let entries = fs.list(dir).at("list", dir)?;
    match read_from(fs, dir, &entries)? {
        Some(current) => Ok(current),
        None => Err(Error::corrupt(join(dir, NAME), 0, "CURRENT is missing")),
    }
}

fn read_from<V: Vfs>(fs: &V, dir: &str, entries: &[DirEntry]) -> Result<Option<Current>> {
    let read_one = |name: &str| -> Result<Option<Vec<u8>>> {
        if entries.iter().any(|e| e.name == name && !e.is_dir) {
            read_whole(fs, &join(dir, name), BYTES_MAX).map(Some)
        } else {
            Ok(None)
        }
    };
    let single = match read_one(NAME)? {
        Some(bytes) => Some(Current::decode(&bytes).map_err(|m| damaged(dir, NAME, m))?),
        None => None,
    };
    let (a, b) = (read_one(SLOTS[0])?, read_one(SLOTS[1])?);
    let slot = if a.is_none() && b.is_none() {
        None
    } else {
        for (bytes, name) in [(&a, SLOTS[0]), (&b, SLOTS[1])] {
            // A later format is not a torn slot.
            if let Some(Err(m)) = bytes.as_deref().map(Current::decode)
                && m.what == UNKNOWN_FORMAT
            {
                return Err(damaged(dir, name, m));
            }
        }
        match current::newest(a.as_deref().unwrap_or(&[]), b.as_deref().unwrap_or(&[])) {
            Ok((_, current)) => Some(current),
            Err(_) if single.is_some() => None,
            Err(m) => return Err(damaged(dir, SLOTS[0], m)),
        }
    };
    // Both forms stand side by side only while a database moves to a file system of the other kind.
    Ok(match (single, slot) {
        (Some(single), Some(slot)) if slot.generation > single.generation => Some(slot),
        (Some(single), _) => Some(single),
        (None, slot) => slot,
    })
}

fn damaged(dir: &str, name: &str, m: nokv_formats::Malformed) -> Error {
    if m.what == UNKNOWN_FORMAT {
        Error::Unsupported { what: alloc::format!("a CURRENT newer than {}", m.what), file: join(dir, name) }
    } else {
        Error::malformed(join(dir, name), 0, m)
    }
}

fn next_generation(current: &Current, dir: &str) -> Result<u64> {
    let next = current.generation.checked_add(1);
    next.ok_or_else(|| Error::corrupt(join(dir, NAME), 16, "a generation below 2^64"))
}

/// Replaces `CURRENT`, durably. `current.generation` is raised to be the highest.
///
/// # Errors
/// A full disk while the temporary file is written changed nothing. After any other error it is not known which
/// state is there.
pub(super) fn write<V: Vfs>(fs: &V, dir: &str, current: &mut Current) -> Result<()> {
    if fs.capabilities().atomic_rename {
        current.generation = next_generation(current, dir)?;
        let (tmp, path) = (join(dir, TMP), join(dir, NAME));
        unlink_if_there(fs, &tmp)?;
        let file = fs.create(&tmp).at("create", &tmp)?;
        // ORDER: the bytes are durable before the name is.
        let written = file.write_at(&current.to_bytes(), 0).at("write", &tmp);
        if let Err(error) = written {
            drop(file);
            if error.is_no_space() {
                fs.unlink(&tmp).at("unlink", &tmp)?;
            }
            return Err(error);
        }
        if !planted::is(Bug::CurrentNotSynced) {
            file.sync().at("sync", &tmp)?;
        }
        drop(file);
        fs.rename(&tmp, &path).at("rename", &path)?;
        sync_dir(fs, dir)?;
        // What stands beside it is older, and read as such: failing to remove it must not look like failing to replace it.
        let _ = unlink_all(fs, dir, &SLOTS);
        return Ok(());
    }
    // The slot with the older state first: the other one stays right until this one is.
    let older = match SLOTS.map(|name| read_slot(fs, dir, name)) {
        [Some(a), Some(b)] if b < a => 1,
        [Some(_), None] => 1,
        _ => 0,
    };
    // ORDER: the slot that stays is durable before the other one is touched: who wrote it may have died before its sync.
    let stays = join(dir, SLOTS[1 - older]);
    match fs.open(&stays, OpenMode::ReadWrite) {
        Ok(file) => {
            write_again(&file, &stays, 0, BYTES_MAX)?;
            file.sync().at("sync", &stays)?;
        }
        Err(error) if error.kind == IoErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("open", &stays, error)),
    }
    sync_dir(fs, dir)?;
    for index in [older, 1 - older] {
        current.generation = next_generation(current, dir)?;
        let path = join(dir, SLOTS[index]);
        let file = match fs.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind == IoErrorKind::NotFound => fs.create(&path).at("create", &path)?,
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let bytes = current.to_bytes();
        // ORDER: this slot is durable before the other one is touched.
        file.write_at(&bytes, 0).at("write", &path)?;
        file.set_len(bytes.len() as u64).at("set length of", &path)?;
        file.sync().at("sync", &path)?;
        sync_dir(fs, dir)?;
    }
    let _ = unlink_all(fs, dir, &[NAME]);
    Ok(())
}

/// The generation of a valid slot.
fn read_slot<V: Vfs>(fs: &V, dir: &str, name: &str) -> Option<u64> {
    let bytes = read_whole(fs, &join(dir, name), BYTES_MAX).ok()?;
    Current::decode(&bytes).ok().map(|current| current.generation)
}

/// The highest generation of any `CURRENT` file that can be read; 0 if none can.
pub(super) fn highest_generation<V: Vfs>(fs: &V, dir: &str) -> u64 {
    [NAME, SLOTS[0], SLOTS[1]].iter().filter_map(|name| read_slot(fs, dir, name)).max().unwrap_or(0)
}

fn unlink_all<V: Vfs>(fs: &V, dir: &str, names: &[&str]) -> Result<()> {
    let mut any = false;
    for name in names {
        any |= unlink_if_there(fs, &join(dir, name))?;
    }
    if any { sync_dir(fs, dir) } else { Ok(()) }
}

pub(super) fn unlink_if_there<V: Vfs>(fs: &V, path: &str) -> Result<bool> {
    match fs.unlink(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == IoErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("unlink", path, error)),
    }
}

pub(super) fn sync_dir<V: Vfs>(fs: &V, dir: &str) -> Result<()> {
    if fs.capabilities().directory_sync { fs.sync_dir(dir).at("sync directory", dir) } else { Ok(()) }
}

/// The whole file, which is refused as damaged if it is longer than `bytes_max`.
pub(super) fn read_whole<V: Vfs>(fs: &V, path: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read).at("open", path)?;
    let size = file.size().at("get size of", path)?;
    let Some(size) = usize::try_from(size).ok().filter(|_| size <= bytes_max) else {
        return Err(Error::corrupt(path, bytes_max, "a shorter file"));
    };
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0).at("read", path)?;
    Ok(bytes)
}
