//! Column families: names for numbers. A number is never used again; a drop is one manifest edit, and the
//! family's entries go with the next compactions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

use nokv_formats::manifest::Edit;
use nokv_formats::{CfId, Seq};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::MemIndex;
use crate::manifest::ManifestState;
use crate::sync::Arc;
use crate::vfs::Vfs;

/// The families that exist, and those that did.
#[derive(Debug, Clone, Default)]
pub struct Families {
    by_name: BTreeMap<String, CfId>,
    live: BTreeSet<CfId>,
    dropped: BTreeMap<CfId, Seq>,
    /// The first number that no family has had.
    next: CfId,
}

impl Families {
    pub(crate) fn of(state: &ManifestState) -> Self {
        let mut families = Self { next: state.next_family(), ..Self::default() };
        for (id, family) in &state.families {
            match family.dropped_at {
                Some(seq) => {
                    families.dropped.insert(*id, seq);
                }
                None => {
                    families.by_name.insert(family.name.clone(), *id);
                    families.live.insert(*id);
                }
            }
        }
        families
    }

    /// The family of this name.
    pub fn get(&self, name: &str) -> Option<CfId> {
        self.by_name.get(name).copied()
    }

    /// Does this family exist?
    #[inline]
    pub fn is_live(&self, cf: CfId) -> bool {
        self.live.contains(&cf)
    }

    /// Does this family exist, or did it? A recovery of the log knows no other.
    #[inline]
    pub fn was_made(&self, cf: CfId) -> bool {
        cf < self.next
    }

    /// Names and numbers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, CfId)> {
        self.by_name.iter().map(|(name, id)| (name.as_str(), *id))
    }

    pub(crate) const fn dropped(&self) -> &BTreeMap<CfId, Seq> {
        &self.dropped
    }
}

/// Is `name` fit for a family: a letter, digit, `_` or `-`, then up to 127 of those or `.`?
fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let first = bytes.next().is_some_and(plain);
    if first && name.len() <= 128 && bytes.all(|b| plain(b) || b == b'.') {
        return Ok(());
    }
    Err(Error::InvalidArgument(alloc::format!(
        "{name:?} is no name for a column family: 1 to 128 letters, digits, '_', '-', and '.' but not first"
    )))
}

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// Makes a family; durable when it returns.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a bad name or one that is taken.
    pub fn create_family(&self, name: &str) -> Result<CfId> {
        self.check_writable()?;
        check_name(name)?;
        let mut install = self.install.lock();
        if install.manifest.state().family(name).is_some() {
            return Err(Error::InvalidArgument(alloc::format!("column family {name} exists already")));
        }
        let id = install.manifest.state().next_family();
        if id.0 == u32::MAX {
            return Err(Error::InvalidArgument("no number is left for a column family".to_string()));
        }
        self.record(&mut install, &[Edit::CreateFamily { id, name: name.to_string() }], true)?;
        self.families.store(Arc::new(Families::of(install.manifest.state())));
        Ok(id)
    }

    /// Drops a family with all that is in it; durable when it returns.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`]; [`Error::InvalidArgument`] for `default`, `lock` and `write`.
    pub fn drop_family(&self, name: &str) -> Result<()> {
        self.check_writable()?;
        let mut install = self.install.lock();
        let id =
            install.manifest.state().family(name).ok_or_else(|| Error::UnknownFamily(name.to_string()))?;
        if id <= CfId::WRITE {
            return Err(Error::InvalidArgument(alloc::format!("column family {name} cannot be dropped")));
        }
        let at_seq = self.published();
        self.record(&mut install, &[Edit::DropFamily { id, at_seq }], true)?;
        self.families.store(Arc::new(Families::of(install.manifest.state())));
        Ok(())
    }
}
