//! The Redis server beside a real one: the same commands to both, and the same answers.

pub mod compare;
pub mod oracle;
pub mod stream;
pub mod wire;
