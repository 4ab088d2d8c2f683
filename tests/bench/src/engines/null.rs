//! Engines that keep nothing: what the harness costs alone, and what the processors give.

use std::hint::black_box;

use super::Engine;

/// Does nothing. Its cost is in the figure of every engine.
pub struct Null;

impl Engine for Null {
    fn put(&self, key: &[u8], value: &[u8]) {
        black_box((key, value));
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        look(black_box(key));
        true
    }

    fn scan(&self, from: &[u8], count: usize, look: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        for _ in 0..count {
            look(black_box(from), from);
        }
        count
    }
}

/// Only computes, about a microsecond an operation, on no memory: how far two threads can be ahead of one here.
pub struct Spin;

fn spin(seed: &[u8]) {
    let mut z = seed.iter().fold(0u64, |sum, b| sum.rotate_left(5) ^ u64::from(*b));
    for _ in 0..700 {
        z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    black_box(z);
}

impl Engine for Spin {
    fn put(&self, key: &[u8], _: &[u8]) {
        spin(key);
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> bool {
        spin(key);
        look(key);
        true
    }

    fn scan(&self, from: &[u8], count: usize, _: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        spin(from);
        count
    }
}
