//! The record frames of a file, read in pieces: memory follows the records that are whole, never the length of the file
//! or a number in it. The verdicts are those of `frame_at` and `find_whole_record` on the whole file.
//!
//! Who may call it: what opens logs and manifests.
//! 1. The file counts as it was long when it was opened; bytes that are gone since read as the end.
//! 2. A record longer than the window is taken into memory only after its trailer and its checksum were found right, and is
//!    checked once more there: the bytes that are handed out are the ones that were checked.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use nokv_formats::crc::{crc32c, extend};
use nokv_formats::walfs::{
    Ahead, FRAME_HEAD_BYTES, FRAME_OVERHEAD_BYTES, Found, FrameHead, SHORT_HEAD, TRAILER, frame_at,
};

use crate::error::{Error, IoContext, Result};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// How much of a file is read at once.
// Tests meet its ends with small files.
const WINDOW_BYTES: usize = if cfg!(test) { 256 } else { 128 << 10 };
const _: () = assert!(WINDOW_BYTES.is_multiple_of(8) && WINDOW_BYTES >= 64);

/// See the module.
pub(crate) struct Frames<F> {
    file: F,
    path: String,
    len: u64,
    /// Fewer bytes were there than when it was opened.
    has_shrunk: bool,
    /// Bytes of the file from `start` on.
    window: Vec<u8>,
    start: u64,
    /// A record that is longer than the window.
    long: Vec<u8>,
    #[cfg(test)]
    reads: u64,
}

/// What lies at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A whole record.
    Record(Place),
    /// A zero head, or the end of the file.
    End,
    /// Neither, for this reason.
    Damage(&'static str),
}

/// Where a whole record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub at: u64,
    pub end: u64,
    head: FrameHead,
}

impl<F: VfsFile> Frames<F> {
    /// The frames of the file at `path`.
    pub fn open<V: Vfs<File = F>>(fs: &V, path: &str) -> Result<Self> {
        let file = fs.open(path, OpenMode::Read).at("open", path)?;
        let len = file.size().at("get size of", path)?;
        Ok(Self {
            file,
            path: path.to_string(),
            len,
            has_shrunk: false,
            window: Vec::new(),
            start: 0,
            long: Vec::new(),
            #[cfg(test)]
            reads: 0,
        })
    }

    /// Length of the file, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Were fewer bytes there than when it was opened? Then somebody else changes it.
    pub const fn has_shrunk(&self) -> bool {
        self.has_shrunk
    }

    /// As many bytes at `at` as fit `buf` and the file; fewer only at its end.
    fn read(&mut self, buf: &mut [u8], at: u64) -> Result<usize> {
        #[cfg(test)]
        {
            self.reads += 1;
        }
        let most = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let read = match buf.get_mut(..most) {
            Some(buf) if !buf.is_empty() => self.file.read_at(buf, at).at("read", &self.path)?,
            _ => 0,
        };
        if read < most {
            self.len = at + read as u64;
            self.has_shrunk = true;
        }
        Ok(read)
    }

    /// Up to `len` bytes at `at`, not more than a window; fewer only at the end of the file.
    pub fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let len = len.min(WINDOW_BYTES);
        let end = at.saturating_add(len as u64).min(self.len);
        if at < self.start || end > self.start + self.window.len() as u64 {
            let mut window = core::mem::take(&mut self.window);
            let most = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            window.resize(most, 0);
            let read = self.read(&mut window, at)?;
            window.truncate(read);
            (self.window, self.start) = (window, at);
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let rest = self.window.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// What the window holds from `at` on; fewer bytes than a head only at the end of the file.
    fn rest(&mut self, at: u64) -> Result<&[u8]> {
        self.bytes(at, FRAME_HEAD_BYTES)?;
        let from = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        Ok(from.and_then(|from| self.window.get(from..)).unwrap_or_default())
    }

    /// Forgets what was read: a writer may have gone on since.
    pub fn refresh(&mut self) {
        self.window.clear();
    }

    /// What lies at `at`.
    pub fn look(&mut self, at: u64) -> Result<Look> {
        let len = self.len;
        let bytes = self.bytes(at, FRAME_HEAD_BYTES)?;
        let Some(head) = bytes.first_chunk() else {
            let is_end = bytes.iter().all(|b| *b == 0);
            return Ok(if is_end { Look::End } else { Look::Damage(SHORT_HEAD) });
        };
        match Ahead::read(*head, len.saturating_sub(at)) {
            Ahead::End => Ok(Look::End),
            Ahead::Damage(what) => Ok(Look::Damage(what)),
            Ahead::Frame(head) => self.check(at, head),
        }
    }

    /// Is the record whole whose head lies at `at`?
    fn check(&mut self, at: u64, head: FrameHead) -> Result<Look> {
        let place = Place { at, end: at + head.frame_len as u64, head };
        if head.frame_len <= WINDOW_BYTES {
            let found = match frame_at(self.bytes(at, head.frame_len)?, 0) {
                Found::Record(_) => Look::Record(place),
                Found::End => Look::End,
                Found::Damage(m) => Look::Damage(m.what),
            };
            return Ok(found);
        }
        let payload_end = at + (FRAME_HEAD_BYTES + head.payload_len) as u64;
        let (mut tail, tail_len) = ([0; 16], head.frame_len - FRAME_HEAD_BYTES - head.payload_len);
        let read = self.read(&mut tail[..tail_len.min(16)], payload_end)?;
        if let Err(what) = head.check_tail(&tail[..read]) {
            return Ok(Look::Damage(what));
        }
        let crc = self.crc(at + 4, payload_end)?;
        Ok(head.check_crc(crc).map_or_else(Look::Damage, |()| Look::Record(place)))
    }

    /// The checksum of `from..to`, read in pieces.
    pub fn crc(&mut self, from: u64, to: u64) -> Result<u32> {
        let (mut crc, mut at) = (0, from);
        let mut piece = vec![0; WINDOW_BYTES];
        while at < to {
            let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            let read = self.read(&mut piece[..most], at)?;
            crc = extend(crc, &piece[..read]);
            if read < most {
                break;
            }
            at += read as u64;
        }
        Ok(crc)
    }

    /// The payload of a record that was found whole; `None` if it is not any more.
    pub fn payload(&mut self, place: &Place) -> Result<Option<&[u8]>> {
        let Place { at, head, .. } = *place;
        let inside = FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.payload_len;
        if head.frame_len <= WINDOW_BYTES {
            // It was checked in the window that still stands, or has been read anew.
            let fresh = at < self.start || place.end > self.start + self.window.len() as u64;
            let bytes = self.bytes(at, head.frame_len)?;
            let is_whole = !fresh || matches!(frame_at(bytes, 0), Found::Record(_));
            return Ok(bytes.get(inside).filter(|_| is_whole));
        }
        let mut long = core::mem::take(&mut self.long);
        let len = FRAME_HEAD_BYTES + head.payload_len;
        if long.try_reserve_exact(len.saturating_sub(long.len())).is_err() {
            let what = format!("no memory for the record of {len} bytes at byte {at} of {}", self.path);
            return Err(Error::InvalidArgument(what));
        }
        long.resize(len, 0);
        let read = self.read(&mut long, at)?;
        self.long = long;
        let is_whole = read == self.long.len()
            && self.long.get(4..).is_some_and(|checked| head.check_crc(crc32c(checked)).is_ok());
        Ok(self.long.get(inside).filter(|_| is_whole))
    }

    /// The first whole record that starts at `from` or behind it, at any multiple of 8. Looking stops when `budget`
    /// bytes were checksummed, so that bytes made to look like many long records cost no more than that.
    pub fn find(&mut self, from: u64, budget: &mut u64) -> Result<Option<Place>> {
        let Some(mut at) = from.checked_next_multiple_of(8) else { return Ok(None) };
        loop {
            let rest = self.rest(at)?;
            if rest.len() < FRAME_HEAD_BYTES {
                return Ok(None);
            }
            let zeros = rest.chunks_exact(8).take_while(|word| **word == [0; 8]).count() * 8;
            let head = rest.get(zeros..).and_then(|rest| rest.first_chunk()).copied();
            at += zeros as u64;
            let Some(head) = head else { continue };
            if let Ahead::Frame(head) = Ahead::read(head, self.len.saturating_sub(at))
                && self.has_trailer(at, head)?
            {
                let Some(left) = budget.checked_sub((head.payload_len + FRAME_OVERHEAD_BYTES) as u64) else {
                    return Ok(None);
                };
                *budget = left;
                if let Look::Record(place) = self.check(at, head)? {
                    return Ok(Some(place));
                }
            }
            at += 8;
        }
    }

    /// The trailer alone, before anything costs time.
    fn has_trailer(&mut self, at: u64, head: FrameHead) -> Result<bool> {
        let place = at + (FRAME_HEAD_BYTES + head.payload_len) as u64;
        let inside = place.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        if let Some(stored) = inside.and_then(|from| self.window.get(from..from.checked_add(TRAILER.len())?))
        {
            return Ok(stored == TRAILER);
        }
        let mut stored = [0; TRAILER.len()];
        let read = self.read(&mut stored, place)?;
        Ok(read == stored.len() && stored == TRAILER)
    }

    /// How many whole records lie at `from` or behind it. Records inside a record are not counted.
    pub fn count_from(&mut self, from: u64) -> Result<u64> {
        let (mut count, mut at, mut budget) = (0, from, self.len.saturating_mul(8));
        while let Some(place) = self.find(at, &mut budget)? {
            count += 1;
            at = place.end;
        }
        Ok(count)
    }

    /// Behind the last byte that is not zero, but at least `from`.
    pub fn used_from(&mut self, from: u64) -> Result<u64> {
        let mut piece = vec![0; WINDOW_BYTES];
        let mut end = self.len;
        while end > from {
            let start = end.saturating_sub(WINDOW_BYTES as u64).max(from);
            let len = usize::try_from(end - start).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
            let read = self.read(&mut piece[..len], start)?;
            if let Some(last) = piece[..read].iter().rposition(|b| *b != 0) {
                return Ok(start + last as u64 + 1);
            }
            end = start;
        }
        Ok(from)
    }
}

#[cfg(test)]
mod tests;
