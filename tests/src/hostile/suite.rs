//! Replays the corpus and mutates it, on any toolchain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::corpus::{inputs, name_of};
use super::mutate::{Random, mutate};
use super::{TARGETS, Target};
use crate::net::{Scale, text_of};

/// How many times the mutations of a slice a whole run does.
pub const FULL: u64 = 100;
/// Names a file that each input is written to before it runs: for inputs that end the process.
pub const KEEP: &str = "NOKV_HOSTILE_KEEP";

/// Runs a piece of work and tells how much memory it held at once, in bytes; 0 where nobody counts.
pub type Meter = fn(&mut dyn FnMut()) -> usize;

/// A meter for programs whose allocator does not count.
pub fn no_meter(work: &mut dyn FnMut()) -> usize {
    work();
    0
}

/// Runs one input.
///
/// # Errors
/// What is wrong.
pub fn try_one(target: &Target, bytes: &[u8], meter: Meter) -> Result<(), String> {
    let mut result = Ok(());
    let peak = meter(&mut || result = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))));
    result.map_err(text_of)?;
    let weight = (target.weight)(bytes);
    let most = target.bound.fixed + target.bound.per_byte * weight;
    if peak > most {
        return Err(format!("held {peak} bytes of memory for {weight} bytes: more than {most}"));
    }
    Ok(())
}

/// Runs one input.
///
/// # Panics
/// When it finds something; the text has the command that replays it.
fn one(target: &Target, bytes: &[u8], meter: Meter, keep: Option<&PathBuf>) {
    if let Some(path) = keep {
        std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let Err(what) = try_one(target, bytes, meter) else { return };
    let path = std::env::temp_dir().join(format!("nokv-{}-{}", target.name, name_of(bytes)));
    let place = match std::fs::write(&path, bytes) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("a file of these bytes ({error}): {}", hex(bytes)),
    };
    panic!(
        "{}, input of {} bytes: {what}\nreplay: NOKV_HOSTILE={}:{place} cargo test -p nokv-tests --test hostile one_input",
        target.name,
        bytes.len(),
        target.name,
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replays a target's corpus and seeds, then mutants of them; gives the number of inputs.
///
/// # Panics
/// When one finds something.
pub fn run_target(target: &Target, scale: Scale, meter: Meter) -> u64 {
    let keep = std::env::var_os(KEEP).map(PathBuf::from);
    let inputs = inputs(target);
    for input in &inputs {
        one(target, input, meter, keep.as_ref());
    }
    let mutations = scale.pick(target.mutations, target.mutations * FULL);
    for i in 0..mutations {
        let mut random = Random::new(i);
        let (input, other) = (&inputs[random.below(inputs.len())], &inputs[random.below(inputs.len())]);
        one(target, &mutate(input, other, &mut random), meter, keep.as_ref());
    }
    inputs.len() as u64 + mutations
}

/// The layer: all targets.
///
/// # Panics
/// When an input finds something.
pub fn run_all(scale: Scale) -> u64 {
    TARGETS.iter().map(|target| run_target(target, scale, no_meter)).sum()
}
