//! LZF: runs of bytes, and references to bytes before.
//!
//! ```text
//! 000nnnnn                          n + 1 bytes follow
//! lllooooo oooooooo                 l + 2 bytes again from o + 1 before; l < 7
//! 111ooooo llllllll oooooooo        l + 9 bytes
//! ```

/// Unpacks to exactly `len` bytes, which must be about what so many packed ones can give: they are allocated.
pub(super) fn unpack(mut packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    while let [control, rest @ ..] = packed {
        let control = usize::from(*control);
        if control < 32 {
            let (run, rest) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(run);
            packed = rest;
        } else {
            let (more, rest) = if control >> 5 == 7 {
                let (more, rest) = rest.split_first()?;
                (usize::from(*more), rest)
            } else {
                (0, rest)
            };
            let (low, rest) = rest.split_first()?;
            let back = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
            let from = out.len().checked_sub(back)?;
            let mut left = (control >> 5) + more + 2;
            // What is copied may reach into what it makes: that repeats.
            while left > 0 {
                let there = left.min(out.len() - from);
                out.extend_from_within(from..from + there);
                left -= there;
            }
            packed = rest;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn runs_and_references() {
        assert_eq!(unpack(&[0, b'a', 0xe0, 0, 0], 10), Some(b"a".repeat(10)));
        assert_eq!(unpack(&[1, b'a', b'b', 0x20, 1], 5), Some(b"ababa".to_vec()));
        assert_eq!(unpack(&[1, b'a', b'b', 0x20, 2], 5), None);
        assert_eq!(unpack(&[1, b'a'], 2), None);
        assert_eq!(unpack(&[0, b'a'], 2), None);
    }
}
