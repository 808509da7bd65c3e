//! Laws of object stores that do not keep to what HTTP says about ranges, seen through a real mount.

use koofs::policy::range::MAX_SKIP_BYTES;

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{Bench, do_act, seed_of};
use crate::mounted::mounts_are_allowed;

const MIB: u64 = 1 << 20;

/// A mount of one file of `size` bytes, whose store has `fault`, and the seed of its bytes.
fn bench(size: u64, fault: Fault) -> (Bench, String) {
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("file", size));
    let seed = seed_of(&emulator, &id);
    emulator.fault(fault);
    (Bench::with(emulator, &["--op-timeout", "20", "-vv"], &[]), seed)
}

/// What has gone over the wire from the store, in MiB.
fn wire_mib(bench: &Bench) -> u64 {
    bench.emulator.counters().object_bytes_sent.div_ceil(MIB)
}

/// The most that one answer may cost which is given up, on loopback: a store writes until the buffers of both sockets are full,
/// before it learns that nobody reads.
const IN_FLIGHT_MIB: u64 = 8;

#[test]
fn far_read_from_a_store_that_ignores_ranges_fails_with_little_on_the_wire() {
    if !mounts_are_allowed() {
        return;
    }
    for kind in [FaultKind::IgnoredRange, FaultKind::IgnoredRangeUnsized] {
        let size = 5_837 * MIB;
        let (bench, seed) = bench(size, Fault::object(kind));
        let far = size - 4096;
        let said = do_act("read places", &bench.path("file"), &[&seed, &far.to_string()]);
        assert_eq!(said, [libc::EIO.to_string()], "{kind:?}");
        assert!(bench.log().contains("the object store ignores ranges: "), "{kind:?}");
        let mib = wire_mib(&bench);
        assert!(mib <= 5 * IN_FLIGHT_MIB, "{kind:?}: {mib} MiB on the wire");
        // Whoever goes on asking costs one answer in ten seconds.
        let places: Vec<String> = (1..50).map(|number| (number * 100 * MIB).to_string()).collect();
        let arguments: Vec<&str> = [&seed].into_iter().chain(&places).map(String::as_str).collect();
        let said = do_act("read places", &bench.path("file"), &arguments);
        assert_eq!(said, vec![libc::EIO.to_string(); 49], "{kind:?}");
        assert!(wire_mib(&bench) <= mib + 2 * IN_FLIGHT_MIB, "{kind:?}: {} MiB on the wire", wire_mib(&bench));
        bench.end();
    }
}

#[test]
fn small_file_is_right_although_the_store_ignores_ranges() {
    if !mounts_are_allowed() {
        return;
    }
    for size in [1, 100_000, MIB + 1, MAX_SKIP_BYTES - 1, MAX_SKIP_BYTES + 4096] {
        let (bench, seed) = bench(size, Fault::object(FaultKind::IgnoredRange));
        let said = do_act("stream until error", &bench.path("file"), &[&seed]);
        assert_eq!(said, [size.to_string(), "0".to_owned()]);
        // Parts that are on their way at the same time are skipped to each on its own.
        let mib = wire_mib(&bench);
        assert!(mib <= 8 * size.div_ceil(MIB), "{size} bytes: {mib} MiB on the wire");
        bench.end();
    }
}

#[test]
fn what_one_read_of_a_small_file_skips_the_next_does_not_request_again() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seed) = bench(MAX_SKIP_BYTES, Fault::object(FaultKind::IgnoredRange));
    let backward: Vec<String> = (1..33).map(|number| (MAX_SKIP_BYTES - number * 128 * 1024).to_string()).collect();
    let arguments: Vec<&str> = [&seed].into_iter().chain(&backward).map(String::as_str).collect();
    assert_eq!(do_act("read places", &bench.path("file"), &arguments), ["0"; 32]);
    let mib = wire_mib(&bench);
    assert!(mib <= 3 * MAX_SKIP_BYTES / MIB, "{mib} MiB on the wire");
    bench.end();
}

#[test]
fn long_file_is_right_as_far_as_a_store_that_ignores_ranges_lets_it_be_read() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seed) = bench(5_837 * MIB, Fault::object(FaultKind::IgnoredRange));
    let said = do_act("stream until error", &bench.path("file"), &[&seed]);
    assert!(said[0].parse::<u64>().unwrap() >= MAX_SKIP_BYTES, "{said:?}");
    assert_eq!(said[1], libc::EIO.to_string());
    // Requests that are on their way at the same time, each with what it skips.
    let mib = wire_mib(&bench);
    assert!(mib <= 32 * (MAX_SKIP_BYTES / MIB + IN_FLIGHT_MIB), "{mib} MiB on the wire");
    bench.end();
}

#[test]
fn long_file_is_right_while_the_store_ignores_a_range_now_and_then() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, seed) = bench(128 * MIB, Fault::object(FaultKind::IgnoredRange).every(5));
    bench.emulator.fault(Fault::object(FaultKind::IgnoredRangeUnsized).every(7));
    let said = do_act("stream until error", &bench.path("file"), &[&seed]);
    assert_eq!(said, [(128 * MIB).to_string(), "0".to_owned()]);
    assert!(bench.emulator.counters().ranges_ignored > 5);
    bench.end();
}
