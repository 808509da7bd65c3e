//! Laws of life and death through real mounts: killed, detached, aborted or stopped while somebody reads, and mounted many times.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{Bench, LIMIT, act, acted, do_act, mount_command, run, seed_of, tool};
use crate::mounted::{Mountpoint, Watched, await_that, koofs, mounts_are_allowed};
use crate::session_laws::mount_other;
use crate::soak::rounds;

/// Whoever waits for a mount that is gone is answered by the kernel: at once, on a machine that has time for it.
const AT_ONCE: Duration = Duration::from_secs(10);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A mount of 64 files of which none can be read, and 64 readers that wait for them, for as long as two minutes.
fn with_64_readers() -> (Bench, Watched) {
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..64).map(|number| Entry::file(format!("file-{number}"), 10)));
    emulator.fault(Fault::object(FaultKind::Stall).after_bytes(0));
    let bench = Bench::with(emulator, &["--op-timeout", "120"], &[]);
    tool("ls", ["-l", text(bench.mountpoint.path())]).well();
    let readers = Watched::start(act("stalled", bench.mountpoint.path(), &["64", "64"]), LIMIT);
    await_that("64 reads at the object store", || bench.emulator.counters().object_current >= 64);
    (bench, readers)
}

/// All 64 were answered with an errno of a mount that is gone.
#[track_caller]
fn all_are_answered(readers: Watched) {
    let began = Instant::now();
    let said = acted(readers);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(said.len(), 64);
    for line in said {
        let errno: i32 = line.split_once(' ').unwrap().0.parse().unwrap();
        // What the daemon had no time to say is said by the kernel; what it says in the end is an error of its own.
        let errnos = [libc::ECONNABORTED, libc::ENOTCONN, libc::EIO, libc::ETIMEDOUT];
        assert!(errnos.contains(&errno), "{line}");
    }
}

#[test]
fn process_that_is_killed_during_64_reads_answers_all_and_is_replaced_by_the_next() {
    if !mounts_are_allowed() {
        return;
    }
    let (mut bench, readers) = with_64_readers();
    bench.daemon.signal(libc::SIGKILL);
    bench.daemon.wait();
    all_are_answered(readers);
    bench.emulator.clear_faults();
    let mountpoint = text(bench.mountpoint.path());
    assert_eq!(run(mount_command(&bench.emulator, bench.mountpoint.path(), &[])).well(), "");
    assert_eq!(bench.mountpoint.types(), ["fuse.koofs"]);
    assert_eq!(tool("sh", ["-c", "cat -- \"$0\"/file-* | wc -c", mountpoint]).well(), "640\n");
    assert_eq!(run(koofs(&["unmount", mountpoint])).well(), "");
    assert_eq!(bench.mountpoint.types(), [""; 0]);
    bench.checked_counters();
}

#[test]
fn connection_that_is_aborted_during_64_reads_answers_all_and_ends_the_process_with_1() {
    if !mounts_are_allowed() {
        return;
    }
    let (mut bench, readers) = with_64_readers();
    let control = Mountpoint::new();
    mount_other("fusectl", control.path());
    let device = bench.mountpoint.mounts().remove(0).device;
    let (_, connection) = device.split_once(':').unwrap();
    fs::write(control.path().join(connection).join("abort"), "1").unwrap();
    all_are_answered(readers);
    assert_eq!(bench.daemon.wait().code(), Some(1));
    assert!(bench.log().contains("was aborted"), "{}", bench.log());
    assert_eq!(bench.mountpoint.types(), [""; 0]);
}

/// As `umount -l` does it.
#[test]
fn mount_that_is_detached_during_reads_lets_them_finish_and_ends_with_0() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let tree = emulator.tree();
    let ids: Vec<String> = (0..4).map(|number| tree.add("", Entry::file(format!("file-{number}"), 8 << 20))).collect();
    // So slow that much is still to come when the mount goes.
    emulator.knobs(|knobs| knobs.bandwidth = 2_000_000);
    let mut bench = Bench::with(emulator, &["--no-cache"], &[]);
    let readers: Vec<Watched> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let path = bench.path(&format!("file-{number}"));
            Watched::start(act("stream", &path, &[&seed_of(&bench.emulator, id)]), LIMIT)
        })
        .collect();
    let has_open = |reader: &Watched| {
        let open = fs::read_dir(format!("/proc/{}/fd", reader.pid())).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path.starts_with(bench.mountpoint.path()))
    };
    await_that("four readers", || {
        readers.iter().all(has_open) && bench.emulator.counters().object_bytes_sent > 1 << 20
    });
    tool("fusermount3", ["-u", "-z", text(bench.mountpoint.path())]).well();
    assert_eq!(bench.mountpoint.types(), [""; 0]);
    let sent = bench.emulator.counters().object_bytes_sent;
    assert!(sent < 32 << 20, "all of it was there before the mount went");
    for reader in readers {
        assert_eq!(acted(reader)[0], (8 << 20).to_string());
    }
    assert_eq!(bench.daemon.wait().code(), Some(0));
    bench.checked_counters();
}

#[test]
fn process_that_was_stopped_until_links_and_tokens_had_ended_goes_on_without_an_error() {
    if !mounts_are_allowed() {
        return;
    }
    let life = Duration::from_secs(2);
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("file", 64 << 20));
    let other = emulator.tree().add("", Entry::file("other", 1 << 20));
    emulator.knobs(|knobs| {
        knobs.link_lifetime = life;
        knobs.kdstoken_lifetime = life;
        knobs.bandwidth = 1_000_000;
    });
    let bench = Bench::with(emulator, &["--no-cache"], &[]);
    let reader = Watched::start(act("stream", &bench.path("file"), &[&seed_of(&bench.emulator, &id)]), LIMIT);
    await_that("the reader", || bench.emulator.counters().object_bytes_sent > 1 << 20);
    bench.daemon.signal(libc::SIGSTOP);
    // The time that the process stands still, not a wait for anything.
    thread::sleep(life * 3);
    let sent = bench.emulator.counters().object_bytes_sent;
    assert!(sent < 64 << 20, "all of it was there before the process was stopped");
    let links = bench.emulator.counters().calls_of("download");
    bench.daemon.signal(libc::SIGCONT);
    assert_eq!(acted(reader)[0], (64 << 20).to_string());
    assert!(bench.emulator.counters().calls_of("download") > links, "another link was needed");
    assert_eq!(do_act("stream", &bench.path("other"), &[&seed_of(&bench.emulator, &other)])[0], (1 << 20).to_string());
    bench.end();
}

/// Longer than an operation may take: who waited is told so, once, and the next one is served.
#[test]
fn process_that_was_stopped_for_longer_than_an_operation_may_take_serves_the_next_one() {
    if !mounts_are_allowed() {
        return;
    }
    let op_timeout = Duration::from_secs(2);
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("file", 4 << 20));
    emulator.knobs(|knobs| knobs.bandwidth = 500_000);
    let options = ["--no-cache", "--op-timeout", &op_timeout.as_secs().to_string()];
    let bench = Bench::with(emulator, &options, &[]);
    let seed = seed_of(&bench.emulator, &id);
    let reader = Watched::start(act("stream until error", &bench.path("file"), &[&seed]), LIMIT);
    await_that("the reader", || bench.emulator.counters().object_bytes_sent > 1 << 18);
    bench.daemon.signal(libc::SIGSTOP);
    // The time that the process stands still, not a wait for anything.
    thread::sleep(op_timeout * 2);
    bench.daemon.signal(libc::SIGCONT);
    let said = acted(reader);
    assert!(["0", &libc::ETIMEDOUT.to_string()].contains(&said[1].as_str()), "{said:?}");
    bench.emulator.knobs(|knobs| knobs.bandwidth = 0);
    // What has failed is remembered for a second.
    await_that("a reader that reads all", || {
        do_act("stream until error", &bench.path("file"), &[&seed]) == [(4 << 20).to_string(), "0".to_owned()]
    });
    bench.end();
}

#[test]
fn mounting_and_unmounting_again_and_again_leaves_nothing_behind() {
    if !mounts_are_allowed() {
        return;
    }
    match rounds(8, || false) {
        Ok(summary) => println!("{summary}"),
        Err(finding) => panic!("{finding}"),
    }
}
