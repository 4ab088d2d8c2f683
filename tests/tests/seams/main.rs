//! The laws of the seams, run by every implementation, ours and foreign ones.
#![allow(missing_docs)]

mod index_laws;
mod model_foreign;
mod vfs_differential;
mod vfs_laws;
