//! How much of what is read most lies in each place of the tree.
//!
//! Who may call it: whoever asks the picker. Pure: a version and a list of keys.
//!
//! A read looks into every place whose range holds its key until it finds it, so a place with hot keys costs more than
//! its bytes say. Its score rises by up to a quarter ([`Scores::heated`]): of two places that want compaction about as
//! much the hot one goes first, and a sorted level with nothing but hot keys is emptied down to 4/5 of its target.
//! It cannot make work for ever: what a heated score starts moves data deeper as ever, until the raw score is below 4/5.

use nokv_formats::KeyBuf;

use super::score::Scores;
use crate::level::{TableInfo, Version};
use crate::limits::LEVELS;

/// A place whose ranges hold all hot keys has a score that is higher by so many thousandths.
const BONUS_MAX: u64 = 250;

/// For each place, how many thousandths of the hot keys its ranges hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelHeat {
    /// Levels.
    pub level: [u16; LEVELS],
    /// Their ingest sets.
    pub ingest: [u16; LEVELS],
}

impl LevelHeat {
    /// The heat of each place of `version`, for these hot keys.
    pub fn of<T: TableInfo>(version: &Version<T>, hot: &[KeyBuf]) -> Self {
        let mut held = Self::default();
        for key in hot {
            let mut last = None;
            for source in version.sources_for_key(key.as_ref()) {
                let place = (source.level, source.ingest);
                // Tables of one place come one after the other.
                if last.replace(place) != Some(place) {
                    let set = if source.ingest { &mut held.ingest } else { &mut held.level };
                    if let Some(count) = set.get_mut(usize::from(source.level)) {
                        *count = count.saturating_add(1);
                    }
                }
            }
        }
        let all = hot.len().max(1) as u64;
        for count in held.level.iter_mut().chain(&mut held.ingest) {
            *count = u16::try_from(u64::from(*count) * 1000 / all).unwrap_or(1000);
        }
        held
    }
}

impl Scores {
    /// The scores with the bonus of hot places.
    #[must_use]
    pub fn heated(mut self, heat: &LevelHeat) -> Self {
        let places = self.level.iter_mut().zip(&heat.level).chain(self.ingest.iter_mut().zip(&heat.ingest));
        for (score, held) in places {
            let bonus = u64::from((*held).min(1000)) * BONUS_MAX / 1000;
            *score = score.saturating_add(score.saturating_mul(bonus) / 1000);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::compact::{BusySet, PickOptions, scores};
    use crate::level::testtree::{key, tree};

    #[test]
    fn heat_is_the_share_of_hot_keys_that_a_place_holds() {
        let version = tree("L0: 1:a..d@9 2:a..c@8\n L5: 3:a..b#100 4:m..z#100\n L6: 5:a..z#1000");
        let hot: Vec<_> = ["b", "c", "n", "p"].map(key).into();
        let heat = LevelHeat::of(&version, &hot);
        assert_eq!([heat.level[0], heat.level[5], heat.level[6], heat.level[4]], [500, 750, 1000, 0]);
        assert_eq!(heat.ingest, [0; LEVELS]);
        assert_eq!(LevelHeat::of(&version, &[]), LevelHeat::default());
    }

    #[test]
    fn a_bonus_is_a_share_of_the_score_and_at_most_a_quarter() {
        let version = tree("L5: 3:a..b#100 4:m..z#100\n L6: 5:a..z#10000");
        let raw =
            scores(&version, &BusySet::new(), &PickOptions { base_bytes: 1000, ..PickOptions::default() });
        assert!(raw.level[5] > 0);
        assert_eq!(raw.clone().heated(&LevelHeat::default()), raw);
        let heat = LevelHeat::of(&version, &[key("n")]);
        let heated = raw.clone().heated(&heat);
        assert_eq!(heated.level[5], raw.level[5] + raw.level[5] / 4);
        assert_eq!((heated.level[4], heated.level[6]), (0, 0));
    }
}
