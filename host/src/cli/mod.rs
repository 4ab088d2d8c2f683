//! The command line `nokv`: arguments in, lines out.
//!
//! - Answers go to the output, everything else (complaints, notes, progress) to standard error.
//! - A complaint is one line: `nokv: what: where: what to do next`.
//! - A reader that closes our output early (`| head`) ends the command quietly.
//! - Commands see the engine through the traits of [`store`] only; [`db`] joins them to it.

pub mod args;
pub mod db;
pub mod import;
pub mod inspect;
mod interrupt;
mod options;
pub mod output;
pub mod page;
pub mod progress;
pub mod records;
#[cfg(feature = "redis")]
pub mod redis;
pub mod remote;
pub mod screen;
pub mod service;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod top;
pub mod units;
mod wal;
pub mod workload;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::Options;
use args::{Cli, Command};
use progress::{Progress, Unit};
use records::source::Source;
use records::{RecordWriter, jsonl, tsv};
use store::{Access, Backend, Exit, Failure, Result, Store, Walk};

/// Records between two looks at the progress bar.
const RECORDS_PER_TICK: u64 = 1024;

/// Runs the process's own arguments on databases in directories.
pub fn main() -> ExitCode {
    let stdout = io::stdout();
    let draw = !stdout.is_terminal();
    let mut out = BufWriter::with_capacity(256 << 10, stdout.lock());
    let exit = run(&db::Files, std::env::args_os(), &mut out, &mut io::stderr(), draw);
    ExitCode::from(exit.code())
}

/// Runs one command. `draw` allows progress bars while the command prints records.
pub fn run(
    backend: &impl Backend,
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    draw: bool,
) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            let text = usage.render();
            // Nothing is left to tell it to if printing fails.
            if usage.use_stderr() {
                let _ = write!(err, "{text}");
                return Exit::Error;
            }
            let _ = write!(out, "{text}").and_then(|()| out.flush());
            return Exit::Done;
        }
    };
    let mut session = Session {
        backend,
        out: &mut *out,
        err: &mut *err,
        json: cli.json,
        draw,
        config: None,
        #[cfg(feature = "redis")]
        redis_config: None,
    };
    let result = session.run(&cli);
    // What was printed before a failure is part of the answer: `wal dump` shows the records before the damage.
    let flushed = out.flush().map_err(|e| Failure::output(&e));
    let failure = match (result, flushed) {
        (Ok(()), Ok(())) => return Exit::Done,
        (Err(failure), _) | (Ok(()), Err(failure)) => failure,
    };
    if !failure.quiet {
        // As above.
        let _ = writeln!(err, "{failure}");
    }
    failure.exit
}

/// One command at work.
struct Session<'a, B> {
    backend: &'a B,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    json: bool,
    draw: bool,
    /// What the file of `--config` says.
    config: Option<Options>,
    /// What the `redis.conf` of `--config` says.
    #[cfg(feature = "redis")]
    redis_config: Option<crate::redis::Config>,
}

impl<B: Backend> Session<'_, B> {
    fn run(&mut self, cli: &Cli) -> Result<()> {
        if matches!(cli.command, Command::Wal(_)) && (cli.workdir.is_some() || cli.config.is_some()) {
            let next = "name the directory of the log instead: nokv wal COMMAND DIR";
            return Err(Failure::new("wal takes neither --workdir nor --config", "command line", next));
        }
        let from_config = self.load_config(cli)?;
        // Only a directory that the file names: the default one would surprise.
        let from_config = from_config.filter(|dir| *dir != Options::default().work_dir);
        let workdir = cli.workdir.clone().or(from_config);
        let workdir = workdir.as_deref();
        match &cli.command {
            Command::Options(args) => self.options(workdir, args),
            Command::Wal(command) => self.wal(command),
            Command::Stats(args) => self.stats(workdir, args),
            Command::Hot(args) => self.hot(workdir, args),
            Command::Pins(args) => self.pins(workdir, args),
            Command::Top(args) => self.top(workdir, args),
            command => self.run_in(self.named(workdir)?, command),
        }
    }

    /// Reads the file of `--config`; gives the directory that it names.
    fn load_config(&mut self, cli: &Cli) -> Result<Option<PathBuf>> {
        let Some(path) = cli.config.as_deref() else { return Ok(None) };
        #[cfg(feature = "redis")]
        if matches!(cli.command, Command::Redis(_)) && !redis::is_toml(path) {
            let config = redis::load(path)?;
            self.config = config.options_file.as_deref().map(options::load).transpose()?;
            let dir = config.dir.clone();
            self.redis_config = Some(config);
            if !dir.as_os_str().is_empty() {
                return Ok(Some(dir));
            }
            return Ok(self.config.as_ref().map(|options| options.work_dir.clone()));
        }
        self.config = Some(options::load(path)?);
        Ok(self.config.as_ref().map(|options| options.work_dir.clone()))
    }

    /// Commands that need a directory.
    fn run_in(&mut self, dir: &Path, command: &Command) -> Result<()> {
        match command {
            Command::Import(args) => self.import(dir, args),
            Command::Export(args) => {
                let writer = self.writer(args.format == args::OutputFormat::Jsonl);
                self.print_records(dir, b"", false, None, "export", writer)
            }
            Command::Scan(args) => {
                let prefix = bytes_of(&args.prefix, args.escaped)?;
                let writer = self.writer(self.json);
                self.print_records(dir, &prefix, args.reverse, args.limit, "scan", writer)
            }
            Command::Get(args) => self.get(dir, args),
            Command::Set(args) => {
                let (key, value) = (bytes_of(&args.key, args.escaped)?, bytes_of(&args.value, args.escaped)?);
                let store = self.open(dir, Access::Create)?;
                store.set(&key, &value)?;
                store.close()
            }
            Command::Del(args) => {
                let key = bytes_of(&args.key, args.escaped)?;
                let store = self.open(dir, Access::Write)?;
                store.del(&key)?;
                store.close()
            }
            Command::Manifest => self.inspect(dir, B::Store::manifest),
            Command::Vlog => self.inspect(dir, B::Store::vlog),
            Command::Regions => self.inspect(dir, B::Store::regions),
            Command::Workload(args) => self.workload(dir, args),
            #[cfg(feature = "redis")]
            Command::Redis(args) => self.redis(dir, args),
            Command::Compact(args) => self.compact(dir, args),
            Command::Checkpoint(args) => {
                let store = self.open(dir, Access::Write)?;
                let summary = store.checkpoint(&args.to, &Progress::on_stderr("checkpoint", Unit::Bytes))?;
                store.close()?;
                self.answer(&summary)
            }
            Command::Check => self.check(dir),
            Command::Repair(args) => {
                let progress = Progress::on_stderr("repair", Unit::Steps);
                let report = self.backend.repair(dir, args.apply, &progress)?;
                drop(progress);
                output::repair(self.out, &report, self.json).map_err(|e| Failure::output(&e))?;
                self.notes(&report.notes)
            }
            // They need none: see `run`.
            Command::Wal(_)
            | Command::Stats(_)
            | Command::Hot(_)
            | Command::Pins(_)
            | Command::Top(_)
            | Command::Options(_) => Ok(()),
        }
    }

    fn options(&mut self, workdir: Option<&Path>, args: &args::OptionsArgs) -> Result<()> {
        let mut options = self.config.clone().unwrap_or_default();
        if let Some(dir) = workdir {
            options.work_dir = dir.to_path_buf();
        }
        options::print(self.out, &options, args.toml, self.json).map_err(|e| Failure::output(&e))
    }

    /// The directory that was given.
    fn named<'p>(&self, workdir: Option<&'p Path>) -> Result<&'p Path> {
        workdir.ok_or_else(|| {
            Failure::new("no database is named", "command line", "say where it is with --workdir DIR")
        })
    }

    /// Opens for writing, and tells what the open changed.
    fn open(&mut self, dir: &Path, access: Access) -> Result<B::Store> {
        let store = match &self.config {
            None => self.backend.open(dir, access)?,
            Some(options) => self.backend.open_with(dir, access, options)?,
        };
        self.notes(&store.notes())?;
        Ok(store)
    }

    fn notes(&mut self, notes: &[String]) -> Result<()> {
        notes.iter().try_for_each(|note| self.note(note))
    }

    /// Says something that is no error. What was printed before goes first.
    fn note(&mut self, note: &str) -> Result<()> {
        self.out.flush().map_err(|e| Failure::output(&e))?;
        // A note that cannot be shown is no reason to fail.
        let _ = writeln!(self.err, "nokv: note: {note}");
        Ok(())
    }

    fn compact(&mut self, dir: &Path, args: &args::Compact) -> Result<()> {
        args.service.start_log()?;
        let store = self.open(dir, Access::Write)?;
        let server = self.serve(&store, &args.service)?;
        let summary = store.compact(&Progress::on_stderr("compact", Unit::Bytes))?;
        drop(server);
        store.close()?;
        self.answer(&summary)
    }

    fn writer(&self, json: bool) -> Box<dyn RecordWriter> {
        if json { Box::new(jsonl::Writer::default()) } else { Box::new(tsv::Writer) }
    }

    fn answer(&mut self, value: &serde_json::Value) -> Result<()> {
        output::answer(self.out, value, self.json).map_err(|e| Failure::output(&e))
    }

    fn import(&mut self, dir: &Path, args: &args::Import) -> Result<()> {
        // The input first: a name that is wrong must not leave an empty database.
        let source = Source::open(&args.file)?;
        let (name, total, read) = (source.name.clone(), source.bytes_total, source.bytes_read());
        let mut reader = import::reader(args, source)?;
        args.service.start_log()?;
        let store = self.open(dir, Access::Create)?;
        let server = self.serve(&store, &args.service)?;
        let progress = Progress::on_stderr("import", Unit::Bytes);
        let mut tick = |progress: &Progress| progress.at(read.get(), total);
        let result = import::run(&store, &mut *reader, &name, &progress, &mut tick);
        drop(progress);
        drop(server);
        let report = match result {
            Ok(report) => report,
            Err(failure) => {
                // The complaint about the input says more than a second one about closing.
                let _ = store.close();
                return Err(failure);
            }
        };
        store.close()?;
        if self.json {
            return self.answer(&serde_json::json!({
                "records": report.records,
                "repeated": report.repeated,
                "bytes": report.bytes,
                "seconds": report.seconds,
            }));
        }
        let import::Report { records, repeated, bytes, seconds } = report;
        let rate = if seconds > 0.0 { records as f64 / seconds } else { 0.0 };
        let size = output::bytes(bytes);
        let records_read = output::things(records, "record");
        writeln!(self.out, "{records_read}, {size}, in {seconds:.1} s ({rate:.0} records/s)")
            .and_then(|()| {
                let keys = output::things(repeated, "repeated key");
                writeln!(self.out, "{keys} (the last record of each is stored)")
            })
            .map_err(|e| Failure::output(&e))
    }

    fn get(&mut self, dir: &Path, args: &args::Key) -> Result<()> {
        let key = bytes_of(&args.key, args.escaped)?;
        let store = self.backend.open(dir, Access::Read)?;
        let value = store.get(&key)?;
        store.close()?;
        let Some(value) = value else {
            let place = format!("key {} in {}", key.escape_ascii(), dir.display());
            let next = match !args.escaped && is_escaped(&key) {
                true => {
                    "KEY was taken as it stands; with --escaped its escapes are read, as scan prints them"
                }
                false => "nokv scan --prefix shows the keys that are there",
            };
            return Err(Failure::new("there is no such key", place, next).with_exit(Exit::Negative));
        };
        let printed = if self.json {
            jsonl::Writer::default().write(self.out, &key, &value)
        } else {
            self.out.write_all(&value).and_then(|()| self.out.write_all(b"\n"))
        };
        printed.map_err(|e| Failure::output(&e))
    }

    fn print_records(
        &mut self,
        dir: &Path,
        prefix: &[u8],
        reverse: bool,
        limit: Option<u64>,
        what: &'static str,
        mut writer: Box<dyn RecordWriter>,
    ) -> Result<()> {
        let store = self.backend.open(dir, Access::Read)?;
        // A bar between records on the same terminal would garble both.
        let progress = if self.draw { Progress::on_stderr(what, Unit::Records) } else { Progress::hidden() };
        let total = limit.or_else(|| if prefix.is_empty() { store.entries_about() } else { None });
        let mut printed = 0;
        if limit != Some(0) {
            store.scan(prefix, reverse, &mut |key, value| {
                writer.write(self.out, key, value).map_err(|e| Failure::output(&e))?;
                printed += 1;
                if printed % RECORDS_PER_TICK == 0 {
                    progress.at(printed, total.map(|total| total.max(printed)));
                }
                Ok(if limit == Some(printed) { Walk::Stop } else { Walk::On })
            })?;
        }
        store.close()
    }

    fn check(&mut self, dir: &Path) -> Result<()> {
        let progress = Progress::on_stderr("check", Unit::Bytes);
        let report = self.backend.check(dir, &progress)?;
        drop(progress);
        output::check(self.out, &report, self.json).map_err(|e| Failure::output(&e))?;
        self.notes(&report.notes)?;
        if report.damage.is_empty() {
            return Ok(());
        }
        let what = match report.damage.len() {
            1 => "there is damage in one place".to_owned(),
            n => format!("there is damage in {n} places"),
        };
        let next = "nokv repair shows what can be saved and changes nothing";
        Err(Failure::new(what, dir.display().to_string(), next).with_exit(Exit::Negative))
    }
}

/// Is there an escape of TSV in it, and none that is wrong?
fn is_escaped(arg: &[u8]) -> bool {
    let mut plain = Vec::new();
    arg.contains(&b'\\') && tsv::unescape(arg, &mut plain).is_ok()
}

/// The bytes of an argument.
fn bytes_of(arg: &OsStr, escaped: bool) -> Result<Vec<u8>> {
    // On Unix these are the bytes that the shell passed, elsewhere UTF-8 where the argument is valid.
    let bytes = arg.as_encoded_bytes();
    if !escaped {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    tsv::unescape(bytes, &mut plain).map_err(|what| {
        let place = format!("argument {}", arg.display());
        Failure::new(what, place, "use \\t \\n \\r \\\\ or \\x with two hexadecimal digits")
    })?;
    Ok(plain)
}
