//! The laws of known names in long directories: asked for by themselves, beside the listing. Over a fake remote and without a kernel.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use fastrand::Rng;
use koofs::fs::{Change, Ino, Lookup};
use koofs::remote::{Node, NodeKind, RemoteErrorKind};

use crate::fakes::{Bench, BenchConfig, FakeRemote, ManualClock, Names, PATIENCE, dir, file};
use crate::mounted::await_that;

/// Long enough for anything that is not held back to happen; what must *not* happen is looked for this long.
const A_WHILE: Duration = Duration::from_millis(100);

fn numbered(count: usize) -> Vec<Node> {
    (0..count).map(|i| file(&format!("F{i}"), &format!("f{i:05}"), 10)).collect()
}

/// A root with these children, whose listing stands still after its first page.
fn long(children: Vec<Node>, names: Names) -> Bench {
    let bench = Bench::new(FakeRemote::new([("root", children)]));
    bench.remote.change(|state| state.names = names);
    bench.remote.later_page_gate.close();
    bench
}

fn is_waiting<T: std::fmt::Debug>(receiver: &std::sync::mpsc::Receiver<T>) -> bool {
    matches!(receiver.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout))
}

fn found(lookup: Lookup) -> Ino {
    match lookup {
        Lookup::Found(attr, validity) => {
            assert!(!validity.is_zero());
            attr.ino
        }
        Lookup::Absent(_) => panic!("absent"),
    }
}

#[test]
fn known_path_is_found_without_the_rest_of_its_directory() {
    for names in [Names::Exact, Names::Contains, Names::Below] {
        let bench = long(numbered(1000), names);
        let later = bench.lookup_later(Ino::ROOT, "f00777");
        let ino = found(later.recv_timeout(PATIENCE).unwrap().unwrap());
        bench.remote.later_page_gate.open();
        assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 1000);
        assert_eq!(bench.ino(Ino::ROOT, "f00777"), ino, "the listing says the same, {names:?}");
        assert_eq!(bench.remote.probes(), 1);
    }
}

#[test]
fn known_path_through_long_directories_is_found_level_by_level() {
    let with = |node: Node| [numbered(500), vec![node]].concat();
    let bench = Bench::new(FakeRemote::new([
        ("root", with(dir("A", "x-a"))),
        ("A", with(dir("B", "x-b"))),
        ("B", with(file("C", "x-c", 7))),
    ]));
    bench.remote.change(|state| state.names = Names::Contains);
    bench.remote.later_page_gate.close();
    let a = bench.ino(Ino::ROOT, "x-a");
    let b = bench.ino(a, "x-b");
    bench.ino(b, "x-c");
    assert_eq!(bench.remote.probes(), 3);
}

#[test]
fn short_directory_and_a_name_on_its_first_page_are_not_asked_for_names() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(100))]));
    bench.remote.change(|state| state.names = Names::Exact);
    assert!(matches!(bench.lookup(Ino::ROOT, "absent"), Ok(Lookup::Absent(_))));
    let bench = long(numbered(1000), Names::Exact);
    bench.ino(Ino::ROOT, "f00099");
    assert_eq!(bench.remote.probes(), 0);
}

#[test]
fn absence_is_told_by_the_complete_listing_alone() {
    for names in [Names::Exact, Names::Contains, Names::Below, Names::Ignored, Names::NotOffered] {
        let bench = long(numbered(250), names);
        let later = bench.lookup_later(Ino::ROOT, "absent");
        await_that("the probe", || bench.remote.probes() == 1);
        assert!(is_waiting(&later), "{names:?}");
        bench.remote.later_page_gate.open();
        assert!(matches!(later.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Absent(_))));
    }
}

#[test]
fn answer_with_more_than_one_of_the_name_waits_for_the_listing() {
    let twins = vec![file("T2", "twin", 2), file("T1", "twin", 1)];
    for names in [Names::Exact, Names::Contains, Names::Below] {
        let bench = long([numbered(250), twins.clone()].concat(), names);
        let later = bench.lookup_later(Ino::ROOT, "twin");
        await_that("the probe", || bench.remote.probes() == 1);
        assert!(is_waiting(&later), "{names:?}");
        bench.remote.later_page_gate.open();
        found(later.recv_timeout(PATIENCE).unwrap().unwrap());
    }
    // More than a page contain it.
    let bench = long([numbered(250), vec![file("X", "f", 1)]].concat(), Names::Contains);
    let later = bench.lookup_later(Ino::ROOT, "f");
    await_that("the probe", || bench.remote.probes() == 1);
    assert!(is_waiting(&later));
}

#[test]
fn entry_of_the_same_name_in_a_directory_below_is_not_found() {
    let children = [numbered(250), vec![dir("D", "sub")]].concat();
    let bench = Bench::new(FakeRemote::new([("root", children), ("D", vec![file("X", "deep", 1)])]));
    bench.remote.change(|state| state.names = Names::Below);
    bench.remote.later_page_gate.close();
    let later = bench.lookup_later(Ino::ROOT, "deep");
    await_that("the probe", || bench.remote.probes() == 1);
    assert!(is_waiting(&later));
    bench.remote.later_page_gate.open();
    assert!(matches!(later.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Absent(_))));
}

#[test]
fn service_that_does_not_look_for_names_is_asked_once() {
    for names in [Names::Ignored, Names::NotOffered] {
        let bench = long(numbered(1000), names);
        let first = bench.lookup_later(Ino::ROOT, "f00777");
        await_that("the probe", || bench.remote.probes() == 1);
        assert!(is_waiting(&first), "{names:?}");
        let second = bench.lookup_later(Ino::ROOT, "f00888");
        assert!(is_waiting(&second));
        assert_eq!(bench.remote.probes(), 1, "{names:?}");
        bench.remote.later_page_gate.open();
        found(first.recv_timeout(PATIENCE).unwrap().unwrap());
        found(second.recv_timeout(PATIENCE).unwrap().unwrap());
        await_that("its listings are loaded to their ends", || bench.remote.lists() == 10);
    }
}

#[test]
fn failed_probe_is_nobodys_answer_and_four_in_a_row_are_the_last() {
    let bench = long(numbered(1000), Names::Fails(RemoteErrorKind::Unavailable));
    let later: Vec<_> = (0..6).map(|i| bench.lookup_later(Ino::ROOT, &format!("f0{i}777"))).collect();
    let first = bench.lookup_later(Ino::ROOT, "f00777");
    await_that("the probes", || bench.remote.probes() >= 4);
    assert!(is_waiting(&first));
    let asked = bench.remote.probes();
    // Those that were under way already may still fail.
    assert!((4..=8).contains(&asked), "{asked}");
    let other = bench.lookup_later(Ino::ROOT, "f00888");
    assert!(is_waiting(&other));
    assert_eq!(bench.remote.probes(), asked);
    bench.remote.later_page_gate.open();
    found(first.recv_timeout(PATIENCE).unwrap().unwrap());
    drop(later);
}

#[test]
fn no_name_is_asked_for_while_the_service_asks_for_a_pause() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(1000))]), config);
    bench.remote.change(|state| {
        state.names = Names::Fails(RemoteErrorKind::Throttled);
        state.throttled = Some(Duration::from_secs(5));
    });
    bench.remote.later_page_gate.close();
    // The listing itself is not throttled in this law.
    bench.remote.change(|state| state.throttled = None);
    let first = bench.lookup_later(Ino::ROOT, "f00777");
    await_that("the probe", || bench.remote.probes() == 1);
    bench.remote.change(|state| state.names = Names::Exact);
    let second = bench.lookup_later(Ino::ROOT, "f00888");
    assert!(is_waiting(&second) && is_waiting(&first));
    assert_eq!(bench.remote.probes(), 1);
    clock.advance(Duration::from_secs(2));
    bench.timer.run_due();
    bench.ino(Ino::ROOT, "f00999");
    assert!(bench.remote.probes() >= 2, "the pause is over");
}

#[test]
fn name_that_may_have_been_changed_for_linux_waits_for_the_listing() {
    let odd = ["a~0123abcd.txt", "_.", "a\u{ff0f}b", "nul\u{2400}", "half\u{fffd}"];
    let nodes = odd.iter().enumerate().map(|(i, name)| file(&format!("O{i}"), name, 1));
    let bench = long([numbered(250), nodes.collect()].concat(), Names::Exact);
    let later: Vec<_> = odd.iter().map(|name| bench.lookup_later(Ino::ROOT, name)).collect();
    assert!(later.iter().all(is_waiting));
    assert_eq!(bench.remote.probes(), 0);
    bench.remote.later_page_gate.open();
    for receiver in later {
        found(receiver.recv_timeout(PATIENCE).unwrap().unwrap());
    }
}

#[test]
fn name_is_asked_for_once_a_listing_and_eight_are_at_a_time() {
    let config = BenchConfig { listing_threads: 16, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(2000))]), config);
    bench.remote.change(|state| state.names = Names::Exact);
    bench.remote.later_page_gate.close();
    bench.remote.name_gate.close();
    bench.ino(Ino::ROOT, "f00000");
    let twice = [bench.lookup_later(Ino::ROOT, "f01000"), bench.lookup_later(Ino::ROOT, "f01000")];
    let many: Vec<_> = (0..20).map(|i| bench.lookup_later(Ino::ROOT, &format!("f010{:02}", i + 20))).collect();
    await_that("probes", || bench.remote.probes() == 8);
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.remote.probes(), 8);
    bench.remote.name_gate.open();
    for receiver in twice.into_iter().chain(many) {
        found(receiver.recv_timeout(PATIENCE).unwrap().unwrap());
    }
    assert_eq!(bench.remote.probes(), 21);
}

#[test]
fn listing_that_says_otherwise_is_right_and_the_kernel_is_told() {
    let bench = long(numbered(250), Names::Exact);
    let changes = bench.fs.take_changes().unwrap();
    let before = [bench.ino(Ino::ROOT, "f00200"), bench.ino(Ino::ROOT, "f00201"), bench.ino(Ino::ROOT, "f00202")];
    bench.remote.change(|state| {
        let children = state.dirs.get_mut("root").unwrap();
        children[200].version.size_bytes += 1;
        children.remove(201);
    });
    bench.remote.later_page_gate.open();
    assert!(matches!(bench.lookup(Ino::ROOT, "absent"), Ok(Lookup::Absent(_))), "complete");
    let mut told: Vec<String> = Vec::new();
    while told.len() < 2 {
        match changes.recv_timeout(PATIENCE).unwrap() {
            Change::Names(dir, names) if dir == Ino::ROOT => told.extend(names.into_iter().map(String::from)),
            _ => {}
        }
    }
    assert!(changes.recv_timeout(A_WHILE).is_err(), "and nothing else");
    assert_eq!(told, ["f00200", "f00201"], "and f00202 is what it was");
    assert_ne!(bench.ino(Ino::ROOT, "f00200"), before[0]);
    assert!(matches!(bench.lookup(Ino::ROOT, "f00201"), Ok(Lookup::Absent(_))));
    assert_eq!(bench.ino(Ino::ROOT, "f00202"), before[2]);
}

#[test]
fn probe_that_comes_after_the_listing_changes_nothing() {
    let bench = long(numbered(250), Names::Exact);
    bench.remote.name_gate.close();
    let later = bench.lookup_later(Ino::ROOT, "f00200");
    await_that("the probe", || bench.remote.probes() == 1);
    bench.remote.later_page_gate.open();
    let ino = found(later.recv_timeout(PATIENCE).unwrap().unwrap());
    bench.remote.change(|state| state.dirs.get_mut("root").unwrap()[200].version.size_bytes += 1);
    bench.remote.name_gate.open();
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.ino(Ino::ROOT, "f00200"), ino);
}

#[test]
fn listing_goes_on_for_nobody_only_until_a_name_has_been_found_without_it() {
    let bench = long(numbered(2000), Names::Exact);
    bench.ino(Ino::ROOT, "f01777");
    bench.remote.later_page_gate.open();
    await_that("four pages", || bench.remote.lists() == 4);
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.remote.lists(), 4, "nobody waits");
    // Whoever asks for another name has it go on meanwhile; whoever reads, or asks for what is not there, has all of it.
    bench.ino(Ino::ROOT, "f01888");
    assert!(bench.remote.lists() < 20);
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 2000);
    assert_eq!(bench.remote.lists(), 20, "each page once");
    let bench = long(numbered(2000), Names::Exact);
    bench.ino(Ino::ROOT, "f01777");
    bench.remote.later_page_gate.open();
    assert!(matches!(bench.lookup(Ino::ROOT, "absent"), Ok(Lookup::Absent(_))));
    assert_eq!(bench.remote.lists(), 20);
    // It is read: all of it comes, whoever looks names up besides.
    let bench = long(numbered(2000), Names::Exact);
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    bench.ino(Ino::ROOT, "f01777");
    bench.remote.later_page_gate.open();
    await_that("all pages", || bench.remote.lists() == 20);
    bench.fs.releasedir(fh);
}

#[test]
fn file_found_by_its_name_is_opened_read_and_renamed_as_any_other() {
    let bench = long([numbered(500), vec![file("X", "x", 10)]].concat(), Names::Exact);
    let fh = bench.open("x");
    assert_eq!(bench.read(fh, 0, 10).unwrap().len(), 10);
    bench.fs.release(fh);
    let ino = bench.ino(Ino::ROOT, "x");
    // The store has another version: the inode cannot be opened any more, and the name gets another one.
    bench.store.etag("\"two\"");
    let fh = bench.fs.open(ino, 1).unwrap();
    let _ = bench.read(fh, 0, 10);
    bench.fs.release(fh);
    bench.remote.later_page_gate.open();
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 501);
}

/// Random directories and lookups, while pages come in one by one: whatever the service makes of names, each lookup says what it would
/// say without.
#[test]
fn random_lookups_say_the_same_with_and_without_names_asked_for() {
    let first: u64 = std::env::var("KOOFS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + 40 {
        println!("KOOFS_SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let parts = ["a", "b", "A", "~", "/", "\u{ff0f}", "_", ".", "01234567", "名", "\0", "x.txt"];
        let name = |rng: &mut Rng| -> String {
            let count = rng.usize(1..4);
            (0..count).map(|_| parts[rng.usize(..parts.len())]).collect()
        };
        let mut children: Vec<Node> = (0..rng.usize(20..300))
            .map(|i| {
                let name = name(&mut rng);
                match rng.u8(..8) {
                    0 => dir(&format!("D{i}"), &name),
                    1 => Node { kind: NodeKind::Unreadable("odd"), ..file(&format!("F{i}"), &name, 1) },
                    _ => file(&format!("F{i}"), &name, rng.u64(..100)),
                }
            })
            .collect();
        children.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let wanted: Vec<String> = (0..40).map(|_| name(&mut rng).replace('\0', "0").replace('/', "|")).collect();
        let modes = [Names::Exact, Names::Contains, Names::Below, Names::Ignored, Names::NotOffered];
        let tell = |names: Names, page_size: usize| -> Vec<String> {
            let bench = Bench::new(FakeRemote::new([("root", children.clone())]));
            bench.remote.page_size.store(page_size, std::sync::atomic::Ordering::SeqCst);
            bench.remote.change(|state| state.names = names);
            let later: Vec<_> = wanted.iter().map(|name| bench.lookup_later(Ino::ROOT, name)).collect();
            let told = later.into_iter().map(|receiver| match receiver.recv_timeout(PATIENCE).unwrap() {
                Ok(Lookup::Found(attr, _)) => format!("{:?}", (attr.ino, attr.size, attr.kind)),
                Ok(Lookup::Absent(_)) => "absent".to_owned(),
                Err(error) => error.to_string(),
            });
            let told = told.collect();
            assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), children.len());
            told
        };
        let mode = modes[rng.usize(..modes.len())];
        let page_size = [3, 10, 50][rng.usize(..3)];
        assert_eq!(tell(mode, page_size), tell(Names::NotOffered, page_size), "{mode:?}");
    }
}
