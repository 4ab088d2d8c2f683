//! A directory in memory, and places for directories.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A new directory, in memory where the system has a place for that.
///
/// # Panics
/// When none can be made.
pub fn place(what: &str) -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix(what);
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { builder.tempdir_in(memory).ok() } else { None };
    made.unwrap_or_else(|| builder.tempdir().expect("a temporary directory"))
}

/// The files of a directory as they were at one moment.
#[derive(Debug, Clone, Default)]
pub struct Image {
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Image {
    /// Reads a directory that nobody changes meanwhile. Empty if it is not there.
    ///
    /// # Errors
    /// What the system gives.
    pub fn take(root: &Path) -> Result<Self> {
        let mut image = Self::default();
        if root.exists() {
            image.take_below(root, Path::new(""))?;
        }
        Ok(image)
    }

    fn take_below(&mut self, root: &Path, below: &Path) -> Result<()> {
        self.dirs.push(below.to_owned());
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.take_below(root, &path)?;
            } else {
                let bytes = fs::read(root.join(&path))?;
                self.files.push((path, bytes));
            }
        }
        Ok(())
    }

    /// Writes it into a directory that is not there.
    ///
    /// # Errors
    /// What the system gives.
    pub fn put(&self, root: &Path) -> Result<()> {
        for dir in &self.dirs {
            fs::create_dir_all(root.join(dir))?;
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), bytes)?;
        }
        Ok(())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// How many files there are.
    pub const fn files(&self) -> usize {
        self.files.len()
    }
}
