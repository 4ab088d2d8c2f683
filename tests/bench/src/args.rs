//! Flags of the YCSB run.

use std::path::PathBuf;

use crate::workload::Workload;
use crate::workload::dist::YCSB_ITEMS;
use crate::workload::record::VALUE_BYTES_MIN;

/// YCSB on each engine in turn, in one process. Only ratios within one run mean anything.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Engines, in turn within each repeat; `all` for each one in this build.
    #[arg(long, value_delimiter = ',', default_value = "null,nokv-art,nokv-skiplist")]
    pub engines: Vec<String>,
    /// Workloads, in YCSB's order whatever the order here: A B C F D on one load, then E, then G on loads of their own.
    /// LOAD alone loads and does nothing else.
    #[arg(long, value_delimiter = ',', default_value = "A,B,C,D,E,F", value_enum, ignore_case = true)]
    pub workloads: Vec<Workload>,
    /// Records that LOAD inserts.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    /// Operations of each workload, all threads together; of E, a tenth of it.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub ops: u64,
    /// Client threads; with several numbers each engine runs with each.
    #[arg(long, value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Vec<u64>,
    /// Length of values, in bytes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(VALUE_BYTES_MIN as u64..=1 << 26))]
    pub value_size: u64,
    /// Block or page cache, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub cache: u64,
    /// Sync each write.
    #[arg(long)]
    pub sync: bool,
    /// How often all of it runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub repeats: u64,
    /// Operations of a workload before it is measured, in percent of `--ops`.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub warm_up: u64,
    /// Each workload on a fresh directory and a load of its own.
    #[arg(long)]
    pub fresh_each: bool,
    /// Ranks of the scrambled distribution; 0: as many as there are records. YCSB has ten billion.
    #[arg(long, default_value_t = YCSB_ITEMS)]
    pub zipf_items: u64,
    /// Compare what is read with what was written; slow, and no figures to use.
    #[arg(long)]
    pub check: bool,
    /// Where the directories of the engines are made; they are removed afterwards. Default: the temporary directory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Write each phase of each repeat to this file.
    #[arg(long)]
    pub csv: Option<PathBuf>,
    /// Draw the medians into this file.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Options of nokv beside the common ones, as TOML: `num_compactors = 2`.
    #[arg(long, default_value = "")]
    pub nokv: String,
    /// Show what each engine says about itself after each phase.
    #[arg(long)]
    pub stats: bool,
}

impl Args {
    /// Operations of a workload.
    pub fn ops_of(&self, workload: Workload) -> u64 {
        if workload == Workload::E { (self.ops / 10).max(1) } else { self.ops }
    }

    /// Groups of workloads that share a load.
    pub fn groups(&self) -> Vec<Vec<Workload>> {
        use Workload::{A, B, C, D, E, F, G};
        let wanted = |group: &[Workload]| -> Vec<Workload> {
            group.iter().copied().filter(|w| self.workloads.contains(w)).collect()
        };
        let mut groups = if self.fresh_each {
            [A, B, C, F, D, E, G].map(|w| wanted(&[w])).to_vec()
        } else {
            vec![wanted(&[A, B, C, F, D]), wanted(&[E]), wanted(&[G])]
        };
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        groups
    }
}
