//! The tree of tables: immutable versions, lookups in them, and the rules that each new one must keep.
//!
//! Who may call it: the engine, the picker, tools. A [`Version`] never changes; installing a change makes a new one, and
//! readers keep the one that they have.

pub mod rules;
mod version;

pub use rules::{Install, RULES, Rule, check};
pub use version::{Level, Source, TableInfo, Version};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod testtree;
