//! The corpus is small, in order, and reaches what it is for.

use std::collections::BTreeSet;

use nokv_tests::hostile::corpus::{kept, name_of};
use nokv_tests::hostile::seeds::seeds;
use nokv_tests::hostile::{TARGETS, image};

const FILE_BYTES_MAX: usize = 64 << 10;
const BYTES_MAX: usize = 1_500_000;

#[test]
fn every_target_has_a_small_corpus_named_by_content() {
    let mut sum = 0;
    for target in TARGETS {
        let files = kept(target);
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for (name, bytes) in files {
            assert_eq!(name, name_of(&bytes), "a file of {}", target.name);
            assert!(bytes.len() < FILE_BYTES_MAX, "{}/{name} is too large", target.name);
            sum += bytes.len();
        }
    }
    assert!(sum < BYTES_MAX, "the corpus has {sum} bytes");
}

#[test]
fn seeds_are_the_same_each_time() {
    for target in TARGETS {
        let made = seeds(target.name);
        assert!(!made.is_empty(), "{} has no seeds", target.name);
        assert!(made == seeds(target.name), "seeds of {}", target.name);
    }
}

#[test]
fn an_image_gives_its_files_back() {
    for seed in seeds("open") {
        let files = image::parse(&seed);
        assert_eq!(image::encode(&files), seed);
        let kinds = ["CURRENT", "MANIFEST", ".sst", ".vlog", ".wal"];
        assert!(kinds.iter().all(|kind| files.iter().any(|file| file.path.contains(kind))));
        let mut fixed = files.clone();
        image::fix(&mut fixed);
        let changed: BTreeSet<_> =
            files.iter().zip(&fixed).filter(|(a, b)| a != b).map(|(a, _)| &a.path[..]).collect();
        assert!(changed.is_empty(), "right checksums were changed in {changed:?}");
    }
}
