//! One flipped bit in each byte of the files of a kind: the right answer or an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nokv::{Db, Error};
use nokv_core::vfs::{OpenMode, Vfs, VfsFile};
use nokv_vfs_mem::MemFs;

use crate::small_db::{files, fill, options, read, read_only};

const DIR: &str = "db";

/// Flips a bit in each byte that is used, of files whose names end in `suffix`; gives the number of flips.
///
/// # Panics
/// When a wrong answer comes.
pub(super) fn flips(suffix: &str) -> u64 {
    let fs = MemFs::new();
    let db = Db::open_on(fs.clone(), options(DIR)).expect("open");
    let content = fill(&db, false).expect("fill");
    db.close().expect("close");
    let mut count = 0;
    for path in files(&fs, DIR).iter().filter(|path| path.ends_with(suffix)) {
        let bytes = fs.contents(path).expect("the file");
        let file = fs.open(path, OpenMode::ReadWrite).expect("open a file");
        // Each third byte: a case reads the whole database.
        for (at, byte) in bytes.iter().enumerate().step_by(3) {
            file.write_at(&[byte ^ (1 << (at % 8))], at as u64).expect("write");
            let answer = catch_unwind(AssertUnwindSafe(|| {
                Db::open_on(fs.clone(), read_only(DIR)).and_then(|db| read(&db))
            }));
            match answer {
                Err(_) => panic!("{path}, byte {at}: panicked"),
                Ok(Ok(found)) => assert!(found == content, "{path}, byte {at}: a wrong answer"),
                Ok(Err(Error::Corrupt { .. } | Error::Unsupported { .. })) => {}
                Ok(Err(error)) => panic!("{path}, byte {at}: {error:?} is no error of damage"),
            }
            file.write_at(&[*byte], at as u64).expect("write");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
    count
}
