//! Laws of `koofs warm`, seen through real mounts: what it says is on disk is read without a request after a remount.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, LIMIT, Said, run, tool};
use crate::mounted::{Watched, await_that, koofs, mounts_are_allowed};

const MIB: u64 = 1 << 20;

/// Ten folders with 30 small files each, and one of 40 MiB.
fn emulator() -> Emulator {
    let emulator = Emulator::synthetic();
    for folder in 0..10 {
        let folder = emulator.tree().add("", Entry::folder(format!("d{folder}")));
        let files = (0..30).map(|file| Entry::bytes(format!("f{file}"), format!("needle {file}\n").repeat(300)));
        emulator.tree().add_many(&folder, files);
    }
    emulator.tree().add("", Entry::file("big", 40 * MIB + 5));
    emulator.tree().add("", Entry::file("empty", 0));
    emulator
}

fn warm(bench: &Bench, arguments: &[&str]) -> Said {
    let mut command = koofs(&["warm"]);
    command.args(arguments).arg(bench.mountpoint.path());
    run(command)
}

fn requests(bench: &Bench) -> (u64, u64) {
    let counters = bench.emulator.counters();
    (counters.api_calls(), counters.calls_of("object"))
}

fn read_all(path: &Path) -> String {
    let said = tool("sh", ["-c", "cd \"$0\" && find . -type f | sort | xargs cksum", path.to_str().unwrap()]);
    said.well()
}

#[test]
fn what_was_warmed_is_read_without_a_request_after_a_remount() {
    if !mounts_are_allowed() {
        return;
    }
    // Far less memory than is read: what waits to be written is little, and more would be dropped.
    let small = &["--memory", "16M"];
    let mut bench = Bench::with(emulator(), small, &[]);
    // What the kernel has is not asked of the mount again, and is to be kept all the same.
    assert_eq!(fs::read(bench.path("d3/f7")).unwrap().len(), 300 * 9);
    let said = warm(&bench, &["--data"]).well();
    assert_eq!(said, "11 directories and 302 files (40M) are on disk\n");
    bench.remount(small);
    let sums = read_all(bench.mountpoint.path());
    assert_eq!(sums.lines().count(), 302);
    assert_eq!(requests(&bench), (0, 0), "{:?}", bench.emulator.counters().calls);
    let again = warm(&bench, &["--data"]).well();
    assert_eq!((again, requests(&bench)), (said, (0, 0)));
    bench.end();
}

#[test]
fn tree_that_was_warmed_without_data_is_shown_without_a_request_and_nothing_of_it_was_read() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = Bench::new(emulator());
    bench.emulator.reset_counters();
    assert_eq!(warm(&bench, &[]).well(), "11 directories and 0 files (0) are on disk\n");
    assert_eq!(requests(&bench).1, 0);
    bench.remount(&[]);
    assert_eq!(tool("find", [bench.mountpoint.path()]).well().lines().count(), 1 + 10 + 302);
    assert_eq!(requests(&bench), (0, 0));
    bench.end();
}

#[test]
fn warming_that_was_interrupted_goes_on_where_it_was() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = Bench::new(emulator());
    let mut command = koofs(&["warm", "--data"]);
    command.arg(bench.mountpoint.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut interrupted = Watched::start(command, LIMIT);
    await_that("some files to be read", || bench.emulator.counters().calls_of("object") > 100);
    interrupted.signal(libc::SIGINT);
    interrupted.wait();
    assert_eq!(warm(&bench, &["--data"]).well(), "11 directories and 302 files (40M) are on disk\n");
    // 300 small files and 41 pieces; some of both were under way and may have been asked for twice.
    let gets = bench.emulator.counters().calls_of("object");
    assert!((300..380).contains(&gets), "{gets}");
    bench.end();
}

#[test]
fn what_cannot_be_kept_is_told_and_the_rest_is_kept() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = Bench::new(emulator());
    // The links of the top level have come with its listing.
    bench.emulator.knobs(|knobs| knobs.permission_download = Some(false));
    let said = warm(&bench, &["--data"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "11 directories and 2 files (40M) are on disk\n"));
    let lines: Vec<&str> = said.error.lines().collect();
    assert!(lines.len() == 21 && lines[20].starts_with("koofs: … and "), "{said:?}");
    assert!(lines[..20].iter().all(|line| line.contains("is not kept: Permission denied")), "{said:?}");
    bench.emulator.knobs(|knobs| knobs.permission_download = None);
    assert_eq!(warm(&bench, &["--data"]).code, Some(0));
    bench.end();
}

#[test]
fn more_than_the_cache_may_keep_is_told_and_not_gone_on_with() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = Bench::with(emulator(), &["--cache-size", "16M"], &[]);
    let said = warm(&bench, &["--data"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.error.contains("koofs: there is more than the cache may keep (16M): "), "{said:?}");
    bench.end();
}

#[test]
fn warming_needs_a_mount_with_a_cache() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = Bench::with(emulator(), &["--no-cache"], &[]);
    let said = warm(&bench, &["--data"]);
    assert!(said.code == Some(1) && said.error.ends_with("mount it without --no-cache\n"), "{said:?}");
    assert_eq!(said.error.lines().count(), 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let said = run(koofs(&["warm", elsewhere.path().to_str().unwrap()]));
    assert!(said.code == Some(1) && said.error.ends_with("is not in a KooFS mount\n"), "{said:?}");
    bench.end();
}
