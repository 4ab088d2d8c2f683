//! Writes that are not yet committed, in a form that reads can be answered from.
//!
//! Range deletes count as older than all single writes: adding one removes the single writes that it covers.

use super::backend::Table;
use super::writes::Writes;

/// A value that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The value.
    pub value: Vec<u8>,
    /// The entry's byte.
    pub kind: u8,
    /// Unix milliseconds, 0 = never.
    pub expires_at: u64,
}

/// A range of a table that is to be deleted; without an end it goes to the end of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRange {
    /// The table.
    pub table: Table,
    /// First key.
    pub lower: Vec<u8>,
    /// Behind the last key.
    pub upper: Option<Vec<u8>>,
}

impl DeletedRange {
    /// Does it cover `key`?
    pub fn covers(&self, table: Table, key: &[u8]) -> bool {
        self.table == table && *self.lower <= *key && self.upper.as_deref().is_none_or(|upper| key < upper)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Changes {
    tables: Vec<(Table, Writes)>,
    ranges: Vec<DeletedRange>,
    bytes: usize,
}

impl Changes {
    /// Nothing is to be written?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.tables.iter().all(|(_, writes)| writes.is_empty())
    }

    /// Roughly the bytes of keys and values; what was overwritten counts too.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // Their memory stays for the next command.
        self.tables.iter_mut().for_each(|(_, writes)| writes.clear());
        self.ranges.clear();
        self.bytes = 0;
    }

    /// Takes all single writes out, table by table.
    pub fn take(&mut self) -> impl Iterator<Item = (Table, Writes)> {
        self.bytes = 0;
        self.tables.iter_mut().map(|(table, writes)| (*table, std::mem::take(writes)))
    }

    /// Ranges to delete, before all single writes.
    pub fn ranges(&self) -> &[DeletedRange] {
        &self.ranges
    }

    /// Single writes, table by table.
    pub fn tables(&self) -> impl Iterator<Item = (Table, &Writes)> {
        self.tables.iter().map(|(table, writes)| (*table, writes))
    }

    fn of(&mut self, table: Table) -> &mut Writes {
        let at = match self.tables.iter().position(|(of, _)| *of == table) {
            Some(at) => at,
            None => {
                self.tables.push((table, Writes::default()));
                self.tables.len() - 1
            }
        };
        &mut self.tables[at].1
    }

    /// Sets `key`.
    pub fn put(&mut self, table: Table, key: &[u8], put: Put) {
        self.bytes += key.len() + put.value.len();
        self.of(table).insert(key, Some(put));
    }

    /// Removes `key`.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.bytes += key.len();
        self.of(table).insert(key, None);
    }

    /// Removes all keys from `lower` on, up to `upper` (not included) if there is one.
    pub fn delete_range(&mut self, table: Table, lower: &[u8], upper: Option<&[u8]>) {
        let range = DeletedRange { table, lower: lower.to_vec(), upper: upper.map(<[u8]>::to_vec) };
        self.bytes += lower.len() + upper.map_or(0, <[u8]>::len);
        self.of(table).retain(|key| !range.covers(table, key));
        self.ranges.push(range);
    }

    /// Takes the single writes in `lower..upper` out, in order.
    pub fn drain(&mut self, table: Table, lower: &[u8], upper: &[u8]) -> Vec<(Vec<u8>, Option<Put>)> {
        self.of(table).drain(lower, upper)
    }

    /// What a read of `key` sees of them: a value, that it is deleted (`Some(None)`), or nothing.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<Option<&Put>> {
        if let Some((_, writes)) = self.tables.iter().find(|(of, _)| *of == table)
            && let Some(write) = writes.get(key)
        {
            return Some(write.as_ref());
        }
        self.hides(table, key).then_some(None)
    }

    /// Is there a single write of `key`?
    pub fn has_written(&self, table: Table, key: &[u8]) -> bool {
        self.tables.iter().any(|(of, writes)| *of == table && writes.get(key).is_some())
    }

    /// Is `key` in a deleted range?
    pub fn hides(&self, table: Table, key: &[u8]) -> bool {
        self.ranges.iter().any(|range| range.covers(table, key))
    }

    /// Does any of them concern the table?
    pub fn concern(&self, table: Table) -> bool {
        self.tables.iter().any(|(of, writes)| *of == table && !writes.is_empty())
            || self.ranges.iter().any(|range| range.table == table)
    }

    /// Single writes of `table` in `lower..upper`.
    pub fn range<'a>(
        &'a self,
        table: Table,
        lower: &'a [u8],
        upper: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Option<Put>)> {
        let writes = self.tables.iter().find(move |(of, _)| *of == table);
        writes.into_iter().flat_map(move |(_, writes)| writes.range(lower, upper))
    }
}
