//! Laws of refreshing through real mounts: what changed shows at once, everywhere, and nobody else is harmed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::emulator::{Content, Emulator, Entry, Replacement};
use crate::mount_bench::{Bench, run, tool};
use crate::mounted::{await_that, koofs, mounts_are_allowed};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How many of the folders in `mount` hold a file called `name`, each asked for it by itself.
fn holding(mount: &str, name: &str) -> usize {
    let count = tool("sh", ["-c", "ls -d \"$0\"/*/\"$1\" 2>/dev/null | wc -l", mount, name]).well();
    count.trim().parse().unwrap()
}

#[test]
fn refresh_of_thousands_of_directories_leaves_no_stale_name() {
    if !mounts_are_allowed() {
        return;
    }
    const FOLDERS: usize = 6000;
    for by_signal in [false, true] {
        let emulator = Emulator::synthetic();
        let folders = emulator.tree().add_many("", (0..FOLDERS).map(|number| Entry::folder(format!("d{number:04}"))));
        let files: Vec<String> =
            folders.iter().map(|folder| emulator.tree().add(folder, Entry::file("old", 1))).collect();
        let bench = Bench::new(emulator);
        let mount = text(bench.mountpoint.path());
        assert_eq!(holding(mount, "old"), FOLDERS);
        assert_eq!(holding(mount, "new"), 0);
        for id in &files {
            bench.emulator.tree().rename(id, "new");
        }
        if by_signal {
            bench.daemon.signal(libc::SIGHUP);
            await_that("a refreshed directory", || holding(mount, "old") == 0);
        } else {
            run(koofs(&["refresh", mount])).well();
            assert_eq!(holding(mount, "old"), 0);
        }
        assert_eq!(holding(mount, "new"), FOLDERS);
        bench.end();
    }
}

#[test]
fn refresh_tells_also_of_names_whose_listing_was_given_up_before_it() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("folder"));
    let wrong = emulator.tree().add(&folder, Entry::file("wrong", 10));
    let other = emulator.tree().add(&folder, Entry::file("other", 10));
    emulator.tree().misreport_size(&wrong, 11);
    let bench = Bench::new(emulator);
    let size = || tool("stat", ["-c", "%s", text(&bench.path("folder/other"))]).well();
    assert_eq!(size(), "10\n");
    // The directory has to be listed anew for this one, as it is not what its listing says.
    assert_ne!(tool("cat", [text(&bench.path("folder/wrong"))]).code, Some(0));
    bench.emulator.tree().replace(&other, Content::Pattern(20), Replacement::SameObject);
    run(koofs(&["refresh", text(bench.mountpoint.path())])).well();
    assert_eq!(size(), "20\n");
    bench.end();
}

#[test]
fn replaced_file_is_read_anew_although_its_old_link_and_object_live_on() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| knobs.listing_links = false);
    let id = emulator.tree().add("", Entry::bytes("file", "old content"));
    let bench = Bench::with(emulator, &[], &[]);
    assert_eq!(tool("cat", [text(&bench.path("file"))]).well(), "old content");
    let content = Content::Bytes("new content".into());
    bench.emulator.tree().replace(&id, content, Replacement::NewObjectOldStays);
    run(koofs(&["refresh", text(bench.mountpoint.path())])).well();
    assert_eq!(tool("cat", [text(&bench.path("file"))]).well(), "new content");
    bench.end();
}

#[test]
fn refresh_takes_no_other_filesystem_out_of_the_tree() {
    if !mounts_are_allowed() || !is_root() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("folder"));
    emulator.tree().add(&folder, Entry::folder("inner"));
    let bench = Bench::new(emulator);
    let mount = text(bench.mountpoint.path());
    let below = bench.path("folder/inner");
    tool("mount", ["-t", "tmpfs", "none", text(&below)]).well();
    let is_there = || tool("findmnt", ["-n", "-o", "FSTYPE", "-M", text(&below)]).out.trim() == "tmpfs";
    assert!(is_there());
    for path in ["", "folder"] {
        run(koofs(&["refresh", text(&bench.path(path))])).well();
        tool("ls", ["-lR", mount]).well();
        assert!(is_there(), "after a refresh of {path:?}");
    }
    bench.daemon.signal(libc::SIGHUP);
    bench.emulator.tree().add(&folder, Entry::folder("another"));
    await_that("what SIGHUP shows", || tool("ls", [text(&bench.path("folder"))]).out.contains("another"));
    assert!(is_there(), "after SIGHUP");
    tool("umount", [text(&below)]).well();
    bench.end();
}

#[test]
fn only_the_owner_of_a_mount_and_root_may_refresh_it() {
    if !mounts_are_allowed() || !is_root() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::folder("folder"));
    let bench = Bench::with(emulator, &["--allow-other"], &[]);
    // The directory of the test is root's own.
    let parent = bench.mountpoint.path().parent().unwrap();
    tool("chmod", ["755", text(parent)]).well();
    let mount = text(bench.mountpoint.path());
    tool("ls", ["-l", mount]).well();
    let calls = bench.emulator.counters().api_calls();
    let mut other = koofs(&["refresh", mount]);
    other.uid(65534).gid(65534);
    let said = run(other);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.error.contains("only its owner and root"), "{said:?}");
    let mut list = Command::new("ls");
    list.arg(mount).uid(65534).gid(65534);
    assert_eq!(run(list).well(), "folder\n");
    assert_eq!(bench.emulator.counters().api_calls(), calls, "nothing was forgotten");
    run(koofs(&["refresh", mount])).well();
    tool("ls", ["-l", mount]).well();
    assert!(bench.emulator.counters().api_calls() > calls);
    bench.end();
}

/// Whether this is root, who may mount and become another user.
fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("left out: takes root");
    }
    root
}
