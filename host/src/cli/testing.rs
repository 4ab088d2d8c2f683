//! A store on a map in memory, for the tests of the command line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value as Json;

use super::progress::Progress;
use super::store::{
    Access, Backend, CheckReport, Failure, Finding, RepairReport, RepairStep, Result, Store, Visit, WalEnd,
    WalRecord, Walk,
};
use crate::metrics::{MetricsOptions, MetricsServer};

#[derive(Debug, Default)]
struct State {
    /// Value and the number of its write.
    map: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    writes: u64,
    synced: u64,
    batches: Vec<usize>,
    closed: u64,
}

/// One database; clones are the same.
#[derive(Debug, Default, Clone)]
pub struct MapStore(Rc<RefCell<State>>);

impl MapStore {
    pub fn batches(&self) -> Vec<usize> {
        self.0.borrow().batches.clone()
    }

    /// Is nothing unsynced?
    pub fn is_synced(&self) -> bool {
        let state = self.0.borrow();
        state.synced == state.writes
    }

    pub fn times_closed(&self) -> u64 {
        self.0.borrow().closed
    }

    pub fn pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.borrow().map.iter().map(|(k, (v, _))| (k.clone(), v.clone())).collect()
    }
}

impl Store for MapStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().map.get(key).map(|(value, _)| value.clone()))
    }

    fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(&mut std::iter::once((key, value)))?;
        self.sync()
    }

    fn del(&self, key: &[u8]) -> Result<()> {
        self.0.borrow_mut().map.remove(key);
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        self.del(key)
    }

    fn write(&self, pairs: &mut dyn Iterator<Item = (&[u8], &[u8])>) -> Result<()> {
        let state = &mut *self.0.borrow_mut();
        let before = state.writes;
        for (key, value) in pairs {
            state.writes += 1;
            state.map.insert(key.to_vec(), (value.to_vec(), state.writes));
        }
        state.batches.push((state.writes - before) as usize);
        Ok(())
    }

    fn mark(&self) -> Result<u64> {
        Ok(self.0.borrow().writes)
    }

    fn changed_since(&self, key: &[u8], mark: u64) -> Result<bool> {
        Ok(self.0.borrow().map.get(key).is_some_and(|(_, at)| *at > mark))
    }

    fn scan(&self, prefix: &[u8], reverse: bool, visit: &mut Visit<'_>) -> Result<()> {
        let mut pairs = self.pairs();
        pairs.retain(|(key, _)| key.starts_with(prefix));
        if reverse {
            pairs.reverse();
        }
        for (key, value) in &pairs {
            if visit(key, value)? == Walk::Stop {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.synced = state.writes;
        Ok(())
    }

    fn stats(&self) -> Result<Json> {
        Ok(serde_json::json!({"keys": self.0.borrow().map.len()}))
    }

    fn manifest(&self) -> Result<Json> {
        Ok(serde_json::json!({"levels": [{"level": 0, "tables": 1}]}))
    }

    fn vlog(&self) -> Result<Json> {
        Ok(serde_json::json!({"segments": []}))
    }

    fn regions(&self) -> Result<Json> {
        Ok(serde_json::json!({"regions": []}))
    }

    fn serve(&self, addr: &str, _: MetricsOptions) -> Result<MetricsServer> {
        Err(Failure::new("a map serves nothing", addr, ""))
    }

    #[cfg(feature = "redis")]
    fn redis(&self) -> Result<std::sync::Arc<dyn crate::redis::store::backend::Backend>> {
        Err(Failure::new("a map serves nothing", "redis", ""))
    }

    fn compact(&self, progress: &Progress) -> Result<Json> {
        progress.at(1, Some(1));
        Ok(serde_json::json!({"written_bytes": 2048}))
    }

    fn checkpoint(&self, to: &Path, _: &Progress) -> Result<Json> {
        Ok(serde_json::json!({"to": to.display().to_string()}))
    }

    fn close(self) -> Result<()> {
        self.0.borrow_mut().closed += 1;
        Ok(())
    }
}

/// Databases by directory.
#[derive(Debug, Default)]
pub struct MapBackend {
    pub stores: RefCell<BTreeMap<PathBuf, MapStore>>,
}

impl MapBackend {
    pub fn store(&self, dir: &str) -> MapStore {
        self.stores.borrow()[Path::new(dir)].clone()
    }
}

impl Backend for MapBackend {
    type Store = MapStore;

    fn open(&self, dir: &Path, access: Access) -> Result<MapStore> {
        let mut stores = self.stores.borrow_mut();
        if access != Access::Create && !stores.contains_key(dir) {
            let next = "check the name";
            return Err(Failure::new("there is no database", dir.display().to_string(), next));
        }
        Ok(stores.entry(dir.to_owned()).or_default().clone())
    }

    fn check(&self, dir: &Path, _: &Progress) -> Result<CheckReport> {
        let finding = Finding { file: "1.sst".into(), offset: 9, what: "bad checksum".into() };
        let damage = if dir == Path::new("bad") { vec![finding] } else { vec![] };
        let notes = if dir == Path::new("torn") { vec!["a torn tail".to_owned()] } else { vec![] };
        Ok(CheckReport { damage, summary: serde_json::json!({"files": 1}), notes })
    }

    fn repair(&self, dir: &Path, apply: bool, _: &Progress) -> Result<RepairReport> {
        if dir == Path::new("torn") {
            return Ok(RepairReport { steps: vec![], applied: false, notes: vec!["a torn tail".to_owned()] });
        }
        let step = RepairStep { file: "1.sst".into(), what: "leave it out".into(), lost: "3 keys".into() };
        Ok(RepairReport { steps: vec![step], applied: apply, notes: vec![] })
    }

    fn wal_dump(
        &self,
        dir: &Path,
        extension: &str,
        visit: &mut dyn FnMut(&WalRecord<'_>) -> Result<()>,
    ) -> Result<WalEnd> {
        assert!(extension == ".wal" || extension == ".log");
        visit(&WalRecord { segment: 1, offset: 64, log_index: 5, data: b"a\xff" })?;
        let what = "bad checksum".to_owned();
        Ok(match dir.to_str() {
            Some("torn") => WalEnd::Torn { segment: 1, offset: 80, what },
            Some("bad") => WalEnd::Damage { segment: 1, offset: 80, what, whole_behind: 4 },
            _ => WalEnd::Clean,
        })
    }
}
