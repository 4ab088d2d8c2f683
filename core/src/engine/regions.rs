//! The catalog of regions: which ranges of keys this store holds as a member of a cluster.
//!
//! Who may call it: the host. A change is one manifest edit; the rules are in `manifest::state`.

use alloc::vec::Vec;

use nokv_formats::manifest::{Edit, RegionMeta};

use crate::engine::Engine;
use crate::error::Result;
use crate::index::MemIndex;
use crate::vfs::Vfs;

impl<V: Vfs, I: MemIndex> Engine<V, I> {
    /// The regions of this store, by number.
    pub fn regions(&self) -> Vec<RegionMeta> {
        self.regions.lock().values().cloned().collect()
    }

    /// Adds a region to the catalog, or replaces what it says of one; durable on return.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if keys are out of order, or epoch or state move back; what the manifest gives.
    pub fn set_region(&self, region: &RegionMeta) -> Result<()> {
        self.record_region(Edit::Region(region.clone()))
    }

    /// Takes a region out of the catalog; durable on return.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if it is not there; what the manifest gives.
    pub fn remove_region(&self, id: u64) -> Result<()> {
        self.record_region(Edit::RegionRemove { id })
    }

    fn record_region(&self, edit: Edit) -> Result<()> {
        self.check_writable()?;
        let mut install = self.install.lock();
        let edits = [edit];
        self.check_edits(&install, &edits)?;
        self.record(&mut install, &edits, true)?;
        *self.regions.lock() = install.manifest.state().regions.clone();
        Ok(())
    }
}
