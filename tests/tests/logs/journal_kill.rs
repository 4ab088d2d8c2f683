//! Unsynced entries of the journal survive the death of the process that wrote them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nokv_core::Error;
use nokv_core::wal::journal::{Entry, Op};
use nokv_core::wal::{Journal, SyncMode};
use nokv_vfs_std::StdFs;

const DIR: &str = "NOKV_TEST_JOURNAL_DIR";

fn key(i: u64) -> String {
    format!("key-{i}")
}

/// Not a test of its own: the child that is killed. Without its variable it does nothing.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let journal = Journal::open(StdFs::new(), &dir, SyncMode::None).unwrap();
    for i in 0.. {
        let (key, data) = (key(i), vec![i as u8; (i % 5000) as usize]);
        let entry =
            Entry { op: Op::Put, entity: "processes", key: &key, data: Some(&data), timestamp_ns: i as i64 };
        journal.append(&entry).unwrap();
        println!("appended {i}");
    }
}

#[test]
fn unsynced_entries_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for round in 1..=3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal_kill::child_appends_until_it_is_killed", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let number = |line: String| line.split("appended ").nth(1).and_then(|n| n.trim().parse::<u64>().ok());
        let mut acknowledged = lines.by_ref().filter_map(number).nth(round as usize * 400).unwrap();
        // SIGKILL, while it appends.
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said by then; the last line may be cut, and then its number is lower.
        acknowledged = lines.filter_map(number).fold(acknowledged, u64::max);

        let journal = Journal::open(StdFs::new(), dir, SyncMode::None).unwrap();
        let mut seen = 0;
        journal
            .replay(|entry| {
                assert_eq!((entry.key, entry.timestamp_ns), (key(seen).as_str(), seen as i64));
                assert_eq!(entry.data, Some(&vec![seen as u8; (seen % 5000) as usize][..]));
                seen += 1;
                Ok::<_, Error>(())
            })
            .unwrap();
        assert!(seen > acknowledged, "round {round}: {seen} entries, {acknowledged} was acknowledged");
        // The next child starts with its first entry again.
        journal.truncate().unwrap();
        journal.close().unwrap();
    }
}
