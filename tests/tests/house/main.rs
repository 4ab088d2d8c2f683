//! Rules of the project itself: its layout, and documents that are held against the code.
#![allow(missing_docs)]

mod options_page;
mod parity;
mod unsafe_page;
mod workspace;
