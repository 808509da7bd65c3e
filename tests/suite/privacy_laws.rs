//! Laws of what other users of a machine can see of a mount: its row in the mount table, its log, its command line.

use std::fs;

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{AGENT, Bench, LIMIT, mount_command, run, tool};
use crate::mounted::{Mountpoint, Watched, koofs, mounts_are_allowed};

/// The rows of a mount in the tables that every user can read.
fn rows(mountpoint: &Mountpoint) -> String {
    let path = mountpoint.path().to_str().unwrap().replace(' ', "\\040");
    let tables = ["/proc/self/mounts", "/proc/self/mountinfo"].map(|table| fs::read_to_string(table).unwrap());
    let rows: Vec<&str> = tables.iter().flat_map(|table| table.lines()).filter(|row| row.contains(&path)).collect();
    assert_eq!(rows.len(), 2, "{tables:?}");
    rows.join("\n")
}

/// A share as others see it.
#[track_caller]
fn is_shortened(source: &str) {
    let digits = source.strip_prefix("koofs:share-").unwrap_or_else(|| panic!("{source}"));
    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{source}");
}

#[test]
fn code_of_a_share_stands_neither_in_the_mount_table_nor_in_the_most_verbose_log() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("file", "text"));
    let code = emulator.share_code().to_owned();
    let bench = Bench::with(emulator, &["-vvv", "--ttl", "1"], &[]);
    let source = bench.mountpoint.mounts().remove(0).source;
    is_shortened(&source);
    assert_eq!(tool("cat", [bench.path("file")]).well(), "text");
    // What the service repeats in its refusals is not repeated here.
    for kind in [FaultKind::Unauthorized, FaultKind::Internal, FaultKind::Garbage] {
        bench.emulator.fault(Fault::any_api(kind).every(2));
    }
    for _ in 0..3 {
        tool("ls", [bench.mountpoint.path()]);
        run(koofs(&["refresh", bench.mountpoint.path().to_str().unwrap()]));
    }
    bench.emulator.knobs(|knobs| knobs.share_status = 1);
    run(koofs(&["refresh", bench.mountpoint.path().to_str().unwrap()]));
    tool("ls", [bench.mountpoint.path()]);
    let said = run(mount_command(&bench.emulator, bench.mountpoint.path(), &[]));
    assert!(said.code == Some(1) && said.error.contains(&source), "{said:?}");
    let log = bench.log();
    assert!(log.contains(&format!("{source} is mounted at")), "{log}");
    for (place, text) in [("table", &rows(&bench.mountpoint)), ("log", &log), ("error", &said.error)] {
        assert!(!text.contains(&code), "the code is in the {place}: {text}");
    }
    bench.end();
}

#[test]
fn remote_is_mounted_under_its_name_and_its_share_shows_nowhere() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::folder("reports"));
    let mountpoint = Mountpoint::new();
    let file = mountpoint.beside("config.toml");
    let (code, url) = (emulator.share_code().to_owned(), emulator.url());
    let text =
        format!("[remotes.work]\nsource = \"share:{code}\"\nendpoint = \"{url}\"\nagent = \"{AGENT}\"\nverbose = 3\n");
    fs::write(&file, text).unwrap();
    let mut command = koofs(&["mount", "-f", "work:/reports"]);
    command.arg(mountpoint.path()).arg("--config").arg(&file).arg("--log-file").arg(mountpoint.beside("log"));
    let daemon = Watched::start(command, LIMIT);
    mountpoint.await_types(&["fuse.koofs"]);
    assert_eq!(mountpoint.mounts().remove(0).source, "koofs:work");
    let line = fs::read(format!("/proc/{}/cmdline", daemon.pid())).unwrap();
    let log = fs::read_to_string(mountpoint.beside("log")).unwrap();
    for (place, text) in
        [("table", rows(&mountpoint)), ("command line", String::from_utf8(line).unwrap()), ("log", log)]
    {
        assert!(!text.contains(&code), "the code is in the {place}: {text}");
    }
    run(koofs(&["unmount", mountpoint.path().to_str().unwrap()])).well();
    drop(daemon);
}

#[test]
fn complaint_about_a_share_names_no_code() {
    for arguments in
        [&["mount", "share:1808628918203192832", "/mnt", "--agent", "a"][..], &["ls", "share:1808628918203192832"]]
    {
        let said = run(koofs(arguments));
        assert!(said.code == Some(2) && !said.error.contains("18086289"), "{said:?}");
    }
    let said = run(koofs(&["spaces", "share:1808628918203192832"]));
    assert!(said.code == Some(2) && !said.error.contains("18086289"), "{said:?}");
}
