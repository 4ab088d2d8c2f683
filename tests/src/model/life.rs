//! Operations on the database as a whole: flush, compaction, families, copies, reopening.

use nokv::{Db, Error, MemIndex, Vfs};

use super::choices::{self, pick};
use super::run::Run;

impl<V: Vfs, I: MemIndex> Run<V, I> {
    /// Opens the database under a new option set.
    pub(super) fn open(&mut self) {
        let options = choices::options(&mut self.options_course, &self.dir, &self.clock);
        self.options_text = format!(
            "memtable {} x{} {:?} wal {} threshold {} vlog {} buckets {} gc {:?} block {} bloom {} {:?} table {} cache {} \
             files {} l0 {} base {} x{} compactors {}",
            options.mem_table_bytes,
            options.sealed_mem_tables_max,
            options.mem_table_engine,
            options.wal_segment_bytes,
            options.value_threshold_bytes,
            options.value_log_segment_bytes,
            options.value_log_bucket_count,
            options.value_log_gc_interval,
            options.block_bytes,
            options.bloom_bits_per_key,
            options.compression,
            options.table_bytes,
            options.block_cache_bytes,
            options.open_files_max,
            options.level0_compaction_tables,
            options.level_base_bytes,
            options.level_multiplier,
            options.num_compactors,
        );
        let index = (self.setup.index)(&options);
        let db = Db::open_with(self.setup.fs.clone(), index, options).expect("open");
        assert_eq!(
            db.published_seq(),
            self.model.seq(),
            "published seq after opening: {:?}",
            db.open_report()
        );
        let report = db.check_all().expect("check_all");
        assert!(report.is_clean(), "after opening: {report:#?}");
        self.db = Some(db);
        self.unlogged = false;
    }

    pub(super) fn flush(&mut self) {
        self.note(|_| "flush".to_owned());
        self.db().flush().expect("flush");
        self.unlogged = false;
    }

    pub(super) fn sync(&mut self) {
        self.note(|_| "sync".to_owned());
        assert_eq!(self.db().sync().expect("sync"), self.model.seq());
    }

    pub(super) fn wait_idle(&mut self) {
        self.note(|_| "wait_idle".to_owned());
        self.db().wait_idle().expect("wait_idle");
    }

    pub(super) fn compact_range(&mut self) {
        let cf = self.family();
        let (lower, upper) = (self.one_in(2).then(|| self.key()), self.one_in(2).then(|| self.key()));
        self.note(|_| {
            format!("compact {cf} {:?}..{:?}", lower.as_ref().map(Vec::len), upper.as_ref().map(Vec::len))
        });
        self.db().compact_range(cf, lower.as_deref(), upper.as_deref()).expect("compact_range");
        self.unlogged = false;
    }

    pub(super) fn collect(&mut self) {
        let ratio = pick(&mut self.course, &[0.01, 0.3, 0.7]);
        self.note(|_| format!("collect {ratio}"));
        match self.db().run_value_log_gc(ratio) {
            Ok(report) => assert!(
                report.segments > 0 && report.refused == 0,
                "{report:?}: {:?}",
                self.db().health().value_log_refusals
            ),
            Err(Error::NothingToCollect | Error::GcRejected) => {}
            Err(error) => panic!("run_value_log_gc: {error}"),
        }
    }

    pub(super) fn create_family(&mut self) {
        let name = format!("f{}", self.course.below(4));
        self.note(|_| format!("create {name}"));
        let there = self.made.iter().any(|(n, _)| *n == name);
        match self.db().create_cf(&name) {
            Ok(cf) => {
                assert!(!there, "{name} was made twice");
                assert_eq!(self.db().cf(&name), Some(cf));
                self.model.create(cf);
                self.made.push((name, cf));
            }
            Err(Error::InvalidArgument(_)) => assert!(there, "{name} was refused"),
            Err(error) => panic!("create_cf: {error}"),
        }
    }

    pub(super) fn drop_family(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let at = self.course.below(self.made.len() as u64) as usize;
        let (name, cf) = self.made.swap_remove(at);
        self.note(|_| format!("drop {name}"));
        self.db().drop_cf(&name).expect("drop_cf");
        self.model.drop_family(cf);
        self.seen.families += 1;
        assert_eq!(self.db().cf(&name), None);
        assert!(matches!(self.db().get_cf(cf, b"key"), Err(Error::UnknownFamily(_))));
        assert!(matches!(self.db().set_cf(cf, b"key", b""), Err(Error::UnknownFamily(_))));
    }

    /// Closes and opens again under other options.
    pub(super) fn reopen(&mut self) {
        self.pasts.clear();
        self.held.clear();
        let db = self.db.take().expect("it is open");
        self.seen.add(&db);
        self.seen.reopens += 1;
        if self.course.below(4) == 0 {
            // The last handle closes.
            drop(db);
        } else {
            db.close().expect("close");
            assert_eq!(db.get(b"key").map(|v| v.is_some()), Err(Error::Closed));
        }
        self.open();
        self.note(|run| format!("reopened, {}", run.options_text));
        assert!(self.db().open_report().clean, "{:?}", self.db().open_report());
        self.compare_all();
    }

    /// The death of the process: nothing that was acknowledged is lost.
    pub(super) fn kill(&mut self) {
        let Some(kill) = self.setup.kill else { return self.reopen() };
        if self.unlogged {
            self.flush();
        }
        let left = kill(&self.setup.fs);
        self.pasts.clear();
        self.held.clear();
        let killed = self.db.take().expect("it is open");
        self.seen.add(&killed);
        self.seen.kills += 1;
        drop(killed);
        self.setup.fs = left;
        self.open();
        self.note(|run| format!("killed, {}", run.options_text));
        self.compare_all();
    }

    /// A copy equals the original.
    pub(super) fn checkpoint(&mut self) {
        self.seen.checkpoints += 1;
        let target = format!("{}/copy{}", self.setup.dir, self.seen.checkpoints);
        self.note(|_| format!("checkpoint {target}"));
        let seq = self.db().checkpoint(&target).expect("checkpoint");
        self.unlogged = false;
        assert_eq!(seq, self.model.seq());
        let options = choices::options(&mut self.options_course, &target, &self.clock);
        let index = (self.setup.index)(&options);
        let copy = Db::<V, I>::open_with(self.setup.fs.clone(), index, options).expect("open the copy");
        assert_eq!(copy.published_seq(), seq);
        self.compare_copy(&copy);
        let report = copy.check_all().expect("check_all");
        assert!(report.is_clean(), "{report:#?}");
        copy.set(b"only in the copy", b"x").expect("set");
        copy.close().expect("close");
        assert_eq!(self.db().get(b"only in the copy").expect("get"), None);
    }
}
