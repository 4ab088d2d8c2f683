//! `cargo run --release -p nokv-tests --bin net [--slice] [LAYER...]`: runs the layers of the net whole and prints a table.

use std::process::ExitCode;

use nokv_tests::layers::LAYERS;
use nokv_tests::net::{Layer, Scale, print};

fn main() -> ExitCode {
    // The real processes of some layers are this program again.
    #[cfg(not(shuttle))]
    if let Some(code) = nokv_tests::real::child_main() {
        return code;
    }
    let mut scale = Scale::Full;
    let mut wanted: Vec<&Layer> = Vec::new();
    for arg in std::env::args().skip(1) {
        match LAYERS.iter().find(|layer| layer.name == arg) {
            Some(layer) => wanted.push(layer),
            None if arg == "--slice" => scale = Scale::Slice,
            None => {
                eprintln!("net [--slice] [LAYER...]   all layers, whole, if none is named; the layers:");
                for layer in LAYERS {
                    eprintln!("  {:<12} {}", layer.name, layer.fault);
                }
                return ExitCode::from(2);
            }
        }
    }
    if wanted.is_empty() {
        wanted = LAYERS.iter().collect();
    }
    let mut outcomes = Vec::new();
    for layer in wanted {
        let outcome = layer.outcome(scale);
        if let Err(what) = &outcome.cases {
            println!("\n{} FAILED: {what}\n", layer.name);
        }
        outcomes.push(outcome);
    }
    println!();
    if let Err(error) = print(&mut std::io::stdout(), &outcomes) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    if outcomes.iter().all(|outcome| outcome.cases.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
