//! Puts every checksum of damaged bytes right, so that what stands behind it is decoded.
//!
//! Who may call it: the targets and the seeds. Nothing here judges: bytes that cannot be walked are left as they are.

use nokv_core::formats::block::TRAILER_BYTES;
use nokv_core::formats::crc::{crc32c, extend};
use nokv_core::formats::envelope::ENVELOPE_BYTES;
use nokv_core::formats::table::{FOOTER_BYTES, Footer, Index};
use nokv_core::formats::walfs::{FRAME_HEAD_BYTES, HEADER_BYTES, TRAILER, TRUNCATION_BYTES, frame_len};

/// A little-endian number.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// A little-endian number.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// Writes `field` at `at`, if it fits.
pub fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..field.len())) {
        place.copy_from_slice(field);
    }
}

/// Stores at `at` the checksum of the bytes before it.
fn covers_before(bytes: &mut [u8], at: usize) {
    if let Some(crc) = bytes.get(..at).map(crc32c) {
        put(bytes, at, &crc.to_le_bytes());
    }
}

/// `CURRENT`: its last four bytes.
pub fn current(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        covers_before(bytes, at);
    }
}

/// A truncation of a walfs log.
pub fn truncation(bytes: &mut [u8]) {
    covers_before(bytes, TRUNCATION_BYTES - 8);
}

/// A walfs segment: the header's checksum and its frames.
pub fn segment(bytes: &mut [u8], number: Option<u32>) {
    covers_before(bytes, HEADER_BYTES - 8);
    frames(bytes, HEADER_BYTES, number);
}

/// Record frames from `from` on: trailers, padding and checksums. With the number of a segment of the engine's own log
/// each envelope gets the place where it stands.
pub fn frames(bytes: &mut [u8], from: usize, number: Option<u32>) {
    let mut at = from;
    while let (Some(crc), Some(len)) = (u32_at(bytes, at), u32_at(bytes, at + 4)) {
        let Some(frame) = frame_len(len as usize).and_then(|frame| bytes.get_mut(at..)?.get_mut(..frame))
        else {
            return;
        };
        if crc == 0 && len == 0 {
            return;
        }
        let payload_end = FRAME_HEAD_BYTES + len as usize;
        if let Some(number) = number.filter(|_| len as usize >= ENVELOPE_BYTES) {
            put(frame, FRAME_HEAD_BYTES + 16, &number.to_le_bytes());
            put(frame, FRAME_HEAD_BYTES + 24, &(at as u64).to_le_bytes());
        }
        put(frame, payload_end, &TRAILER);
        if let Some(padding) = frame.get_mut(payload_end + TRAILER.len()..) {
            padding.fill(0);
        }
        let crc = crc32c(&frame[4..payload_end]);
        put(frame, 0, &crc.to_le_bytes());
        at += frame.len();
    }
}

/// A value-log segment: the header's checksum, and those of the records side by side behind it.
pub fn value_log(bytes: &mut [u8]) {
    covers_before(bytes, 28);
    let (Some(bucket), Some(segment)) = (u32_at(bytes, 12), u32_at(bytes, 24)) else { return };
    let mut at = 32;
    while let (Some(value_len), Some(key_len)) = (u32_at(bytes, at + 4), u32_at(bytes, at + 20)) {
        let len = 24 + (key_len & 0xffff) as usize + value_len as usize;
        let Some(record) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..len)) else { return };
        let crc = extend(crc32c(&(bucket as u16).to_le_bytes()), &segment.to_le_bytes());
        let crc = extend(extend(crc, &(at as u64).to_le_bytes()), &record[4..]);
        put(record, 0, &crc.to_le_bytes());
        at += len;
    }
}

/// The trailer of a block or section that stands at `offset` of the table with this uid.
pub fn seal(stored: &mut [u8], uid: u128, offset: u64) {
    let Some(at) = stored.len().checked_sub(4).filter(|_| stored.len() >= TRAILER_BYTES) else { return };
    let crc = extend(crc32c(&uid.to_le_bytes()), &offset.to_le_bytes());
    let crc = extend(crc, &stored[..at]);
    put(stored, at, &crc.to_le_bytes());
}

/// A whole table: the footer, the sections that it names, the blocks that the index names.
pub fn table(bytes: &mut [u8]) {
    let Some(footer_at) = bytes.len().checked_sub(FOOTER_BYTES) else { return };
    // uid, five ends, version, crc, magic.
    put(bytes, footer_at + 48, &(footer_at as u64).to_le_bytes());
    put(bytes, footer_at + 64, b"nokv.tbl");
    let crc = crc32c(&bytes[footer_at..footer_at + 60]);
    put(bytes, footer_at + 60, &crc.to_le_bytes());
    let Ok(footer) = Footer::decode(&bytes[footer_at..], bytes.len() as u64) else { return };
    for part in [footer.filter(), footer.ranges(), footer.props(), footer.index()] {
        // The footer was checked: its parts lie within the file.
        seal(&mut bytes[part.start as usize..part.end as usize], footer.uid, part.start);
    }
    let index = footer.index();
    let Some(body) = bytes.get(index.start as usize..(index.end as usize).saturating_sub(TRAILER_BYTES))
    else {
        return;
    };
    let Ok(index) = Index::decode(body, footer.blocks_end) else { return };
    for (offset, len) in (0..index.blocks()).filter_map(|i| index.block(i)) {
        if let Some(block) = bytes.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..len as usize)) {
            seal(block, footer.uid, offset);
        }
    }
}
