//! Writes payloads.

use super::crc::crc64;
use super::*;
use nokv_core::formats::redis::Kind;

/// A payload that is being written: elements one by one, then their number.
#[derive(Debug)]
pub struct Writer {
    kind: Kind,
    count: u64,
    elements: Vec<u8>,
}

impl Writer {
    /// A payload of a value of this type.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, count: 0, elements: Vec::new() }
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> usize {
        self.elements.len()
    }

    /// The string, or an element of a list, or a member of a set.
    pub fn single(&mut self, element: &[u8]) {
        self.count += 1;
        push_string(&mut self.elements, element);
    }

    /// A field of a hash.
    pub fn pair(&mut self, field: &[u8], value: &[u8]) {
        self.single(field);
        push_string(&mut self.elements, value);
    }

    /// A member of a sorted set.
    pub fn scored(&mut self, member: &[u8], score: f64) {
        self.single(member);
        self.elements.extend_from_slice(&score.to_le_bytes());
    }

    /// The payload.
    pub fn finish(self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.elements.len() + 32);
        payload.push(match self.kind {
            Kind::String => TYPE_STRING,
            Kind::List => TYPE_LIST,
            Kind::Set => TYPE_SET,
            Kind::SortedSet => TYPE_SORTED_SET,
            Kind::Hash => TYPE_HASH,
        });
        if self.kind != Kind::String {
            push_length(&mut payload, self.count);
        }
        payload.extend_from_slice(&self.elements);
        payload.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc64(&payload);
        payload.extend_from_slice(&crc.to_le_bytes());
        payload
    }
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    push_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..=0x3f => out.push(len as u8),
        0x40..=0x3fff => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}
