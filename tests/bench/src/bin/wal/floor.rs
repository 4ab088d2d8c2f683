//! What the machine can do: the same bytes in the same frames, without a log around them.
//!
//! A frame: checksum (4), length (4), payload, trailer (8), zeros up to a multiple of 8.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::MmapMut;
use nokv::core::formats::walfs::{FRAME_HEAD_BYTES, TRAILER, frame_len};
use rustix::fs::{FallocateFlags, fallocate};

use crate::measure::{Sample, sample};

/// Bytes of the frame of a payload of `size` bytes.
pub fn frame_bytes(size: usize) -> usize {
    frame_len(size).expect("payloads here are small")
}

fn create(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(dir.join("floor"))
}

/// With all its blocks, as a log's segment.
fn preallocated(dir: &Path, bytes: usize) -> io::Result<File> {
    let file = create(dir)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes as u64)?;
    file.sync_all()?;
    Ok(file)
}

fn map(dir: &Path, bytes: usize) -> io::Result<MmapMut> {
    let file = preallocated(dir, bytes)?;
    // SAFETY: the file is new, in a directory of this process's own, and nobody else opens it.
    unsafe { MmapMut::map_mut(&file) }
}

/// Puts a frame of `payload` at the start of `to`.
#[inline]
fn put(payload: &[u8], to: &mut [u8]) {
    let trailer = FRAME_HEAD_BYTES + payload.len();
    to[..4].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    to[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    to[8..trailer].copy_from_slice(payload);
    to[trailer..trailer + TRAILER.len()].copy_from_slice(&TRAILER);
}

/// A copy and a checksum into a fresh, preallocated map: its page faults are part of it.
pub fn memcpy(dir: &Path, payload: &[u8], ops: usize) -> io::Result<Sample> {
    let frame = frame_bytes(payload.len());
    let mut map = map(dir, frame * ops)?;
    Ok(sample(ops, || {
        for to in map.chunks_exact_mut(frame) {
            put(black_box(payload), to);
        }
    }))
}

/// `write` of a frame; with `is_synced` by `pwrite` into a preallocated file, and `fdatasync` after each `batch`.
pub fn write(dir: &Path, payload: &[u8], ops: usize, batch: usize, is_synced: bool) -> io::Result<Sample> {
    let frame = frame_bytes(payload.len());
    let mut buf = vec![0; frame];
    if !is_synced {
        let mut file = create(dir)?;
        return Ok(sample(ops, || {
            for _ in 0..ops {
                put(black_box(payload), &mut buf);
                file.write_all(&buf).expect("write to a new file");
            }
        }));
    }
    let file = preallocated(dir, frame * ops)?;
    Ok(sample(ops, || {
        for i in 0..ops {
            put(black_box(payload), &mut buf);
            file.write_all_at(&buf, (i * frame) as u64).expect("write to a new file");
            if (i + 1) % batch == 0 || i + 1 == ops {
                file.sync_data().expect("sync of a new file");
            }
        }
    }))
}

/// A frame's payload out of a map into a buffer, and its checksum, at the places that `order` says.
pub fn read(dir: &Path, payload: &[u8], ops: usize, order: &[usize]) -> io::Result<Sample> {
    let frame = frame_bytes(payload.len());
    let mut map = map(dir, frame * ops)?;
    map.chunks_exact_mut(frame).for_each(|to| put(payload, to));
    let mut buf = vec![0; payload.len()];
    Ok(sample(order.len(), || {
        for n in order {
            let from = &map[n * frame..][..frame];
            buf.copy_from_slice(&from[8..8 + payload.len()]);
            assert_eq!(&crc32c::crc32c(&buf).to_le_bytes(), &from[..4]);
        }
    }))
}
