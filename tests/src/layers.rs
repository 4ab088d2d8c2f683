//! All layers of the net.

use crate::net::Layer;

/// In the order in which `net` runs them.
#[cfg(not(shuttle))]
pub const LAYERS: &[Layer] = &[
    Layer {
        name: "crash",
        fault: "power cut or kill before any call, also in recovery",
        unit: "images",
        floor: (50_000, 150_000),
        run: crate::crash::suite::run_all,
    },
    Layer {
        name: "kill-points",
        fault: "death before any call of histories of the log",
        unit: "points",
        floor: (1_000, 100_000),
        run: crate::crash::points::run_all,
    },
    Layer {
        name: "faults",
        fault: "any call fails, once or for good, in six ways",
        unit: "calls",
        floor: (500, 25_000),
        run: crate::faults::calls::run_all,
    },
    Layer {
        name: "syncs",
        fault: "any sync fails, in three ways",
        unit: "syncs",
        floor: (100, 4_000),
        run: crate::faults::syncs::run_all,
    },
    Layer {
        name: "space",
        fault: "the disk is full from any call on, then not",
        unit: "moments",
        floor: (100, 4_000),
        run: crate::faults::space::run_all,
    },
    Layer {
        name: "damage",
        fault: "any bit, sector or file is damaged",
        unit: "damages",
        floor: (10_000, 100_000),
        run: crate::damage::run_all,
    },
    Layer {
        name: "options",
        fault: "one history under many option sets",
        unit: "operations",
        floor: (24_000, 6_400_000),
        run: crate::model::metamorphic::run_all,
    },
    Layer {
        name: "kills",
        fault: "SIGKILL of a real process, on real files",
        unit: "kills",
        floor: (12, 500),
        run: crate::real::kills,
    },
    Layer {
        name: "images",
        fault: "death of a real process at any moment: its files while it is stopped",
        unit: "images",
        floor: (60, 50_000),
        run: crate::real::images,
    },
    Layer {
        name: "tmpfs-full",
        fault: "full disk: a real tmpfs of 16 MiB, then a kill",
        unit: "runs",
        floor: (2, 20),
        run: crate::real::tmpfs_full,
    },
    Layer {
        name: "resources",
        fault: "files, threads, memory and space after kill and reopen, again and again",
        unit: "loops",
        floor: (10, 100),
        run: crate::real::resources,
    },
    Layer {
        name: "glimpse",
        fault: "a reader, or a kill, between any two inserts of a batch",
        unit: "looks",
        floor: (1_000, 150_000),
        run: crate::glimpse::run_all,
    },
    Layer {
        name: "record-log",
        fault: "power cut or kill before any call of the record log",
        unit: "images",
        floor: (1_500, 12_000),
        run: crate::record_log::run_all,
    },
    Layer {
        name: "hostile",
        fault: "bytes that nobody wrote, with right checksums too",
        unit: "inputs",
        floor: (60_000, 6_000_000),
        run: crate::hostile::suite::run_all,
    },
];

/// A build for the checker of schedules runs its layer alone: everything else needs threads of the system.
#[cfg(shuttle)]
pub const LAYERS: &[Layer] = &[Layer {
    name: "races",
    fault: "any thread goes on at any lock, atomic or wait",
    unit: "schedules",
    // 10,000 of each race.
    floor: (1_000, 10_000 * crate::races::RACES.len() as u64),
    run: crate::races::run_all,
}];
