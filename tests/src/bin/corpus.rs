//! Keeps the corpus of hostile bytes.
//!
//! ```text
//! corpus seeds TARGET DIR      writes the seeds of a target into DIR, for a fuzzer to start from
//! corpus tidy                  names every kept file by its content, and removes those that are too large
//! ```

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use nokv_tests::hostile::corpus::{folder, kept, name_of};
use nokv_tests::hostile::seeds::seeds;
use nokv_tests::hostile::{TARGETS, target};

/// Kept files are shorter.
const FILE_BYTES_MAX: usize = 64 << 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["seeds", name, dir] => write_seeds(name, Path::new(dir)),
        ["tidy"] => tidy(),
        _ => {
            eprintln!("corpus seeds TARGET DIR | corpus tidy");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_seeds(name: &str, dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    seeds(target(name).name).iter().try_for_each(|seed| fs::write(dir.join(name_of(seed)), seed))
}

fn tidy() -> std::io::Result<()> {
    let mut sum = 0;
    for target in TARGETS {
        let folder = folder(target);
        fs::create_dir_all(&folder)?;
        let files = kept(target);
        for (name, bytes) in &files {
            let right = name_of(bytes);
            if bytes.len() >= FILE_BYTES_MAX {
                fs::remove_file(folder.join(name))?;
            } else {
                sum += bytes.len();
                fs::rename(folder.join(name), folder.join(right))?;
            }
        }
        println!("{:<18} {:>5} files", target.name, files.len());
    }
    println!("{sum} bytes");
    Ok(())
}
