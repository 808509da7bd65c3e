//! Laws of whoever is killed while it waits for the network: it ends, long before its operation's time is over.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{Bench, LIMIT};
use crate::mounted::{Watched, await_that, mounts_are_allowed};

/// An operation's time: what a process that cannot be killed waits for.
const OP_TIMEOUT: Duration = Duration::from_secs(60);

/// Far less than that, and far more than it takes to see that somebody was killed.
const SOON: Duration = Duration::from_secs(20);

/// A program that waits for the mount.
fn waiting(arguments: &[&str]) -> Watched {
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Watched::start(command, LIMIT)
}

#[test]
fn process_that_waits_for_the_network_can_be_killed() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("film", 64 << 20));
    for folder in ["looked-into", "listed", "interrupted", "asked-for"] {
        emulator.tree().add("", Entry::folder(folder));
    }
    let seconds = OP_TIMEOUT.as_secs().to_string();
    let bench = Bench::with(emulator, &["--no-cache", "--op-timeout", &seconds], &[]);
    let path = |name: &str| bench.path(name).to_str().unwrap().to_owned();
    // The top is known.
    crate::mount_bench::tool("ls", ["-l", bench.mountpoint.path().to_str().unwrap()]).well();
    bench.emulator.fault(Fault::object(FaultKind::Hang));
    bench.emulator.fault(Fault::any_api(FaultKind::Hang));
    let film = path("film");
    let direct = ["dd", &format!("if={film}"), "of=/dev/null", "iflag=direct", "bs=64K", "count=1"].map(str::to_owned);
    let programs: [(&str, Vec<String>, i32); 5] = [
        ("a buffered read", vec!["cat".to_owned(), film.clone()], libc::SIGKILL),
        ("a direct read", direct.to_vec(), libc::SIGKILL),
        ("a lookup", vec!["stat".to_owned(), path("looked-into/name")], libc::SIGKILL),
        ("a listing", vec!["ls".to_owned(), path("listed")], libc::SIGKILL),
        ("a listing, by Ctrl-C", vec!["ls".to_owned(), path("interrupted")], libc::SIGINT),
    ];
    for (what, program, signal) in programs {
        let arguments: Vec<&str> = program.iter().map(String::as_str).collect();
        let mut process = waiting(&arguments);
        let children = format!("/proc/{}/wchan", process.pid());
        await_that("it to wait for the mount", || {
            let wchan = std::fs::read_to_string(&children).unwrap_or_default();
            wchan.contains("fuse") || wchan.contains("folio") || wchan.contains("request_wait")
        });
        let began = Instant::now();
        process.signal(signal);
        let status = process.wait();
        let took = began.elapsed();
        println!("{what}: {status}, after {took:?}");
        assert!(took < SOON, "{what}: {took:?}");
    }
    // The mount lives, and whoever comes next is served.
    bench.emulator.clear_faults();
    crate::mount_bench::tool("ls", [path("listed")]).well();
    bench.end();
}
