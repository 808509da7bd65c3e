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
