//! What a run came to: a run that never compacted would agree about nothing.

use nokv::{Db, MemIndex, Vfs};

/// Counts over all opens of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    flushes: u64,
    compactions: u64,
    dropped_entries: u64,
    collected_segments: u64,
    /// Most levels that held tables at once.
    levels: usize,
    pub(super) reopens: u64,
    pub(super) kills: u64,
    pub(super) checkpoints: u64,
    pub(super) conflicts: u64,
    pub(super) commits: u64,
    pub(super) families: u64,
}

impl Seen {
    /// Adds what an open database counted; before it goes.
    pub(super) fn add<V: Vfs, I: MemIndex>(&mut self, db: &Db<V, I>) {
        let stats = db.stats();
        self.flushes += stats.counter("flushes");
        self.compactions += stats.counter("compactions");
        self.dropped_entries += stats.counter("dropped_entries");
        self.collected_segments += stats.counter("gc_segments");
        self.look(db);
    }

    /// Counts the levels that hold tables now.
    pub(super) fn look<V: Vfs, I: MemIndex>(&mut self, db: &Db<V, I>) {
        let in_use = db.stats().lsm.levels.iter().filter(|l| l.table_count + l.ingest_tables > 0).count();
        self.levels = self.levels.max(in_use);
    }

    /// Nothing is missing, of a run that was long enough.
    pub(super) fn check(&self, can_kill: bool) {
        let all = [
            self.flushes / 10,
            self.compactions / 10,
            self.dropped_entries / 100,
            self.collected_segments,
            self.levels as u64 / 2,
            self.reopens,
            self.kills + u64::from(!can_kill),
            self.checkpoints,
            self.conflicts,
            self.commits,
            self.families,
        ];
        assert!(all.iter().all(|n| *n > 0), "{self:?}");
    }
}
