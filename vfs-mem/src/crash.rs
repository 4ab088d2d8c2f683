//! What a power cut leaves: an independent disk, made of what was durable and a choice of what was not.
//!
//! Each 512-byte sector takes a point in its own history since the last sync; the length of a file is chosen
//! apart from its data; each change of a name persists or not on its own. A file whose name did not persist is
//! gone, whatever was synced in it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use nokv_core::sync::Arc;

use crate::content::{Content, SECTOR, SECTORS};
use crate::disk::{Assign, Disk, Names, Node, ROOT};
use crate::file::{FileNode, Sector};
use crate::rng::Rng;

/// How far the simulated disk may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// A rename is atomic; space that was added to a file and not written reads as zeros.
    Posix,
    /// A rename may persist in part (both names, or neither); space that was added to a file and not written
    /// may show bytes of freed files, or anything.
    Hostile,
}

/// How much of what was not synced is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashImage {
    /// Nothing.
    None,
    /// All of it.
    All,
    /// All but one thing: a sector, a length, a change of a name, or all of a file's data.
    AllButOne,
    /// Nothing but one such thing.
    OneOnly,
    /// A random choice for each.
    Random,
}

/// The one thing that [`CrashImage::AllButOne`] and [`CrashImage::OneOnly`] single out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Single {
    Sector(u64, u64),
    Length(u64),
    File(u64),
    Name(usize),
}

/// How one thing is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Old,
    New,
    Chance,
}

struct Plan<'a> {
    disk: &'a Disk,
    mode: CrashMode,
    image: CrashImage,
    single: Option<Single>,
    rng: Rng,
}

/// Builds the disk.
pub(crate) fn crash(disk: &Disk, seed: u64, mode: CrashMode, image: CrashImage) -> Disk {
    let mut plan = Plan { disk, mode, image, single: None, rng: Rng::new(seed) };
    let units = plan.name_units();
    if matches!(image, CrashImage::AllButOne | CrashImage::OneOnly) {
        plan.single = plan.pick_single(units.len());
    }
    plan.build(&units)
}

impl<'a> Plan<'a> {
    /// The changes of names that persist or not as one, in order.
    fn name_units(&self) -> Vec<Vec<Assign>> {
        let atomic = self.mode == CrashMode::Posix && self.disk.caps.atomic_rename;
        let mut units = Vec::new();
        for op in &self.disk.names {
            if atomic || op.parts.len() == 1 {
                units.push(op.parts.clone());
                continue;
            }
            if let Some(first) = op.parts.first().filter(|_| op.replaced) {
                units.push(Vec::from([Assign { node: None, ..first.clone() }]));
            }
            units.extend(op.parts.iter().map(|part| Vec::from([part.clone()])));
        }
        units
    }

    /// Picks the kind first, so that a few names are not drowned by many sectors.
    fn pick_single(&mut self, names: usize) -> Option<Single> {
        let dirty = || self.disk.files.iter().filter(|(_, f)| f.links > 0 && f.is_dirty());
        let sectors: usize = dirty().map(|(_, f)| f.pending.len()).sum();
        let lengths: Vec<u64> = dirty().filter(|(_, f)| !f.lens.is_empty()).map(|(id, _)| *id).collect();
        let files: Vec<u64> = dirty().map(|(id, _)| *id).collect();
        let counts = [sectors, lengths.len(), files.len(), names];
        let kinds: Vec<usize> = (0..counts.len()).filter(|k| counts[*k] > 0).collect();
        let kind = *kinds.get(self.rng.below(kinds.len() as u64) as usize)?;
        let nth = self.rng.below(counts[kind] as u64) as usize;
        match kind {
            0 => dirty()
                .flat_map(|(id, f)| f.pending.keys().map(|sector| Single::Sector(*id, *sector)))
                .nth(nth),
            1 => lengths.get(nth).copied().map(Single::Length),
            2 => files.get(nth).copied().map(Single::File),
            _ => Some(Single::Name(nth)),
        }
    }

    fn fate(&self, things: &[Single]) -> Fate {
        let hit = self.single.is_some_and(|single| things.contains(&single));
        match self.image {
            CrashImage::None => Fate::Old,
            CrashImage::All => Fate::New,
            CrashImage::AllButOne if hit => Fate::Old,
            CrashImage::AllButOne => Fate::New,
            CrashImage::OneOnly if hit => Fate::New,
            CrashImage::OneOnly => Fate::Old,
            CrashImage::Random => Fate::Chance,
        }
    }

    fn build(&mut self, units: &[Vec<Assign>]) -> Disk {
        let mut names: BTreeMap<u64, Arc<Names>> =
            self.disk.dirs.iter().map(|(id, dir)| (*id, Arc::clone(&dir.durable))).collect();
        // Among random images: nothing, everything, a prefix, or each on its own.
        let style = self.rng.below(6);
        let prefix = self.rng.below(units.len() as u64 + 1);
        for (i, unit) in units.iter().enumerate() {
            let persists = match self.fate(&[Single::Name(i)]) {
                Fate::Old => false,
                Fate::New => true,
                Fate::Chance => match style {
                    0 => false,
                    1 => true,
                    2 => (i as u64) < prefix,
                    _ => self.rng.coin(),
                },
            };
            for part in unit.iter().filter(|_| persists) {
                let Some(dir) = names.get_mut(&part.dir) else { continue };
                let dir = Arc::make_mut(dir);
                match part.node {
                    Some(node) => dir.insert(Arc::clone(&part.name), node),
                    None => dir.remove(&part.name),
                };
            }
        }
        self.assemble(names)
    }

    /// Takes what can be reached from the root.
    fn assemble(&mut self, mut names: BTreeMap<u64, Arc<Names>>) -> Disk {
        let mut image = self.disk.empty_like();
        let mut links: BTreeMap<u64, u32> = BTreeMap::new();
        let mut seen = BTreeSet::from([ROOT]);
        let mut todo = Vec::from([ROOT]);
        while let Some(id) = todo.pop() {
            let found = names.remove(&id).unwrap_or_default();
            for node in found.values() {
                match *node {
                    Node::File(file) => *links.entry(file).or_default() += 1,
                    Node::Dir(dir) if seen.insert(dir) => todo.push(dir),
                    Node::Dir(_) => {}
                }
            }
            image.add_dir(id, found);
        }
        for (id, count) in links {
            if let Some(file) = self.disk.files.get(&id) {
                let mut copy = self.file(id, file);
                copy.links = count;
                image.add_file(id, copy);
            }
        }
        image
    }

    fn file(&mut self, id: u64, file: &FileNode) -> FileNode {
        if !file.is_dirty() {
            return FileNode::at_rest(file.durable.clone(), file.durable_reserved.clone());
        }
        let fate = self.fate(&[Single::File(id), Single::Length(id)]);
        let mut content = file.durable.clone();
        // Among random images: nothing, everything, or each sector on its own.
        let style = self.rng.below(6);
        let mut old = BTreeSet::new();
        for (&n, sector) in &file.pending {
            let fate = match self.fate(&[Single::File(id), Single::Sector(id, n)]) {
                Fate::Chance if style == 0 => Fate::Old,
                Fate::Chance if style == 1 => Fate::New,
                other => other,
            };
            let point = self.point(fate, sector);
            sector.patches.iter().take(point).for_each(|patch| patch.apply(&mut content, n));
            if point == 0 {
                old.insert(n);
            }
        }
        let newest = file.current.len();
        let len = match fate {
            Fate::Old => file.durable.len(),
            Fate::New => newest,
            Fate::Chance => {
                let point = self.rng.below(file.lens.len() as u64 + 2) as usize;
                let last = file.lens.get(point).copied().unwrap_or(newest);
                if point == file.lens.len() + 1 { file.durable.len() } else { last }
            }
        };
        content.settle(len);
        if self.mode == CrashMode::Hostile && len > file.durable.len() {
            self.add_stale(&mut content, file, &old);
        }
        let reserved = if len == newest { &file.reserved } else { &file.durable_reserved };
        let mut reserved = reserved.clone();
        reserved.clip(len.div_ceil(crate::content::PAGE));
        FileNode::at_rest(content, reserved)
    }

    /// How many changes of a sector persist; the ends of its history are likelier than the middle.
    fn point(&mut self, fate: Fate, sector: &Sector) -> usize {
        let all = sector.patches.len();
        match fate {
            Fate::Old => 0,
            Fate::New => all,
            Fate::Chance => match self.rng.below(3) {
                0 => 0,
                1 => all,
                _ => self.rng.below(all as u64 + 1) as usize,
            },
        }
    }

    /// Puts stale bytes into a few sectors that were added to the file and not written: right behind the durable
    /// end, behind the last write, or anywhere.
    fn add_stale(&mut self, content: &mut Content, file: &FileNode, old: &BTreeSet<u64>) {
        let first = file.durable.len().div_ceil(SECTOR);
        let end = content.len() / SECTOR;
        if first >= end || !self.rng.coin() {
            return;
        }
        let start = match self.rng.below(3) {
            0 => first,
            1 => file.pending.keys().next_back().map_or(first, |n| n + 1),
            _ => first + self.rng.below(end - first),
        };
        let count = 1 + self.rng.below(8);
        for sector in start.max(first)..start.saturating_add(count).min(end) {
            if file.pending.contains_key(&sector) && !old.contains(&sector) {
                continue;
            }
            let mut bytes = [0; SECTOR as usize];
            let pick = self.rng.below(self.disk.stale.len() as u64 + 1) as usize;
            match self.disk.stale.get(pick) {
                Some(page) => {
                    let at = (sector % SECTORS * SECTOR) as usize;
                    bytes.copy_from_slice(&page[at..at + SECTOR as usize]);
                }
                None => {
                    bytes.chunks_exact_mut(8).for_each(|b| b.copy_from_slice(&self.rng.next().to_le_bytes()))
                }
            }
            content.copy_in(&bytes, sector * SECTOR);
        }
    }
}
