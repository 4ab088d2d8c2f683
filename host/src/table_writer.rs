//! Writing table files outside of a database, for [`crate::Db::ingest`].

use nokv_core::formats::vlog::record_len;
use nokv_core::formats::{CfId, EntryRef, KeyRef, Kind, Seq, Version};
use nokv_core::table::{Compression, TableBuilder, TableOptions};
use nokv_core::{Error, Result, Vfs};
use nokv_vfs_std::StdFs;

/// Writes one table: keys ascending, by family and then by bytes. [`crate::Db::ingest`] gives all entries of the
/// ingested tables one place in commit order.
///
/// ```
/// # fn main() -> nokv::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let table = dir.path().join("t.sst");
/// # let table = table.to_str().unwrap();
/// let mut writer = nokv::TableWriter::create(table)?;
/// writer.put(nokv::CfId::DEFAULT, b"a", b"1")?;
/// writer.put(nokv::CfId::DEFAULT, b"b", b"2")?;
/// writer.finish()?;
/// let db = nokv::Db::open(nokv::Options::new(dir.path().join("db")))?;
/// db.ingest(&[table], None)?;
/// assert_eq!(db.get(b"b")?.as_deref(), Some(&b"2"[..]));
/// # Ok(())
/// # }
/// ```
pub struct TableWriter<V: Vfs = StdFs> {
    builder: TableBuilder<V::File>,
    last: Option<(CfId, Vec<u8>, Version)>,
}

impl TableWriter {
    /// A new file at `path`, which must not exist.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &str) -> Result<Self> {
        let codec = if cfg!(feature = "lz4") { Compression::Lz4 } else { Compression::None };
        Self::create_on(&StdFs::new(), path, codec)
    }
}

impl<V: Vfs> TableWriter<V> {
    /// A new file at `path` of any file system.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unsupported`] for a codec that is not compiled in.
    pub fn create_on(fs: &V, path: &str, compression: Compression) -> Result<Self> {
        let file = fs.create(path).map_err(|e| Error::io("create", path, e))?;
        let options =
            TableOptions { compression, seqs: (Seq::ZERO, Seq::ZERO), ..TableOptions::new(record_len) };
        let uid = u128::from(crate::db::random_id()) << 64 | u128::from(crate::db::random_id());
        Ok(Self { builder: TableBuilder::new(file, path, options, uid)?, last: None })
    }

    /// Adds `key` with `value`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the key is not behind the one before; [`Error::KeyTooLarge`],
    /// [`Error::ValueTooLarge`], [`Error::Io`].
    pub fn put(&mut self, cf: CfId, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(cf, key, Version::MAX, Kind::Put, 0, 0, value)
    }

    /// Adds `key` with `value` until `expires_at`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`TableWriter::put`].
    pub fn put_expiring(&mut self, cf: CfId, key: &[u8], value: &[u8], expires_at: u64) -> Result<()> {
        self.add(cf, key, Version::MAX, Kind::Put, 0, expires_at, value)
    }

    /// Adds a version of `key`; the versions of a key come highest first, its plain entry before them.
    ///
    /// # Errors
    /// As [`TableWriter::put`].
    pub fn put_versioned(
        &mut self,
        cf: CfId,
        key: &[u8],
        version: Version,
        value: &[u8],
        meta: u8,
    ) -> Result<()> {
        self.add(cf, key, version, Kind::Put, meta, 0, value)
    }

    /// Adds a delete of `key` with all its versions.
    ///
    /// # Errors
    /// As [`TableWriter::put`].
    pub fn delete(&mut self, cf: CfId, key: &[u8]) -> Result<()> {
        self.add(cf, key, Version::MAX, Kind::Delete, 0, 0, &[])
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an entry")]
    fn add(
        &mut self,
        cf: CfId,
        key: &[u8],
        version: Version,
        kind: Kind,
        meta: u8,
        expires_at: u64,
        value: &[u8],
    ) -> Result<()> {
        if key.len() > nokv_core::limits::KEY_BYTES_MAX {
            return Err(Error::KeyTooLarge(key.len()));
        }
        if value.len() > nokv_core::limits::VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge(value.len()));
        }
        if let Some((last_cf, last_key, last_version)) = &self.last {
            let same_key = (*last_cf, last_key.as_slice()) == (cf, key);
            let behind = (*last_cf, last_key.as_slice()) < (cf, key) || (same_key && version < *last_version);
            if !behind {
                return Err(Error::InvalidArgument(format!(
                    "key \"{}\" is not behind \"{}\"",
                    key.escape_ascii(),
                    last_key.escape_ascii()
                )));
            }
        }
        let entry = EntryRef { version, seq: Seq::ZERO, kind, meta, expires_at, value };
        self.builder.add(KeyRef::new(cf, key), &entry)?;
        self.last = Some((cf, key.to_vec(), version));
        Ok(())
    }

    /// Ends the file and makes its bytes durable. Gives its length in bytes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a table without entries; [`Error::Io`].
    pub fn finish(self) -> Result<u64> {
        if self.builder.is_empty() {
            return Err(Error::InvalidArgument("a table without entries".to_string()));
        }
        Ok(self.builder.finish()?.file_bytes)
    }
}
