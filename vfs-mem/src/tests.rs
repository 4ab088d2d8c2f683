//! Tests of the crash model: what survives, what may be lost, and that both do happen.

mod crash;
mod fault;
mod space;
mod sync;
