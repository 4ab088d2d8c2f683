//! All layers of the net.

use crate::net::Layer;

/// In the order in which `net` runs them.
#[cfg(not(shuttle))]
pub const LAYERS: &[Layer] = &[
    Layer {
        name: "crash",
        fault: "power cut or kill before any call, also in recovery",
        unit: "images",
        run: crate::crash::suite::run_all,
    },
    Layer {
        name: "faults",
        fault: "any call fails, once or for good, in six ways",
        unit: "calls",
        run: crate::faults::calls::run_all,
    },
    Layer {
        name: "syncs",
        fault: "any sync fails, in three ways",
        unit: "syncs",
        run: crate::faults::syncs::run_all,
    },
    Layer {
        name: "space",
        fault: "the disk is full from any call on, then not",
        unit: "moments",
        run: crate::faults::space::run_all,
    },
    Layer {
        name: "damage",
        fault: "any bit, sector or file is damaged",
        unit: "damages",
        run: crate::damage::run_all,
    },
    Layer {
        name: "options",
        fault: "one history under many option sets",
        unit: "operations",
        run: crate::model::metamorphic::run_all,
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
    Layer {
        name: "hostile",
        fault: "bytes that nobody wrote, with right checksums too",
        unit: "inputs",
        run: crate::hostile::suite::run_all,
    },
];

/// A build for the checker of schedules runs its layer alone: everything else needs threads of the system.
#[cfg(shuttle)]
pub const LAYERS: &[Layer] = &[Layer {
    name: "races",
    fault: "any thread goes on at any lock, atomic or wait",
    unit: "schedules",
    run: crate::races::run_all,
}];
