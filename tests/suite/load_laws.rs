//! Laws of much at once, of long files, and of a clock that somebody sets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::emulator::{Emulator, Entry, pattern};
use crate::fakes::{Bench as Core, BenchConfig, FakeRemote, ManualClock, content, file};
use crate::mount_bench::{Bench, seed_of, tool};
use crate::mounted::mounts_are_allowed;
use koofs::fs::Ino;
use koofs::policy::range::ByteRange;

const HOUR_S: i64 = 3600;

#[test]
fn clock_that_is_set_an_hour_forward_or_back_costs_links_at_most() {
    let clock = Arc::new(ManualClock::default());
    let remote = FakeRemote::new([("root", vec![file("F", "f", 512 << 20)])]);
    let config = BenchConfig { clock: Arc::clone(&clock) as _, ..BenchConfig::default() };
    let core = Core::with(remote, config);
    let fh = core.open("f");
    let mut place = 0;
    let mut read = || {
        // Far from all that was read ahead.
        place += 40 << 20;
        assert!(core.read(fh, place, 4096).unwrap() == content("F", ByteRange::new(place, place + 4096)), "at {place}");
    };
    read();
    let (lists, before) = (core.remote.lists(), core.remote.links_asked.load(Ordering::SeqCst));
    // Forward, back to where it was, an hour too far back, and right again.
    for (count, set_by) in [HOUR_S, -HOUR_S, -HOUR_S, HOUR_S].into_iter().enumerate() {
        clock.set_by(set_by);
        read();
        read();
        assert_eq!(core.names(Ino::ROOT, 100).unwrap(), ["f"]);
        let links = core.remote.links_asked.load(Ordering::SeqCst);
        // One for each read: these links are dated by a clock that was not set, so that each may have ended when it comes.
        assert!(links <= before + 2 * (count + 1), "{before} links, then {links}, when it was set {} times", count + 1);
    }
    assert_eq!(core.remote.lists(), lists, "how old a listing is is no matter of the civil clock");
}

#[test]
fn two_thousand_files_are_open_at_once() {
    if !mounts_are_allowed() {
        return;
    }
    const FILES: usize = 2000;
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..FILES).map(|n| Entry::bytes(format!("f{n:04}"), format!("text of {n:04}\n"))));
    let bench = Bench::with(emulator, &["--no-cache"], &[]);
    // All are open before the first is read.
    let script = "ulimit -n 4096; cd \"$0\"; for f in f*; do exec {fd}<\"$f\"; fds+=($fd); done; \
                  for fd in \"${fds[@]}\"; do read -r line <&$fd; echo \"$line\"; done";
    let said = tool("bash", ["-ec", script, bench.mountpoint.path().to_str().unwrap()]).well();
    assert_eq!(said, (0..FILES).map(|n| format!("text of {n:04}\n")).collect::<String>());
    bench.end();
}

#[test]
fn end_of_a_file_of_200_gb_is_read_alone() {
    if !mounts_are_allowed() {
        return;
    }
    const SIZE: u64 = 200_000_000_123;
    const END: usize = 100_000;
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("disk.img", SIZE));
    let seed: u64 = seed_of(&emulator, &id).parse().unwrap();
    let bench = Bench::with(emulator, &["--no-cache"], &[]);
    let path = bench.path("disk.img");
    let script = format!("stat -c %s \"$0\"; tail -c {END} \"$0\" | sha256sum");
    let said = tool("sh", ["-ec", &script, path.to_str().unwrap()]).well();
    let copy = bench.mountpoint.beside("end");
    std::fs::write(&copy, pattern::expected(seed, SIZE - END as u64, END)).unwrap();
    let sum = tool("sh", ["-ec", "sha256sum < \"$0\"", copy.to_str().unwrap()]).well();
    assert_eq!(said, format!("{SIZE}\n{sum}"));
    // Nothing near a copy of it: what is read around the end, and ahead of it.
    let sent = bench.emulator.counters().object_bytes_sent;
    assert!(sent < 64 << 20, "{sent} bytes");
    bench.end();
}
