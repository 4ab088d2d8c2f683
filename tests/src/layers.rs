//! All layers of the net.

use crate::net::Layer;

/// In the order in which `net` runs them.
pub const LAYERS: &[Layer] = &[
    Layer {
        name: "crash",
        fault: "power cut or kill before any call, also in recovery",
        unit: "images",
        run: crate::crash::suite::run_all,
    },
    Layer {
        name: "glimpse",
        fault: "a reader, or a kill, between any two inserts of a batch",
        unit: "looks",
        run: crate::glimpse::run_all,
    },
    Layer {
        name: "record-log",
        fault: "power cut or kill before any call of the record log",
        unit: "images",
        run: crate::record_log::run_all,
    },
];
