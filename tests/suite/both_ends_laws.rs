//! The laws of long listings that are read from both of their ends. Over a fake remote, and through real mounts.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use koofs::fs::{FsError, Ino, Lookup};
use koofs::remote::{Node, RemoteErrorKind};

use crate::emulator::knobs::{NameOrder, Sorting};
use crate::emulator::{Emulator, Entry};
use crate::fakes::{Bench as CoreBench, FakeRemote, FromEnd, file};
use crate::mount_bench::{Bench, tool};
use crate::mounted::{await_that, mounts_are_allowed};

/// What must *not* happen is looked for this long.
const A_WHILE: Duration = Duration::from_millis(100);

fn numbered(count: usize) -> Vec<Node> {
    (0..count).map(|i| file(&format!("F{i}"), &format!("f{i:05}"), 10)).collect()
}

fn names(count: usize) -> Vec<String> {
    numbered(count).into_iter().map(|node| node.name).collect()
}

fn core(count: usize, from_end: FromEnd) -> CoreBench {
    let bench = CoreBench::new(FakeRemote::new([("root", numbered(count))]));
    bench.remote.change(|state| state.from_end = from_end);
    bench
}

fn pages_from_end(bench: &CoreBench) -> usize {
    bench.remote.pages_from_end.load(Ordering::SeqCst)
}

#[test]
fn long_directory_is_whole_and_in_order_whatever_its_last_end_brings() {
    let ends = [
        FromEnd::NotOffered,
        FromEnd::Works,
        FromEnd::NotSorted,
        FromEnd::Fails(RemoteErrorKind::CursorRefused),
        FromEnd::Fails(RemoteErrorKind::Malformed),
        FromEnd::Fails(RemoteErrorKind::Throttled),
    ];
    for from_end in ends {
        for count in [399, 400, 401, 499, 500, 501, 650, 1999, 3000] {
            let bench = core(count, from_end);
            assert_eq!(bench.names(Ino::ROOT, 1000).unwrap(), names(count), "{from_end:?}, {count}");
            assert!(matches!(bench.lookup(Ino::ROOT, "absent"), Ok(Lookup::Absent(_))));
        }
    }
}

#[test]
fn directory_of_four_pages_is_read_from_one_end() {
    let bench = core(400, FromEnd::Works);
    bench.names(Ino::ROOT, 1000).unwrap();
    assert_eq!((bench.remote.lists(), pages_from_end(&bench)), (4, 0));
}

#[test]
fn last_end_saves_the_first_its_way_to_the_end() {
    let bench = core(5000, FromEnd::Works);
    bench.remote.later_page_gate.pause_ms.store(20, Ordering::SeqCst);
    assert_eq!(bench.names(Ino::ROOT, 10_000).unwrap(), names(5000));
    let (first, last) = (bench.remote.lists(), pages_from_end(&bench));
    assert!(first < 40, "{first} pages from the first end");
    assert!(first + last <= 50 + 3, "{first} and {last} pages: they overlap by one, and each may be a page further");
}

#[test]
fn entries_that_are_missing_between_the_ends_are_waited_for() {
    let bench = core(2000, FromEnd::Works);
    bench.remote.later_page_gate.close();
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    assert_eq!(bench.readdir(fh, 0, 10_000).unwrap().len(), 102);
    assert_eq!(pages_from_end(&bench), 0, "not before the fourth page");
    bench.remote.later_page_gate.open();
    assert_eq!(bench.names(Ino::ROOT, 10_000).unwrap(), names(2000));
    bench.fs.releasedir(fh);
}

#[test]
fn directory_is_never_shorter_when_its_first_end_fails() {
    for from_end in [FromEnd::Works, FromEnd::NotOffered] {
        let bench = core(3000, from_end);
        bench.remote.change(|state| state.broken_page = Some((6, RemoteErrorKind::Denied)));
        bench.remote.from_end_gate.pause_ms.store(5, Ordering::SeqCst);
        assert!(matches!(bench.names(Ino::ROOT, 10_000), Err(FsError::Listing(_))), "{from_end:?}");
    }
}

#[test]
fn last_end_is_not_asked_while_nobody_wants_all_names() {
    let bench = core(3000, FromEnd::Works);
    bench.remote.change(|state| state.names = crate::fakes::Names::Exact);
    // Names are known to be found by the time the listing has its four pages.
    bench.remote.later_page_gate.close();
    bench.ino(Ino::ROOT, "f02000");
    bench.remote.later_page_gate.open();
    await_that("the listing to rest", || bench.remote.lists() >= 4);
    std::thread::sleep(A_WHILE);
    assert_eq!((bench.remote.lists(), pages_from_end(&bench)), (4, 0));
}

#[test]
fn service_that_does_not_sort_is_asked_once() {
    for from_end in [FromEnd::NotSorted, FromEnd::NotOffered] {
        let dirs = ["A", "B", "C"].map(|id| crate::fakes::dir(id, id));
        let numbered = |id: &str| (0..1000).map(|n| file(&format!("{id}{n}"), &format!("f{n:05}"), 1)).collect();
        let bench = CoreBench::new(FakeRemote::new([
            ("root", dirs.to_vec()),
            ("A", numbered("A")),
            ("B", numbered("B")),
            ("C", numbered("C")),
        ]));
        bench.remote.change(|state| state.from_end = from_end);
        for name in ["A", "B", "C"] {
            let ino = bench.ino(Ino::ROOT, name);
            assert_eq!(bench.names(ino, 10_000).unwrap().len(), 1000);
        }
        let asked = pages_from_end(&bench);
        assert!((1..=2).contains(&asked), "{from_end:?}: {asked}");
    }
}

#[test]
fn forgotten_listing_stops_at_both_ends() {
    let bench = core(20_000, FromEnd::Works);
    bench.remote.later_page_gate.pause_ms.store(2, Ordering::SeqCst);
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    bench.readdir(fh, 0, 100).unwrap();
    await_that("the last end", || pages_from_end(&bench) > 2);
    bench.fs.releasedir(fh);
    drop(bench);
}

#[test]
fn names_of_a_share_and_a_space_are_whole_under_every_way_to_sort() {
    if !mounts_are_allowed() {
        return;
    }
    for sorting in [Sorting::Honoured, Sorting::DirectionIgnored, Sorting::Ignored, Sorting::DescendingRefused] {
        for (order, is_space) in [(NameOrder::Bytes, true), (NameOrder::AnyCase, false)] {
            let emulator = Emulator::synthetic();
            emulator.knobs(|knobs| (knobs.sorting, knobs.name_order) = (sorting, order));
            let count = if is_space { 7500 } else { 2500 };
            let tree = if is_space { &emulator.own().tree } else { emulator.tree() };
            let folder = tree.add("", Entry::folder("d"));
            let name = |n: u64| if n.is_multiple_of(2) { format!("f{n:05}") } else { format!("F{n:05}") };
            tree.add_many(&folder, (0..count).map(|n| Entry::file(name(n), n)));
            let call = if is_space { "spaceFiles" } else { "shareFiles" };
            let bench = if is_space { Bench::of_space(emulator, &[]) } else { Bench::new(emulator) };
            let names = tool("ls", ["-f", bench.path("d").to_str().unwrap()]).well();
            let unique: BTreeSet<&str> = names.lines().collect();
            let lines = names.lines().count() as u64;
            assert_eq!((lines, unique.len() as u64), (count + 2, count + 2), "{sorting:?} {order:?}");
            let asked = bench.emulator.counters().descending_listings;
            match sorting {
                Sorting::Honoured => assert!(asked >= 2, "{asked} of {}", bench.emulator.counters().calls_of(call)),
                _ => assert!((1..=2).contains(&asked), "{sorting:?} {order:?}: {asked}"),
            }
            bench.end();
        }
    }
}
