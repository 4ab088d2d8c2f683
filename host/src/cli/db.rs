//! Joins the commands to the engine.
//!
//! The database handle is not part of this build yet: every command that needs it says so and changes nothing.

use std::path::Path;

use super::progress::Progress;
use super::store::{
    Access, Backend, CheckReport, Failure, RepairReport, Result, Store, Visit, WalEnd, WalRecord,
};

/// Databases in directories.
#[derive(Debug, Default)]
pub struct Files;

/// There is no value of it.
#[derive(Debug)]
pub enum FileStore {}

fn missing(dir: &Path) -> Failure {
    let next = "use a build that has the database handle";
    Failure::new("this build has no storage engine", dir.display().to_string(), next)
}

impl Backend for Files {
    type Store = FileStore;

    fn open(&self, dir: &Path, _: Access) -> Result<FileStore> {
        Err(missing(dir))
    }

    fn check(&self, dir: &Path, _: &Progress) -> Result<CheckReport> {
        Err(missing(dir))
    }

    fn repair(&self, dir: &Path, _: bool, _: &Progress) -> Result<RepairReport> {
        Err(missing(dir))
    }

    fn wal_dump(
        &self,
        dir: &Path,
        _: &str,
        _: &mut dyn FnMut(&WalRecord<'_>) -> Result<()>,
    ) -> Result<WalEnd> {
        Err(missing(dir))
    }
}

impl Store for FileStore {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
        match *self {}
    }

    fn set(&self, _: &[u8], _: &[u8]) -> Result<()> {
        match *self {}
    }

    fn del(&self, _: &[u8]) -> Result<()> {
        match *self {}
    }

    fn write(&self, _: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<()> {
        match *self {}
    }

    fn mark(&self) -> Result<u64> {
        match *self {}
    }

    fn changed_since(&self, _: &[u8], _: u64) -> Result<bool> {
        match *self {}
    }

    fn scan(&self, _: &[u8], _: bool, _: &mut Visit<'_>) -> Result<()> {
        match *self {}
    }

    fn sync(&self) -> Result<()> {
        match *self {}
    }

    fn stats(&self) -> Result<serde_json::Value> {
        match *self {}
    }

    fn manifest(&self) -> Result<serde_json::Value> {
        match *self {}
    }

    fn vlog(&self) -> Result<serde_json::Value> {
        match *self {}
    }

    fn compact(&self, _: &Progress) -> Result<serde_json::Value> {
        match *self {}
    }

    fn checkpoint(&self, _: &Path, _: &Progress) -> Result<serde_json::Value> {
        match *self {}
    }

    fn close(self) -> Result<()> {
        match self {}
    }
}
