//! A disk of 16 MiB that becomes full under writes, gets some space back three times, and is full when the process dies.
//!
//! The disk is a tmpfs. It is mounted in a mount namespace of its own where the system lets an ordinary user have one:
//! nothing of it is left then, however the run ends. Else `mount` is asked, as root. Where neither works nothing is run,
//! and that is said.
//!
//! What must hold: no call but a write says that the disk is full, and that write left nothing; reads go on; writes go on
//! by themselves when there is space; nothing ends the process (a store to a mapped log on a full disk would, by
//! `SIGBUS`); an open on the full disk works or says why and changes nothing; nothing acknowledged is lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::child::Orders;
use super::dice::{Dice, mix};
use super::image::{Image, place};
use super::model::Model;
use super::process::{Process, program};
use super::record::Record;
use super::script::Shape;
use super::verify::{Question, keep};
use crate::net::not_run;

/// Bytes of a file that only takes space.
const BALLAST_BYTES: usize = 2 << 20;
/// So many of them are removed under way, one at a time.
const BALLASTS: usize = 3;
/// Far above what a run takes: it ends one that would hang.
const PATIENCE: Duration = Duration::from_secs(180);
/// Mounts the disk at `$1` and runs what follows.
const MOUNT_AND_RUN: &str = r#"at=$1; shift; mount -t tmpfs -o size=16m nokv-full "$at" || exit 97; "$@"; code=$?; umount "$at"; exit $code"#;

/// How the disk is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Namespace,
    Root,
}

impl Way {
    fn command(self, at: &Path) -> Command {
        let mut command = match self {
            Self::Namespace => {
                let mut command = Command::new("unshare");
                command.args(["--map-root-user", "--mount", "sh"]);
                command
            }
            Self::Root => Command::new("sh"),
        };
        command.args(["-c", MOUNT_AND_RUN, "sh"]).arg(at);
        command
    }

    fn works(self) -> bool {
        let place = place("nokv-real-mount-");
        self.command(place.path()).arg("true").output().is_ok_and(|output| output.status.success())
    }
}

/// Runs it `count` times; gives how often. Where nothing may be mounted it is not run, and that is said.
///
/// # Panics
/// When a rule does not hold of a run.
pub fn run(seed: u64, count: u64) -> u64 {
    let Some(way) = [Way::Namespace, Way::Root].into_iter().find(|way| way.works()) else {
        return not_run("neither `unshare --map-root-user --mount` nor `mount` as root works here");
    };
    for i in 0..count {
        let seed = if i == 0 { seed } else { mix(mix(seed, 3), i) };
        let (mount, work) = (place("nokv-real-full-"), place("nokv-real-"));
        let mut command = way.command(mount.path());
        command
            .arg(program())
            .args(["--child", "full"])
            .arg(mount.path())
            .arg(work.path())
            .arg(seed.to_string());
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(
            output.status.success(),
            "run {i} on a full disk: {}\n{}\n    NOKV_REAL_SEED={seed} cargo run --release -p nokv-tests --bin net \
             tmpfs-full runs this one first",
            output.status,
            String::from_utf8_lossy(&output.stderr),
        );
    }
    count
}

/// One run, on the disk that is mounted at `mount`; the record stands elsewhere, in `work`.
///
/// # Panics
/// When a rule does not hold.
pub fn supervise(mount: &Path, work: &Path, seed: u64) {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut dice = Dice::new(mix(seed, 5));
    // More than the disk holds.
    let shape = Shape { seed, threads: 1 + dice.below(3), keys: 1500, large: 12_000, large_one_in: 2 };
    let file = |name: String| {
        let path = mount.join(name);
        std::fs::write(&path, vec![1; BALLAST_BYTES]).expect("space for ballast");
        path
    };
    let ballast: Vec<_> = (0..BALLASTS).map(|n| file(format!("ballast{n}"))).collect();
    let reserve = [file("reserve0".to_owned()), file("reserve1".to_owned())];
    let record_path = work.join("record");
    let record = Record::create(&record_path).expect("a record");
    let first = vec![1; shape.threads as usize + 1];
    let generation = dice.below(100);
    let (dir, errors) = (mount.join("db"), work.join("errors"));
    let orders =
        Orders { dir: dir.clone(), record: record_path, shape, generation, first: first.clone(), ballast };
    let mut child = Process::start(&orders.to_args(), &errors);
    let ended = child.wait_killed(PATIENCE);
    ended.unwrap_or_else(|error| panic!("{error}\n{}", child.said()));
    let mut model = Model::new(shape);
    let steps = model.follow(&record, &first).expect("a record that can be read");
    assert!(steps > 0, "nothing was acknowledged");
    let image = Image::take(&dir).expect("files that can be read");
    let n = generation + 1;
    let question = Question { dir: &dir, model: &model, n };
    let failed = |error: String| -> ! { panic!("{}", keep(&image, &model, n, &error).1) };
    question.verify_on_full_disk().unwrap_or_else(|error| failed(error));
    reserve.iter().for_each(|path| std::fs::remove_file(path).expect("the reserve is there"));
    let resolved = question.verify().unwrap_or_else(|error| failed(error));
    // Every thread's last call was refused when the process died.
    if resolved.pending.iter().flatten().any(|seq| *seq != 0) {
        failed(format!("a batch that a full disk refused is there: {resolved:?}"));
    }
}
