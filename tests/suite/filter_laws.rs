//! Laws of `--exclude` and `--include`: what is hidden is nowhere, and only in this mount.

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, tool};
use crate::mounted::mounts_are_allowed;

const HIDING: [&str; 4] = ["--exclude", "{*.tmp,.DS_Store}", "--include", "*.{jpg,tmp}"];

/// All names in the mount, sorted.
fn names(bench: &Bench) -> Vec<String> {
    let root = bench.mountpoint.path().to_str().unwrap();
    let found = tool("find", [root, "-mindepth", "1", "-printf", "%P\n"]).well();
    let mut names: Vec<String> = found.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Whether `path` can be looked up, by what stat(1) says.
fn is_there(bench: &Bench, path: &str) -> bool {
    tool("stat", [bench.path(path)]).code == Some(0)
}

#[test]
fn hidden_entries_are_absent_from_listings_and_lookups_and_other_mounts_have_them() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let tree = emulator.tree();
    let folder = tree.add("", Entry::folder("folder.tmp"));
    tree.add_many(&folder, ["a.jpg", "b.tmp", "c.txt", ".DS_Store"].map(|name| Entry::file(name, 10)));
    // On later pages, too.
    tree.add_many(&folder, (0..300).map(|number| Entry::file(format!("x{number:03}.txt"), 10)));
    tree.add(&folder, Entry::file("z.jpg", 10));
    tree.add("", Entry::file("top.tmp", 10));
    let shown = ["folder.tmp", "folder.tmp/a.jpg", "folder.tmp/z.jpg"];
    let hidden = ["top.tmp", "folder.tmp/b.tmp", "folder.tmp/c.txt", "folder.tmp/.DS_Store", "folder.tmp/x200.txt"];

    let mut bench = Bench::with(emulator, &HIDING, &[]);
    // Names first, as they are looked for alone, then listings, then names again.
    for _ in 0..2 {
        hidden.iter().for_each(|path| assert!(!is_there(&bench, path), "{path}"));
        shown.iter().for_each(|path| assert!(is_there(&bench, path), "{path}"));
        assert_eq!(names(&bench), shown);
    }
    bench.remount(&HIDING);
    assert_eq!(names(&bench), shown, "from the disk");
    // The same source and the same cache, with nothing hidden, and with directories hidden.
    bench.remount(&[]);
    assert_eq!(names(&bench).len(), 307);
    hidden.iter().for_each(|path| assert!(is_there(&bench, path), "{path}"));
    bench.remount(&["--exclude", "folder.*/"]);
    assert_eq!(names(&bench), ["top.tmp"]);
    assert!(!is_there(&bench, "folder.tmp") && !is_there(&bench, "folder.tmp/a.jpg"));
    bench.end();
}
