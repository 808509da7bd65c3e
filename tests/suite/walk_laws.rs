//! The laws of fetching ahead and of freshness, over a fake remote and without a kernel.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use koofs::fs::{Change, Ino, Lookup};
use koofs::policy::range::ByteRange;
use koofs::remote::{Node, RemoteErrorKind};

use crate::fakes::{Bench, BenchConfig, FakeRemote, ManualClock, PATIENCE, content, dir, file};
use crate::mounted::{await_that, comes_true};

/// What must not happen is looked for this long.
const A_WHILE: Duration = Duration::from_millis(150);

/// A root with `count` directories `d00`…, each with two subdirectories `s0` and `s1`, which are empty.
fn tree(count: usize) -> Bench {
    let remote = FakeRemote::new([]);
    remote.change(|state| {
        state.dirs.insert("root".to_owned(), (0..count).map(|i| dir(&format!("D{i}"), &format!("d{i:02}"))).collect());
        for i in 0..count {
            let subs = [0, 1].map(|s| dir(&format!("D{i}S{s}"), &format!("s{s}")));
            for sub in &subs {
                state.dirs.insert(sub.id.as_str().to_owned(), vec![]);
            }
            state.dirs.insert(format!("D{i}"), subs.to_vec());
        }
    });
    Bench::new(remote)
}

/// A root with files `f000`… of `size` bytes.
fn files(count: usize, size: u64) -> Bench {
    let nodes: Vec<Node> = (0..count).map(|i| file(&format!("F{i}"), &format!("f{i:03}"), size)).collect();
    let bench = Bench::new(FakeRemote::new([("root", nodes)]));
    bench.remote.change(|state| state.links_in_listing = true);
    bench
}

fn open_dir(bench: &Bench, parent: Ino, name: &str) -> Ino {
    let ino = bench.ino(parent, name);
    bench.names(ino, 100).unwrap();
    ino
}

/// Reads a file of the root as `cat` does.
fn cat(bench: &Bench, name: &str) {
    let fh = bench.open(name);
    let id = name.replace("f0", "F").replace("F0", "F").replace('f', "F");
    let got = bench.read(fh, 0, 4096).unwrap();
    assert!(got == content(&id, ByteRange::new(0, got.len() as u64)), "{name}");
    bench.fs.release(fh);
}

fn fetched(bench: &Bench) -> HashSet<String> {
    bench.store.gets().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn second_opened_child_has_the_directories_after_it_listed_ahead_with_their_children() {
    let bench = tree(20);
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00");
    assert_eq!(bench.remote.lists(), 2);
    open_dir(&bench, Ino::ROOT, "d01");
    // The root, d00, and all that comes after it: d01 to d19 with two children each.
    await_that("the rest of the tree", || bench.remote.lists() == 2 + 19 * 3);
    for name in ["d02", "d19"] {
        let opened = open_dir(&bench, Ino::ROOT, name);
        open_dir(&bench, opened, "s1");
    }
    assert_eq!(bench.remote.lists(), 2 + 19 * 3, "no directory is listed twice");
}

#[test]
fn one_opened_directory_has_nothing_listed_ahead() {
    let bench = tree(20);
    bench.names(Ino::ROOT, 100).unwrap();
    for _ in 0..3 {
        open_dir(&bench, Ino::ROOT, "d07");
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.remote.lists(), 2);
}

#[test]
fn directory_that_is_asked_for_does_not_wait_behind_those_listed_ahead() {
    let bench = tree(60);
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00");
    bench.remote.list_gate.close();
    let d1 = bench.fs.opendir(bench.ino(Ino::ROOT, "d01"), 1).unwrap();
    // The threads that list ahead are taken; this one is far back in their queue.
    assert!(comes_true(|| bench.remote.lists() > 2));
    let d50 = bench.fs.opendir(bench.ino(Ino::ROOT, "d50"), 2).unwrap();
    let waiting = [bench.readdir_later(d1, 0, 10), bench.readdir_later(d50, 0, 10)];
    bench.remote.list_gate.open();
    for listing in waiting {
        assert_eq!(listing.recv_timeout(PATIENCE).unwrap().unwrap().len(), 4);
    }
}

#[test]
fn failure_of_a_listing_ahead_is_nobodys_answer() {
    let bench = tree(4);
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00");
    open_dir(&bench, Ino::ROOT, "d01");
    bench.remote.change(|state| state.list_failures.extend([RemoteErrorKind::Denied; 3]));
    await_that("the rest of the tree", || bench.remote.lists() >= 2 + 3);
    bench.remote.change(|state| state.list_failures.clear());
    for name in ["d02", "d03"] {
        assert_eq!(bench.names(bench.ino(Ino::ROOT, name), 10).unwrap(), ["s0", "s1"]);
    }
}

#[test]
fn throttled_listing_ahead_goes_on_with_fewer_at_a_time() {
    let bench = tree(12);
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00");
    bench.remote.change(|state| state.list_failures.extend([RemoteErrorKind::Throttled; 6]));
    open_dir(&bench, Ino::ROOT, "d01");
    await_that("every directory", || bench.remote.lists() >= 2 + 11 * 3 + 6);
}

#[test]
fn files_begun_one_after_the_other_are_fetched_ahead_whole_and_once() {
    let bench = files(100, 3000);
    bench.names(Ino::ROOT, 1000).unwrap();
    for name in ["f000", "f001", "f002"] {
        cat(&bench, name);
    }
    await_that("the next files", || fetched(&bench).len() >= 3 + 4);
    for i in 3..100 {
        cat(&bench, &format!("f{i:03}"));
    }
    assert_eq!(bench.store.gets().len(), 100, "one request for each file");
}

#[test]
fn listing_alone_fetches_no_file() {
    let bench = files(50, 3000);
    bench.names(Ino::ROOT, 1000).unwrap();
    for i in 0..50 {
        bench.ino(Ino::ROOT, &format!("f{i:03}"));
        bench.fs.release(bench.open(&format!("f{i:03}")));
    }
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.store.gets(), []);
}

#[test]
fn reader_that_opens_files_at_random_wastes_next_to_nothing() {
    let bench = files(400, 3000);
    bench.names(Ino::ROOT, 1000).unwrap();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut numbers: Vec<usize> = (0..400).step_by(10).collect();
    rng.shuffle(&mut numbers);
    for i in &numbers {
        cat(&bench, &format!("f{i:03}"));
    }
    std::thread::sleep(A_WHILE);
    assert!(bench.store.gets().len() <= numbers.len() * 11 / 10, "{} for {}", bench.store.gets().len(), numbers.len());
}

#[test]
fn of_a_large_file_only_the_head_is_fetched_ahead() {
    let bench = files(20, 50 << 20);
    bench.names(Ino::ROOT, 1000).unwrap();
    for name in ["f000", "f001"] {
        cat(&bench, name);
    }
    await_that("the next head", || fetched(&bench).contains("F2"));
    let ahead: Vec<ByteRange> =
        bench.store.gets().into_iter().filter(|(id, _)| id == "F2").map(|(_, range)| range).collect();
    assert_eq!(ahead, [ByteRange::new(0, 256 * 1024)]);
}

/// A root with directories `d0`…, each with files `f00`… of 100 bytes.
fn folders(dirs: usize, files: usize) -> Bench {
    let remote = FakeRemote::new([]);
    remote.change(|state| {
        state.dirs.insert("root".to_owned(), (0..dirs).map(|d| dir(&format!("D{d}"), &format!("d{d}"))).collect());
        for d in 0..dirs {
            let files = (0..files).map(|f| file(&format!("D{d}F{f}"), &format!("f{f:02}"), 100)).collect();
            state.dirs.insert(format!("D{d}"), files);
        }
    });
    let bench = Bench::new(remote);
    bench.names(Ino::ROOT, 100).unwrap();
    bench
}

/// Opens directory `name` of the root and reads its first `files` files in the order of `sorted`.
fn read_folder(bench: &Bench, name: &str, files: usize, sorted: impl Fn(&mut Vec<Ino>)) {
    let dir = open_dir(bench, Ino::ROOT, name);
    let mut inos = (0..files).map(|f| bench.ino(dir, &format!("f{f:02}"))).collect();
    sorted(&mut inos);
    for ino in inos {
        let fh = bench.fs.open(ino).unwrap();
        bench.read(fh, 0, 4096).unwrap();
    }
}

#[test]
fn fetching_ahead_goes_on_into_the_next_directory_of_a_walk() {
    let bench = folders(4, 5);
    read_folder(&bench, "d0", 5, |_| ());
    open_dir(&bench, Ino::ROOT, "d1");
    await_that("the tree", || bench.remote.lists() == 5);
    read_folder(&bench, "d1", 5, |_| ());
    await_that("files of the next directory", || fetched(&bench).contains("D2F0"));
}

#[test]
fn fetching_ahead_goes_on_by_inode_number_into_the_next_directory_by_inode_number() {
    let bench = folders(6, 30);
    let mut order: Vec<(Ino, usize)> = (0..6).map(|d| (bench.ino(Ino::ROOT, &format!("d{d}")), d)).collect();
    order.sort();
    let order: Vec<usize> = order.into_iter().map(|(_, d)| d).collect();
    open_dir(&bench, Ino::ROOT, &format!("d{}", order[0]));
    open_dir(&bench, Ino::ROOT, &format!("d{}", order[1]));
    await_that("the rest of the tree", || bench.remote.lists() == 7);
    read_folder(&bench, &format!("d{}", order[1]), 30, |inos| inos.sort());
    let next = format!("D{}F", order[2]);
    await_that("the next directory", || fetched(&bench).iter().filter(|id| id.starts_with(&next)).count() == 30);
}

#[test]
fn walker_has_the_directories_that_come_next_listed_ahead_in_its_own_order() {
    for descending in [false, true] {
        let bench = tree(20);
        bench.names(Ino::ROOT, 100).unwrap();
        let mut order: Vec<String> = (0..20).map(|d| format!("d{d:02}")).collect();
        if descending {
            order.reverse();
        } else {
            order.sort_by_key(|name| bench.ino(Ino::ROOT, name));
        }
        open_dir(&bench, Ino::ROOT, &order[0]);
        open_dir(&bench, Ino::ROOT, &order[1]);
        await_that("the rest of the tree", || bench.remote.lists() == 2 + 19 * 3);
    }
}

#[test]
fn reader_of_one_directory_has_its_next_sibling_listed_and_nothing_of_it_fetched() {
    let bench = folders(5, 40);
    read_folder(&bench, "d1", 10, |_| ());
    await_that("the sibling", || bench.remote.lists() == 3);
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.remote.lists(), 3);
    assert!(fetched(&bench).iter().all(|id| id.starts_with("D1F")));
}

#[test]
fn reader_that_turns_out_to_walk_has_the_files_of_its_second_directory_fetched_before_it_begins_one() {
    let bench = folders(5, 40);
    read_folder(&bench, "d0", 40, |_| ());
    open_dir(&bench, Ino::ROOT, "d1");
    await_that("the second directory", || (0..40).all(|f| fetched(&bench).contains(&format!("D1F{f}"))));
}

/// Refreshes `ino` and waits until that is done.
fn refresh(bench: &Bench, ino: Ino) {
    let (sender, receiver) = channel();
    bench.fs.refresh(ino, Box::new(move |result| drop(sender.send(result))));
    receiver.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn refreshed_directory_shows_what_changed_at_once_and_others_are_kept() {
    let bench = tree(3);
    let (d0, d1) = (open_dir(&bench, Ino::ROOT, "d00"), open_dir(&bench, Ino::ROOT, "d01"));
    await_that("the tree", || bench.remote.lists() >= 8);
    bench.remote.change(|state| {
        state.dirs.get_mut("D0").unwrap().push(file("N", "new", 1));
        state.dirs.get_mut("D1").unwrap().push(file("N", "new", 1));
    });
    assert!(matches!(bench.lookup(d0, "new"), Ok(Lookup::Absent(_))));
    drop(bench.fs.take_changes());
    refresh(&bench, d0);
    assert!(matches!(bench.lookup(d0, "new"), Ok(Lookup::Found(..))));
    assert!(matches!(bench.lookup(d1, "new"), Ok(Lookup::Absent(_))));
    refresh(&bench, Ino::ROOT);
    assert!(matches!(bench.lookup(d1, "new"), Ok(Lookup::Found(..))));
}

#[test]
fn refresh_tells_the_kernel_every_name_it_may_know() {
    let bench = tree(2);
    bench.names(Ino::ROOT, 10).unwrap();
    assert!(matches!(bench.lookup(Ino::ROOT, "not-there"), Ok(Lookup::Absent(_))));
    let changes = bench.fs.take_changes().unwrap();
    let (sender, receiver) = channel();
    bench.fs.refresh(Ino::ROOT, Box::new(move |result| drop(sender.send(result))));
    let mut told = HashSet::new();
    for change in changes {
        match change {
            Change::Names(dir, names) if dir == Ino::ROOT => told.extend(names),
            Change::Names(..) | Change::Attributes(_) => {}
            Change::Told(done) => {
                assert!(receiver.try_recv().is_err(), "the kernel is told first");
                done();
                break;
            }
        }
    }
    let want: HashSet<Box<str>> = ["d00", "d01", "not-there"].map(Box::from).into();
    assert_eq!(told, want);
    receiver.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn ageing_listing_is_loaded_anew_behind_its_readers_and_the_difference_told() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { ttl: Duration::from_secs(60), clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let nodes = vec![file("F1", "gone", 1), file("F2", "changed", 1), file("F3", "same", 1)];
    let bench = Bench::with(FakeRemote::new([("root", nodes)]), config);
    bench.names(Ino::ROOT, 10).unwrap();
    assert!(matches!(bench.lookup(Ino::ROOT, "new"), Ok(Lookup::Absent(_))));
    bench.remote.change(|state| {
        state
            .dirs
            .insert("root".to_owned(), vec![file("F2", "changed", 2), file("F3", "same", 1), file("F4", "new", 1)]);
    });
    let changes = bench.fs.take_changes().unwrap();
    clock.advance(Duration::from_secs(30));
    bench.remote.list_gate.close();
    for _ in 0..3 {
        assert!(matches!(bench.lookup(Ino::ROOT, "gone"), Ok(Lookup::Found(..))), "nobody waits for the new one");
    }
    bench.remote.list_gate.open();
    await_that("the new listing", || matches!(bench.lookup(Ino::ROOT, "new"), Ok(Lookup::Found(..))));
    assert!(matches!(bench.lookup(Ino::ROOT, "gone"), Ok(Lookup::Absent(_))));
    assert_eq!(bench.remote.lists(), 2);
    let mut told = HashSet::new();
    while told.len() < 3 {
        if let Change::Names(_, names) = changes.recv_timeout(PATIENCE).unwrap() {
            told.extend(names);
        }
    }
    let want: HashSet<Box<str>> = ["gone", "changed", "new"].map(Box::from).into();
    assert_eq!(told, want);
}

#[test]
fn failed_refresh_behind_changes_nothing() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { ttl: Duration::from_secs(60), clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", vec![file("F1", "f", 1)])]), config);
    bench.names(Ino::ROOT, 10).unwrap();
    bench.remote.change(|state| state.list_failures.push_back(RemoteErrorKind::Denied));
    clock.advance(Duration::from_secs(40));
    assert!(matches!(bench.lookup(Ino::ROOT, "f"), Ok(Lookup::Found(..))));
    await_that("the failure", || bench.remote.list_calls.load(Ordering::SeqCst) == 2);
    assert!(matches!(bench.lookup(Ino::ROOT, "f"), Ok(Lookup::Found(..))));
    clock.advance(Duration::from_secs(20));
    assert!(matches!(bench.lookup(Ino::ROOT, "f"), Ok(Lookup::Found(..))));
    assert_eq!(bench.remote.lists(), 3);
}

#[test]
fn links_of_files_that_come_next_are_asked_for_together() {
    let bench = files(1000, 300);
    bench.remote.change(|state| state.links_in_listing = false);
    bench.remote.batch.store(100, Ordering::SeqCst);
    bench.names(Ino::ROOT, 1000).unwrap();
    for i in 0..1000 {
        cat(&bench, &format!("f{i:03}"));
    }
    let calls = bench.remote.link_calls.load(Ordering::SeqCst);
    assert!(calls <= 20, "{calls} calls for 1,000 files");
    assert_eq!(bench.remote.links_asked.load(Ordering::SeqCst), 1000, "no link is asked for twice");
}

#[test]
fn file_that_changes_under_its_reader_is_another_inode_to_the_next_open() {
    let bench = Bench::new(FakeRemote::new([("root", vec![file("F", "f", 5000)])]));
    let fh = bench.open("f");
    let before = bench.ino(Ino::ROOT, "f");
    bench.remote.change(|state| state.dirs.insert("root".to_owned(), vec![file("F", "f", 6000)]).map_or((), drop));
    bench.sync_sizes();
    assert!(bench.read(fh, 0, 4096).is_err(), "never a mixture");
    let after = bench.ino(Ino::ROOT, "f");
    assert_ne!(before, after, "long before the TTL is over");
    assert_eq!(bench.read(bench.open("f"), 0, 10_000).unwrap().len(), 6000);
}
