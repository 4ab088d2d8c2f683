//! What a reader does with a record's bytes before it hands them out.
//!
//! Who may call it: programs whose records carry a wrapper, through [`LogReader::with_decoder`].
//!
//! [`LogReader::with_decoder`]: super::LogReader::with_decoder

use alloc::vec::Vec;

use crate::error::Result;

/// Turns the bytes of a record into what the reader hands out.
///
/// ```
/// use nokv_core::wal::RecordDecoder;
///
/// /// Leaves out a tag of one byte.
/// struct Untag;
/// impl RecordDecoder for Untag {
///     fn decode<'a>(&self, payload: &'a [u8], _: &'a mut Vec<u8>) -> nokv_core::Result<&'a [u8]> {
///         Ok(payload.get(1..).unwrap_or_default())
///     }
/// }
/// # assert_eq!(Untag.decode(b"-x", &mut Vec::new()).unwrap(), b"x");
/// ```
pub trait RecordDecoder: Send + Sync {
    /// Gives a part of `payload`, or what it put into `scratch`, which comes empty.
    ///
    /// # Errors
    /// The reader gives the error and stays at the record.
    fn decode<'a>(&self, payload: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8]>;
}

/// Hands records out as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopDecoder;

impl RecordDecoder for NoopDecoder {
    fn decode<'a>(&self, payload: &'a [u8], _: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        Ok(payload)
    }
}
