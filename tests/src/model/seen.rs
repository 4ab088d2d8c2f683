//! What a run came to: a run that never compacted would agree about nothing.

use nokv::{Db, MemIndex, Vfs};

/// Counts over all opens of a run.
#[derive(Debug, Clone, Default)]
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

    /// Adds what another run came to.
    pub(super) fn merge(&mut self, other: &Self) {
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.dropped_entries += other.dropped_entries;
        self.collected_segments += other.collected_segments;
        self.levels = self.levels.max(other.levels);
        self.reopens += other.reopens;
        self.kills += other.kills;
        self.checkpoints += other.checkpoints;
        self.conflicts += other.conflicts;
        self.commits += other.commits;
        self.families += other.families;
    }

    /// What many short runs together must have done.
    ///
    /// # Errors
    /// The counts, of which one is zero.
    pub(super) fn check_short(&self) -> Result<(), String> {
        let all = [
            self.flushes,
            self.compactions,
            self.dropped_entries,
            self.collected_segments,
            self.reopens + self.kills,
            self.levels as u64 / 2,
        ];
        if all.iter().all(|n| *n > 0) { Ok(()) } else { Err(format!("{self:?}")) }
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
