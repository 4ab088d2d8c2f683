//! Operations on collections: what a command does to their elements, each in O(log n) where it names the element.
//!
//! Whoever changes a collection saves its head afterwards: see [`super::store::keyspace::Keyspace::save`].

pub mod elements;
pub mod hash;
pub mod list;
pub mod random;
pub mod set;
pub mod spread;
pub mod zset;
pub mod zset_combine;
