//! Laws of a mount on a desktop: what file managers look for in every folder costs nothing.

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, tool};
use crate::mounted::mounts_are_allowed;

/// What Nautilus, Dolphin, Thunar, PCManFM and their volume monitors look for in a folder, or at the top of a volume.
const PROBES: [&str; 12] = [
    ".hidden",
    ".Trash",
    ".Trash-1000",
    ".directory",
    "desktop.ini",
    "Desktop.ini",
    "autorun.inf",
    ".autorun",
    ".xdg-volume-info",
    "BDMV",
    "VIDEO_TS",
    ".git",
];

#[test]
fn volume_info_names_the_mount_and_is_in_no_listing() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("photo.jpg", 10));
    let bench = Bench::with(emulator, &["--volume-info", "--xattr"], &[]);
    let root = bench.mountpoint.path().to_str().unwrap().to_owned();
    let file = bench.path(".xdg-volume-info");
    bench.emulator.reset_counters();
    for _ in 0..2 {
        let text = tool("cat", [&file]).well();
        let name = text
            .strip_prefix("[Volume Info]\nName=share-")
            .and_then(|rest| rest.strip_suffix("\nIcon=folder-remote\n"));
        assert!(name.is_some_and(|name| name.len() == 8), "{text}");
        assert_eq!(
            tool("stat", ["-c", "%A %s", file.to_str().unwrap()]).well(),
            format!("-rw-r--r-- {}\n", text.len())
        );
    }
    assert_eq!(bench.emulator.counters().object_bytes_sent, 0);
    assert_eq!(tool("ls", ["-A", &root]).well(), "photo.jpg\n");
    assert_eq!(tool("ls", ["-l", file.to_str().unwrap()]).code, Some(0));
    bench.end();
}

#[test]
fn what_file_managers_look_for_costs_no_request_in_a_complete_listing() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("photos"));
    emulator.tree().add_many(&folder, (0..250).map(|number| Entry::file(format!("{number:03}.jpg"), 10)));
    let bench = Bench::with(emulator, &[], &[]);
    let (root, photos) = (bench.mountpoint.path().to_owned(), bench.path("photos"));
    for dir in [&root, &photos] {
        tool("ls", [dir]).well();
    }
    bench.emulator.reset_counters();
    // Each as another process, and twice, as they do.
    for name in PROBES.iter().chain(&PROBES) {
        for dir in [&root, &photos] {
            assert_eq!(tool("cat", [dir.join(name)]).code, Some(1), "{name}");
        }
    }
    assert_eq!(bench.emulator.counters().calls, Default::default());
    bench.end();
}
