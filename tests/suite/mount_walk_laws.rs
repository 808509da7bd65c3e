//! Laws of walks through real mounts: what is listed ahead of them, and what must never come of that.

use std::thread;
use std::time::Duration;

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{Bench, tool};
use crate::mounted::{await_that, mounts_are_allowed};

/// A share with so many empty folders, `d0000` and so on; their ids.
fn folders(count: usize) -> (Emulator, Vec<String>) {
    let emulator = Emulator::synthetic();
    let ids = emulator.tree().add_many("", (0..count).map(|number| Entry::folder(format!("d{number:04}"))));
    (emulator, ids)
}

/// How many calls there have been, once none has come for a second.
fn calls_at_rest(bench: &Bench) -> u64 {
    let mut calls = bench.emulator.counters().api_calls();
    await_that("an end of the calls", || {
        thread::sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut calls, bench.emulator.counters().api_calls());
        before == calls
    });
    calls
}

#[test]
fn second_find_past_half_the_ttl_over_more_directories_than_can_be_refreshed_at_once_goes_through() {
    if !mounts_are_allowed() {
        return;
    }
    const TTL: Duration = Duration::from_secs(24);
    let (emulator, _) = folders(5200);
    let bench = Bench::with(emulator, &["--ttl", &TTL.as_secs().to_string()], &[]);
    let mount = bench.mountpoint.path().to_str().unwrap();
    // A walk that is interrupted at directory 4,900.
    tool("sh", ["-c", "ls \"$0\"/d[0-3]* \"$0\"/d4[0-8]* >/dev/null", mount]).well();
    bench.emulator.knobs(|knobs| knobs.api_latency = Duration::from_millis(200));
    thread::sleep(TTL / 2);
    assert_eq!(tool("find", [mount]).well().lines().count(), 5201);
    bench.end();
}

#[test]
fn failed_listings_ahead_make_no_storm() {
    if !mounts_are_allowed() {
        return;
    }
    let (emulator, ids) = folders(5);
    let bench = Bench::new(emulator);
    let mount = bench.mountpoint.path().to_str().unwrap();
    tool("ls", [mount]).well();
    for id in &ids[2..] {
        bench.emulator.tree().remove(id);
    }
    tool("sh", ["-c", "ls \"$0\"/d0000 \"$0\"/d0001", mount]).well();
    // Opening the share, its top level, the two, and one try at each of the others.
    let calls = calls_at_rest(&bench);
    assert!(calls <= 2 + 2 + 3, "{calls} calls");
    bench.end();
}

#[test]
fn throttled_service_is_left_alone_by_a_walk_that_has_ended() {
    if !mounts_are_allowed() {
        return;
    }
    let (emulator, _) = folders(40);
    let bench = Bench::with(emulator, &["--op-timeout", "3"], &[]);
    let mount = bench.mountpoint.path().to_str().unwrap();
    tool("sh", ["-c", "ls \"$0\" \"$0\"/d0000", mount]).well();
    let before = calls_at_rest(&bench);
    bench.emulator.fault(Fault::any_api(FaultKind::Throttle).retry_after(Some(Duration::from_secs(1))));
    // Ends after its tries; what is listed ahead for it must not go on without it.
    tool("ls", [&format!("{mount}/d0001")]);
    let calls = calls_at_rest(&bench) - before;
    assert!(calls <= 40, "{calls} calls, each refused");
    let at_rest = bench.emulator.counters().api_calls();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(bench.emulator.counters().api_calls(), at_rest, "calls while nobody is there");
    bench.emulator.clear_faults();
    bench.end();
}
