//! Random trees and operations against a plain model: the filesystem over a fake remote must agree with it at every step.
//!
//! `KOOFS_SEED=n` repeats a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use koofs::fs::{FsError, Ino, Lookup};
use koofs::policy::name::EntryName;
use koofs::policy::range::ByteRange;
use koofs::remote::{Node, NodeKind};
use koofs::sync::lock;

use crate::fakes::{Bench, BenchConfig, FakeRemote, ManualClock, StoreFault, content, dir, file};

const RUNS: u64 = 25;
const STEPS: usize = 60;
const TTL: Duration = Duration::from_secs(60);

/// The tree as a person would write it down: children by directory id.
type Model = BTreeMap<String, Vec<Node>>;

/// The names that a directory must show, worked out one by one and without any cleverness.
fn expected_names(children: &[Node]) -> BTreeMap<String, Node> {
    let mut names: BTreeMap<String, Node> = BTreeMap::new();
    for node in children {
        let name = EntryName::assign(&node.name, node.id.as_str(), |name| names.contains_key(name));
        names.insert(name.as_str().to_owned(), node.clone());
    }
    names
}

struct World {
    rng: Rng,
    model: Model,
    next_id: u64,
    bench: Bench,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(seed: u64) -> World {
        let clock = Arc::new(ManualClock::default());
        let remote = FakeRemote::new([]);
        let config =
            BenchConfig { ttl: TTL, memory_bytes: 1 << 20, clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
        let bench = Bench::with(remote, config);
        let mut world = World { rng: Rng::with_seed(seed), model: Model::new(), next_id: 0, bench, clock };
        world.model.insert("root".to_owned(), Vec::new());
        for _ in 0..world.rng.usize(5..80) {
            world.add();
        }
        world.publish();
        world
    }

    fn random_name(&mut self) -> String {
        let parts = ["a", "b", "ab.txt", ".", "..", "", "x/y", "nul\0", "名", "😀.png", &"long".repeat(70), "A", "\n"];
        let count = self.rng.usize(1..3);
        (0..count).map(|_| parts[self.rng.usize(..parts.len())]).collect()
    }

    fn random_dir(&mut self) -> String {
        let ids: Vec<&String> = self.model.keys().collect();
        ids[self.rng.usize(..ids.len())].clone()
    }

    fn add(&mut self) {
        let parent = self.random_dir();
        let name = self.random_name();
        self.next_id += 1;
        let node = if self.rng.u8(..4) == 0 {
            let id = format!("D{}", self.next_id);
            self.model.insert(id.clone(), Vec::new());
            dir(&id, &name)
        } else {
            let sizes = [0, 1, 2, 4095, 4096, 131_071, 131_072, 131_073, 300_000, 1_000_003];
            file(&format!("F{}", self.next_id), &name, sizes[self.rng.usize(..sizes.len())])
        };
        let children = self.model.get_mut(&parent).unwrap();
        children.push(node);
        // The service sorts by name; the model's order among equals is by id, as the filesystem's.
        children.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    }

    /// Another client changes the drive: seen after the TTL.
    fn change(&mut self) {
        match self.rng.u8(..3) {
            0 => self.add(),
            1 => {
                let parent = self.random_dir();
                let children = self.model.get_mut(&parent).unwrap();
                if !children.is_empty() {
                    let index = self.rng.usize(..children.len());
                    children.remove(index);
                }
            }
            _ => {
                let parent = self.random_dir();
                let children = self.model.get_mut(&parent).unwrap();
                if let Some(node) = children.iter_mut().find(|node| node.kind == NodeKind::File) {
                    node.version.size_bytes += 7;
                    node.version.edited_ms += 1000;
                }
            }
        }
        self.publish();
        self.clock.advance(TTL);
    }

    fn publish(&self) {
        self.bench.remote.change(|state| state.dirs = self.model.clone());
        self.bench.sync_sizes();
    }

    /// Walks both trees from the root: by readdir, then each name by lookup.
    fn compare_trees(&mut self) {
        let room = [1, 2, 7, 1000][self.rng.usize(..4)];
        let mut todo = vec![("root".to_owned(), Ino::ROOT)];
        while let Some((id, ino)) = todo.pop() {
            let expected = expected_names(&self.model[&id]);
            let mut names = self.bench.names(ino, room).unwrap();
            names.sort();
            assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>(), "in {id}");
            for (name, node) in expected {
                let Lookup::Found(attr, _) = self.bench.lookup(ino, &name).unwrap() else { panic!("{name:?} in {id}") };
                assert_eq!((attr.kind, attr.size), (node.kind, node.version.size_bytes), "{name:?} in {id}");
                if node.kind == NodeKind::Directory && self.model.contains_key(node.id.as_str()) {
                    todo.push((node.id.as_str().to_owned(), attr.ino));
                }
            }
        }
    }

    /// A random file of the root, read in random pieces under random faults.
    fn read_something(&mut self) {
        let names = expected_names(&self.model["root"]);
        let files: Vec<_> = names.iter().filter(|(_, node)| node.kind == NodeKind::File).collect();
        if files.is_empty() {
            return;
        }
        let (name, node) = files[self.rng.usize(..files.len())];
        let fh = self.bench.open(name);
        for _ in 0..self.rng.usize(1..6) {
            let faults = [
                StoreFault::Status(503),
                StoreFault::Status(403),
                StoreFault::CutAfter(50_000),
                StoreFault::IgnoreRange,
            ];
            // At most one at a time: three refusals in a row are to be believed.
            lock(&self.bench.store.faults).clear();
            if self.rng.u8(..3) == 0 {
                self.bench.store.fault([faults[self.rng.usize(..faults.len())]]);
            }
            let size = node.version.size_bytes;
            let (offset, len) = (self.rng.u64(..size + 10), self.rng.u32(..400_000));
            let range = ByteRange::clamped(offset, u64::from(len), size);
            let got = self.bench.receive(&self.clock, &self.bench.read_later(fh, offset, len)).unwrap();
            assert!(got == content(node.id.as_str(), range), "{name:?} at {range:?}");
        }
        self.bench.fs.release(fh);
    }

    fn look_for_what_is_not_there(&mut self) {
        let name = format!("absent-{}", self.rng.u8(..));
        assert!(matches!(self.bench.lookup(Ino::ROOT, &name), Ok(Lookup::Absent(_))));
        assert!(matches!(self.bench.lookup(Ino(3), &name), Err(FsError::NotFound)));
    }
}

#[test]
fn random_trees_and_operations_agree_with_a_plain_model() {
    let first: u64 = std::env::var("KOOFS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + RUNS {
        println!("KOOFS_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            match world.rng.u8(..8) {
                0 => world.compare_trees(),
                1 => world.change(),
                2..6 => world.read_something(),
                _ => world.look_for_what_is_not_there(),
            }
        }
        world.compare_trees();
    }
}
