//! A key as the string of bytes that the tree branches on: four of the family, then the user's.

use nokv_core::formats::{CfId, KeyRef};

/// Bytes of the family.
const CF_BYTES: usize = 4;

/// A key of the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TreeKey<'k> {
    cf: u32,
    user_key: &'k [u8],
}

/// Where a key goes at a node: it ends there, or goes on with a byte. Orders as the keys do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Branch(u16);

impl Branch {
    /// The key ends.
    pub const END: Self = Self(0);

    /// The key goes on with `byte`.
    #[inline]
    pub const fn byte(byte: u8) -> Self {
        Self(byte as u16 + 1)
    }

    /// The byte, `None` at the end.
    #[inline]
    pub const fn to_byte(self) -> Option<u8> {
        if self.0 == 0 { None } else { Some((self.0 - 1) as u8) }
    }
}

impl<'k> TreeKey<'k> {
    /// The key of the tree for `key`.
    #[inline]
    pub const fn new(key: KeyRef<'k>) -> Self {
        Self { cf: key.cf.0, user_key: key.user_key }
    }

    /// The engine's key.
    #[inline]
    pub const fn to_ref(self) -> KeyRef<'k> {
        KeyRef::new(CfId(self.cf), self.user_key)
    }

    /// Where the key goes at `depth`; `None` if it is shorter.
    #[inline]
    pub fn branch(self, depth: usize) -> Option<Branch> {
        if depth < CF_BYTES {
            return Some(Branch::byte((self.cf >> (8 * (CF_BYTES - 1 - depth))) as u8));
        }
        match self.user_key.get(depth - CF_BYTES) {
            Some(byte) => Some(Branch::byte(*byte)),
            None if depth == CF_BYTES + self.user_key.len() => Some(Branch::END),
            None => None,
        }
    }

    /// How many first bytes both keys share; `None` if they are equal.
    #[inline]
    pub fn common(self, other: TreeKey<'_>) -> Option<usize> {
        if self.cf != other.cf {
            return Some((self.cf ^ other.cf).leading_zeros() as usize / 8);
        }
        let (a, b) = (self.user_key, other.user_key);
        let mut shared = 0;
        for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
            if a != b {
                break;
            }
            shared += 8;
        }
        shared += a[shared..].iter().zip(&b[shared..]).take_while(|(a, b)| a == b).count();
        (shared < a.len() || shared < b.len()).then_some(CF_BYTES + shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_bytes_and_branches_order_as_the_keys_do() {
        let long = [7u8; 30];
        let users: [&[u8]; 8] = [b"", b"\0", b"a", b"ab", b"\xff", &long[..8], &long[..20], &long];
        let keys = || {
            [0, 1, 256, u32::MAX]
                .into_iter()
                .flat_map(move |cf| users.map(|user| KeyRef::new(CfId(cf), user)))
        };
        for a in keys() {
            for b in keys() {
                let (x, y) = (TreeKey::new(a), TreeKey::new(b));
                assert_eq!(x.to_ref(), a);
                match x.common(y) {
                    None => assert_eq!(a, b),
                    Some(depth) => {
                        assert!(
                            (0..depth).all(|i| x.branch(i) == y.branch(i) && x.branch(i) > Some(Branch::END))
                        );
                        assert_eq!(x.branch(depth).unwrap().cmp(&y.branch(depth).unwrap()), a.cmp(&b));
                        assert_ne!(a, b);
                    }
                }
            }
        }
        let end = TreeKey::new(KeyRef::new(CfId(0), b"ab"));
        assert_eq!(
            (end.branch(5), end.branch(6), end.branch(7)),
            (Some(Branch::byte(b'b')), Some(Branch::END), None)
        );
        assert_eq!((Branch::END.to_byte(), Branch::byte(255).to_byte()), (None, Some(255)));
    }
}
