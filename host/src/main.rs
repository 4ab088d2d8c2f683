//! The binary `nokv`: see `nokv --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nokv::cli::main()
}
