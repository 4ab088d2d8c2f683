//! `check`: every checksum and every invariant, without changing anything.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nokv_formats::{KeyBuf, Kind, ValuePtr};

use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::level::{self, Install as Installing};
use crate::sync::Arc;
use crate::table::Table;
use crate::vfs::Vfs;

/// What a check looked at and found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Tables read.
    pub tables: u64,
    /// Entries in them.
    pub entries: u64,
    /// Value-log records that they point to.
    pub values: u64,
    /// Bytes read, roughly.
    pub bytes: u64,
    /// What is wrong: [`Error::Corrupt`] and [`Error::Unsupported`] only.
    pub problems: Vec<Error>,
}

impl CheckReport {
    /// Nothing wrong?
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Checks all tables, the value log as far as it is named, and the shape of the tree. `progress` is called
    /// with bytes read since the last call.
    ///
    /// # Errors
    /// Only what is not damage: an I/O error, [`Error::Closed`]. Damage goes into the report.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<CheckReport> {
        self.check_open()?;
        let mut report = CheckReport::default();
        let view = self.view();
        if let Err(what) = level::check(&view.tables, &view.tables, &Installing::default()) {
            report.problems.push(Error::corrupt(self.path("CURRENT"), 0, what));
        }
        for table in view.tables.tables() {
            let bytes = table.meta().file_bytes;
            report.tables += 1;
            report.bytes += bytes;
            let result = table.verify().and_then(|()| self.check_pointers(table, &mut report));
            note(&mut report, result)?;
            progress(bytes);
        }
        for memtable in view.memtables() {
            let mut cursor = memtable.index().cursor();
            let result = cursor.seek_first().and_then(|()| self.check_cursor(&mut cursor, None, &mut report));
            note(&mut report, result)?;
        }
        Ok(report)
    }

    fn check_pointers(&self, table: &Arc<Table<V>>, report: &mut CheckReport) -> Result<()> {
        let mut cursor = table.cursor(self.bulk_cursor());
        cursor.seek_first()?;
        self.check_cursor(&mut cursor, Some(table), report)
    }

    fn check_cursor(
        &self,
        cursor: &mut impl Cursor,
        table: Option<&Arc<Table<V>>>,
        report: &mut CheckReport,
    ) -> Result<()> {
        let mut previous: Option<KeyBuf> = None;
        while cursor.valid() {
            let key = cursor.key();
            if previous.as_ref().is_some_and(|p| p.as_ref() >= key) {
                return Err(Error::corrupt(name_of(self, table), 0, "keys out of order"));
            }
            previous.get_or_insert_default().set(key);
            while let Some(entry) = cursor.entry() {
                report.entries += 1;
                if entry.kind == Kind::Pointer {
                    let ptr = ValuePtr::decode(entry.value)
                        .map_err(|m| Error::malformed(name_of(self, table), 0, m))?;
                    report.values += 1;
                    report.bytes += u64::from(ptr.value_len);
                    let result = self.vlog.read(&ptr, cursor.key(), entry.version).map(|_| ());
                    note(report, result)?;
                }
                cursor.next_entry()?;
            }
            cursor.next_key()?;
        }
        Ok(())
    }
}

fn name_of<V: Vfs, I: MemIndex>(engine: &Engine<V, I>, table: Option<&Arc<Table<V>>>) -> String {
    table.map_or_else(|| "memtable".to_string(), |t| engine.table_path(t.meta().id))
}

/// Damage is noted, other errors end the check.
fn note(report: &mut CheckReport, result: Result<()>) -> Result<()> {
    match result {
        Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
            report.problems.push(error);
            Ok(())
        }
        other => other,
    }
}
