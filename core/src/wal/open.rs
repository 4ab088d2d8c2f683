//! Opening a log, for reading and for writing.
//!
//! Who may call it: [`Log::open`]; the pieces also the engine's own log and [`super::truncate`]. Rules: those of
//! [`super::log`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use nokv_formats::walfs::{
    FRAME_OVERHEAD_BYTES, HEADER_BYTES, Position, SegmentHeader, parse_segment_file_name, segment_file_name,
};

use super::log::{LOCK_FILE_NAME, Log, Mode, OpenReport};
use super::options::{LogOptions, OnDamage, check_marker};
use super::owner::refuse_database_log;
use super::segment::{Segment, copy_before_write, make_dir, zero_file};
use super::survey::{SegmentInfo, Surveyed, Verdict, judge, list_segments, log_index_of, survey_segment};
use super::tail::{Config, Rotated, Tail, remove_segment};
use super::truncate::{finish, pending, pretend};
use crate::error::{Error, IoContext, Result};
use crate::planted::{self, Bug};
use crate::sync::Arc;
use crate::vfs::{IoErrorKind, OpenMode, Vfs, join};

impl<V: Vfs> Log<V> {
    pub(super) fn open_read_only(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        let mut surveyed = survey(&fs, dir, &options.ext)?;
        check_markers(&surveyed, &options)?;
        if let Some(truncation) = pending(&fs, dir)? {
            pretend(&mut surveyed, &truncation);
        }
        let report = rebuild_headers(&mut surveyed, options.marker);
        let damage = match judge(&surveyed) {
            Verdict::Rot { segment, damage, behind } => Some((segment, damage, behind)),
            // Readers stop where recovery would cut.
            Verdict::Torn { segment, .. } => {
                surveyed.retain(|s| s.number <= segment);
                None
            }
            Verdict::Clean => None,
        };
        let segments = surveyed.iter().map(Surveyed::info).collect();
        let mode = Mode::Reading { segments, damage };
        let log = Self::assemble(fs, dir, options, mode, report);
        log.load_places()?;
        Ok(log)
    }

    pub(super) fn open_writing(fs: V, dir: &str, options: LogOptions) -> Result<Self> {
        let config = config_of(dir, &options)?;
        refuse_database_log(&fs, dir, &options.ext)?;
        if options.create {
            make_dir(&fs, dir)?;
        }
        let lock_path = join(dir, LOCK_FILE_NAME);
        let lock = fs.lock(&lock_path).map_err(|e| match e.kind {
            IoErrorKind::WouldBlock => Error::Locked {
                file: lock_path.clone(),
                pid: u32::try_from(e.code).ok().filter(|pid| *pid != 0),
            },
            _ => Error::io("lock", &lock_path, e),
        })?;
        let mut surveyed = survey(&fs, dir, &options.ext)?;
        check_markers(&surveyed, &options)?;
        if let Some(truncation) = pending(&fs, dir)? {
            // ORDER: the decision is durable before anything is removed because of it.
            fs.sync_dir(dir).at("sync_dir", dir)?;
            finish(&fs, &config, &truncation)?;
            surveyed = survey(&fs, dir, &options.ext)?;
        }
        let mut report = rebuild_headers(&mut surveyed, options.marker);
        let (segment, damage, behind) = match judge(&surveyed) {
            Verdict::Clean => (0, None, 0),
            Verdict::Rot { segment, damage, behind } if options.on_damage == OnDamage::Refuse => {
                return Err(damage.error(&join(dir, &segment_file_name(segment, &options.ext)), behind));
            }
            Verdict::Torn { segment, damage, behind } | Verdict::Rot { segment, damage, behind } => {
                (segment, Some(damage), behind)
            }
        };
        if damage.is_none() {
            remove_temporaries(&fs, dir, &options.ext)?;
        }
        // ORDER: a name that a stopped process had not made durable yet is, before anything depends on it.
        fs.sync_dir(dir).at("sync_dir", dir)?;
        if let Some(damage) = damage {
            report.cut_at = Some(Position { segment, offset: damage.offset });
            report.cut_what = Some(damage.what);
            report.records_cut = behind;
            remove_behind(&fs, dir, &options.ext, &mut surveyed, segment)?;
        }
        let (active, settled) = resume(&fs, &config, surveyed, options.create)?;
        let tail = Box::new(Tail::new(fs.clone(), config, active, settled));
        let mode = Mode::Writing { tail, _lock: lock };
        let log = Self::assemble(fs, dir, options, mode, report);
        log.load_places()?;
        Ok(log)
    }
}

/// Is `name` that of a segment, its index file, or one of these that was still being made?
pub(crate) fn is_own_file_name(name: &str, ext: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    parse_segment_file_name(name.strip_suffix(".idx").unwrap_or(name), ext).is_some()
}

/// Removes what a stop left of files that were being made, and gives how many there were. Not for an open that cuts
/// something.
pub(crate) fn remove_temporaries<V: Vfs>(fs: &V, dir: &str, ext: &str) -> Result<u64> {
    let mut removed = 0;
    for entry in fs.list(dir).at("list", dir)? {
        if !entry.is_dir && entry.name.ends_with(".tmp") && is_own_file_name(&entry.name, ext) {
            let path = join(dir, &entry.name);
            fs.unlink(&path).at("unlink", &path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn survey<V: Vfs>(fs: &V, dir: &str, ext: &str) -> Result<Vec<Surveyed>> {
    list_segments(fs, dir, ext)?.iter().map(|f| survey_segment(fs, f, true)).collect()
}

/// The part of the options that the end of a log goes by.
pub(super) fn config_of(dir: &str, options: &LogOptions) -> Result<Config> {
    let minimum = (HEADER_BYTES + FRAME_OVERHEAD_BYTES) as u64;
    if options.segment_bytes < minimum || !options.segment_bytes.is_multiple_of(8) {
        return Err(Error::InvalidArgument(
            "a segment size must be a multiple of 8 of at least 80 bytes".into(),
        ));
    }
    Ok(Config {
        dir: dir.to_string(),
        ext: options.ext.clone(),
        segment_bytes: options.segment_bytes,
        marker: options.marker,
        write_index: true,
        strict_first_index: true,
        only_headers_prove: true,
        clock: options.clock.clone(),
    })
}

fn check_markers(surveyed: &[Surveyed], options: &LogOptions) -> Result<()> {
    let validator = options.marker_validator.as_ref();
    let headers = surveyed.iter().filter_map(|s| Some((s, s.header.as_ref().ok()?)));
    headers.into_iter().try_for_each(|(s, header)| check_marker(validator, &s.path, header.marker))
}

/// A torn header costs nothing: its records say where they end. Its first log index follows from the segment
/// before, or is taken as it stands (a torn header store does not change it).
pub(crate) fn rebuild_headers(surveyed: &mut [Surveyed], marker: u32) -> OpenReport {
    let mut report = OpenReport::default();
    let mut follows = None;
    for s in surveyed {
        if s.header.is_err() {
            report.headers_rebuilt.push(s.number);
            let index = follows.unwrap_or(s.raw_first_index);
            // An index that its records cannot count on from was none.
            let index = log_index_of(index, s.entries.saturating_sub(1)).map_or(0, |_| index);
            s.header = Ok(SegmentHeader::new(0, index, marker));
            s.header_rebuilt = true;
        }
        follows = s.header.as_ref().ok().map(|h| match h.first_log_index {
            0 => 0,
            first => first.saturating_add(s.entries),
        });
    }
    report
}

/// Zeros, then removes, the segments behind `segment`, last first: a crash in the middle leaves a shorter log
/// with the same end.
pub(crate) fn remove_behind<V: Vfs>(
    fs: &V,
    dir: &str,
    ext: &str,
    surveyed: &mut Vec<Surveyed>,
    segment: u32,
) -> Result<()> {
    while let Some(last) = surveyed.pop_if(|s| s.number > segment) {
        if last.links > 1 {
            copy_before_write(fs, dir, &last.path)?;
        }
        let file = fs.open(&last.path, OpenMode::ReadWrite).at("open", &last.path)?;
        zero_file(&file, &last.path, 0, last.file_bytes)?;
        remove_segment(fs, dir, ext, last.number)?;
    }
    Ok(())
}

fn resume<V: Vfs>(
    fs: &V,
    config: &Config,
    mut surveyed: Vec<Surveyed>,
    create: bool,
) -> Result<(Rotated<V>, VecDeque<SegmentInfo>)> {
    let last = surveyed.pop();
    let mut settled: VecDeque<_> = VecDeque::new();
    // Segments before the last that were not sealed: a stop came first.
    for s in surveyed {
        if !s.is_sealed() {
            open_surveyed(fs, config, &s)?.segment.seal(s.end, s.entries, config.now_ns())?;
            super::tail::write_index(fs, config, s.number)?;
        }
        settled.push_back(SegmentInfo { sealed: true, ..s.info() });
    }
    match last {
        None if !create => Err(Error::InvalidArgument(alloc::format!("no log in {}", config.dir))),
        None => Ok((fresh(config.create_segment(fs, 1, 0)?), settled)),
        Some(last) if last.is_sealed() && last.damage.is_none() => {
            let follows = match last.info().first_log_index {
                0 => 0,
                first => first.saturating_add(last.entries),
            };
            let number = last.number.saturating_add(1);
            settled.push_back(last.info());
            Ok((fresh(config.create_segment(fs, number, follows)?), settled))
        }
        Some(last) => Ok((open_surveyed(fs, config, &last)?, settled)),
    }
}

pub(crate) fn fresh<V: Vfs>(segment: Segment<V>) -> Rotated<V> {
    Rotated { segment: Arc::new(segment), end: HEADER_BYTES as u64, entries: 0 }
}

/// Opens a segment that is not sealed (any more), zeroed behind its end, all of it durable.
pub(super) fn open_surveyed<V: Vfs>(fs: &V, config: &Config, s: &Surveyed) -> Result<Rotated<V>> {
    if s.links > 1 {
        copy_before_write(fs, &config.dir, &s.path)?;
    }
    let old = s.header.as_ref().map_or_else(|_| config.header(s.raw_first_index), |h| *h);
    let header = SegmentHeader {
        write_offset: s.end,
        entry_count: s.entries,
        flags: nokv_formats::walfs::FLAG_ACTIVE,
        ..old
    };
    // A file cut short by a failing disk gets its full size back; a larger one keeps its own.
    let capacity =
        if s.file_bytes < HEADER_BYTES as u64 { config.segment_bytes } else { s.file_bytes / 8 * 8 };
    let segment = Segment::open(fs, s.path.clone(), s.number, capacity, header)?;
    segment.write_again(old.write_offset.min(s.end), s.end)?;
    if !planted::is(Bug::CutBytesStay) {
        segment.zero_from(s.end)?;
    }
    segment.sync_all(s.end)?;
    segment.update_header(|_| {})?;
    segment.flush_header()?;
    Ok(Rotated { segment: Arc::new(segment), end: s.end, entries: s.entries })
}
