//! One measurement, and what several of them say.

use std::time::Instant;

use crate::count::allocations;

/// Time and allocations of one operation.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub ns: f64,
    pub allocations: f64,
}

/// Runs `work`, which does `ops` operations.
pub fn sample(ops: usize, work: impl FnOnce()) -> Sample {
    let (allocated, started) = (allocations(), Instant::now());
    work();
    let (elapsed, allocated) = (started.elapsed(), allocations() - allocated);
    Sample { ns: elapsed.as_nanos() as f64 / ops as f64, allocations: allocated as f64 / ops as f64 }
}
