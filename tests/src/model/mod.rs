//! The model test: random operations on a database and on a naive model, which must agree on every answer.
//!
//! - `history` is the model: all operations ever made, and reads from first principles.
//! - `run` drives both; `writes`, `reads` and `life` hold the kinds of operations; `choices` draws keys, values
//!   and option sets.
//! - `metamorphic` runs one history under many option sets.
//!
//! A run is a sequence fixed by its seed. Background threads of the database work at moments of their own: answers
//! must not depend on it. `NOKV_MODEL_SEED` and `NOKV_MODEL_OPS` override seed and length.

mod choices;
mod history;
mod life;
pub mod metamorphic;
mod reads;
mod run;
mod seen;
mod writes;

pub use history::{History, Put, Read};
pub use run::{Setup, run};
