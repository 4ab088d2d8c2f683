//! What a writer was told, and which contents that allows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nokv_core::engine::Engine;
use nokv_core::error::{Error, Result};
use nokv_core::formats::{KeyRef, Version};
use nokv_core::table::CursorOptions;
use nokv_core::vfs::Vfs;
use nokv_index_skiplist::Skiplist;

use crate::crash::track::{Content, Op};

use super::works::{KEYS, key};

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It failed: it may have happened all the same, whole.
    Failed,
    /// Acknowledged, without a log record: it may vanish, whole, until it is flushed.
    Unlogged,
    /// Acknowledged.
    Logged,
}

/// In commit order.
#[derive(Default)]
pub(super) struct Told {
    /// Batches: each is whole or absent.
    pub(super) writes: Vec<(Vec<Op>, Fate)>,
    /// So many of them are durable.
    pub(super) synced: usize,
    /// The first error, with the step it came in.
    pub(super) error: Option<(usize, Error)>,
    /// The step in which it was last closed and opened again.
    pub(super) reopened: Option<usize>,
    /// No process comes after the one that met an error.
    pub(super) ends_with_error: bool,
    /// It was opened again after an error and could not be read: which of the failed writes happened is not known.
    pub(super) is_vague: bool,
}

/// What each key was given, by whom: the number of a write and a value, in order.
type Histories<'a> = BTreeMap<(u32, &'a [u8]), Vec<(usize, Option<&'a [u8]>)>>;

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
        let put = |((cf, key), value)| (vec![Op::Put(cf, key, value)], Fate::Logged);
        self.writes = found.into_iter().map(put).collect();
        self.synced = self.writes.len();
    }

    /// What the open database must show.
    pub(super) fn acknowledged(&self) -> Content {
        let mut content = Content::new();
        let there = self.writes.iter().filter(|(_, fate)| *fate != Fate::Failed);
        there.flat_map(|(ops, _)| ops).for_each(|op| op.apply(&mut content));
        content
    }

    /// May the open database show this?
    pub(super) fn is_shown(&self, found: &Content) -> bool {
        if self.is_vague { self.allows(found) } else { *found == self.acknowledged() }
    }

    /// Is `found` what some history leaves: all acknowledged and logged writes up to some point, at least all that are
    /// durable, where each of the others happened, whole, or did not?
    pub(super) fn allows(&self, found: &Content) -> bool {
        let histories = self.histories();
        (self.synced..=self.writes.len()).rev().any(|n| self.leaves(&histories, n, found))
    }

    /// Is `found` what all acknowledged and logged writes leave, where each of the others happened or not? The death of a
    /// process takes none.
    pub(super) fn has_all(&self, found: &Content) -> bool {
        self.leaves(&self.histories(), self.writes.len(), found)
    }

    /// Keys that `found` shows otherwise than all acknowledged writes leave them, with who wrote them.
    pub(super) fn difference(&self, found: &Content) -> String {
        let short = |value: Option<&[u8]>| match value {
            Some(value) => format!("{:?} x {}", value.first(), value.len()),
            None => "nothing".to_owned(),
        };
        let told = self.acknowledged();
        let mut text = String::new();
        for ((cf, key), history) in self.histories() {
            let at = (cf, key.to_vec());
            let (shown, right) = (found.get(&at).map(|v| &**v), told.get(&at).map(|v| &**v));
            if shown != right && text.len() < 6000 {
                let history: Vec<_> =
                    history.iter().map(|(i, v)| (i, self.writes[*i].1, short(*v))).collect();
                text += &format!(
                    "\n  family {cf} {}: {}, acknowledged {}, writes {history:?}",
                    key.escape_ascii(),
                    short(shown),
                    short(right)
                );
            }
        }
        text
    }

    fn histories(&self) -> Histories<'_> {
        let ops = || self.writes.iter().zip(0..).flat_map(|((ops, _), i)| ops.iter().map(move |op| (i, op)));
        let mut histories = Histories::new();
        for (_, op) in ops() {
            if let Op::Put(cf, key, _) | Op::Delete(cf, key) = op {
                histories.entry((*cf, key)).or_default();
            }
        }
        for (i, op) in ops() {
            match op {
                Op::Put(cf, key, value) => histories.entry((*cf, key)).or_default().push((i, Some(value))),
                Op::Delete(cf, key) => histories.entry((*cf, key)).or_default().push((i, None)),
                Op::DeleteRange(cf, start, end) if start < end => {
                    let range = (*cf, start.as_slice())..(*cf, end.as_slice());
                    histories.range_mut(range).for_each(|(_, history)| history.push((i, None)));
                }
                Op::DeleteRange(..) => {}
                Op::PutVersion(..) => panic!("the works write no versions"),
            }
        }
        histories
    }

    /// Is `found` what the first `n` writes leave? Of those that may be absent, one whose value is there happened, with
    /// all of its keys.
    fn leaves(&self, histories: &Histories<'_>, n: usize, found: &Content) -> bool {
        let mut happened: Vec<bool> =
            self.writes[..n].iter().map(|(_, fate)| *fate == Fate::Logged).collect();
        for ((cf, key), value) in found {
            let history = histories.get(&(*cf, key.as_slice()));
            let mut writers = history.into_iter().flatten().filter(|(i, v)| *i < n && *v == Some(&**value));
            match (writers.next(), writers.next()) {
                (None, _) => return false,
                (Some((only, _)), None) => happened[*only] = true,
                // Two of them wrote the same.
                (Some(_), Some(_)) => {}
            }
        }
        histories.iter().all(|((cf, key), history)| {
            let value = found.get(&(*cf, key.to_vec())).map(|value| &**value);
            for (i, written) in history.iter().rev().filter(|(i, _)| *i < n) {
                if *written == value {
                    return true;
                }
                if happened[*i] {
                    return false;
                }
            }
            value.is_none()
        })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} writes, {} durable, first error {:?}", self.writes.len(), self.synced, self.error)
    }
}

/// All families, by scans both ways, and by point reads of every key that a work writes.
///
/// # Panics
/// When they differ: that is no error, but a wrong answer.
pub(super) fn content<V: Vfs>(engine: &Engine<V, Skiplist>) -> Result<Content> {
    let mut content = Content::new();
    for (_, cf) in engine.families().iter() {
        let mut scan = engine.scan(cf, &[], None, None, CursorOptions::SCAN)?;
        scan.seek_first()?;
        let mut keys = Vec::new();
        while let (Some(key), Some(entry)) = (scan.key(), scan.entry()) {
            let value = engine.value_of(key, &entry)?;
            keys.push(key.user_key.to_vec());
            content.insert((cf.0, key.user_key.to_vec()), Arc::from(&*value));
            scan.next()?;
        }
        scan.seek_last()?;
        while let Some(key) = scan.key() {
            assert_eq!(keys.pop().as_deref(), Some(key.user_key), "scans differ");
            scan.prev()?;
        }
        assert!(keys.is_empty(), "the reverse scan does not show {keys:?}");
        for key in (0..KEYS).map(key) {
            let hit = engine.get(KeyRef::new(cf, &key), Version::MAX)?;
            let shown = content.get(&(cf.0, key));
            assert_eq!(
                hit.as_ref().map(|hit| &*hit.value),
                shown.map(|value| &**value),
                "get and scan differ"
            );
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: u8) -> Op {
        Op::Put(0, key.as_bytes().to_vec(), Arc::from([value]))
    }

    fn found(keys: &[(&str, u8)]) -> Content {
        keys.iter().map(|(key, value)| ((0, key.as_bytes().to_vec()), Arc::from([*value]))).collect()
    }

    #[test]
    fn a_failed_batch_is_whole_or_absent() {
        let writes = vec![
            (vec![put("a", 1)], Fate::Logged),
            (vec![put("a", 2), put("b", 2)], Fate::Failed),
            (vec![put("c", 3)], Fate::Logged),
        ];
        let told = Told { writes, synced: 1, ..Told::default() };
        for right in [&[("a", 1), ("c", 3)][..], &[("a", 2), ("b", 2), ("c", 3)]] {
            assert!(told.has_all(&found(right)) && told.allows(&found(right)), "{right:?}");
        }
        for prefix in [&[("a", 1)][..], &[("a", 2), ("b", 2)]] {
            assert!(told.allows(&found(prefix)) && !told.has_all(&found(prefix)), "{prefix:?}");
        }
        for wrong in [&[][..], &[("a", 2), ("c", 3)], &[("a", 1), ("b", 2), ("c", 3)], &[("a", 9), ("c", 3)]]
        {
            assert!(!told.allows(&found(wrong)), "{wrong:?}");
        }
        assert!(told.is_shown(&found(&[("a", 1), ("c", 3)])));
    }
}
