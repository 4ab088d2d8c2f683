//! Replays the corpus of hostile bytes and mutants of it, and counts the memory that each input makes a decoder hold: a
//! program of its own, because of its allocator.
//!
//! `NOKV_HOSTILE=TARGET:PATH cargo test -p nokv-tests --test hostile one_input` runs one file.
#![cfg(feature = "skiplist")]
#![allow(missing_docs)]

mod corpus;
mod meter;
mod targets;

use nokv_tests::hostile::{suite, target};

#[test]
fn one_input() {
    let Ok(wanted) = std::env::var("NOKV_HOSTILE") else { return };
    let (name, path) = wanted.split_once(':').expect("NOKV_HOSTILE is TARGET:PATH");
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let target = target(name);
    let weight = (target.weight)(&bytes);
    let peak = meter::meter(&mut || (target.run)(&bytes));
    println!("{name}: {} bytes that stand for {weight}; held {peak} bytes of memory", bytes.len());
    suite::try_one(target, &bytes, meter::meter).unwrap_or_else(|what| panic!("{what}"));
}
