//! Laws of files that change on the service while they are open, through real mounts: old bytes, new bytes or an error, never both.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::emulator::{Content, Emulator, Entry, Replacement};
use crate::mount_bench::{Bench, LIMIT, act, acted};
use crate::mount_child::stamped;
use crate::mounted::{Watched, await_that, mounts_are_allowed};

const MIB: usize = 1 << 20;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn content(version: u64, len: usize) -> Content {
    Content::Bytes(stamped(version, len).into())
}

/// A mounted share with a stamped file of so many bytes, in its first version; the file's id.
fn stamped_file(len: usize, options: &[&str]) -> (Bench, String) {
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::bytes("file", stamped(1, len)));
    (Bench::with(emulator, options, &[]), id)
}

#[test]
fn handle_that_is_stale_stays_so_and_its_inode_is_not_opened_again() {
    if !mounts_are_allowed() {
        return;
    }
    let replace = |bench: &Bench, id: &str| {
        bench.emulator.tree().replace(id, content(2, 32 * MIB), Replacement::SameObject);
    };
    let overwrite = |bench: &Bench, id: &str| bench.emulator.tree().overwrite(id, content(2, 32 * MIB));
    for (how, change) in [("another time", &replace as &dyn Fn(&Bench, &str)), ("the same time", &overwrite)] {
        let (bench, id) = stamped_file(32 * MIB, &[]);
        let signals = bench.mountpoint.beside("reader");
        let reader = Watched::start(act("stale", &bench.path("file"), &[text(&signals)]), LIMIT);
        await_that("the reader", || signals.with_extension("opened").exists());
        change(&bench, &id);
        fs::write(signals.with_extension("go"), "").unwrap();
        let stale = libc::ESTALE.to_string();
        let said = acted(reader);
        assert_eq!(
            said,
            [stale.as_str(), "{2}", stale.as_str(), "{1}"],
            "{how}: by /proc/self/fd, by name, the old handle, all of it"
        );
        bench.end();
    }
}

#[test]
fn readers_of_a_file_that_changes_all_the_time_see_one_version_in_each_handle() {
    if !mounts_are_allowed() {
        return;
    }
    let (bench, id) = stamped_file(4 * MIB, &[]);
    let signals = bench.mountpoint.beside("race");
    let path = bench.path("file");
    let readers: Vec<Watched> =
        (0..8).map(|seed| Watched::start(act("race", &path, &[&seed.to_string(), text(&signals)]), LIMIT)).collect();
    let start = Instant::now();
    let mut version = 1;
    while start.elapsed() < Duration::from_secs(6) {
        version += 1;
        if version % 3 == 0 {
            bench.emulator.tree().overwrite(&id, content(version, 4 * MIB));
        } else {
            bench.emulator.tree().replace(&id, content(version, 4 * MIB), Replacement::SameObject);
        }
        // The service's own pace of changes, not a wait for anything.
        thread::sleep(Duration::from_millis(100));
    }
    fs::write(signals.with_extension("stop"), "").unwrap();
    let said: Vec<Vec<String>> = readers.into_iter().map(acted).collect();
    let handles: usize = said.iter().map(|said| said[0].parse::<usize>().unwrap()).sum();
    assert!(said.iter().all(|said| said[1] == "0"), "mixtures in {handles} handles: {said:?}");
    assert!(handles > 50, "{handles}");
    bench.end();
}

/// Resident memory of the daemon, in KiB.
fn resident_kib(bench: &Bench) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bench.daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn file_that_changes_under_its_readers_leaves_no_memory_behind() {
    if !mounts_are_allowed() {
        return;
    }
    const SIZE: u64 = 512 << 20;
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("file", SIZE));
    let bench = Bench::with(emulator, &["--memory", "64M"], &[]);
    // So slow that parts are on their way when the change is seen.
    bench.emulator.knobs(|knobs| knobs.bandwidth = 4_000_000);
    let mut resident = Vec::new();
    for round in 0..12 {
        let signals = bench.mountpoint.beside(&format!("reader{round}"));
        let reader = Watched::start(act("until it fails", &bench.path("file"), &[text(&signals)]), LIMIT);
        await_that("the reader", || signals.with_extension("opened").exists());
        bench.emulator.tree().replace(&id, Content::Pattern(SIZE), Replacement::SameObject);
        assert_eq!(acted(reader), [libc::ESTALE.to_string()]);
        resident.push(resident_kib(&bench));
    }
    // The first rounds fill the budget and the allocator; from then on nothing is added.
    let (settled, last) = (resident[4], resident[11]);
    assert!(last < settled + 24 * 1024, "{resident:?} KiB");
    bench.end();
}
