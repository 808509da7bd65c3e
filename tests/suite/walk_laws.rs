//! The laws of fetching ahead and of freshness, over a fake remote and without a kernel.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use koofs::clock::Clock;
use koofs::fs::{Change, FsError, Ino, Lookup};
use koofs::policy::range::ByteRange;
use koofs::remote::{Node, RemoteErrorKind};
use koofs::sync::lock;

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

/// A bench on a clock that stands still, whose listings are believed for `ttl`.
fn still(remote: Arc<FakeRemote>, ttl: Duration) -> (Bench, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { ttl, clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    (Bench::with(remote, config), clock)
}

/// A root with so many directories, which are empty, and listed in the order of their names.
fn wide(count: usize) -> Arc<FakeRemote> {
    let remote = FakeRemote::new([]);
    remote.change(|state| {
        let dirs: Vec<Node> = (0..count).map(|i| dir(&format!("D{i}"), &format!("d{i:05}"))).collect();
        state.dirs.extend(dirs.iter().map(|dir| (dir.id.as_str().to_owned(), Vec::new())));
        state.dirs.insert("root".to_owned(), dirs);
    });
    remote.page_size.store(1000, Ordering::SeqCst);
    remote
}

/// Waits until no call has been made for a while; how many there were.
fn calls_at_rest(bench: &Bench) -> usize {
    let mut calls = bench.remote.lists();
    loop {
        std::thread::sleep(A_WHILE);
        match bench.remote.lists() {
            now if now == calls => return now,
            now => calls = now,
        }
    }
}

#[test]
fn walk_past_more_ageing_directories_than_may_be_refreshed_at_once_goes_on() {
    let (bench, clock) = still(wide(4600), Duration::from_secs(60));
    bench.names(Ino::ROOT, 10_000).unwrap();
    let dirs: Vec<Ino> = (0..4600).map(|i| bench.ino(Ino::ROOT, &format!("d{i:05}"))).collect();
    for dir in &dirs[..4500] {
        bench.names(*dir, 10).unwrap();
    }
    calls_at_rest(&bench);
    clock.advance(Duration::from_secs(31));
    // Nothing comes back any more: every refresh waits, and then nothing further can be queued.
    bench.remote.list_gate.close();
    let opened: Vec<_> = dirs.iter().map(|dir| bench.fs.opendir(*dir, 1).unwrap()).collect();
    bench.remote.list_gate.open();
    for fh in opened {
        bench.readdir(fh, 0, 10).unwrap();
    }
}

#[test]
fn failed_listing_ahead_is_not_made_again_by_its_own_end() {
    let bench = tree(6);
    bench.names(Ino::ROOT, 100).unwrap();
    bench.remote.change(|state| (2..6).for_each(|i| drop(state.dirs.remove(&format!("D{i}")))));
    open_dir(&bench, Ino::ROOT, "d00");
    open_dir(&bench, Ino::ROOT, "d01");
    let calls = calls_at_rest(&bench);
    // The root, d00, d01 and its two children, and each of the others once.
    assert!(calls <= 2 + 3 + 4, "{calls} calls");
}

#[test]
fn throttled_service_is_asked_for_nothing_ahead_for_as_long_as_it_says() {
    let (bench, clock) = still(wide(40), Duration::from_secs(3600));
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00000");
    bench.remote.change(|state| state.throttled = Some(Duration::from_secs(30)));
    let second = bench.fs.opendir(bench.ino(Ino::ROOT, "d00001"), 1).unwrap();
    assert!(bench.readdir(second, 0, 10).is_err(), "30 s are more than it may take");
    let refused = calls_at_rest(&bench) - 2;
    // What was on its way when the first refusal came: the one that is asked for, and those of the two threads that list ahead.
    assert!(refused <= 3, "{refused} calls");
    bench.remote.change(|state| state.throttled = None);
    clock.advance(Duration::from_secs(29));
    bench.timer.run_due();
    open_dir(&bench, Ino::ROOT, "d00020");
    open_dir(&bench, Ino::ROOT, "d00021");
    assert_eq!(calls_at_rest(&bench), 2 + refused + 2, "only what is asked for");
    clock.advance(Duration::from_secs(5));
    bench.timer.run_due();
    open_dir(&bench, Ino::ROOT, "d00022");
    await_that("listings ahead again", || bench.remote.lists() > 2 + refused + 6);
}

#[test]
fn nothing_is_listed_on_for_a_process_that_is_gone() {
    let remote = FakeRemote::new([]);
    // A chain: each listing brings the next directory into sight.
    remote.change(|state| {
        state.dirs.insert("root".to_owned(), vec![dir("A", "a"), dir("B", "b"), dir("C0", "c")]);
        state.dirs.extend(["A", "B"].map(|id| (id.to_owned(), vec![])));
        state.dirs.extend((0..50).map(|i| (format!("C{i}"), vec![dir(&format!("C{}", i + 1), "c")])));
    });
    let gone = Bench::with(remote, BenchConfig { is_alive: |_| false, ..BenchConfig::default() });
    gone.names(Ino::ROOT, 10).unwrap();
    open_dir(&gone, Ino::ROOT, "a");
    open_dir(&gone, Ino::ROOT, "b");
    // C0 is listed for the one that opened "b"; it did not stay for what comes after.
    assert_eq!(calls_at_rest(&gone), 4);
}

#[test]
fn walker_that_leaves_most_directories_out_has_few_listed_for_nothing() {
    let bench = Bench::new(wide(3000));
    bench.names(Ino::ROOT, 10_000).unwrap();
    let mut opened = 0;
    for i in (0..3000).step_by(50) {
        open_dir(&bench, Ino::ROOT, &format!("d{i:05}"));
        opened += 1;
    }
    let for_nothing = calls_at_rest(&bench) - 1 - opened;
    assert!(for_nothing <= 64 + 3, "{for_nothing} for {opened}");
}

#[test]
fn directory_that_waited_to_be_listed_ahead_has_a_whole_time_for_who_asks_late() {
    let (bench, clock) = still(wide(60), Duration::from_secs(3600));
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00000");
    bench.remote.list_gate.close();
    let second = bench.fs.opendir(bench.ino(Ino::ROOT, "d00001"), 1).unwrap();
    await_that("listings ahead", || bench.remote.lists() >= 4);
    clock.advance(PATIENCE * 9 / 10);
    let asked = clock.now();
    let late = bench.fs.opendir(bench.ino(Ino::ROOT, "d00040"), 1).unwrap();
    let waiting = [bench.readdir_later(second, 0, 10), bench.readdir_later(late, 0, 10)];
    bench.remote.list_gate.open();
    for waiting in waiting {
        waiting.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    let listed = lock(&bench.remote.listed);
    let (_, deadline) = listed.iter().find(|(id, _)| id == "D40").unwrap();
    assert!(*deadline >= asked + PATIENCE, "{:?} left", deadline.saturating_duration_since(asked));
}

#[test]
fn of_a_large_directory_a_few_pages_are_listed_ahead_and_the_rest_when_it_is_asked_for() {
    let remote = wide(4);
    remote.change(|state| {
        let files: Vec<Node> = (0..5000).map(|i| file(&format!("F{i}"), &format!("f{i:04}"), 1)).collect();
        state.dirs.insert("D3".to_owned(), files);
    });
    remote.page_size.store(100, Ordering::SeqCst);
    let bench = Bench::new(remote);
    bench.names(Ino::ROOT, 100).unwrap();
    open_dir(&bench, Ino::ROOT, "d00000");
    open_dir(&bench, Ino::ROOT, "d00001");
    let pages = |bench: &Bench| lock(&bench.remote.listed).iter().filter(|(id, _)| id == "D3").count();
    calls_at_rest(&bench);
    assert_eq!(pages(&bench), 4);
    let large = bench.ino(Ino::ROOT, "d00003");
    assert_eq!(bench.names(large, 10_000).unwrap().len(), 5000);
    assert_eq!(pages(&bench), 50, "no page twice");
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
        let fh = bench.fs.open(ino, 1).unwrap();
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
            Change::Forgotten(listings) => {
                told.extend(
                    listings
                        .iter()
                        .filter(|listing| listing.dir == Ino::ROOT)
                        .flat_map(|listing| listing.known_names()),
                );
            }
            Change::Names(..) | Change::Directory(_) | Change::Surplus(_) => {}
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
fn refresh_tells_of_more_directories_than_changes_may_wait() {
    let bench = Bench::new(wide(5000));
    bench.names(Ino::ROOT, 10_000).unwrap();
    for i in 0..5000 {
        open_dir(&bench, Ino::ROOT, &format!("d{i:05}"));
    }
    let changes = bench.fs.take_changes().unwrap();
    let (sender, receiver) = channel();
    bench.fs.refresh(Ino::ROOT, Box::new(move |result| drop(sender.send(result))));
    let mut told = HashSet::new();
    for change in changes {
        match change {
            Change::Forgotten(listings) => told.extend(listings.iter().map(|listing| listing.dir.0)),
            Change::Names(..) | Change::Directory(_) | Change::Surplus(_) => {}
            Change::Told(done) => {
                done();
                break;
            }
        }
    }
    receiver.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(told.len(), 5001);
}

#[test]
fn handle_that_was_open_before_a_refresh_gives_nothing_to_be_believed_after_it() {
    let bench = tree(3);
    bench.names(Ino::ROOT, 10).unwrap();
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    assert!(bench.validities(fh, 0).iter().all(|validity| !validity.is_zero()));
    drop(bench.fs.take_changes());
    refresh(&bench, Ino::ROOT);
    assert_eq!(bench.validities(fh, 2), [Duration::ZERO; 3], "old entries, each to be looked up anew");
    assert!(bench.validities(fh, 0).iter().all(|validity| !validity.is_zero()), "a rewind shows the new listing");
}

#[test]
fn handle_that_is_still_open_when_its_listing_expires_has_the_kernel_give_up_what_it_keeps() {
    let (bench, clock) = still(wide(3), Duration::from_secs(60));
    bench.names(Ino::ROOT, 10).unwrap();
    let changes = bench.fs.take_changes().unwrap();
    let (open, closed) = (bench.fs.opendir(Ino::ROOT, 1).unwrap(), bench.fs.opendir(Ino::ROOT, 1).unwrap());
    for fh in [open, closed] {
        assert!(bench.fs.dir_keeping(fh).0);
    }
    bench.fs.releasedir(closed);
    clock.advance(Duration::from_secs(59));
    bench.timer.run_due();
    assert!(changes.try_recv().is_err());
    clock.advance(Duration::from_secs(1));
    bench.timer.run_due();
    assert!(matches!(changes.try_recv(), Ok(Change::Directory(Ino::ROOT))));
    assert!(changes.try_recv().is_err(), "once");
}

#[test]
fn time_that_the_machine_was_suspended_counts_and_the_kernel_is_told() {
    let (bench, clock) = still(wide(3), Duration::from_secs(60));
    bench.names(Ino::ROOT, 10).unwrap();
    let changes = bench.fs.take_changes().unwrap();
    bench.remote.change(|state| state.dirs.get_mut("root").unwrap().truncate(2));
    clock.advance(Duration::from_secs(20));
    bench.names(Ino::ROOT, 10).unwrap();
    assert!(changes.try_recv().is_err() && bench.remote.lists() == 1);
    clock.suspend(Duration::from_secs(3600));
    assert_eq!(bench.names(Ino::ROOT, 10).unwrap().len(), 2);
    assert_eq!(bench.remote.lists(), 2);
    let Ok(Change::Forgotten(listings)) = changes.try_recv() else { panic!("the kernel's times stood still") };
    assert_eq!(listings.iter().map(|listing| listing.dir).collect::<Vec<_>>(), [Ino::ROOT]);
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

/// A root with files `f0`… of 1,000 bytes, of which the store has `stored`.
fn withheld(count: usize, stored: u64) -> (Bench, Arc<ManualClock>) {
    let nodes: Vec<Node> = (0..count).map(|i| file(&format!("F{i}"), &format!("f{i}"), 1000)).collect();
    let (bench, clock) = still(FakeRemote::new([("root", nodes)]), Duration::from_secs(3600));
    lock(&bench.store.sizes).values_mut().for_each(|size| *size = stored);
    (bench, clock)
}

#[test]
fn files_of_another_size_than_listed_have_their_directory_listed_anew_once_and_are_errors_then() {
    let (bench, clock) = withheld(50, 1001);
    for round in 0..3 {
        for i in 0..50 {
            let said = bench.read(bench.open(&format!("f{i}")), 0, 1000);
            let is_first = round == 0 && i == 0;
            match said {
                Err(FsError::Content(_)) if is_first => {}
                Err(FsError::Disputed(_)) if !is_first => {}
                other => panic!("{round} {i}: {other:?}"),
            }
        }
    }
    assert_eq!(bench.remote.lists(), 2);
    clock.advance(Duration::from_secs(31));
    assert!(bench.read(bench.open("f7"), 0, 1000).is_err());
    bench.ino(Ino::ROOT, "f7");
    assert_eq!(bench.remote.lists(), 3);
    // Twice as long, as there was nothing new again.
    clock.advance(Duration::from_secs(31));
    assert!(matches!(bench.read(bench.open("f7"), 0, 1000), Err(FsError::Disputed(_))));
    assert_eq!(bench.remote.lists(), 3);
}

#[test]
fn file_that_is_replaced_again_and_again_is_new_to_each_next_open() {
    const SIZE: u64 = 64 << 20;
    let (bench, _) = still(FakeRemote::new([("root", vec![file("F", "f", SIZE)])]), Duration::from_secs(3600));
    for round in 1..20 {
        let (fh, before) = (bench.open("f"), bench.ino(Ino::ROOT, "f"));
        bench.read(fh, 0, 4096).unwrap();
        let size = SIZE + round;
        bench.remote.change(|state| drop(state.dirs.insert("root".to_owned(), vec![file("F", "f", size)])));
        bench.sync_sizes();
        assert!(bench.read(fh, SIZE / 2, 4096).is_err(), "round {round}");
        assert_ne!(before, bench.ino(Ino::ROOT, "f"), "round {round}: long before the TTL is over");
        assert_eq!(bench.read(bench.open("f"), size - 5, 10).unwrap().len(), 5);
    }
}

#[test]
fn content_that_changes_under_one_size_and_time_is_another_inode_and_the_old_one_cannot_be_opened() {
    let (bench, _) = still(FakeRemote::new([("root", vec![file("F", "f", 64 << 20)])]), Duration::from_secs(3600));
    let mut inos = Vec::new();
    for round in 0..5 {
        let (fh, ino) = (bench.open("f"), bench.ino(Ino::ROOT, "f"));
        assert!(!inos.contains(&ino), "round {round}");
        inos.push(ino);
        bench.read(fh, 0, 4096).unwrap();
        bench.store.etag(&format!("\"{round}\""));
        assert!(bench.read(fh, 32 << 20, 4096).is_err(), "round {round}");
        for ino in &inos {
            assert!(matches!(bench.fs.open(*ino, 1), Err(FsError::Outdated)), "round {round}");
        }
        assert!(bench.read(fh, 0, 4096).is_err(), "an old handle stays stale");
        assert!(bench.read(fh, 48 << 20, 4096).is_err());
    }
    assert!(bench.remote.lists() <= 3, "a listing that says nothing new is not loaded again: {}", bench.remote.lists());
}
