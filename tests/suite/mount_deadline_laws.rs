//! Laws of time through real mounts: an operation takes no longer than it may, and is not given up sooner while it may succeed.

use std::thread;
use std::time::Duration;

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{Bench, LIMIT, act, acted, do_act, tool};
use crate::mounted::{Watched, await_that, mounts_are_allowed};

/// A mounted share with `count` files of ten bytes, `file-0` and so on, all of them listed.
fn files(count: usize, op_timeout: Duration) -> Bench {
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..count).map(|number| Entry::file(format!("file-{number}"), 10)));
    let bench = Bench::with(emulator, &["--op-timeout", &op_timeout.as_secs().to_string()], &[]);
    tool("ls", ["-l", bench.mountpoint.path().to_str().unwrap()]).well();
    bench
}

#[test]
fn read_whose_first_try_fails_and_whose_second_hangs_takes_one_operations_time() {
    if !mounts_are_allowed() {
        return;
    }
    let op_timeout = Duration::from_secs(6);
    let bench = files(1, op_timeout);
    // Refused three times, which is believed after some 2.5 s; Linux tries again by itself, and gets no answer.
    bench.emulator.knobs(|knobs| knobs.object_latency = Duration::from_millis(800));
    bench.emulator.fault(Fault::object(FaultKind::Forbidden).limit(3));
    bench.emulator.fault(Fault::object(FaultKind::Hang).skip(3));
    let said = do_act("stalled", bench.mountpoint.path(), &["1", "1"]);
    let (_, took_ms) = said[0].split_once(' ').unwrap();
    let took = Duration::from_millis(took_ms.parse().unwrap());
    assert!(took < op_timeout + Duration::from_millis(1500), "{took:?}");
    bench.emulator.clear_faults();
}

#[test]
fn service_that_is_away_for_half_of_an_operations_time_is_no_error() {
    if !mounts_are_allowed() {
        return;
    }
    let op_timeout = Duration::from_secs(12);
    let bench = files(8, op_timeout);
    bench.emulator.fault(Fault::object(FaultKind::Reset));
    bench.emulator.fault(Fault::any_api(FaultKind::Reset));
    let readers: Vec<Watched> =
        (0..8).map(|number| Watched::start(act("read", &bench.path(&format!("file-{number}")), &[]), LIMIT)).collect();
    await_that("the readers", || bench.emulator.counters().faults.get("reset").is_some_and(|fired| *fired >= 8));
    // The time that the service is away, not a wait for anything.
    thread::sleep(op_timeout / 2);
    bench.emulator.clear_faults();
    for reader in readers {
        assert_eq!(acted(reader), ["10"]);
    }
    bench.end();
}

/// Without another request for what such a connection was to bring, each costs a read the ten seconds of the stall limit.
#[test]
fn connection_that_stands_still_costs_its_reader_no_stall_limit() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", [Entry::file("film", 96 << 20)]);
    let bench = Bench::with(emulator, &["--no-cache"], &[]);
    tool("head", ["-c", "1M", bench.path("film").to_str().unwrap()]).well();
    bench.emulator.fault(Fault::object(FaultKind::Stall).every(7).limit(4));
    let began = std::time::Instant::now();
    assert_eq!(acted(Watched::start(act("read", &bench.path("film"), &[]), LIMIT)), [(96u64 << 20).to_string()]);
    let took = began.elapsed();
    assert!(bench.emulator.counters().faults.get("stall").is_some_and(|fired| *fired >= 2));
    assert!(took < Duration::from_secs(10), "{took:?}");
    bench.emulator.clear_faults();
    bench.end();
}
