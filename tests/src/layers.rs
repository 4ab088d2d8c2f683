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
        name: "kills",
        fault: "SIGKILL of a real process, on real files",
        unit: "kills",
        run: crate::real::kills,
    },
    Layer {
        name: "images",
        fault: "death of a real process at any moment: its files while it is stopped",
        unit: "images",
        run: crate::real::images,
    },
    Layer {
        name: "tmpfs-full",
        fault: "full disk: a real tmpfs of 16 MiB, then a kill",
        unit: "runs",
        run: crate::real::tmpfs_full,
    },
    Layer {
        name: "resources",
        fault: "files, threads and space after kill and reopen, again and again",
        unit: "loops",
        run: crate::real::resources,
    },
];
