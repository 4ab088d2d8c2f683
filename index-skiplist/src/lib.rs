//! [`MemIndex`] as a skiplist in an arena: one node per `(cf, user_key)`, its entries in a list at the node.
//!
//! Readers take no lock and write nothing; writers link with CAS and never wait for each other. A node is
//! never unlinked, and lives as long as the index or a cursor of it.
//!
//! Tower heights come from a hash of the number of inserts so far, so that the same inserts in the same order
//! give the same list.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cursor;
mod list;
mod node;

pub use cursor::SkiplistCursor;
pub use list::Skiplist;
pub use nokv_core::MemIndex;
