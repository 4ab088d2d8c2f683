//! The operations that an embedded database and a cluster client have in common.

use nokv_core::formats::CfId;
use nokv_core::read::point::Value;
use nokv_core::{MemIndex, Result, Vfs};

use super::{Db, Entry, Expiry, IterOptions, StatsSnapshot};

/// What a program needs of a database, wherever it is. Object-safe, so that one program runs on either.
///
/// ```
/// # fn main() -> nokv::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db: Box<dyn nokv::CoreApi> = Box::new(nokv::Db::open(nokv::Options::new(dir.path()))?);
/// db.set(b"k", b"v")?;
/// assert!(db.get(b"k")?.is_some());
/// db.close()
/// # }
/// ```
pub trait CoreApi: Send + Sync {
    /// Sets a key of the default family.
    ///
    /// # Errors
    /// As [`Db::set`].
    fn set(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Sets a key of the default family until `expiry`.
    ///
    /// # Errors
    /// As [`Db::set_with_ttl`].
    fn set_with_ttl(&self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()>;

    /// Reads a key of the default family.
    ///
    /// # Errors
    /// As [`Db::get_entry`].
    fn get(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// Removes a key of the default family.
    ///
    /// # Errors
    /// As [`Db::del`].
    fn del(&self, key: &[u8]) -> Result<()>;

    /// Sets a key of a family.
    ///
    /// # Errors
    /// As [`Db::set_cf`].
    fn set_cf(&self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()>;

    /// Reads a key of a family.
    ///
    /// # Errors
    /// As [`Db::get_entry`].
    fn get_cf(&self, cf: CfId, key: &[u8]) -> Result<Option<Entry>>;

    /// Removes a key of a family.
    ///
    /// # Errors
    /// As [`Db::del_cf`].
    fn del_cf(&self, cf: CfId, key: &[u8]) -> Result<()>;

    /// An iterator over visible keys and values.
    ///
    /// # Errors
    /// As [`Db::iter`].
    fn iter(&self, options: IterOptions) -> Result<BoxedIter>;

    /// Statistics.
    ///
    /// # Errors
    /// None of the embedded database; a remote one may not be reached.
    fn stats(&self) -> Result<StatsSnapshot>;

    /// Closes.
    ///
    /// # Errors
    /// As [`Db::close`].
    fn close(&self) -> Result<()>;
}

/// The iterator of [`CoreApi::iter`].
pub type BoxedIter = Box<dyn Iterator<Item = Result<(Vec<u8>, Value)>> + Send>;

impl<V: Vfs, I: MemIndex> CoreApi for Db<V, I> {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Self::set(self, key, value)
    }

    fn set_with_ttl(&self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        Self::set_with_ttl(self, key, value, expiry)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.get_entry(CfId::DEFAULT, key)
    }

    fn del(&self, key: &[u8]) -> Result<()> {
        Self::del(self, key)
    }

    fn set_cf(&self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()> {
        Self::set_cf(self, cf, key, value)
    }

    fn get_cf(&self, cf: CfId, key: &[u8]) -> Result<Option<Entry>> {
        self.get_entry(cf, key)
    }

    fn del_cf(&self, cf: CfId, key: &[u8]) -> Result<()> {
        Self::del_cf(self, cf, key)
    }

    fn iter(&self, options: IterOptions) -> Result<BoxedIter> {
        Ok(Box::new(Self::iter(self, options)?))
    }

    fn stats(&self) -> Result<StatsSnapshot> {
        Ok(Self::stats(self))
    }

    fn close(&self) -> Result<()> {
        Self::close(self)
    }
}
