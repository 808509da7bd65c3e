//! The laws of reading: right bytes under every fault, few requests, deadlines, bounded memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use koofs::content::{ContentError, ReadData};
use koofs::fs::{Fh, FsError, Ino};
use koofs::policy::range::{BLOCK_BYTES, ByteRange};
use koofs::remote::{Node, RemoteErrorKind};
use koofs::sync::lock;

use crate::fakes::{Bench, BenchConfig, FakeRemote, PATIENCE, StoreFault, content, file};
use crate::mounted::await_that;

const MIB: u64 = 1 << 20;

/// A filesystem with one file `f` of `size` bytes, open.
fn with_file(size: u64) -> (Bench, Fh) {
    with_file_and(size, BenchConfig::default())
}

fn with_file_and(size: u64, config: BenchConfig) -> (Bench, Fh) {
    let bench = Bench::with(FakeRemote::new([("root", vec![file("F", "f", size)])]), config);
    let fh = bench.open("f");
    (bench, fh)
}

fn expect(bench: &Bench, fh: Fh, offset: u64, len: u32, size: u64) {
    let range = ByteRange::clamped(offset, u64::from(len), size);
    let got = bench.read(fh, offset, len).unwrap();
    assert!(got == content("F", range), "wrong bytes at {range:?}");
}

#[test]
fn read_gives_exactly_the_clamped_length() {
    let size = 3 * BLOCK_BYTES + 17;
    let (bench, fh) = with_file(size);
    for (offset, len) in [
        (0, 1),
        (0, 4096),
        (size - 1, 4096),
        (BLOCK_BYTES - 1, 2),
        (5, 2 * BLOCK_BYTES as u32 + 9),
        (size, 10),
        (u64::MAX, 10),
        (0, 0),
    ] {
        expect(&bench, fh, offset, len, size);
    }
}

#[test]
fn small_file_is_one_request_and_an_empty_one_is_none() {
    let nodes = vec![file("F", "f", 10_000), file("E", "e", 0)];
    let bench = Bench::new(FakeRemote::new([("root", nodes)]));
    let (fh, empty) = (bench.open("f"), bench.open("e"));
    for offset in [0, 4096, 8192, 10_000] {
        expect(&bench, fh, offset, 4096, 10_000);
    }
    assert_eq!(bench.read(empty, 0, 4096).unwrap(), Vec::<u8>::new());
    assert_eq!(bench.store.gets(), [("F".to_owned(), ByteRange::new(0, 10_000))]);
}

#[test]
fn first_read_of_a_large_file_is_shared_by_young_connections_and_one_of_a_smaller_file_is_not() {
    let mib = 1 << 20;
    for (size, requests) in [(16 * mib - 1, 1), (16 * mib, 8)] {
        let (bench, fh) = with_file(size);
        expect(&bench, fh, 0, 256 * 1024, size);
        await_that("all of the first window", || bench.store.gets().len() >= requests);
        let mut asked: Vec<_> = bench.store.gets().into_iter().map(|(_, range)| range).collect();
        asked.sort_by_key(|range| range.start);
        assert_eq!((asked.len(), asked[0].start, asked[asked.len() - 1].end), (requests, 0, mib), "{size}");
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "each byte once: {asked:?}");
    }
}

#[test]
fn two_readers_of_one_missing_block_make_one_request() {
    let (bench, fh) = with_file(BLOCK_BYTES);
    let other = bench.open("f");
    bench.store.gate.close();
    let reads: Vec<_> = [fh, other, fh, other].map(|fh| bench.read_later(fh, 100, 1000)).into();
    bench.store.gate.open();
    for read in reads {
        assert!(read.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(100, 1100)));
    }
    assert_eq!(bench.store.gets().len(), 1);
}

#[test]
fn reader_is_woken_as_soon_as_its_bytes_are_in() {
    let (bench, fh) = with_file(BLOCK_BYTES);
    bench.store.free_bytes.store(20_000, Ordering::SeqCst);
    bench.store.body_gate.close();
    let early = bench.read_later(fh, 0, 4096);
    let late = bench.read_later(fh, 60_000, 4096);
    assert!(early.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(0, 4096)));
    assert!(late.try_recv().is_err());
    bench.store.body_gate.open();
    assert!(late.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(60_000, 64_096)));
    assert_eq!(bench.store.gets().len(), 1);
}

/// Reads `len` bytes at `offset`, and once more when that is answered, in the completion itself.
fn read_twice(bench: &Bench, fh: Fh, offset: u64, len: u32) -> Receiver<Result<Vec<u8>, FsError>> {
    let (sender, second) = channel();
    let fs = Arc::clone(&bench.fs);
    let done = move |first: Result<ReadData, FsError>| {
        drop(first);
        let send = move |again: Result<ReadData, FsError>| drop(sender.send(again.map(|data| data.bytes().to_vec())));
        fs.read(fh, offset, len, 0, Box::new(send));
    };
    bench.fs.read(fh, offset, len, 0, Box::new(done));
    second
}

#[test]
fn completion_may_read_the_same_block_again() {
    let (bench, fh) = with_file(BLOCK_BYTES);
    bench.store.free_bytes.store(20_000, Ordering::SeqCst);
    bench.store.body_gate.close();
    let last = BLOCK_BYTES - 4096;
    let (early, late) = (read_twice(&bench, fh, 0, 4096), read_twice(&bench, fh, last, 4096));
    assert!(early.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(0, 4096)));
    bench.store.body_gate.open();
    assert!(late.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(last, BLOCK_BYTES)));

    let (bench, fh) = with_file(BLOCK_BYTES);
    bench.store.fault([StoreFault::Panic]);
    let after_failure = read_twice(&bench, fh, 0, 4096);
    assert!(after_failure.recv_timeout(PATIENCE).unwrap().unwrap() == content("F", ByteRange::new(0, 4096)));
}

#[test]
fn every_passing_fault_of_the_store_is_survived_with_right_bytes() {
    let size = 2 * MIB + 1;
    for fault in [
        StoreFault::Status(401),
        StoreFault::Status(403),
        StoreFault::Status(404),
        StoreFault::Status(410),
        StoreFault::Status(429),
        StoreFault::Status(500),
        StoreFault::Status(503),
        StoreFault::CutAfter(0),
        StoreFault::CutAfter(1),
        StoreFault::CutAfter(BLOCK_BYTES - 1),
        StoreFault::CutAfter(BLOCK_BYTES),
        StoreFault::CutAfter(300_000),
        StoreFault::IgnoreRange,
        StoreFault::WrongRange,
    ] {
        println!("{fault:?}");
        let (bench, fh) = with_file(size);
        bench.store.fault([fault, fault]);
        expect(&bench, fh, 0, 200_000, size);
        expect(&bench, fh, MIB - 5, 200_000, size);
        expect(&bench, fh, 0, size as u32, size);
    }
}

#[test]
fn broken_stream_goes_on_at_the_byte_where_it_broke() {
    let (bench, fh) = with_file(MIB);
    bench.store.fault([StoreFault::CutAfter(300_000)]);
    expect(&bench, fh, 0, MIB as u32, MIB);
    // Pieces of 10,007 bytes: the fake sends the one that passes the cut whole.
    let resumed_at = bench.store.gets()[1].1.start;
    assert!((300_000..310_100).contains(&resumed_at), "{resumed_at}");
}

#[test]
fn last_single_byte_is_asked_for_with_its_neighbour() {
    let (bench, fh) = with_file(BLOCK_BYTES + 1);
    expect(&bench, fh, BLOCK_BYTES, 1, BLOCK_BYTES + 1);
    assert_eq!(bench.store.gets()[0].1, ByteRange::new(BLOCK_BYTES - 1, BLOCK_BYTES + 1));
}

#[test]
fn refused_link_is_resolved_anew_and_believed_after_three_refusals() {
    let (bench, fh) = with_file(100);
    bench.store.fault([StoreFault::Status(403)]);
    expect(&bench, fh, 0, 100, 100);
    assert_eq!(bench.remote.link_calls.load(Ordering::SeqCst), 2);

    let (bench, fh) = with_file(100);
    bench.store.fault([StoreFault::Status(403); 3]);
    match bench.read(fh, 0, 100) {
        Err(FsError::Content(error)) => assert_eq!(error.kind(), RemoteErrorKind::Denied),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert_eq!(bench.remote.link_calls.load(Ordering::SeqCst), 3);
}

#[test]
fn changed_object_is_stale_for_its_handle_and_never_a_mixture() {
    for fault in [StoreFault::WrongTotal, StoreFault::OtherEtag, StoreFault::Status(412), StoreFault::Status(416)] {
        let size = 8 * MIB;
        let (bench, fh) = with_file(size);
        // The first answer pins the version; wait until nothing is on its way.
        expect(&bench, fh, 4 * MIB, 4096, size);
        // With the link at hand, and with a fresh one.
        bench.store.fault([fault, fault]);
        for attempt in 0..2 {
            match bench.read(fh, 0, 4096) {
                Err(FsError::Content(ContentError::Changed)) => {}
                other => panic!("{fault:?}, read {attempt}: {:?}", other.map(|_| ())),
            }
        }
        assert_eq!(bench.remote.link_calls.load(Ordering::SeqCst), 2, "{fault:?}");
        // What was in memory of the old version is no longer given out either.
        assert!(matches!(bench.read(fh, 4 * MIB, 4096), Err(FsError::Content(ContentError::Changed))), "{fault:?}");
        let again = bench.open("f");
        expect(&bench, again, 0, 4096, size);
    }
}

#[test]
fn link_that_leads_to_another_version_is_replaced_once_before_the_file_counts_as_changed() {
    for fault in [StoreFault::WrongTotal, StoreFault::OtherEtag, StoreFault::Status(412), StoreFault::Status(416)] {
        let size = 8 * MIB;
        let (bench, fh) = with_file(size);
        expect(&bench, fh, 4 * MIB, 4096, size);
        bench.store.fault([fault]);
        expect(&bench, fh, 0, 4096, size);
        assert_eq!(bench.remote.link_calls.load(Ordering::SeqCst), 2, "{fault:?}");
    }
}

#[test]
fn failed_read_is_an_error_and_a_later_read_starts_anew() {
    let config = BenchConfig { op_timeout: Duration::from_millis(500), ..BenchConfig::default() };
    let (bench, fh) = with_file_and(100, config);
    bench.store.fault([StoreFault::Status(500); 30]);
    assert!(bench.read(fh, 0, 100).is_err());
    lock(&bench.store.faults).clear();
    // One that used up its time answers for a second more (`fs::retried`).
    await_that("a read that starts anew", || bench.read(fh, 0, 100).is_ok());
    expect(&bench, fh, 0, 100, 100);
}

#[test]
fn panic_while_fetching_is_an_error_at_once() {
    let (bench, fh) = with_file(100);
    bench.store.fault([StoreFault::Panic]);
    assert!(matches!(bench.read(fh, 0, 100), Err(FsError::Content(ContentError::Internal))));
    expect(&bench, fh, 0, 100, 100);
}

#[test]
fn stalled_read_ends_at_its_deadline() {
    let config = BenchConfig { op_timeout: Duration::from_millis(50), ..BenchConfig::default() };
    let (bench, fh) = with_file_and(MIB, config);
    bench.store.gate.close();
    for _ in 0..3 {
        assert!(matches!(bench.read(fh, 0, 4096), Err(FsError::DeadlinePassed | FsError::Content(_))));
    }
}

/// The connection neither ends nor breaks: nothing but its silence tells.
#[test]
fn block_on_a_connection_that_stands_still_comes_by_another_one() {
    for stops_after in [0, BLOCK_BYTES + 1000] {
        let (bench, fh) = with_file(8 * MIB);
        // What answers usually take is known.
        expect(&bench, fh, 4 * MIB, 4096, 8 * MIB);
        let gets = bench.store.gets().len();
        bench.store.body_gate.close();
        bench.store.fault([StoreFault::StopsAfter(stops_after)]);
        // Short enough not to be taken for a copy, which would send more requests at once.
        expect(&bench, fh, 0, 256 * 1024, 8 * MIB);
        let began: Vec<u64> = bench.store.gets()[gets..].iter().map(|(_, range)| range.start).collect();
        assert!(began.contains(&(stops_after / BLOCK_BYTES * BLOCK_BYTES)), "{stops_after}: {began:?}");
        // The first one, what comes after the block that stands still, and that block.
        assert!((2..=3).contains(&began.iter().filter(|start| **start < 256 * 1024).count()), "{began:?}");
        // The old answer goes on in the end: it changes nothing, and what it held is given back.
        bench.store.body_gate.open();
        expect(&bench, fh, 0, 1024 * 1024, 8 * MIB);
        await_that("all fetches to end", || bench.fs.memory_usage().0 <= 8 * MIB + 64 * 1024);
    }
}

/// The connection goes on just as its blocks are taken over, and the file is closed.
#[test]
fn block_that_comes_just_as_it_is_taken_over_is_right_and_counted_once() {
    let (bench, first) = with_file(8 * MIB);
    expect(&bench, first, 4 * MIB, 4096, 8 * MIB);
    let (ino, mut random) = (bench.ino(Ino::ROOT, "f"), fastrand::Rng::with_seed(7));
    for round in 0..4 {
        let (fh, offset) = (bench.fs.open(ino, 1).unwrap(), round * 256 * 1024);
        let want = content("F", ByteRange::new(offset, offset + 256 * 1024));
        bench.store.body_gate.close();
        bench.store.fault([StoreFault::StopsAfter(1 + random.u64(..BLOCK_BYTES - 1))]);
        let read = bench.read_later(fh, offset, 256 * 1024);
        bench.fs.release(fh);
        // The third look, after 2.1 s, finds that the connection stands still. The first time it is waited for.
        if round > 0 {
            std::thread::sleep(Duration::from_millis(random.u64(2050..2150)));
            bench.store.body_gate.open();
        }
        assert!(read.recv_timeout(PATIENCE).unwrap().unwrap() == want, "{round}");
        bench.store.body_gate.open();
    }
    // Of another version nothing is kept: what is counted then has been given back by nobody.
    *lock(&bench.store.etag) = "\"two\"".to_owned();
    await_that("the change to be seen", || (0..64).any(|block| bench.read(first, block * BLOCK_BYTES, 4096).is_err()));
    await_that("all memory to be given back", || bench.fs.memory_usage().0 == 0);
}

/// No other connection would be faster, and what this one has brought of the block would be lost.
#[test]
fn block_on_a_slow_line_is_requested_once() {
    let (bench, fh) = with_file(8 * MIB);
    expect(&bench, fh, 4 * MIB, 4096, 8 * MIB);
    bench.store.free_bytes.store(0, Ordering::SeqCst);
    // A block takes 14 pieces, many times as long as the first answer.
    bench.store.body_gate.pause_ms.store(150, Ordering::SeqCst);
    expect(&bench, fh, 0, 4096, 8 * MIB);
    expect(&bench, fh, BLOCK_BYTES - 4096, 4096, 8 * MIB);
    let gets = bench.store.gets();
    assert_eq!(gets.iter().filter(|(_, range)| range.start < BLOCK_BYTES).count(), 1, "{gets:?}");
    bench.store.body_gate.pause_ms.store(0, Ordering::SeqCst);
}

#[test]
fn link_that_cannot_be_had_is_why_the_read_fails() {
    let (bench, fh) = with_file(100);
    bench.remote.change(|state| state.link_failures.push_back(RemoteErrorKind::Denied));
    match bench.read(fh, 0, 100) {
        Err(FsError::Content(ContentError::Link(error))) => assert_eq!(error.kind(), RemoteErrorKind::Denied),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn random_read_fetches_at_most_two_blocks() {
    let size = 1 << 30;
    let (bench, fh) = with_file(size);
    for index in 1..50_u64 {
        expect(&bench, fh, index * 7919 % 1000 * MIB + MIB, 4096, size);
    }
    for (_, range) in bench.store.gets() {
        assert!(range.len() <= 256 * 1024, "{range:?}");
    }
}

#[test]
fn sequential_read_asks_for_every_byte_once() {
    let size = 20 * MIB + 5;
    let (bench, fh) = with_file(size);
    let mut offset = 0;
    while offset < size {
        expect(&bench, fh, offset, 128 * 1024, size);
        offset += 128 * 1024;
    }
    let asked: u64 = bench.store.gets().iter().map(|(_, range)| range.len()).sum();
    assert_eq!(asked, size);
}

#[test]
fn cache_stays_within_its_budget() {
    let size = 64 * MIB;
    let budget = 4 * MIB;
    let (bench, fh) = with_file_and(size, BenchConfig { memory_bytes: budget, ..BenchConfig::default() });
    let mut offset = 0;
    while offset < size {
        expect(&bench, fh, offset, 128 * 1024, size);
        offset += 128 * 1024;
    }
    let (_, peak) = bench.fs.memory_usage();
    // The buffers that the threads fill come on top, one block each.
    assert!(peak <= budget + 16 * (BLOCK_BYTES + 512), "{peak}");
}

#[test]
fn links_wanted_together_share_calls_and_none_is_asked_twice_at_once() {
    let nodes: Vec<Node> = (0..40).map(|i| file(&format!("F{i}"), &format!("f{i}"), 10)).collect();
    let bench = Bench::new(FakeRemote::new([("root", nodes)]));
    bench.remote.batch.store(100, Ordering::SeqCst);
    bench.remote.link_gate.close();
    let handles: Vec<Fh> = (0..40).flat_map(|i| [bench.open(&format!("f{i}")), bench.open(&format!("f{i}"))]).collect();
    let reads: Vec<_> = handles.iter().map(|fh| bench.read_later(*fh, 0, 10)).collect();
    bench.remote.link_gate.open();
    for read in reads {
        assert_eq!(read.recv_timeout(PATIENCE).unwrap().unwrap().len(), 10);
    }
    assert_eq!(bench.remote.links_asked.load(Ordering::SeqCst), 40);
    assert!(bench.remote.link_calls.load(Ordering::SeqCst) <= 20, "{:?}", bench.remote.link_calls);
}

#[test]
fn closing_a_file_cancels_what_was_queued_ahead_of_it() {
    let size = 512 * MIB;
    let (bench, fh) = with_file(size);
    for step in 0..40_u64 {
        expect(&bench, fh, step * 128 * 1024, 128 * 1024, size);
    }
    bench.store.gate.close();
    // Planned ahead by now: more than the threads can start.
    let _pending = bench.read_later(fh, 40 * 128 * 1024, 128 * 1024);
    let started = bench.store.gets().len();
    bench.fs.release(fh);
    bench.store.gate.open();
    let other = bench.open("f");
    expect(&bench, other, 400 * MIB, 4096, size);
    let asked: u64 = bench.store.gets().iter().map(|(_, range)| range.len()).sum();
    assert!(asked < 80 * MIB, "{started} requests, {asked} bytes");
}

#[test]
fn reader_that_comes_just_as_a_fetch_is_cancelled_gets_its_bytes() {
    let size = 64 * MIB;
    let (bench, _) = with_file(size);
    let bench = &bench;
    for round in 0..200_u64 {
        let first = bench.open("f");
        for step in 0..3 {
            bench.read(first, (round % 4) * MIB + step * 128 * 1024, 128 * 1024).unwrap();
        }
        let other = bench.open("f");
        std::thread::scope(|scope| {
            // What runs ahead of the first is cancelled while others ask for it.
            scope.spawn(move || bench.fs.release(first));
            for place in 1..5 {
                scope.spawn(move || expect(bench, other, (round % 4) * MIB + place * 512 * 1024, 4096, size));
            }
        });
        bench.fs.release(other);
    }
}
