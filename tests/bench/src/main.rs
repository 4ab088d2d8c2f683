//! `nokv-bench run`: YCSB beside the rivals of this build. `nokv-bench regress BASE HEAD`: two revisions in pairs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nokv_bench::args::Args;
use nokv_bench::{chart, regress, report, run};

/// For Rust, C and C++ alike, so that no engine has a better one than the others.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(about = "Benchmarks of NoKV beside its rivals. Only ratios within one run mean anything.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Args),
    Regress(regress::Args),
    /// Names the engines of this build.
    Engines,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run_and_report(&args),
        Command::Regress(args) => regress::regress(&args),
        Command::Engines => {
            println!("{}", nokv_bench::engines::names().join("\n"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("nokv-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run_and_report(args: &Args) -> Result<(), String> {
    let phases = run::run(args)?;
    let allocator = if cfg!(feature = "jemalloc") { "jemalloc" } else { "the system's allocator" };
    let threads: Vec<String> = args.threads.iter().map(u64::to_string).collect();
    let caption = format!(
        "{} records of {} bytes, {} threads, {}, cache {} MiB, {allocator}; thousands of operations a second, median of {}",
        args.records,
        args.value_size,
        threads.join(" and "),
        if args.sync { "synced" } else { "unsynced" },
        args.cache,
        args.repeats,
    );
    println!("{caption}\n\n{}{}", report::table(&phases), report::details(&phases));
    for (path, text) in [(&args.csv, report::csv(&phases)), (&args.svg, chart::svg(&phases, &caption))] {
        if let Some(path) = path {
            std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}
