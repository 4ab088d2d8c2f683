//! The record of what a workload was about to do and what was acknowledged to it: a file of words, written with plain
//! positional writes, so that it survives the death of the process that writes it.
//!
//! ```text
//! word 0              1 once the database is open
//! word 1              unlogged steps that a finished flush covers
//! word 2 + t          the step that thread t is at, or was at last
//! row t               one word a step: 0, or 1 + the seq that acknowledged it (1 where no seq is told)
//! ```
//! One thread writes a row. Steps count from the first one of the record on, which the process that reads it chose.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Words before the rows.
const HEAD: u64 = 64;
/// Steps of a thread that a record holds. The file has holes where nothing was written.
pub const STEPS_MAX: u64 = 1 << 20;

/// An open record.
#[derive(Debug)]
pub struct Record(File);

/// How far one thread is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// All up to this step were acknowledged.
    pub acked: u64,
    /// The step that it was at; this one may have happened.
    pub pending: u64,
}

impl Record {
    /// A new one, empty.
    ///
    /// # Errors
    /// What the system gives.
    pub fn create(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self(file))
    }

    /// One that is there.
    ///
    /// # Errors
    /// What the system gives.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn set(&self, word: u64, value: u64) -> Result<()> {
        self.0.write_all_at(&value.to_le_bytes(), word * 8)
    }

    fn words(&self, from: u64, count: usize) -> Result<Vec<u64>> {
        let mut bytes = vec![0; count * 8];
        let mut done = 0;
        while done < bytes.len() {
            match self.0.read_at(&mut bytes[done..], from * 8 + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// The database is open.
    ///
    /// # Errors
    /// What the system gives.
    pub fn set_open(&self) -> Result<()> {
        self.set(0, 1)
    }

    /// Is the database open?
    ///
    /// # Errors
    /// What the system gives.
    pub fn is_open(&self) -> Result<bool> {
        Ok(self.words(0, 1)?[0] == 1)
    }

    /// A flush ended that covers the unlogged steps up to `step`.
    ///
    /// # Errors
    /// What the system gives.
    pub fn set_flushed(&self, step: u64) -> Result<()> {
        self.set(1, step)
    }

    /// Unlogged steps that a flush covers.
    ///
    /// # Errors
    /// What the system gives.
    pub fn flushed(&self) -> Result<u64> {
        Ok(self.words(1, 1)?[0])
    }

    /// Thread `thread` is about to do `step`.
    ///
    /// # Errors
    /// What the system gives.
    pub fn set_pending(&self, thread: u64, step: u64) -> Result<()> {
        self.set(2 + thread, step)
    }

    /// Step `step` of a thread whose first step here was `first` was acknowledged.
    ///
    /// # Errors
    /// What the system gives.
    pub fn set_acked(&self, thread: u64, first: u64, step: u64, seq: u64) -> Result<()> {
        self.set(HEAD + thread * STEPS_MAX + (step - first), seq + 1)
    }

    /// The seqs of the steps of a thread that were acknowledged from `from` on, and how far it is.
    ///
    /// # Errors
    /// What the system gives; [`std::io::ErrorKind::InvalidData`] for a step that was skipped.
    pub fn since(&self, thread: u64, first: u64, from: u64) -> Result<(Vec<u64>, Reach)> {
        let pending = self.words(2 + thread, 1)?[0];
        let at = HEAD + thread * STEPS_MAX + (from - first);
        let count = (pending + 1).saturating_sub(from) as usize;
        let mut seqs = self.words(at, count)?;
        seqs.truncate(seqs.iter().position(|word| *word == 0).unwrap_or(seqs.len()));
        let acked = from - 1 + seqs.len() as u64;
        let pending = pending.max(acked);
        if pending > acked + 1 {
            let text =
                format!("thread {thread} is at step {pending}, and step {acked} was acknowledged last");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        seqs.iter_mut().for_each(|word| *word -= 1);
        Ok((seqs, Reach { acked, pending }))
    }
}
