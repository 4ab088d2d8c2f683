//! The calls of the command line. Scripts rely on names, flags and exit codes: they change only with a note in
//! the changelog.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Args, Parser, Subcommand, ValueEnum};

use super::inspect::{RemoteArgs, StatsArgs};
#[cfg(feature = "redis")]
use super::redis::RedisArgs;
use super::service::ServiceArgs;
use super::top::TopArgs;
use super::workload::WorkloadArgs;

/// An embedded key-value database.
///
/// Commands but those of `wal` work on the database in the directory given with --workdir; the first `set` or `import` makes it. One
/// process at a time may have it open. Beside that process, `stats`, `manifest`, `vlog` and `regions` still read the
/// files; `stats`, `top`, `hot` and `pins` ask the process itself with --expvar.
#[derive(Debug, Parser)]
#[command(name = "nokv", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 key absent, or check, wal dump or wal verify found damage; 2 any other error; \
                  130 workload interrupted."
)]
pub struct Cli {
    /// Directory of the database.
    #[arg(long, global = true, value_name = "DIR")]
    pub workdir: Option<PathBuf>,

    /// Options of the database, as `nokv options --toml` prints them. Commands that write to it use all of them; the
    /// others take only work_dir from it, where --workdir is not given.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print JSON for scripts instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the database to Redis clients
    ///
    /// Makes the database if it is missing. Ctrl-C or SIGTERM ends it: what was acknowledged is stored.
    #[cfg(feature = "redis")]
    #[command(after_help = "\
Example:
  nokv redis --workdir db
  redis-cli -p 6380 set hello world")]
    Redis(RedisArgs),

    /// Store the records of a file
    ///
    /// Of repeated keys the last record wins; their count is reported. When the command ends with 0, all records
    /// survive power loss. When it is interrupted, the records up to some line are stored, and nothing after it.
    #[command(after_help = "\
Examples:
  nokv import --workdir db --format deb822 --key Package Packages.gz
  nokv import --workdir db --format jsonl --key id events.jsonl
  nokv export --workdir old --format jsonl | nokv import --workdir new --format jsonl -")]
    Import(Import),

    /// Print all records in key order
    ///
    /// The output can be imported again and gives the same bytes.
    Export(Export),

    /// Print the value of a key and a newline; exit code 1 if the key is absent
    Get(Key),

    /// Store one value under a key; it survives power loss when the command ends
    Set(Set),

    /// Delete a key; fine if it is absent
    Del(Key),

    /// Print records in key order, as lines of TSV or, with --json, as lines of JSON
    Scan(Scan),

    /// Print statistics: of a running process with --expvar, or what the files tell
    ///
    /// The files do not tell what happened: counters and times are 0 then. `entries` counts versions, hidden ones
    /// included. The names are those of the JSON; docs/stats.md defines each. Works beside a running process.
    #[command(after_help = "\
Examples:
  nokv stats --workdir db
  nokv stats --expvar 9090 --json | jq .compaction")]
    Stats(StatsArgs),

    /// Print the files that make up the database: tables by level, log floor, value-log heads
    ///
    /// Works beside a running process.
    Manifest,

    /// Print the segments of the value log with their live and dead bytes
    ///
    /// Works beside a running process.
    Vlog,

    /// Print the options that are in effect, with what each means
    ///
    /// Those are the defaults, or what the file of --config says. A star marks what is not the default.
    Options(OptionsArgs),

    /// Print the regions that the store holds; a database without a cluster has none
    ///
    /// Works beside a running process.
    Regions,

    /// Print the keys that are read and written most in a running process
    #[command(after_help = "\
Example:
  nokv hot --expvar 9090")]
    Hot(RemoteArgs),

    /// Print which snapshots and iterators of a running process keep old files and entries from going
    #[command(after_help = "\
Example:
  nokv pins --expvar http://127.0.0.1:9090")]
    Pins(RemoteArgs),

    /// Watch a running process: rates, levels, cache hits, stalls and hot keys; q quits
    ///
    /// With --workdir in place of --expvar the files are read again and again: levels and sizes, and no rates.
    #[command(after_help = "\
Examples:
  nokv top --expvar 9090
  nokv top --expvar http://127.0.0.1:9090 --interval 5s
  nokv top --expvar 9090 --once > screen.txt")]
    Top(TopArgs),

    /// Run a mixed workload of reads, writes, deletes and scans, and say how fast it went
    ///
    /// Makes the database if it is missing. All keys start with "workload-"; others are left alone. The same seed
    /// gives the same operations. Ctrl-C ends it early: what was done is stored and reported, the database is closed,
    /// and the exit code is 130.
    #[command(after_help = "\
Examples:
  nokv workload --workdir load --ops 1000000 --metrics-addr 9090
  nokv workload --workdir load --ops 100000 --mix read=95,write=5 --keys 1000000 --value-bytes 1000")]
    Workload(WorkloadArgs),

    /// Look into log directories
    #[command(subcommand, args = of_databases())]
    Wal(Wal),

    /// Merge everything now and give space of deleted and overwritten data back
    Compact(Compact),

    /// Verify every checksum and invariant; exit code 1 if there is damage
    ///
    /// Tables are read whole, and the part of the log that no table holds yet. Writes nothing, and says so when the
    /// end of the log is not whole and the next open will cut it.
    Check,

    /// Show what it takes to open a damaged database again, and what is lost by it
    ///
    /// Changes nothing without --apply. Copy the directory before you use it.
    Repair(Repair),

    /// Make a copy of the database as it is now, as a database of its own
    ///
    /// Files that never change are shared through hard links where the file system has them.
    Checkpoint(Checkpoint),
}

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// JSON lines: {"key": ..., "value": ...}, or any objects with --key
    Jsonl,
    /// Key, TAB, value; \t \n \r \\ and \xNN as escapes
    Tsv,
    /// Stanzas of "Field: text" lines with empty lines between them
    Deb822,
}

/// Formats that can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// {"key": ..., "value": ...} a line; key_hex or value_hex for a side that is not UTF-8
    Jsonl,
    /// Key, TAB, value; \t \n \r \\ and \xNN as escapes
    Tsv,
}

/// `nokv options`.
#[derive(Debug, Args)]
pub struct OptionsArgs {
    /// Print a TOML file that --config takes.
    #[arg(long)]
    pub toml: bool,
}

/// `nokv import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Format of the input.
    #[arg(long, value_enum)]
    pub format: InputFormat,

    /// Field that is the key: the whole line (jsonl) or stanza (deb822) becomes the value.
    #[arg(long, value_name = "FIELD", required_if_eq("format", "deb822"))]
    pub key: Option<String>,

    /// Input file, - for standard input. Gzip is unpacked.
    #[arg(default_value = "-")]
    pub file: PathBuf,

    /// Metrics and log.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// `nokv compact`.
#[derive(Debug, Args)]
pub struct Compact {
    /// Metrics and log.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// `nokv export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Format of the output.
    #[arg(long, value_enum)]
    pub format: OutputFormat,
}

/// `nokv get` and `nokv del`.
#[derive(Debug, Args)]
pub struct Key {
    /// The key. One that starts with "-" goes behind "--".
    pub key: OsString,

    /// KEY is written with the escapes of TSV, as scan prints it.
    #[arg(long)]
    pub escaped: bool,
}

/// `nokv set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The key. One that starts with "-" goes behind "--".
    pub key: OsString,

    /// The value.
    #[arg(allow_hyphen_values = true)]
    pub value: OsString,

    /// KEY and VALUE are written with the escapes of TSV, as scan prints them.
    #[arg(long)]
    pub escaped: bool,
}

/// `nokv scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Only keys that start with this.
    #[arg(long, value_name = "P", allow_hyphen_values = true, default_value = "", hide_default_value = true)]
    pub prefix: OsString,

    /// From the last key to the first.
    #[arg(long)]
    pub reverse: bool,

    /// Print at most this many records.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// The prefix is written with the escapes of TSV.
    #[arg(long)]
    pub escaped: bool,
}

/// `nokv wal`.
#[derive(Debug, Subcommand)]
pub enum Wal {
    /// Print the records of a directory of log segments, one a line
    ///
    /// A torn last record is a note and no error. Damage with whole records behind it ends the output with an
    /// error and exit code 1; a directory without segments is an error with exit code 2. Writes nothing.
    Dump(WalDir),

    /// Append records to a log, made if there is none
    ///
    /// The records are the lines of standard input, without their line feeds, or what --value or --hex give. They
    /// survive power loss when the command ends with 0; each as soon as it is read with --sync. The end of the log
    /// that an earlier stop tore is removed first, with a note.
    Append(WalAppend),

    /// Check every segment of a log and print a table; exit code 1 if there is damage
    ///
    /// A torn last record is a note and no error; a directory without segments is an error with exit code 2. Writes
    /// nothing.
    Verify(WalDir),

    /// Print the records of a log as `wal dump` does, and go on as it grows
    ///
    /// Works beside the process that writes the log, across its segments. Writes nothing.
    Tail(WalTail),

    /// Copy the sealed segments of a log and their indexes; the one that takes records is left out
    ///
    /// Works beside the process that writes the log. Every record is checked before its segment is copied.
    Backup(WalBackup),
}

/// `nokv wal backup`.
#[derive(Debug, Args)]
pub struct WalBackup {
    /// The log.
    #[command(flatten)]
    pub log: WalDir,

    /// Directory of the copies, made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Only segments with higher numbers.
    #[arg(long, value_name = "SEGMENT", default_value_t = 0)]
    pub after: u32,
}

/// A log.
#[derive(Debug, Args)]
pub struct WalDir {
    /// Directory of the segments.
    pub dir: PathBuf,

    /// Extension of the segment files, with its dot.
    #[arg(long, default_value = ".wal", value_name = "EXT", value_parser = extension)]
    pub ext: String,
}

/// `nokv wal append`.
#[derive(Debug, Args)]
pub struct WalAppend {
    /// The log.
    #[command(flatten)]
    pub log: WalDir,

    /// A record; may be given several times. Standard input is not read then.
    #[arg(long, value_name = "V", allow_hyphen_values = true, conflicts_with = "hex")]
    pub value: Vec<OsString>,

    /// A record in hexadecimal; may be given several times. Standard input is not read then.
    #[arg(long, value_name = "HEX")]
    pub hex: Vec<String>,

    /// Log index of the first record; those behind it count on. 0 for none. Without it the log's own go on. One that
    /// the log has already replaces the record there and all above it: look-ups and readers of log indexes find the
    /// new ones, and dump shows both.
    #[arg(long, value_name = "N")]
    pub index: Option<u64>,

    /// Sync after each record, not only at the end.
    #[arg(long)]
    pub sync: bool,

    /// Size of new segments in bytes, a multiple of 8.
    #[arg(long, value_name = "N", default_value_t = 16 << 20)]
    pub segment_bytes: u64,
}

/// `nokv wal tail`.
#[derive(Debug, Args)]
pub struct WalTail {
    /// The log.
    #[command(flatten)]
    pub log: WalDir,

    /// Wait for more records at the end; looks ten times a second.
    #[arg(long, short)]
    pub follow: bool,

    /// Start behind the record at this place, as `wal dump` prints it.
    #[arg(long, value_name = "SEGMENT:OFFSET", value_parser = position)]
    pub after: Option<(u32, u64)>,
}

fn extension(text: &str) -> Result<String, String> {
    match text.strip_prefix('.') {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("an extension starts with a dot, such as .wal".to_owned()),
    }
}

/// The flags of databases, in place of those of every command: logs take neither, and offer neither.
fn of_databases() -> [Arg; 2] {
    let flag =
        |name: &'static str| Arg::new(name).long(name).hide(true).value_parser(clap::value_parser!(PathBuf));
    [flag("workdir"), flag("config")]
}

fn position(text: &str) -> Result<(u32, u64), String> {
    let parsed = text.split_once(':').and_then(|(s, o)| Some((s.parse().ok()?, o.parse().ok()?)));
    parsed.ok_or_else(|| "write SEGMENT:OFFSET with two numbers, such as 3:64".to_owned())
}

/// `nokv repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Do what the plan says.
    #[arg(long)]
    pub apply: bool,
}

/// `nokv checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// Directory of the copy; must not exist yet.
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
}
