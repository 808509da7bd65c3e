//! Laws of `--bwlimit`: content comes no faster than was said, once, and what is read now before what may be read later.

use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, LIMIT, act, acted, do_act, seed_of, tool};
use crate::mounted::{Watched, mounts_are_allowed};

/// Bytes of the long file.
const LONG: u64 = 4 << 20;

/// A share with a long file and a short one, mounted with a limit of a MiB per second; and the seed of the long one.
fn bench(options: &[&str]) -> (Bench, String) {
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("long", LONG));
    emulator.tree().add("", Entry::file("short", 10_000));
    let seed = seed_of(&emulator, &id);
    (Bench::with(emulator, options, &[]), seed)
}

#[test]
fn content_comes_no_faster_than_was_said_and_all_of_it_once() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seed) = bench(&["--bwlimit", "1M"]);
    let began = Instant::now();
    assert_eq!(do_act("stream", &bench.path("long"), &[&seed])[0], LONG.to_string());
    // What the buffers of the system hold comes at once, and a tenth of a second may be made up for: never more than a MiB.
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    let counters = bench.emulator.counters();

    assert!(counters.object_bytes_sent <= LONG * 11 / 10, "twice on a slow line: {}", counters.object_bytes_sent);
    bench.end();
}

#[test]
fn listings_and_small_reads_do_not_wait_for_a_long_file() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seed) = bench(&["--bwlimit", "1M"]);
    let began = Instant::now();
    let long = Watched::start(act("stream", &bench.path("long"), &[&seed]), LIMIT);
    tool("ls", ["-l", bench.mountpoint.path().to_str().unwrap()]).well();
    assert_eq!(do_act("read", &bench.path("short"), &[]), ["10000"]);
    let short_took = began.elapsed();
    assert_eq!(acted(long)[0], LONG.to_string());
    assert!(short_took < began.elapsed() * 2 / 3, "{short_took:?} of {:?}", began.elapsed());
    bench.end();
}
