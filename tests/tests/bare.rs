//! The bare-metal example runs, and stays within its heap. Alone in its binary: the allocator counts everything.
#![allow(missing_docs)]

extern crate alloc;

#[path = "../examples/bare_metal/main.rs"]
mod bare_metal;

#[test]
fn the_engine_alone_needs_no_more_than_one_mebibyte() {
    let peak = bare_metal::run().unwrap();
    println!("{} KiB of heap", peak >> 10);
}
