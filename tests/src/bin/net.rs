//! `cargo run --release -p nokv-tests --bin net [--slice] [LAYER...]`: runs the layers of the net whole and prints a table.
//!
//! Ends with 0 when all of them passed with as many cases as they promise, with 1 when one did not, with 2 for arguments
//! that it does not know, and with 3 when nothing failed but a layer could not be run here.
//!
//! `NOKV_CASE=layer:name` runs that case alone. Built with the feature `planted`, `NOKV_PLANTED=BUG` plants one.

use std::process::ExitCode;

use nokv_tests::layers::LAYERS;
use nokv_tests::net::{Ended, Layer, Scale, picked, print};

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
    if let Some((name, _)) = picked() {
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            eprintln!("NOKV_CASE is layer:name, and {name:?} is no layer");
            return ExitCode::from(2);
        };
        if wanted.iter().any(|other| other.name != name) {
            eprintln!("NOKV_CASE picks a case of {name}: no other layer has it");
            return ExitCode::from(2);
        }
        wanted = vec![layer];
    }
    if wanted.is_empty() {
        wanted = LAYERS.iter().collect();
    }
    #[cfg(feature = "planted")]
    if !plant() {
        return ExitCode::from(2);
    }
    let mut outcomes = Vec::new();
    for layer in wanted {
        let outcome = layer.outcome(scale);
        if let Ended::Failed(what) = &outcome.ended {
            println!("\n{} FAILED: {what}\n", layer.name);
        }
        outcomes.push(outcome);
    }
    println!();
    if let Err(error) = print(&mut std::io::stdout(), &outcomes) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let mut code = 0;
    for outcome in outcomes {
        match outcome.ended {
            Ended::Passed(_) => {}
            Ended::Failed(_) => code = 1,
            Ended::NotRun(why) => {
                println!("{} was NOT run: {why}", outcome.layer.name);
                code = if code == 0 { 3 } else { code };
            }
        }
    }
    ExitCode::from(code)
}

/// Plants the bug that the environment names. Gives whether there is such a bug, or none is named.
#[cfg(feature = "planted")]
fn plant() -> bool {
    let Ok(name) = std::env::var("NOKV_PLANTED") else { return true };
    let bug = nokv_core::planted::ALL.iter().find(|bug| format!("{bug:?}") == name);
    if bug.is_none() {
        eprintln!("NOKV_PLANTED: there is no bug {name}");
    }
    nokv_core::planted::plant(bug.copied());
    bug.is_some()
}
