//! The laws of names, directories and handles, over a fake remote and without a kernel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use koofs::fs::{FsError, Ino, Lookup};
use koofs::policy::range::ByteRange;
use koofs::remote::RemoteErrorKind;
use koofs::sync::lock;

use crate::fakes::{Bench, BenchConfig, FakeRemote, ManualClock, PATIENCE, StoreFault, content, dir, file};
use crate::mounted::await_that;

/// Long enough for anything that is not held back to happen; what must *not* happen is looked for this long.
const A_WHILE: Duration = Duration::from_millis(100);

fn numbered(count: usize) -> Vec<koofs::remote::Node> {
    (0..count).map(|i| file(&format!("F{i}"), &format!("f{i:05}"), 10)).collect()
}

#[test]
fn lookup_of_a_name_on_an_early_page_does_not_wait_for_the_rest() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(1000))]));
    bench.remote.later_page_gate.close();
    assert!(matches!(bench.lookup(Ino::ROOT, "f00099"), Ok(Lookup::Found(..))));
    let later = bench.lookup_later(Ino::ROOT, "f00999");
    assert_eq!(later.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    bench.remote.later_page_gate.open();
    assert!(matches!(later.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Found(..))));
}

#[test]
fn completion_may_look_into_the_same_directory_again() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(150))]));
    bench.remote.later_page_gate.close();
    let (sender, again) = channel();
    let fs = Arc::clone(&bench.fs);
    let second = move |_: Result<Lookup, FsError>| {
        fs.lookup(Ino::ROOT, b"no-such-name", 0, Box::new(move |result| drop(sender.send(result))));
    };
    bench.fs.lookup(Ino::ROOT, b"f00149", 0, Box::new(second));
    bench.remote.later_page_gate.open();
    assert!(matches!(again.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Absent(_))));
}

#[test]
fn absence_is_told_only_by_a_complete_listing() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(150))]));
    bench.remote.later_page_gate.close();
    let absent = bench.lookup_later(Ino::ROOT, "no-such-name");
    assert_eq!(absent.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    bench.remote.later_page_gate.open();
    assert!(matches!(absent.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Absent(_))));
}

/// A share keeps the first page that opening has listed: what is asked for after a refresh is not answered with it.
#[test]
fn refresh_tells_the_remote_to_forget_before_it_is_done() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(3))]));
    // There is no kernel to be told.
    drop(bench.fs.take_changes());
    let (sender, done) = channel();
    bench.fs.refresh(Ino::ROOT, Box::new(move |result| drop(sender.send(result))));
    assert!(done.recv_timeout(PATIENCE).unwrap().is_ok());
    assert_eq!(bench.remote.forgotten.load(Ordering::SeqCst), 1);
}

#[test]
fn listing_whose_cursor_is_refused_begins_again_and_names_each_entry_once() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.later_page_gate.close();
    assert!(matches!(bench.lookup(Ino::ROOT, "f00000"), Ok(Lookup::Found(..))));
    bench.remote.change(|state| state.list_failures.push_back(RemoteErrorKind::CursorRefused));
    bench.remote.later_page_gate.open();
    let names: Vec<String> = (0..250).map(|i| format!("f{i:05}")).collect();
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap(), names);
    assert_eq!(bench.remote.list_calls.load(Ordering::SeqCst), 5, "one page, one refusal, three pages");
}

#[test]
fn listing_whose_cursor_is_always_refused_fails_after_a_few_restarts() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.change(|state| state.broken_page = Some((1, RemoteErrorKind::CursorRefused)));
    assert!(matches!(bench.names(Ino::ROOT, 1000), Err(FsError::Listing(_))));
    assert_eq!(bench.remote.list_calls.load(Ordering::SeqCst), 8, "four times the first page and a refusal");
    // One that is refused on the first page has nothing to begin again.
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.change(|state| state.broken_page = Some((0, RemoteErrorKind::CursorRefused)));
    assert!(matches!(bench.names(Ino::ROOT, 1000), Err(FsError::Listing(_))));
    assert_eq!(bench.remote.list_calls.load(Ordering::SeqCst), 1);
}

#[test]
fn listing_that_fails_half_way_is_an_error_and_not_a_short_directory() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.change(|state| state.broken_page = Some((2, RemoteErrorKind::Denied)));
    assert!(matches!(bench.names(Ino::ROOT, 1000), Err(FsError::Listing(_))));
    assert!(matches!(bench.lookup(Ino::ROOT, "no-such-name"), Err(FsError::Listing(_))));
    assert!(matches!(bench.lookup(Ino::ROOT, "f00000"), Ok(Lookup::Found(..))), "what is known is known");
}

#[test]
fn transient_failures_of_a_page_are_tried_again() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.change(|state| {
        state.list_failures.extend([
            RemoteErrorKind::Unavailable,
            RemoteErrorKind::Throttled,
            RemoteErrorKind::Malformed,
        ]);
    });
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 250);
    assert_eq!(bench.remote.lists(), 3 + 3);
}

#[test]
fn network_failure_is_never_absence() {
    let bench = Bench::with(
        FakeRemote::new([("root", numbered(1))]),
        BenchConfig { op_timeout: Duration::from_millis(300), ..BenchConfig::default() },
    );
    bench.remote.change(|state| state.list_failures.extend([RemoteErrorKind::Unavailable; 50]));
    assert!(bench.lookup(Ino::ROOT, "f00000").is_err());
    assert!(bench.lookup(Ino::ROOT, "other").is_err());
}

#[test]
fn repeated_cursor_is_an_error() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(50))]));
    bench.remote.change(|state| state.loops = true);
    assert!(matches!(bench.names(Ino::ROOT, 1000), Err(FsError::EndlessListing)));
}

#[test]
fn empty_pages_before_the_end_are_legal() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(250))]));
    bench.remote.change(|state| state.empty_pages = true);
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 250);
}

#[test]
fn entry_that_is_listed_twice_is_shown_once() {
    let mut nodes = numbered(100);
    nodes.push(file("F0", "f00000", 10));
    let bench = Bench::new(FakeRemote::new([("root", nodes)]));
    assert_eq!(bench.names(Ino::ROOT, 1000).unwrap().len(), 100);
}

#[test]
fn entries_of_one_name_are_all_reachable_and_named_alike_in_any_order() {
    let nodes = vec![file("F2", "a.txt", 2), file("F1", "a.txt", 1), dir("D1", "a.txt")];
    let mut reversed = nodes.clone();
    reversed.reverse();
    let bench = Bench::new(FakeRemote::new([("root", nodes), ("D1", vec![])]));
    let other = Bench::new(FakeRemote::new([("root", reversed), ("D1", vec![])]));
    let names = bench.names(Ino::ROOT, 10).unwrap();
    assert_eq!(names.len(), 3);
    assert_eq!(names, other.names(Ino::ROOT, 10).unwrap());
    for name in names {
        assert_eq!(bench.ino(Ino::ROOT, &name), other.ino(Ino::ROOT, &name), "{name}");
    }
}

#[test]
fn cookies_mean_the_same_entry_in_any_order_and_with_one_entry_buffers() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(321))]));
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    let (mut all, mut cookie) = (Vec::new(), 0);
    while let Some((name, ino, next)) = bench.readdir(fh, cookie, 1).unwrap().pop() {
        all.push((cookie, name, ino));
        cookie = next;
    }
    assert_eq!(all.len(), 2 + 321);
    for (cookie, name, ino) in all.iter().rev() {
        let item = bench.readdir(fh, *cookie, 1).unwrap().pop().unwrap();
        assert_eq!((&item.0, item.1), (name, *ino));
    }
    assert_eq!(bench.readdir(fh, 1 << 50, 10).unwrap(), vec![]);
    assert_eq!(bench.readdir(fh, u64::MAX, 10).unwrap(), vec![]);
}

#[test]
fn first_entries_are_shown_before_later_pages_are_in() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(20_000))]));
    bench.remote.later_page_gate.close();
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    assert_eq!(bench.readdir(fh, 0, 1000).unwrap().len(), 102);
    let has_second = || bench.remote.lists() == 2;
    assert!(
        crate::mounted::comes_true(has_second),
        "the second page is on its way, and no third: {}",
        bench.remote.lists()
    );
}

#[test]
fn directory_under_load_is_listed_once() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(100))]));
    bench.remote.list_gate.close();
    let waiting: Vec<_> = (0..50).map(|i| bench.lookup_later(Ino::ROOT, &format!("f{i:05}"))).collect();
    bench.remote.list_gate.open();
    for lookup in waiting {
        assert!(matches!(lookup.recv_timeout(PATIENCE).unwrap(), Ok(Lookup::Found(..))));
    }
    assert_eq!(bench.remote.lists(), 1);
}

#[test]
fn operation_ends_at_its_deadline_whatever_the_remote_does() {
    let bench = Bench::with(
        FakeRemote::new([("root", numbered(1))]),
        BenchConfig { op_timeout: Duration::from_millis(50), ..BenchConfig::default() },
    );
    bench.remote.list_gate.close();
    assert!(matches!(bench.lookup(Ino::ROOT, "f00000"), Err(FsError::DeadlinePassed)));
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    assert!(matches!(bench.readdir(fh, 0, 10), Err(FsError::DeadlinePassed)));
}

#[test]
fn each_component_of_a_path_has_a_deadline_of_its_own() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let most = config.op_timeout * 3 / 4;
    let tree = [("root", vec![dir("A", "a")]), ("A", vec![dir("B", "b")]), ("B", vec![file("F", "c", 1)])];
    let bench = Bench::with(FakeRemote::new(tree), config);
    // What the kernel asks for a/b/c: one name after the other, none of them beyond the deadline.
    let mut parent = Ino::ROOT;
    for name in ["a", "b", "c"] {
        bench.remote.list_gate.close();
        let lookup = bench.lookup_later(parent, name);
        clock.advance(most);
        bench.timer.run_due();
        bench.remote.list_gate.open();
        match lookup.recv_timeout(PATIENCE).unwrap() {
            Ok(Lookup::Found(attr, _)) => parent = attr.ino,
            Ok(Lookup::Absent(_)) => panic!("{name} is there"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn listing_is_believed_for_its_ttl_and_no_longer() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { ttl: Duration::from_secs(60), clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(3))]), config);
    assert_eq!(bench.names(Ino::ROOT, 10).unwrap().len(), 3);
    bench.remote.change(|state| state.dirs.get_mut("root").unwrap().truncate(2));
    clock.advance(Duration::from_secs(59));
    match bench.lookup(Ino::ROOT, "f00002").unwrap() {
        Lookup::Found(_, validity) => assert!(validity <= Duration::from_secs(1), "no longer than the listing"),
        Lookup::Absent(_) => panic!("the listing is fresh"),
    }
    clock.advance(Duration::from_secs(1));
    assert!(matches!(bench.lookup(Ino::ROOT, "f00002"), Ok(Lookup::Absent(_))));
    // One more if the lookup of an old listing had it loaded anew in time.
    assert!((2..=3).contains(&bench.remote.lists()));
}

#[test]
fn failure_of_a_listing_is_remembered_for_a_second_only() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(3))]), config);
    bench.remote.change(|state| state.list_failures.push_back(RemoteErrorKind::Denied));
    for _ in 0..20 {
        assert!(bench.lookup(Ino::ROOT, "f00000").is_err());
    }
    assert_eq!(bench.remote.lists(), 1);
    clock.advance(Duration::from_secs(1));
    assert!(bench.lookup(Ino::ROOT, "f00000").is_ok());
}

#[test]
fn changed_file_is_a_new_inode_and_an_open_handle_keeps_the_old_one() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(1))]), config);
    let before = bench.ino(Ino::ROOT, "f00000");
    bench.remote.change(|state| state.dirs.get_mut("root").unwrap()[0].version.size_bytes = 11);
    clock.advance(Duration::from_secs(3600));
    let after = bench.ino(Ino::ROOT, "f00000");
    assert_ne!(before, after);
    assert_eq!(bench.fs.getattr(before).unwrap().0.size, 10, "the kernel still holds a lookup on it");
    bench.fs.forget([(before, 1)]);
    // The thread that loaded the old listing may still be about to let go of it.
    await_that("the old inode to go", || bench.fs.getattr(before).is_err());
}

#[test]
fn wrong_kinds_and_unknown_handles_are_refused() {
    let bench = Bench::new(FakeRemote::new([("root", vec![file("F1", "f", 1), dir("D1", "d")]), ("D1", vec![])]));
    let (f, d) = (bench.ino(Ino::ROOT, "f"), bench.ino(Ino::ROOT, "d"));
    assert!(matches!(bench.lookup(f, "x"), Err(FsError::NotADirectory)));
    assert!(matches!(bench.fs.opendir(f, 1), Err(FsError::NotADirectory)));
    assert!(matches!(bench.fs.open(d, 1), Err(FsError::IsADirectory)));
    assert!(matches!(bench.lookup(Ino(12345), "x"), Err(FsError::NotFound)));
    assert!(matches!(bench.read(koofs::fs::Fh(99), 0, 1), Err(FsError::BadHandle)));
    assert!(matches!(bench.readdir(koofs::fs::Fh(99), 0, 1), Err(FsError::BadHandle)));
    assert!(matches!(bench.lookup(Ino::ROOT, &"x".repeat(256)), Err(FsError::NameTooLong)));
    assert_eq!(bench.names(d, 10).unwrap(), Vec::<String>::new());
}

#[test]
fn directory_that_is_gone_is_not_found() {
    let bench = Bench::new(FakeRemote::new([("root", vec![dir("D1", "gone")])]));
    let gone = bench.ino(Ino::ROOT, "gone");
    match bench.names(gone, 10) {
        Err(FsError::Listing(error)) => assert_eq!(error.kind(), RemoteErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reader_that_starts_again_sees_a_listing_that_has_recovered() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let bench = Bench::with(FakeRemote::new([("root", numbered(5))]), config);
    bench.remote.change(|state| state.list_failures.push_back(RemoteErrorKind::Denied));
    let fh = bench.fs.opendir(Ino::ROOT, 1).unwrap();
    assert!(bench.readdir(fh, 0, 10).is_err());
    clock.advance(Duration::from_secs(2));
    assert_eq!(bench.readdir(fh, 0, 10).unwrap().len(), 7);
}

#[test]
fn link_that_came_with_the_listing_is_used_without_a_call() {
    let bench = Bench::new(FakeRemote::new([("root", numbered(3))]));
    bench.remote.change(|state| state.links_in_listing = true);
    let fh = bench.open("f00001");
    assert_eq!(bench.read(fh, 0, 10).unwrap().len(), 10);
    assert_eq!(bench.remote.link_calls.load(Ordering::SeqCst), 0);
}

#[test]
fn second_try_at_a_failed_read_has_what_is_left_of_the_first_ones_time() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let op_timeout = config.op_timeout;
    let bench = Bench::with(FakeRemote::new([("root", vec![file("F", "f", 1 << 20)])]), config);
    let fh = bench.open("f");
    bench.store.gate.close();
    let first = bench.read_later(fh, 0, 131_072);
    await_that("its request", || bench.store.gets().len() == 1);
    clock.advance(op_timeout * 2 / 5);
    // Three for its own request, and as many for one that takes over what is overdue by now.
    bench.store.fault([StoreFault::Status(403); 6]);
    bench.store.gate.open();
    assert!(matches!(first.recv_timeout(PATIENCE).unwrap(), Err(FsError::Content(_))));
    // As the kernel does when its read-ahead has failed; and now nothing comes at all.
    bench.store.gate.close();
    lock(&bench.store.faults).clear();
    let requests = bench.store.gets().len();
    let second = bench.read_later(fh, 4096, 4096);
    await_that("its request", || bench.store.gets().len() > requests);
    clock.advance(op_timeout * 3 / 5 - Duration::from_millis(1));
    bench.timer.run_due();
    assert_eq!(second.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout);
    clock.advance(Duration::from_millis(1));
    bench.timer.run_due();
    assert!(matches!(second.recv_timeout(PATIENCE).unwrap(), Err(FsError::DeadlinePassed)));
}

#[test]
fn read_that_failed_by_its_deadline_fails_at_once_for_a_second() {
    let clock = Arc::new(ManualClock::default());
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let op_timeout = config.op_timeout;
    let bench = Bench::with(FakeRemote::new([("root", vec![file("F", "f", 1 << 20)])]), config);
    let fh = bench.open("f");
    bench.store.gate.close();
    let stalled = bench.read_later(fh, 0, 131_072);
    clock.advance(op_timeout);
    bench.timer.run_due();
    assert!(matches!(stalled.recv_timeout(PATIENCE).unwrap(), Err(FsError::DeadlinePassed)));
    // As the kernel does when its read-ahead has failed: one page of it, by itself.
    assert!(matches!(bench.read(fh, 4096, 4096), Err(FsError::DeadlinePassed)));
    let elsewhere = bench.read_later(fh, 131_072, 4096);
    assert_eq!(elsewhere.recv_timeout(A_WHILE).unwrap_err(), RecvTimeoutError::Timeout, "was not tried yet");
    bench.store.gate.open();
    clock.advance(Duration::from_secs(1));
    assert_eq!(bench.read(fh, 4096, 4096).unwrap(), content("F", ByteRange::new(4096, 8192)));
}
