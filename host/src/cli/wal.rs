//! `nokv wal`: work on directories of log segments, ours or foreign, with or without a database around them.
//!
//! Only `append` writes into the log, and it does so as any program does: through the log's own calls, under its lock.
//! The others take no lock and work beside a writer. Records are printed in one form by `dump` and `tail`.

use std::ffi::OsString;
use std::io::{self, BufRead, Read};
use std::time::Duration;

use nokv_core::formats::walfs::Position;
use nokv_core::vfs::Vfs;
use nokv_core::wal::{self, EndState, IndexState, Log, LogOptions, OpenReport, SegmentCheck, Verified};
use nokv_vfs_std::StdFs;
use serde_json::{Value as Json, json};

use super::args::{Wal, WalAppend, WalBackup, WalDir, WalTail};
use super::db::{failure, is_database, text_of};
use super::records::read_hex;
use super::store::{Backend, Exit, Failure, Result, WalEnd, WalRecord};
use super::{Session, output};
use crate::Error;
use crate::wal_tail::FileTail;
use output::things;

/// How long `tail --follow` waits between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The complaint about a log.
fn log_failure(dir: &str, error: &Error) -> Failure {
    match error {
        Error::Locked { file, pid } => {
            let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Failure::new(format!("{who} has the log open"), file.clone(), "wait until it ends, or stop it")
        }
        Error::Corrupt { file, offset, what } => {
            let place = format!("{file} byte {offset}");
            let next = "keep a copy of the directory; nokv wal verify shows all damage";
            Failure::new(format!("the log is damaged ({what})"), place, next).with_exit(Exit::Negative)
        }
        Error::BatchTooLarge { bytes, limit, .. } => {
            let what =
                format!("the record of {bytes} bytes does not fit a segment, which has room for {limit}");
            Failure::new(what, dir, "make new segments larger with --segment-bytes")
        }
        Error::InvalidArgument(what) => Failure::new(what.clone(), dir, ""),
        other => failure(dir, other),
    }
}

impl<B: Backend> Session<'_, B> {
    pub(super) fn wal(&mut self, command: &Wal) -> Result<()> {
        match command {
            Wal::Dump(log) => self.wal_dump(log),
            Wal::Append(args) => self.wal_append(args),
            Wal::Verify(log) => self.wal_verify(log),
            Wal::Tail(args) => self.wal_tail(args),
            Wal::Backup(args) => self.wal_backup(args),
        }
    }

    fn wal_dump(&mut self, log: &WalDir) -> Result<()> {
        let mut hex = String::new();
        let end = self.backend.wal_dump(&log.dir, &log.ext, &mut |record| {
            output::wal_record(self.out, record, self.json, &mut hex).map_err(|e| Failure::output(&e))
        })?;
        let dir = log.dir.display();
        match end {
            WalEnd::Clean => Ok(()),
            WalEnd::Empty => Err(no_segments(log)),
            WalEnd::Torn { segment, offset, what } => self.note(&format!(
                "the last write was cut short ({what}): {dir} segment {segment} offset {offset}: opening the log \
                 for writing removes it"
            )),
            WalEnd::Damage { segment, offset, what, whole_behind } => {
                let behind = things(whole_behind, "whole record");
                let stand = if whole_behind == 1 { "stands" } else { "stand" };
                let what = format!("the log is damaged ({what}), {behind} {stand} behind it");
                let place = format!("{dir} segment {segment} offset {offset}");
                // Only a database can be repaired; of other logs what is whole can be told.
                let next = match is_database(&log.dir.join("..")) {
                    true => "keep a copy of the directory; nokv repair shows what can be saved",
                    false => "keep a copy of the directory; nokv wal verify shows all damage",
                };
                Err(Failure::new(what, place, next).with_exit(Exit::Negative))
            }
        }
    }

    fn wal_append(&mut self, args: &WalAppend) -> Result<()> {
        let dir = text_of(&args.log.dir)?;
        let given = given_records(args)?;
        let options = LogOptions {
            ext: args.log.ext.clone(),
            segment_bytes: args.segment_bytes,
            clock: Some(crate::db::system_clock()),
            ..LogOptions::default()
        };
        let fail = |e: Error| log_failure(dir, &e);
        let log = Log::open(StdFs::new(), dir, options).map_err(fail)?;
        if let OpenReport { cut_at: Some(at), cut_what, records_cut, .. } = log.report() {
            let what = cut_what.unwrap_or("a record");
            self.note(&format!(
                "the end of the log was cut off (expected {what}), {} with it: {dir} segment {} offset {}",
                things(*records_cut, "whole record"),
                at.segment,
                at.offset
            ))?;
        }
        let mut appender = Appender {
            index: args.index.unwrap_or_else(|| following(&log)),
            ..Appender::new(&log, args.sync)
        };
        let done = match given {
            Some(records) => records.iter().try_for_each(|r| appender.append(r).map_err(fail)),
            None => each_line(&mut io::stdin().lock(), |line| appender.append(line).map_err(fail)),
        };
        // What was appended before a bad line counts as appended: it is made durable and the log closed.
        let (records, first, last) = (appender.records, appender.first, appender.last);
        let closed = log.close().map_err(fail);
        done.and(closed.map(|_| ())).map_err(|mut failure| {
            let were = if records == 1 { "was" } else { "were" };
            failure.what = format!("{}; {} {were} appended before", failure.what, things(records, "record"));
            failure
        })?;
        let place = |p: Option<Position>| p.map_or(Json::Null, |p| p.to_string().into());
        let answer = json!({"records": records, "first": place(first), "last": place(last)});
        output::answer(self.out, &answer, self.json).map_err(|e| Failure::output(&e))
    }

    fn wal_verify(&mut self, log: &WalDir) -> Result<()> {
        let dir = text_of(&log.dir)?;
        let verified = wal::verify(listed(log)?, dir, &log.ext).map_err(|e| log_failure(dir, &e))?;
        if verified.segments.is_empty() {
            return Err(no_segments(log));
        }
        output::answer(self.out, &report_of(&verified), self.json).map_err(|e| Failure::output(&e))?;
        match &verified.end {
            EndState::TornTail { segment, offset, what, .. } => self.note(&format!(
                "the last write was cut short ({what}): {dir} segment {segment} offset {offset}: opening the log \
                 for writing removes it"
            ))?,
            EndState::Clean | EndState::Damage { .. } => {}
        }
        if !verified.is_damaged() {
            return Ok(());
        }
        let next = "keep a copy of the directory; records before and behind the damage are whole";
        Err(Failure::new("the log is damaged", dir, next).with_exit(Exit::Negative))
    }

    fn wal_tail(&mut self, args: &WalTail) -> Result<()> {
        let dir = text_of(&args.log.dir)?;
        let fail = |e: Error| log_failure(dir, &e);
        let after = args.after.map(|(segment, offset)| Position { segment, offset });
        let mut tail = FileTail::new(listed(&args.log)?, dir, &args.log.ext, after).map_err(fail)?;
        let mut hex = String::new();
        loop {
            while let Some(record) = tail.poll().map_err(fail)? {
                let record = WalRecord {
                    segment: record.position.segment,
                    offset: record.position.offset,
                    log_index: record.log_index,
                    data: record.payload,
                };
                output::wal_record(self.out, &record, self.json, &mut hex)
                    .map_err(|e| Failure::output(&e))?;
            }
            if !args.follow {
                let Position { segment, offset } = tail.position();
                return match segment {
                    // A log may be about to be made.
                    0 => {
                        let Failure { what, place, next, .. } = no_segments(&args.log);
                        self.note(&format!("{what}: {place}: {next}"))
                    }
                    _ => self.note(&format!("no new data: {dir} segment {segment} offset {offset}")),
                };
            }
            self.out.flush().map_err(|e| Failure::output(&e))?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn wal_backup(&mut self, args: &WalBackup) -> Result<()> {
        let dir = text_of(&args.log.dir)?;
        let fail = |e: Error| log_failure(dir, &e);
        let options = LogOptions {
            ext: args.log.ext.clone(),
            read_only: true,
            create: false,
            log_index: false,
            ..LogOptions::default()
        };
        let log = Log::open(listed(&args.log)?, dir, options).map_err(fail)?;
        let copies = log.backup_segments_after(args.after, text_of(&args.to)?).map_err(fail)?;
        let row = |(segment, file): (u32, String)| json!({"segment": segment, "file": file});
        let rows: Vec<Json> = copies.into_iter().map(row).collect();
        if rows.is_empty() {
            self.note(&format!("no segment above {} is sealed: {dir}", args.after))?;
        }
        output::answer(self.out, &json!({"segments": rows}), self.json).map_err(|e| Failure::output(&e))
    }
}

fn no_segments(log: &WalDir) -> Failure {
    let dir = log.dir.display();
    let next = match is_database(&log.dir) {
        true => {
            format!("this is the directory of a database, and its log is {}", log.dir.join("wal").display())
        }
        false => "check the name, and --ext if the files end otherwise".to_owned(),
    };
    Failure::new(format!("there are no log segments (NNNNNNNNN{})", log.ext), dir.to_string(), next)
}

/// The file system, if the directory is there.
fn listed(log: &WalDir) -> Result<StdFs> {
    let (fs, dir) = (StdFs::new(), text_of(&log.dir)?);
    match fs.list(dir) {
        Ok(_) => Ok(fs),
        Err(e) => Err(failure(dir, &Error::io("list", dir, e))),
    }
}

/// Log index of the next record if it follows the last one; 0 where the log counts none.
fn following(log: &Log<StdFs>) -> u64 {
    let segments = log.segments();
    match segments.iter().rev().find(|s| s.entries > 0 || s.first_log_index != 0) {
        Some(s) if s.first_log_index != 0 => s.first_log_index.saturating_add(s.entries),
        _ => 0,
    }
}

struct Appender<'l> {
    log: &'l Log<StdFs>,
    sync: bool,
    /// Log index of the next record, 0 for none.
    index: u64,
    records: u64,
    first: Option<Position>,
    last: Option<Position>,
}

impl<'l> Appender<'l> {
    const fn new(log: &'l Log<StdFs>, sync: bool) -> Self {
        Self { log, sync, index: 0, records: 0, first: None, last: None }
    }

    fn append(&mut self, payload: &[u8]) -> std::result::Result<(), Error> {
        let position = self.log.append(payload, self.index)?;
        if self.index != 0 {
            self.index = self.index.saturating_add(1);
        }
        self.records += 1;
        self.first.get_or_insert(position);
        self.last = Some(position);
        if self.sync {
            self.log.sync()?;
        }
        Ok(())
    }
}

/// The records of the command line, `None` for those of standard input. Checked before the log is touched.
fn given_records(args: &WalAppend) -> Result<Option<Vec<Vec<u8>>>> {
    if !args.value.is_empty() {
        let bytes = |value: &OsString| value.as_encoded_bytes().to_vec();
        return Ok(Some(args.value.iter().map(bytes).collect()));
    }
    if args.hex.is_empty() {
        return Ok(None);
    }
    let bytes = |text: &String| {
        let mut bytes = Vec::new();
        if read_hex(text, &mut bytes) {
            return Ok(bytes);
        }
        Err(Failure::new("not hexadecimal", format!("argument {text}"), "use two digits for each byte"))
    };
    args.hex.iter().map(bytes).collect::<Result<_>>().map(Some)
}

/// Gives each line to `visit` as it comes. The last one needs no line feed.
fn each_line(input: &mut impl BufRead, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    // A frame's length is 32 bits.
    const LINE_BYTES_MAX: u64 = u32::MAX as u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|e| {
            Failure::new(format!("the input cannot be read ({e})"), "standard input", "run the command again")
        })?;
        if read == 0 {
            return Ok(());
        }
        visit(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

/// The table of `verify`.
fn report_of(verified: &Verified) -> Json {
    let row = |s: &SegmentCheck| {
        let index = match s.index {
            IndexState::Absent => "-",
            IndexState::Good => "good",
            IndexState::Ignored => "ignored",
        };
        let header =
            s.header.as_ref().map_or_else(|m| format!("expected {}", m.what), |()| "good".to_owned());
        let damage = s.damage.map_or(Json::Null, |(offset, what, behind)| {
            format!("{offset}: expected {what}; {behind} whole behind").into()
        });
        json!({
            "segment": s.info.number,
            "state": if s.info.sealed { "sealed" } else { "active" },
            "records": s.info.entries,
            "log_index": s.info.first_log_index,
            "end": s.info.end,
            "size": s.info.file_bytes,
            "index": index,
            "header": header,
            "damage": damage,
        })
    };
    let end = match &verified.end {
        EndState::Clean => json!("clean"),
        EndState::TornTail { segment, offset, .. } => json!(format!("torn at {segment}:{offset}")),
        EndState::Damage { segment, offset, what, whole_records_behind } => {
            let behind = things(*whole_records_behind, "whole record");
            json!(format!("damaged at {segment}:{offset}: expected {what}; {behind} behind it"))
        }
    };
    json!({
        "records": verified.segments.iter().map(|s| s.info.entries).sum::<u64>(),
        "end": end,
        "segments": verified.segments.iter().map(row).collect::<Vec<_>>(),
    })
}
