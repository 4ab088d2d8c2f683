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
        name: "hostile",
        fault: "bytes that nobody wrote, with right checksums too",
        unit: "inputs",
        run: crate::hostile::suite::run_all,
    },
];
