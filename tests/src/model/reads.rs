//! Operations that read.

use nokv::{CfId, Entry, Iter, IterOptions, MemIndex, Version, Vfs};

use super::history::{Put, Read};
use super::run::{Past, Run};
use super::writes::short;

/// An iterator that is kept over many operations, and what it is to show.
pub(super) struct Held<V: Vfs, I: MemIndex> {
    cf: CfId,
    read: Read,
    iter: Iter<V, I>,
    want: Vec<(Vec<u8>, Put)>,
    /// Where it stands; `None` when it stands on nothing.
    at: Option<usize>,
}

fn same(got: Option<&Entry>, want: Option<&Put>) -> bool {
    match (got, want) {
        (None, None) => true,
        (Some(got), Some(want)) => {
            got.value == *want.value
                && (got.version, got.meta, got.seq) == (want.version, want.meta, want.seq)
                && got.expires_at.unwrap_or(0) == want.expires_at
        }
        _ => false,
    }
}

impl<V: Vfs, I: MemIndex> Run<V, I> {
    fn compare(&self, what: &str, cf: CfId, key: &[u8], got: Option<&Entry>, want: Option<&Put>) {
        let shown = got.map(|e| (e.seq, e.version, e.meta, e.expires_at, e.value.len()));
        assert!(same(got, want), "{what}: got {shown:?}, want {want:?}\n{}", self.story(cf, key));
    }

    pub(super) fn get(&mut self) {
        let (cf, key) = (self.family(), self.key());
        let got = match cf {
            CfId::DEFAULT => self.db().get(&key),
            cf => self.db().get_cf(cf, &key),
        }
        .expect("get");
        let want = self.model.get(cf, &key, self.now(), Version::MAX);
        let equal = got.as_deref() == want.map(|put| &*put.value);
        assert!(equal, "get, want {want:?}\n{}", self.story(cf, &key));
    }

    pub(super) fn get_versioned(&mut self) {
        let (cf, key) = (self.family(), self.key());
        let version = if self.one_in(4) { Version::MAX } else { self.version() };
        let got = self.db().get_versioned_entry(cf, &key, version).expect("get_versioned_entry");
        let want = self.model.get(cf, &key, self.now(), version);
        self.compare("get_versioned_entry", cf, &key, got.as_ref(), want);
    }

    pub(super) fn multi_get(&mut self) {
        let cf = self.family();
        let keys: Vec<Vec<u8>> = (0..self.course.below(20)).map(|_| self.key()).collect();
        let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let got = self.db().multi_get(cf, &refs).expect("multi_get");
        assert_eq!(got.len(), keys.len());
        for (key, got) in keys.iter().zip(got) {
            let want = self.model.get(cf, key, self.now(), Version::MAX);
            let equal = got.as_deref() == want.map(|put| &*put.value);
            assert!(equal, "multi_get, want {want:?}\n{}", self.story(cf, key));
        }
    }

    pub(super) fn snapshot(&mut self) {
        if self.pasts.len() >= 6 {
            self.pasts.remove(0);
        }
        let at = self.now();
        let snapshot = self.db().snapshot().expect("snapshot");
        assert_eq!(snapshot.seq(), at.seq);
        self.note(|_| format!("snapshot {at:?}"));
        self.pasts.push(Past { snapshot, at });
    }

    pub(super) fn drop_snapshot(&mut self) {
        if !self.pasts.is_empty() {
            let at = self.course.below(self.pasts.len() as u64) as usize;
            let past = self.pasts.remove(at);
            self.note(|_| format!("drop snapshot {:?}", past.at));
        }
    }

    pub(super) fn get_at_snapshot(&mut self) {
        if self.pasts.is_empty() {
            return self.snapshot();
        }
        let at = self.course.below(self.pasts.len() as u64) as usize;
        let (cf, key) = (self.family(), self.key());
        let version = if self.one_in(2) { Version::MAX } else { self.version() };
        let past = &self.pasts[at];
        let got = self.db().get_at(&past.snapshot, cf, &key, version).expect("get_at");
        let want = self.model.get(cf, &key, past.at, version);
        self.compare(&format!("get_at {:?}", past.at), cf, &key, got.as_ref(), want);
    }

    pub(super) fn touched_since(&mut self) {
        if self.pasts.is_empty() {
            return;
        }
        let (cf, key) = (self.family(), self.key());
        let since = self.pasts[self.course.below(self.pasts.len() as u64) as usize].at.seq;
        let got = self.db().touched_since(cf, &key, since).expect("touched_since");
        let (touched, _) = self.model.touched(cf, &key, self.now_ms());
        let want = (touched > since).then_some(touched);
        assert_eq!(got, want, "touched_since {since}\n{}", self.story(cf, &key));
    }

    /// Random bounds in a random direction.
    fn iter_options(&mut self) -> IterOptions {
        let mut options = IterOptions { cf: self.family(), ..IterOptions::default() };
        if self.one_in(3) {
            let mut prefix = self.key();
            prefix.truncate(self.course.below(5) as usize);
            options.prefix = Some(prefix);
        }
        options.lower = self.one_in(3).then(|| self.key());
        options.upper = self.one_in(3).then(|| self.key());
        options.key_only = self.one_in(8);
        options.reverse = self.one_in(2);
        options.no_cache = self.one_in(8);
        options
    }

    fn wanted(&self, options: &IterOptions, read: Read, limit: usize) -> Vec<(Vec<u8>, Put)> {
        let lower = options.lower.clone().unwrap_or_default();
        let upper = options.upper.as_deref();
        let starts = |key: &[u8]| options.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix));
        let all = self.model.scan(options.cf, &lower, upper, read);
        let own = |(key, put): (&[u8], &Put)| (key.to_vec(), put.clone());
        if options.reverse {
            let mut some: Vec<_> = all.rev().filter(|(key, _)| starts(key)).take(limit).map(own).collect();
            some.reverse();
            return some;
        }
        all.filter(|(key, _)| starts(key)).take(limit).map(own).collect()
    }

    fn iterator(&mut self, options: IterOptions) -> (Iter<V, I>, Read) {
        if !self.pasts.is_empty() && self.one_in(3) {
            let at = self.course.below(self.pasts.len() as u64) as usize;
            let past = &self.pasts[at];
            return (self.db().iter_at(&past.snapshot, options).expect("iter_at"), past.at);
        }
        (self.db().iter(options).expect("iter"), self.now())
    }

    /// An iterator from one end, or with seeks and steps both ways.
    pub(super) fn walk(&mut self) {
        let options = self.iter_options();
        let whole = self.one_in(20);
        let steps = if whole { usize::MAX } else { 12 };
        let (mut iter, read) = self.iterator(options.clone());
        self.note(|_| format!("walk {read:?}"));
        if self.one_in(2) {
            let mut want = self.wanted(&options, read, steps);
            if options.reverse {
                want.reverse();
            }
            let mut want = want.into_iter();
            for _ in 0..steps {
                let got = iter.next().map(|item| item.expect("an item"));
                let next = want.next();
                let equal = match (&got, &next) {
                    (None, None) => return,
                    (Some((key, value)), Some((k, put))) => {
                        key == k && (if options.key_only { value.is_empty() } else { *value == *put.value })
                    }
                    _ => false,
                };
                assert!(equal, "{}", self.differs(&options, read, got.map(|g| g.0), next));
            }
            return;
        }
        let want = self.wanted(&options, read, usize::MAX);
        let mut held = Held { cf: options.cf, read, iter, want, at: None };
        for _ in 0..1 + self.course.below(8) {
            self.move_held(&mut held, &options, read);
        }
    }

    fn differs(
        &self,
        o: &IterOptions,
        read: Read,
        got: Option<Vec<u8>>,
        want: Option<(Vec<u8>, Put)>,
    ) -> String {
        let mut text = format!(
            "iterator at {read:?} reverse {} prefix {:?} lower {:?} upper {:?}\ngot {:?} want {:?} {:?}\n",
            o.reverse,
            o.prefix.as_deref().map(short),
            o.lower.as_deref().map(short),
            o.upper.as_deref().map(short),
            got.as_deref().map(short),
            want.as_ref().map(|w| short(&w.0)),
            want.as_ref().map(|w| &w.1),
        );
        for key in got.iter().chain(want.as_ref().map(|w| &w.0)) {
            text += &self.story(o.cf, key);
        }
        text
    }

    fn move_held(&mut self, held: &mut Held<V, I>, options: &IterOptions, read: Read) {
        let count = held.want.len();
        let past_end = |at: usize| (at < count).then_some(at);
        let how = match self.course.below(9) {
            0 => {
                held.iter.rewind().expect("rewind");
                held.at = if options.reverse { count.checked_sub(1) } else { past_end(0) };
                "rewind".to_owned()
            }
            1 | 2 => {
                let mut key = self.key();
                if self.one_in(3) {
                    key.push(1);
                }
                held.iter.seek(&key, options.cf).expect("seek");
                let below = held.want.partition_point(|(k, _)| *k < key);
                held.at = if options.reverse {
                    held.want.partition_point(|(k, _)| *k <= key).checked_sub(1)
                } else {
                    past_end(below)
                };
                format!("seek {}", short(&key))
            }
            3..6 => {
                held.iter.next_entry().expect("next_entry");
                held.at = held.at.and_then(|at| past_end(at + 1));
                "next".to_owned()
            }
            _ => {
                held.iter.prev_entry().expect("prev_entry");
                held.at = held.at.and_then(|at| at.checked_sub(1));
                "prev".to_owned()
            }
        };
        let want = held.at.map(|at| held.want[at].clone());
        let got = held.iter.entry().expect("entry");
        let key = held.iter.key().map(<[u8]>::to_vec);
        let equal = held.iter.valid() == want.is_some()
            && key == want.as_ref().map(|(key, _)| key.clone())
            && match (&got, &want) {
                (Some(got), Some((_, put))) if options.key_only => {
                    got.value.is_empty() && (got.version, got.seq) == (put.version, put.seq)
                }
                (got, want) => same(got.as_ref(), want.as_ref().map(|(_, put)| put)),
            };
        assert!(equal, "after {how}: {}", self.differs(options, read, key, want));
    }

    pub(super) fn hold_iterator(&mut self) {
        if self.held.len() >= 3 {
            self.held.remove(0);
        }
        let options = IterOptions { cf: self.family(), ..IterOptions::default() };
        let (iter, read) = self.iterator(options.clone());
        self.note(|_| format!("hold an iterator at {read:?}"));
        let want = self.wanted(&options, read, usize::MAX);
        self.held.push(Held { cf: options.cf, read, iter, want, at: None });
    }

    pub(super) fn step_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.course.below(self.held.len() as u64) as usize;
        let mut held = self.held.swap_remove(at);
        let (options, read) = (IterOptions { cf: held.cf, ..IterOptions::default() }, held.read);
        for _ in 0..4 {
            self.move_held(&mut held, &options, read);
        }
        self.held.push(held);
    }

    /// Everything, at one moment, forward and backward; at every snapshot too.
    pub(super) fn compare_all(&mut self) {
        self.note(|_| "compare all".to_owned());
        self.look_at_levels();
        let families = self.model.families();
        let mut reads = vec![(None, self.now())];
        reads.extend(self.pasts.iter().enumerate().map(|(i, past)| (Some(i), past.at)));
        for cf in families {
            for (past, read) in reads.clone() {
                for reverse in [false, true] {
                    let options = IterOptions { cf, reverse, ..IterOptions::default() };
                    let iter = match past {
                        None => self.db().iter(options.clone()),
                        Some(i) => self.db().iter_at(&self.pasts[i].snapshot, options.clone()),
                    };
                    let mut want = self.wanted(&options, read, usize::MAX);
                    if reverse {
                        want.reverse();
                    }
                    self.compare_items(iter.expect("iter"), &options, read, want);
                }
                for key in self.keys.clone() {
                    let want = self.model.get(cf, &key, read, Version::MAX);
                    let got = match past {
                        None => self.db().get_entry(cf, &key),
                        Some(i) => self.db().get_at(&self.pasts[i].snapshot, cf, &key, Version::MAX),
                    };
                    self.compare("compare", cf, &key, got.expect("get").as_ref(), want);
                }
            }
        }
    }

    fn compare_items(&self, iter: Iter<V, I>, options: &IterOptions, read: Read, want: Vec<(Vec<u8>, Put)>) {
        let mut want = want.into_iter();
        for item in iter {
            let (key, value) = item.expect("an item");
            let next = want.next();
            let equal = next.as_ref().is_some_and(|(k, put)| *k == key && value == *put.value);
            assert!(equal, "{}", self.differs(options, read, Some(key), next));
        }
        let rest = want.next();
        assert!(rest.is_none(), "{}", self.differs(options, read, None, rest));
    }

    /// A copy of the database, opened: the same content at the model's present.
    pub(super) fn compare_copy(&self, copy: &nokv::Db<V, I>) {
        for (cf, family) in
            self.model.families().into_iter().map(|cf| (cf, IterOptions { cf, ..Default::default() }))
        {
            let iter = copy.iter(family.clone()).expect("iter");
            self.compare_items(iter, &family, self.now(), self.wanted(&family, self.now(), usize::MAX));
            for key in &self.keys {
                for version in [Version(2), Version(5), Version::MAX] {
                    let got = copy.get_versioned_entry(cf, key, version).expect("get");
                    let want = self.model.get(cf, key, self.now(), version);
                    self.compare("get of a copy", cf, key, got.as_ref(), want);
                }
            }
        }
    }
}
