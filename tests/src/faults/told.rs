//! What a writer was told, and which contents that allows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nokv_core::engine::Engine;
use nokv_core::error::{Error, Result};
use nokv_core::formats::CfId;
use nokv_core::table::CursorOptions;
use nokv_core::vfs::Vfs;
use nokv_index_skiplist::Skiplist;

use crate::crash::track::Op;

/// User key to value, of the default family.
pub(super) type Content = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It failed: it may have happened all the same.
    Failed,
    /// Acknowledged, without a log record: it may vanish until it is flushed.
    Unlogged,
    /// Acknowledged.
    Logged,
}

/// In commit order.
#[derive(Default)]
pub(super) struct Told {
    pub(super) writes: Vec<(Op, Fate)>,
    /// So many of them are durable.
    pub(super) synced: usize,
    /// The first error, with the step it came in.
    pub(super) error: Option<(usize, Error)>,
    /// The step in which it was last closed and opened again.
    pub(super) reopened: Option<usize>,
    /// No process comes after the one that met an error.
    pub(super) ends_with_error: bool,
}

impl Told {
    /// Everything so far is in durable files, whether it was logged or not.
    pub(super) fn flushed(&mut self) {
        self.synced = self.writes.len();
        for (_, fate) in &mut self.writes {
            if *fate == Fate::Unlogged {
                *fate = Fate::Logged;
            }
        }
    }

    /// An open after an error found this, and made it durable.
    ///
    /// # Panics
    /// When it may not be so.
    pub(super) fn starts_again(&mut self, found: Content) {
        assert!(self.allows(&found), "opened again: no prefix, or synced writes are lost; {self}");
        self.writes = found.into_iter().map(|(key, value)| (Op::Put(0, key, value), Fate::Logged)).collect();
        self.synced = self.writes.len();
    }

    /// What the open database must show.
    pub(super) fn acknowledged(&self) -> Content {
        let mut content = Content::new();
        self.writes
            .iter()
            .filter(|(_, fate)| *fate != Fate::Failed)
            .for_each(|(op, _)| apply(&mut content, op));
        content
    }

    /// Is `found` what some history leaves: all acknowledged and logged writes up to some point, at least all that are
    /// durable, where each of the others happened or not?
    pub(super) fn allows(&self, found: &Content) -> bool {
        let mut states = vec![Content::new()];
        if self.synced == 0 && found.is_empty() {
            return true;
        }
        for (i, (op, fate)) in self.writes.iter().enumerate() {
            let mut next = states.clone();
            next.iter_mut().for_each(|state| apply(state, op));
            if *fate == Fate::Logged {
                states = next;
            } else {
                states.extend(next);
                states.sort();
                states.dedup();
            }
            if i + 1 >= self.synced && states.contains(found) {
                return true;
            }
        }
        false
    }
}

impl Told {
    /// Is `found` what all acknowledged and logged writes leave, where each of the others happened or not? The death of a
    /// process takes none. Judged key by key.
    pub(super) fn has_all(&self, found: &Content) -> bool {
        // What a key may have: no value, or any of these.
        let mut may: BTreeMap<&[u8], Vec<Option<&[u8]>>> = BTreeMap::new();
        let keys = self.writes.iter().filter_map(|(op, _)| match op {
            Op::Put(_, key, _) | Op::Delete(_, key) => Some(key.as_slice()),
            _ => None,
        });
        may.extend(keys.map(|key| (key, vec![None])));
        for (op, fate) in &self.writes {
            for (key, values) in &mut may {
                let value = match op {
                    Op::Put(_, k, value) if k == key => Some(&**value),
                    Op::Delete(_, k) if k == key => None,
                    Op::DeleteRange(_, start, end) if start.as_slice() <= *key && *key < end.as_slice() => {
                        None
                    }
                    _ => continue,
                };
                if *fate == Fate::Logged {
                    values.clear();
                }
                values.push(value);
            }
        }
        found.keys().all(|key| may.contains_key(key.as_slice()))
            && may.iter().all(|(key, values)| values.contains(&found.get(*key).map(|value| &**value)))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} writes, {} durable, first error {:?}", self.writes.len(), self.synced, self.error)
    }
}

fn apply(content: &mut Content, op: &Op) {
    match op {
        Op::Put(_, key, value) => drop(content.insert(key.clone(), Arc::clone(value))),
        Op::Delete(_, key) => drop(content.remove(key)),
        Op::DeleteRange(_, start, end) => content.retain(|key, _| key < start || key >= end),
        Op::PutVersion(..) => panic!("the works write no versions"),
    }
}

/// The default family, by a scan.
pub(super) fn content<V: Vfs>(engine: &Engine<V, Skiplist>) -> Result<Content> {
    let mut scan = engine.scan(CfId(0), &[], None, None, CursorOptions::SCAN)?;
    scan.seek_first()?;
    let mut content = Content::new();
    while let (Some(key), Some(entry)) = (scan.key(), scan.entry()) {
        let value = engine.value_of(key, &entry)?;
        content.insert(key.user_key.to_vec(), Arc::from(&*value));
        scan.next()?;
    }
    Ok(content)
}
