//! The write path: batches, commit order, publishing.

pub mod batch;
pub mod publish;

pub use batch::{Precondition, WriteBatch};
