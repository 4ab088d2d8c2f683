//! All layers of the net.

use crate::net::Layer;

/// In the order in which `net` runs them.
#[cfg(not(shuttle))]
pub const LAYERS: &[Layer] = &[Layer {
    name: "crash",
    fault: "power cut or kill before any call, also in recovery",
    unit: "images",
    run: crate::crash::suite::run_all,
}];

/// A build for the checker of schedules runs its layer alone: everything else needs threads of the system.
#[cfg(shuttle)]
pub const LAYERS: &[Layer] = &[Layer {
    name: "races",
    fault: "any thread goes on at any lock, atomic or wait",
    unit: "schedules",
    run: crate::races::run_all,
}];
