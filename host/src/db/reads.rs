//! Reads and iterators of the handle.

use nokv_core::formats::{CfId, KeyRef, Version};
use nokv_core::read::point::Value;
use nokv_core::table::CursorOptions;
use nokv_core::{MemIndex, Result, Vfs};

use super::{Db, Entry, InternalIter, Iter, IterOptions, Snapshot};

impl<V: Vfs, I: MemIndex> Db<V, I> {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if what had to be read is damaged; [`crate::Error::Closed`].
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.get_cf(CfId::DEFAULT, key)
    }

    /// The value of `key` in a column family.
    ///
    /// # Errors
    /// As [`Db::get`]; [`crate::Error::UnknownFamily`].
    #[inline]
    pub fn get_cf(&self, cf: CfId, key: &[u8]) -> Result<Option<Value>> {
        self.check(cf)?;
        self.inner.hot.on_read(KeyRef::new(cf, key));
        Ok(self.inner.engine.get(KeyRef::new(cf, key), Version::MAX)?.map(|hit| hit.value))
    }

    /// The value of `key` with all that is stored with it.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_entry(&self, cf: CfId, key: &[u8]) -> Result<Option<Entry>> {
        self.get_versioned_entry(cf, key, Version::MAX)
    }

    /// As [`Db::get_entry`], also an entry that expired, as long as it is stored.
    #[cfg(feature = "redis")]
    pub(crate) fn get_stored(&self, cf: CfId, key: &[u8]) -> Result<Option<Entry>> {
        self.check(cf)?;
        self.inner.hot.on_read(KeyRef::new(cf, key));
        Ok(self.inner.engine.get_with_expired(KeyRef::new(cf, key), Version::MAX)?.map(Entry::from))
    }

    /// When the entry of `key` expires or expired (0: never), as long as it is stored.
    #[cfg(feature = "redis")]
    pub(crate) fn expiry_of(&self, cf: CfId, key: &[u8]) -> Result<Option<u64>> {
        self.check(cf)?;
        self.inner.engine.expiry_of(KeyRef::new(cf, key), Version::MAX)
    }

    /// The newest version of `key` up to `version`; [`Entry::version`] says which.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_versioned_entry(&self, cf: CfId, key: &[u8], version: Version) -> Result<Option<Entry>> {
        self.check(cf)?;
        self.inner.hot.on_read(KeyRef::new(cf, key));
        Ok(self.inner.engine.get(KeyRef::new(cf, key), version)?.map(Entry::from))
    }

    /// As [`Db::get_versioned_entry`], at a snapshot.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn get_at(
        &self,
        snapshot: &Snapshot<V, I>,
        cf: CfId,
        key: &[u8],
        version: Version,
    ) -> Result<Option<Entry>> {
        self.check(cf)?;
        self.inner.hot.on_read(KeyRef::new(cf, key));
        Ok(self.inner.engine.get_at(&snapshot.0, KeyRef::new(cf, key), version)?.map(Entry::from))
    }

    /// The values of several keys of a family at one moment, in the order of `keys`.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    pub fn multi_get(&self, cf: CfId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.check(cf)?;
        let keys: Vec<KeyRef<'_>> = keys.iter().map(|key| KeyRef::new(cf, key)).collect();
        keys.iter().for_each(|key| self.inner.hot.on_read(*key));
        Ok(self.inner.engine.multi_get(&keys)?.into_iter().map(|hit| hit.map(|h| h.value)).collect())
    }

    /// A snapshot of now.
    ///
    /// # Errors
    /// [`crate::Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot<V, I>> {
        self.check(CfId::DEFAULT)?;
        Ok(Snapshot(self.inner.engine.snapshot()))
    }

    /// An iterator, now.
    ///
    /// # Errors
    /// As [`Db::get_cf`].
    ///
    /// ```
    /// # fn main() -> nokv::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = nokv::Db::open(nokv::Options::new(dir.path()))?;
    /// db.set(b"b", b"2")?;
    /// db.set(b"a", b"1")?;
    /// let keys: nokv::Result<Vec<_>> = db.iter(Default::default())?.map(|r| r.map(|(k, _)| k)).collect();
    /// assert_eq!(keys?, [b"a", b"b"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self, options: IterOptions) -> Result<Iter<V, I>> {
        self.iter_from(None, options)
    }

    /// As [`Db::iter`], with entries that expired, as long as they are stored.
    #[cfg(feature = "redis")]
    pub(crate) fn iter_stored(&self, options: IterOptions) -> Result<Iter<V, I>> {
        self.iter_from(None, options).map(Iter::with_expired)
    }

    /// See [`nokv_core::engine::Engine::keep_expired_from`].
    #[cfg(feature = "redis")]
    pub(crate) fn keep_expired_from(&self, unix_ms: u64) {
        self.inner.engine.keep_expired_from(unix_ms);
    }

    /// An iterator at a snapshot.
    ///
    /// # Errors
    /// As [`Db::iter`].
    pub fn iter_at(&self, snapshot: &Snapshot<V, I>, options: IterOptions) -> Result<Iter<V, I>> {
        self.iter_from(Some(snapshot), options)
    }

    fn iter_from(&self, snapshot: Option<&Snapshot<V, I>>, options: IterOptions) -> Result<Iter<V, I>> {
        self.check(options.cf)?;
        let mut lower = options.lower.unwrap_or_default();
        let mut upper = options.upper;
        if let Some(prefix) = options.prefix {
            if let Some(end) = nokv_core::engine::prefix_end(&prefix) {
                upper = Some(upper.map_or(end.clone(), |u| u.min(end)));
            }
            lower = lower.max(prefix);
        }
        let cursor = if options.no_cache { CursorOptions::COMPACTION } else { CursorOptions::default() };
        let scan =
            self.inner.engine.scan(options.cf, &lower, upper.as_deref(), snapshot.map(|s| &s.0), cursor)?;
        Ok(Iter::new(self.inner.engine.clone(), scan, options.key_only, options.reverse))
    }

    /// Every stored entry of every family, hidden ones and deletes included. For tools and replication.
    ///
    /// # Errors
    /// [`crate::Error::Closed`].
    pub fn internal_iter(&self) -> Result<InternalIter<V, I>> {
        self.check(CfId::DEFAULT)?;
        let engine = &self.inner.engine;
        Ok(InternalIter::new(engine, engine.internal_scan(CursorOptions::COMPACTION)?))
    }
}
