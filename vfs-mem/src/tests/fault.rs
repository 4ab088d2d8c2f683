//! Rules of the fault injector.

use nokv_core::vfs::{IoErrorKind, OpenMode, ReadRequest, Vfs, VfsFile};

use crate::{FaultFs, MemFs, Op, Rule};

fn kind<T>(result: Result<T, nokv_core::vfs::IoError>) -> Option<IoErrorKind> {
    result.err().map(|e| e.kind)
}

#[test]
fn every_operation_can_fail_once() {
    let fs = FaultFs::new(MemFs::new());
    let file = fs.create("a").unwrap();
    file.allocate(0, 4_096).unwrap();
    let map = file.map(4_096).unwrap();
    type Call<'a> = alloc::boxed::Box<dyn Fn() -> Option<IoErrorKind> + 'a>;
    let calls: [(Op, Call<'_>); 18] = [
        (Op::Create, alloc::boxed::Box::new(|| kind(fs.create("b")))),
        (Op::Open, alloc::boxed::Box::new(|| kind(fs.open("a", OpenMode::Read)))),
        (Op::CreateDir, alloc::boxed::Box::new(|| kind(fs.create_dir_all("d")))),
        (Op::Link, alloc::boxed::Box::new(|| kind(fs.link("a", "l")))),
        (Op::Rename, alloc::boxed::Box::new(|| kind(fs.rename("b", "r")))),
        (Op::Unlink, alloc::boxed::Box::new(|| kind(fs.unlink("r")))),
        (Op::List, alloc::boxed::Box::new(|| kind(fs.list("")))),
        (Op::Size, alloc::boxed::Box::new(|| kind(file.size()))),
        (Op::SyncDir, alloc::boxed::Box::new(|| kind(fs.sync_dir("")))),
        (Op::Lock, alloc::boxed::Box::new(|| kind(fs.lock("k")))),
        (Op::FreeSpace, alloc::boxed::Box::new(|| kind(fs.free_space("")))),
        (Op::Read, alloc::boxed::Box::new(|| kind(file.read_at(&mut [0], 0)))),
        (Op::Write, alloc::boxed::Box::new(|| kind(file.write_at(b"x", 0)))),
        (Op::SetLen, alloc::boxed::Box::new(|| kind(file.set_len(4_096)))),
        (Op::Allocate, alloc::boxed::Box::new(|| kind(file.allocate(0, 1)))),
        (Op::Sync, alloc::boxed::Box::new(|| kind(file.sync()))),
        (Op::Map, alloc::boxed::Box::new(|| kind(file.map(1)))),
        (Op::Flush, alloc::boxed::Box::new(|| kind(map.flush(0, 1)))),
    ];
    for (op, call) in &calls {
        fs.clear();
        fs.add_rule(Rule::new(*op, IoErrorKind::TooManyFiles));
        assert_eq!(call(), Some(IoErrorKind::TooManyFiles), "{op:?}");
        assert_eq!(call(), None, "{op:?} only once");
    }
    assert_eq!(fs.failures(), calls.len() as u64);
}

#[test]
fn rules_pick_by_path_and_count_and_may_stick() {
    let fs = FaultFs::new(MemFs::new());
    let (wal, table) = (fs.create("1.wal").unwrap(), fs.create("t.sst").unwrap());
    fs.add_rule(Rule::new(Op::Write, IoErrorKind::Other).path(".sst").skip(2).sticky().code(5));
    for _ in 0..4 {
        wal.write_at(b"x", 0).unwrap();
    }
    table.write_at(b"x", 0).unwrap();
    table.write_at(b"x", 0).unwrap();
    for _ in 0..3 {
        let error = table.write_at(b"x", 1).unwrap_err();
        assert_eq!((error.kind, error.code), (IoErrorKind::Other, 5));
    }
    assert_eq!(table.size().unwrap(), 1, "a failed write writes nothing");
    fs.clear();
    table.write_at(b"x", 1).unwrap();
    fs.add_rule(Rule::new(Op::Rename, IoErrorKind::Other).path("CURRENT"));
    assert!(fs.rename("t.sst", "CURRENT").is_err(), "the new name counts too");
    fs.add_rule(Rule::new(Op::Read, IoErrorKind::Other).skip(1));
    let (mut a, mut b) = ([0], [0]);
    let mut requests = [ReadRequest { offset: 0, buf: &mut a }, ReadRequest { offset: 0, buf: &mut b }];
    assert!(table.read_many(&mut requests).is_err(), "requests are counted one by one");
}

#[test]
fn call_n_fails_once_or_from_then_on() {
    let run = |fs: &FaultFs<MemFs>| {
        let results = [kind(fs.create("a")), kind(fs.list("")), kind(fs.sync_dir("")), kind(fs.size("a"))];
        results.map(|r| r.is_some())
    };
    let fs = FaultFs::new(MemFs::new());
    fs.fail_call(2, false, IoErrorKind::Other);
    assert_eq!(run(&fs), [false, false, true, false]);
    assert_eq!((fs.calls(), fs.failures()), (4, 1));
    let fs = FaultFs::new(MemFs::new());
    fs.fail_call(1, true, IoErrorKind::NoSpace);
    assert_eq!(run(&fs), [false, true, true, true]);
}

#[test]
fn short_writes_and_late_failures() {
    let fs = FaultFs::new(MemFs::new());
    let file = fs.create("a").unwrap();
    fs.add_rule(Rule::new(Op::Write, IoErrorKind::Other).short(3));
    assert!(file.write_at(b"abcdef", 0).is_err());
    assert_eq!(fs.inner().contents("a").unwrap(), b"abc");
    fs.add_rule(Rule::new(Op::Write, IoErrorKind::NoSpace).short(2));
    assert!(file.write_at(b"ZZZZ", 0).is_err());
    assert_eq!(fs.inner().contents("a").unwrap(), b"abc", "a full disk does not stop an overwrite half-way");
    fs.add_rule(Rule::new(Op::Write, IoErrorKind::NoSpace).short(2));
    assert!(file.write_at(b"defg", 3).is_err());
    assert_eq!(fs.inner().contents("a").unwrap(), b"abcde");
    fs.add_rule(Rule::any(IoErrorKind::Other).afterwards());
    assert!(fs.rename("a", "b").is_err());
    assert_eq!(fs.inner().contents("b").unwrap(), b"abcde", "it was done all the same");
}

#[test]
fn an_observer_hears_of_each_call_before_it_is_carried_out() {
    let fs = FaultFs::new(MemFs::new());
    let heard = alloc::sync::Arc::new(nokv_core::sync::Mutex::new(alloc::vec::Vec::new()));
    let (told, seen) = (heard.clone(), fs.clone());
    fs.observe(move |op, path| {
        // No lock is held: the file system may be used.
        let is_there = seen.inner().size("a").is_ok();
        told.lock().push((op, alloc::string::String::from(path), is_there));
    });
    let file = fs.create("a").unwrap();
    file.write_at(b"x", 0).unwrap();
    fs.rename("a", "b").unwrap();
    let expected = [(Op::Create, "a", false), (Op::Write, "a", true), (Op::Rename, "a", true)];
    let heard: alloc::vec::Vec<_> = heard.lock().clone();
    assert_eq!(heard.len(), expected.len());
    for ((op, path, there), expected) in heard.iter().zip(expected) {
        assert_eq!((*op, path.as_str(), *there), expected);
    }
}
