//! Watched keys that a flush or a swap of databases concerns.
//!
//! A watched key is a precondition of EXEC: nobody wrote it since. To the store, a flush writes every name there may be, and
//! a swap puts other keys under all names. To clients, neither changes a key that is not there and does not come. So before
//! a flush or swap such keys are noted, and once it has committed they are watched from then on.
//!
//! 1. A key is noted only if it was not there at WATCH, and nobody wrote it since, nor the transaction under way.
//! 2. What else a swap concerns is dirty: EXEC refuses. What else a flush concerns it has written.

use std::collections::BTreeMap;

use super::state::State;
use crate::redis::commands::Call;
use crate::redis::fail::Answer;
use crate::redis::server::held::Watched;
use crate::redis::store::backend::Table;
use crate::redis::store::changes::Changes;

/// Client, database and key of what was noted; the table that the key is in then, `None` if it is dirty.
pub type Rewatched = BTreeMap<(u64, u8, Vec<u8>), Option<Table>>;

impl Call<'_> {
    /// The keys of `dbs` are about to be deleted.
    ///
    /// # Errors
    /// What the store met.
    pub fn spare_watched(&mut self, dbs: &[u8]) -> Answer<()> {
        for (client, watched) in self.watched_in(dbs) {
            let table = self.untouched(client, &watched)?;
            let name = (client, watched.db, watched.condition.key);
            if table.is_some() || self.state.rewatched.contains_key(&name) {
                self.state.rewatched.insert(name, table);
            }
        }
        Ok(())
    }

    /// Two databases are about to change places.
    ///
    /// # Errors
    /// What the store met.
    pub fn swap_watched(&mut self, a: u8, b: u8) -> Answer<()> {
        for (client, watched) in self.watched_in(&[a, b]) {
            let other = if watched.db == a { b } else { a };
            let is_untouched = self.untouched(client, &watched)?.is_some();
            let is_spared = is_untouched && !self.keys.holds(other, &watched.condition.key)?;
            let table = is_spared.then(|| Table::Keys(self.keys.space(other)));
            self.state.rewatched.insert((client, watched.db, watched.condition.key), table);
        }
        Ok(())
    }

    fn watched_in(&self, dbs: &[u8]) -> Vec<(u64, Watched)> {
        let mut all = Vec::new();
        for (id, client) in &self.state.clients {
            let client = client.borrow();
            let concerned = client.watched.iter().filter(|watched| dbs.contains(&watched.db));
            all.extend(concerned.map(|watched| (*id, watched.clone())));
        }
        all
    }

    /// Where a watched key would stand, if it was not there at WATCH and nobody wrote it since.
    fn untouched(&mut self, client: u64, watched: &Watched) -> Answer<Option<Table>> {
        let Watched { db, condition, existed, is_dirty } = watched;
        let noted = self.state.rewatched.get(&(client, *db, condition.key.clone())).copied();
        let table = noted.unwrap_or(Some(condition.table));
        let here = Table::Keys(self.keys.space(*db));
        let txn = self.keys.txn();
        if *existed || *is_dirty || table != Some(here) || txn.changes().has_written(here, &condition.key) {
            return Ok(None);
        }
        if noted.is_none() {
            if !txn.backend().is_unchanged(condition)? {
                return Ok(None);
            }
            txn.require(condition.clone());
        }
        Ok(table)
    }
}

impl State {
    /// A transaction committed with `changes`, the last of them at `seq`: what was noted holds.
    pub fn rewatch(&mut self, changes: &Changes, seq: u64) {
        for ((client, db, key), table) in std::mem::take(&mut self.rewatched) {
            let Some(client) = self.clients.get(&client) else { continue };
            let mut client = client.borrow_mut();
            let Some(watched) = client.watched.get_mut(db, &key) else { continue };
            match table.filter(|table| !changes.has_written(*table, &key)) {
                Some(table) => (watched.condition.table, watched.condition.since) = (table, seq),
                None => watched.is_dirty = true,
            }
        }
    }
}

#[cfg(test)]
mod tests;
