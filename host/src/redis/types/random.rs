//! Chance, for commands that pick elements. Not for secrets.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

/// A number below `n`, each as likely as the others; 0 if there is none.
pub fn below(n: u64) -> u64 {
    // Each state hashes with a key of its own, which began with the system's randomness.
    let bits = RandomState::new().hash_one(n);
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}

/// `count` different numbers below `n`, sorted; all of them if there are no more.
pub fn distinct(count: u64, n: u64) -> Vec<u64> {
    if count >= n {
        return (0..n).collect();
    }
    // Floyd: at each step the new end of the range stands in for what was drawn before.
    let mut drawn = BTreeSet::new();
    for end in n - count..n {
        let number = below(end + 1);
        if !drawn.insert(number) {
            drawn.insert(end);
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_below_and_all_of_them_come() {
        let mut seen = [0; 4];
        (0..4_000).for_each(|_| seen[below(4) as usize] += 1);
        assert!(seen.iter().all(|times| (800..1_200).contains(times)), "{seen:?}");
        assert_eq!(below(1), 0);
    }

    #[test]
    fn distinct_numbers_are_distinct_and_as_many_as_asked() {
        for (count, n) in [(0, 5), (1, 5), (3, 5), (5, 5), (9, 5), (0, 0), (99, 100)] {
            let drawn = distinct(count, n);
            assert_eq!(drawn.len() as u64, count.min(n));
            assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(drawn.iter().all(|number| *number < n));
        }
        let mut seen = [0; 5];
        (0..2_000).for_each(|_| distinct(2, 5).iter().for_each(|number| seen[*number as usize] += 1));
        assert!(seen.iter().all(|times| (650..950).contains(times)), "{seen:?}");
    }
}
