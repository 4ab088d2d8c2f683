//! CRC-32C (Castagnoli), the one checksum of all formats.
//!
//! With `std` the processor's instructions are used where it has them (`crc32c`); the portable table of the
//! `crc` crate is the fallback without `std` and the oracle in tests.

use crc::{CRC_32_ISCSI, Crc, Table};

static PORTABLE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The checksum of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

/// The checksum of `before ++ bytes`, where `crc` is that of `before`.
#[inline]
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(feature = "std")]
    {
        crc32c::crc32c_append(crc, bytes)
    }
    #[cfg(not(feature = "std"))]
    {
        extend_portable(crc, bytes)
    }
}

/// [`extend`] without the processor's help.
pub fn extend_portable(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = PORTABLE.digest_with_initial((!crc).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(extend_portable(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn hardware_equals_portable_and_extends(bytes: Vec<u8>, cut: prop::sample::Index) {
            let whole = extend_portable(0, &bytes);
            prop_assert_eq!(crc32c(&bytes), whole);
            let (a, b) = bytes.split_at(if bytes.is_empty() { 0 } else { cut.index(bytes.len()) });
            prop_assert_eq!(extend(crc32c(a), b), whole);
            prop_assert_eq!(extend_portable(extend_portable(0, a), b), whole);
        }
    }
}
