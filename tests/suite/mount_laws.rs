//! Laws of the whole: the koofs command, the kernel, and a service (the emulator) with its faults.
//!
//! Whoever touches a mount here is a child under a watchdog (`mount_bench`, `mount_child`). Nothing is held to a speed:
//! time limits are the mount's own deadlines, and waits end by what they wait for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::emulator::{Content, Emulator, EmulatorConfig, Entry, Fault, FaultKind, Replacement};
use crate::mount_bench::{
    AGENT, Bench, LIMIT, Said, act, acted, do_act, emulator_with, mount_command, run, seed_of, tool,
};
use crate::mounted::{Mountpoint, Watched, await_that, environment_of, koofs, mounts_are_allowed};

/// The seed of this run's random choices: `KOOFS_SEED`, or one of its own; printed.
fn seed() -> u64 {
    let seed = std::env::var("KOOFS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KOOFS_SEED={seed}");
    seed
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sizes around every border that the mount knows: pages, blocks, the first window.
const ODD_SIZES: [usize; 15] =
    [0, 1, 2, 511, 4095, 4096, 4097, 65_535, 131_071, 131_072, 131_073, 262_144, 1_048_575, 1_048_577, 3_333_333];

/// Names that people and programs give: kept byte for byte.
const ODD_NAMES: [&str; 14] = [
    "-rf",
    " ",
    "two  blanks ",
    "line\nbreak",
    "tab\there",
    "\u{202e}gnp.exe",
    "e\u{301}",
    "é",
    "...",
    "~",
    "字字字.txt",
    "a\\b:*?\"<>|",
    "%2f%00",
    "😀",
];

/// Several hundred files on disk, five levels deep.
fn odd_directory(seed: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; 3_400_000];
    random.fill(&mut bytes);
    let mut folders = vec![directory.path().to_owned()];
    for (number, name) in ODD_NAMES.iter().enumerate() {
        let parent = folders[number / 3].clone();
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        folders.push(folder);
    }
    let deep = directory.path().join("1/2/3/4/5");
    fs::create_dir_all(&deep).unwrap();
    folders.push(deep);
    fs::create_dir(directory.path().join("empty")).unwrap();
    let write = |path: &Path, size: usize, from: usize| {
        let from = from.min(bytes.len() - size);
        fs::write(path, &bytes[from..from + size]).unwrap();
    };
    for (number, folder) in folders.iter().enumerate() {
        for (index, name) in ODD_NAMES.iter().enumerate() {
            let path = folder.join(format!("file {name}"));
            write(&path, (number * 37 + index * 1009) % 9000, random.usize(..3_000_000));
        }
        write(&folder.join("x".repeat(255)), number, number);
    }
    for size in ODD_SIZES {
        write(&folders[1].join(format!("size-{size}")), size, random.usize(..3_000_000));
    }
    // More than one page of names.
    for number in 0..130 {
        write(&folders[2].join(format!("many-{number:03}")), number, number * 1000);
    }
    directory
}

fn files_below(directory: &Path) -> usize {
    tool("find", [text(directory), "-type", "f", "-printf", "."]).well().len()
}

#[test]
fn source_and_mount_are_the_same_tree() {
    if !mounts_are_allowed() {
        return;
    }
    let source = odd_directory(seed());
    assert!(files_below(source.path()) > 350);
    let bench = Bench::new(Emulator::serving(source.path()));
    assert_eq!(tool("diff", ["-r", text(source.path()), text(bench.mountpoint.path())]).well(), "");
    assert_eq!(files_below(bench.mountpoint.path()), files_below(source.path()));
    bench.end();
}

#[test]
fn source_and_mount_are_the_same_tree_while_the_service_fails_every_few_calls() {
    if !mounts_are_allowed() {
        return;
    }
    let source = odd_directory(seed());
    let emulator = Emulator::serving(source.path());
    for (kind, every) in [
        (FaultKind::Reset, 19),
        (FaultKind::Truncate, 7),
        (FaultKind::ResetBody, 11),
        (FaultKind::SlowDown, 23),
        (FaultKind::Forbidden, 13),
        (FaultKind::IgnoredRange, 5),
        (FaultKind::WrongRange, 29),
        (FaultKind::ShortRange, 31),
        (FaultKind::Internal, 37),
    ] {
        emulator.fault(Fault::object(kind).every(every));
    }
    for (kind, every) in [
        (FaultKind::Throttle, 5),
        (FaultKind::Internal, 7),
        (FaultKind::Garbage, 11),
        (FaultKind::Html, 13),
        (FaultKind::TruncatedJson, 17),
        (FaultKind::Reset, 19),
    ] {
        emulator.fault(Fault::any_api(kind).every(every).retry_after(None));
    }
    emulator.knobs(|knobs| knobs.page_cap = 7);
    let bench = Bench::new(emulator);
    assert_eq!(tool("diff", ["-r", text(source.path()), text(bench.mountpoint.path())]).well(), "");
    let fired = bench.emulator.counters().faults;
    assert_eq!(fired.len(), 13, "each kind of fault was met: {fired:?}");
    bench.end();
}

#[test]
fn first_name_of_a_large_directory_shows_within_three_round_trips() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = emulator_with(|knobs| knobs.api_latency = Duration::from_millis(20));
    for folder in ["first", "whole"] {
        let id = emulator.tree().add("", Entry::folder(folder));
        emulator.tree().add_many(&id, (0..20_000).map(|number| Entry::file(format!("f{number:05}"), number + 1)));
    }
    let bench = Bench::with(emulator, &["--op-timeout", "20"], &[]);
    // Whatever comes after the third call is never answered: what shows now showed within three.
    bench.emulator.fault(Fault::api("files", FaultKind::Hang).skip(3));
    let said = do_act("first names", &bench.path("first"), &[]);
    assert!(said[0].starts_with(". .. f00000 f00001 "), "{}", said[0]);
    // And this lookup was answered while the listing was loading still.
    assert_eq!(said[1], "1");
    await_that("the fourth call, never answered", || bench.emulator.counters().faults.contains_key("hang"));
    bench.emulator.clear_faults();

    let names = tool("ls", ["-f", text(&bench.path("whole"))]).well();
    let names: BTreeSet<&str> = names.lines().collect();
    assert_eq!(names.len(), 20_002);
    assert!(names.contains("f00000") && names.contains("f19999"));
}

#[test]
fn sixty_four_stalled_reads_delay_nothing_and_end_at_their_deadline() {
    if !mounts_are_allowed() {
        return;
    }
    let deadline = Duration::from_secs(6);
    let bench = stalled_bench(deadline);
    let readers = Watched::start(act("stalled", bench.mountpoint.path(), &["64", "64"]), LIMIT);
    await_that("64 reads at the object store", || bench.emulator.counters().object_current >= 64);
    let start = Instant::now();
    let mount = text(bench.mountpoint.path());
    assert_eq!(tool("ls", ["-l", mount]).well().lines().count(), 65);
    assert_eq!(tool("stat", ["-c", "%s", text(&bench.path("file-63"))]).well(), "10\n");
    assert!(tool("df", ["-P", mount]).well().contains(mount));
    assert_ne!(tool("stat", [text(&bench.path("missing"))]).code, Some(0));
    let took = start.elapsed();
    assert!(took < deadline / 2, "ls, stat and df took {took:?} beside stalled reads");

    ended_at(deadline, &acted(readers), 64);
    bench.end();
}

/// Each of so many stalled reads was answered ETIMEDOUT, at its deadline and not at a second one.
#[track_caller]
fn ended_at(deadline: Duration, said: &[String], count: usize) {
    assert_eq!(said.len(), count);
    for line in said {
        let (errno, took_ms) = line.split_once(' ').unwrap();
        let took = Duration::from_millis(took_ms.parse().unwrap());
        assert_eq!(errno, libc::ETIMEDOUT.to_string(), "{said:?}");
        // Who joins others in their wait ends with them.
        assert!(took > deadline / 2 && took < deadline * 2, "{said:?}");
    }
}

#[test]
fn readers_of_one_stalled_page_all_end_at_its_deadline() {
    if !mounts_are_allowed() {
        return;
    }
    let deadline = Duration::from_secs(4);
    let bench = stalled_bench(deadline);
    // Each has a handle of its own; Linux lets one after the other try the page.
    ended_at(deadline, &do_act("stalled", bench.mountpoint.path(), &["8", "1"]), 8);
    bench.end();
}

#[test]
fn unmount_works_while_reads_are_stalled_and_the_readers_end() {
    if !mounts_are_allowed() {
        return;
    }
    let mut bench = stalled_bench(Duration::from_secs(4));
    let readers = Watched::start(act("stalled", bench.mountpoint.path(), &["64", "64"]), LIMIT);
    await_that("64 reads at the object store", || bench.emulator.counters().object_current >= 64);
    let said = run(koofs(&["unmount", text(bench.mountpoint.path())]));
    assert!(said.code == Some(0) && said.error.contains("was busy: detached"), "{said:?}");
    assert_eq!(bench.mountpoint.types(), [""; 0]);
    assert_eq!(acted(readers).len(), 64);
    assert_eq!(bench.daemon.wait().code(), Some(0));
}

/// A mount of 64 files, listed already, of which none can be read.
fn stalled_bench(deadline: Duration) -> Bench {
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..64).map(|number| Entry::file(format!("file-{number}"), 10)));
    emulator.fault(Fault::object(FaultKind::Stall).after_bytes(0));
    let bench = Bench::with(emulator, &["--op-timeout", &deadline.as_secs().to_string()], &[]);
    tool("ls", ["-l", text(bench.mountpoint.path())]).well();
    bench
}

#[test]
fn killed_daemon_leaves_a_mount_that_the_next_mount_command_replaces() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("hello", "hello\n"));
    let mut bench = Bench::new(emulator);
    let mountpoint = text(bench.mountpoint.path());
    // The kernel has the root's attributes in memory from here on, and would go on to tell them.
    tool("stat", [mountpoint]).well();
    bench.daemon.signal(libc::SIGKILL);
    bench.daemon.wait();
    assert!(tool("ls", [mountpoint]).error.contains("Transport endpoint is not connected"));

    assert_eq!(run(mount_command(&bench.emulator, bench.mountpoint.path(), &[])).well(), "");
    assert_eq!(bench.mountpoint.types(), ["fuse.koofs"]);
    assert_eq!(tool("cat", [text(&bench.path("hello"))]).well(), "hello\n");
    assert_eq!(run(koofs(&["unmount", mountpoint])).well(), "");
    assert_eq!(bench.mountpoint.types(), [""; 0]);
}

#[test]
fn refresh_and_sighup_show_what_has_changed_at_once() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("folder"));
    emulator.tree().add(&folder, Entry::bytes("old", "old\n"));
    let bench = Bench::new(emulator);
    let path = bench.path("folder");
    let names = || tool("ls", [text(&path)]).well();
    let is_there = |name: &str| tool("cat", [text(&path.join(name))]).code == Some(0);
    assert_eq!(names(), "old\n");
    assert!(!is_there("new"), "the kernel knows from here on that there is no such name");

    bench.emulator.tree().add(&folder, Entry::bytes("new", "new\n"));
    assert!(!is_there("new"));
    assert_eq!(run(koofs(&["refresh", text(&path)])).well(), "");
    assert!(is_there("new"));
    assert_eq!(names(), "new\nold\n");

    bench.emulator.tree().remove(&bench.emulator.tree().find_child(&folder, "old").unwrap().id);
    bench.daemon.signal(libc::SIGHUP);
    crate::mounted::await_that("the file to be gone", || names() == "new\n");
    let elsewhere = run(koofs(&["refresh", "/"]));
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.error.contains("not in a KooFS mount"), "{}", elsewhere.error);
    bench.end();
}

#[test]
fn log_lines_of_listings_name_their_path() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let outer = emulator.tree().add("", Entry::folder("two words"));
    let inner = emulator.tree().add(&outer, Entry::folder("inner"));
    emulator.tree().add_many(&inner, (0..150).map(|number| Entry::file(format!("f{number}"), 1)));
    emulator.fault(Fault::api("files", FaultKind::Internal).skip(2).once());
    let bench = Bench::with(emulator, &["-vv"], &[]);
    tool("ls", [text(&bench.path("two words/inner"))]).well();
    let log = bench.log();
    for line in [
        "listed /: 1 entries, complete",
        "listed /two words: 1 entries, complete",
        " could not be listed: ",
        "listed /two words/inner: 100 entries, more to come",
        "listed /two words/inner: 50 entries, complete",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    bench.end();
}

#[test]
fn cookies_survive_seekdir_in_any_order() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = emulator_with(|knobs| knobs.page_cap = 64);
    let folder = emulator.tree().add("", Entry::folder("folder"));
    let entry = |number: u64| match number % 3 {
        0 => Entry::folder(format!("d{number}")),
        _ => Entry::file(format!("f{number}"), number),
    };
    emulator.tree().add_many(&folder, (0..400).map(entry));
    let bench = Bench::new(emulator);
    let said = do_act("cookies", &bench.path("folder"), &[&seed().to_string()]);
    assert_eq!(said, ["402"]);
    bench.end();
}

#[test]
fn hostile_names_are_reachable_and_the_same_on_the_next_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = emulator_with(|knobs| knobs.page_cap = 3);
    let long = format!("{}.txt", "字".repeat(100));
    let names = [
        "a/b",
        "/",
        "nul\0l",
        "",
        ".",
        "..",
        "_",
        &long,
        &"x".repeat(256),
        "twin.txt",
        "twin.txt",
        "twin.txt",
        "line\nbreak",
        "\u{202e}gnp.exe",
        "e\u{301}",
        "é",
        "same",
        "-",
        "*",
        "a\\b",
        " ",
        "\u{1b}[31m",
        "con",
        "ends.",
    ];
    // A different size for each: the size says which entry it is.
    let ids: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(number, name)| emulator.tree().add("", Entry::file(*name, number as u64 + 1)))
        .collect();
    let folder = emulator.tree().add("", Entry::folder("same"));
    emulator.tree().add(&folder, Entry::file("below", 1));

    let bench = Bench::new(emulator);
    let first = do_act("names", bench.mountpoint.path(), &[]);
    assert_eq!(first.len(), names.len() + 1, "each entry has a name of its own");
    let mut shown = std::collections::BTreeMap::new();
    for line in &first {
        let [name, _ino, size, content] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let name = String::from_utf8(unhex(name)).unwrap();
        assert!(!name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']), "{name:?}");
        if size == "d" {
            assert_eq!(content, "1");
            continue;
        }
        let number = size.parse::<usize>().unwrap() - 1;
        let want = bench.emulator.tree().expected(&ids[number], 0, number + 1);
        assert_eq!(unhex(content), want, "the content of {name:?}");
        shown.insert(number, name);
    }
    let by_name = |name: &str| names.iter().position(|other| *other == name).unwrap();
    for (remote, local) in [
        ("a/b", "a\u{ff0f}b"),
        ("/", "\u{ff0f}"),
        ("nul\0l", "nul\u{2400}l"),
        (".", "_."),
        ("..", "_.."),
        ("line\nbreak", "line\nbreak"),
        ("\u{202e}gnp.exe", "\u{202e}gnp.exe"),
        ("e\u{301}", "e\u{301}"),
        ("é", "é"),
        ("\u{1b}[31m", "\u{1b}[31m"),
        (" ", " "),
        ("ends.", "ends."),
    ] {
        assert_eq!(shown[&by_name(remote)], local);
    }
    // The empty name and "_" want the same: one has it, the other has its own digits.
    let blanks: BTreeSet<&str> = ["", "_"].map(|name| shown[&by_name(name)].as_str()).into();
    assert!(blanks.contains("_") && blanks.iter().any(|name| name.starts_with("_~") && name.len() == 10), "{blanks:?}");
    let cut = &shown[&by_name(&long)];
    assert!(cut.starts_with("字字") && cut.ends_with(".txt") && cut.contains('~'), "{cut}");
    let twins: Vec<&String> = (9..12).map(|number| &shown[&number]).collect();
    assert_eq!(twins.iter().filter(|name| **name == "twin.txt").count(), 1, "{twins:?}");
    assert_eq!(twins.iter().filter(|name| name.starts_with("twin~") && name.ends_with(".txt")).count(), 2, "{twins:?}");

    let again = Mountpoint::new();
    assert_eq!(run(mount_command(&bench.emulator, again.path(), &[])).well(), "");
    assert_eq!(do_act("names", again.path(), &[]), first, "names and inode numbers of the next mount");
    run(koofs(&["unmount", text(again.path())])).well();
    bench.end();
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn attributes_and_mount_options_are_as_promised() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let at = |text: &str| text.parse().unwrap();
    emulator.tree().add("", Entry::file("file", 1025).edited(at("2025-05-01T08:00:00.123Z")));
    emulator.tree().add("", Entry::file("huge", (1 << 42) + 7).edited(at("1999-12-31T23:59:59.999Z")));
    emulator.tree().add("", Entry::folder("folder").edited(at("2031-01-02T03:04:05Z")));
    let bench = Bench::new(emulator);
    // SAFETY: these calls cannot fail and touch no memory.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    for (name, want) in [
        ("file", format!("regular file 644 {uid} {gid} 1025 3 1 131072 2025-05-01 08:00:00.123000000 +0000\n")),
        (
            "huge",
            format!(
                "regular file 644 {uid} {gid} 4398046511111 8589934593 1 131072 1999-12-31 23:59:59.999000000 +0000\n"
            ),
        ),
        ("folder", format!("directory 755 {uid} {gid} 0 0 1 131072 2031-01-02 03:04:05.000000000 +0000\n")),
    ] {
        let said = tool("stat", ["-c", "%F %a %u %g %s %b %h %o %y", text(&bench.path(name))]).well();
        assert_eq!(said, want);
    }
    assert_eq!(tool("stat", ["-c", "%i %a", text(bench.mountpoint.path())]).well(), "1 755\n");

    // 1 TiB, all of it in use; names of 255 bytes.
    let said = tool("stat", ["-f", "-c", "%l %S %b %f %a", text(bench.mountpoint.path())]).well();
    assert_eq!(said, format!("255 4096 {} 0 0\n", (1_u64 << 40) / 4096));

    let mount = bench.mountpoint.mounts().remove(0);
    assert_eq!(mount.fstype, "fuse.koofs");
    assert!(mount.source.starts_with("koofs:share-"), "{}", mount.source);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.starts_with(&format!("{} ", mount.mount_id))).unwrap();
    for option in ["ro", "nosuid", "nodev", "noatime"] {
        assert!(line.split(' ').nth(5).unwrap().split(',').any(|word| word == option), "{option}: {line}");
    }

    let not_supported = libc::EOPNOTSUPP.to_string();
    assert_eq!(do_act("attributes without meaning", &bench.path("file"), &[]), vec![not_supported; 3]);
    bench.end();
}

#[test]
fn names_that_cannot_be_are_absent_or_too_long() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("file", 1));
    let bench = Bench::new(emulator);
    for (name, want) in [
        ("missing".to_owned(), "No such file or directory"),
        ("x".repeat(255), "No such file or directory"),
        ("x".repeat(256), "File name too long"),
        ("file/below".to_owned(), "Not a directory"),
    ] {
        let said = tool("stat", [text(&bench.path(&name))]);
        assert!(said.code == Some(1) && said.error.contains(want), "{said:?}");
    }
    // A name that is no text, and an absent one asked for again: nobody but the kernel is asked.
    use std::os::unix::ffi::OsStrExt;
    let path = bench.mountpoint.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    assert!(tool("stat", [path]).error.contains("No such file or directory"));
    let calls = bench.emulator.counters().api_calls();
    tool("stat", [text(&bench.path("missing"))]);
    assert_eq!(bench.emulator.counters().api_calls(), calls);
    bench.end();
}

#[test]
fn second_walk_within_the_ttl_takes_no_request() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    for folder in 0..10 {
        let id = emulator.tree().add("", Entry::folder(format!("d{folder}")));
        emulator.tree().add_many(&id, (0..150).map(|number| Entry::file(format!("f{number}"), number)));
    }
    let bench = Bench::new(emulator);
    let walk = || tool("find", [text(bench.mountpoint.path()), "-printf", "%P %i %s %T@\n"]).well();
    let first = walk();
    let calls = bench.emulator.counters().api_calls();
    assert_eq!(walk(), first);
    assert_eq!(first.lines().count(), 1 + 10 + 1500);
    assert_eq!(bench.emulator.counters().api_calls(), calls);
    assert_eq!(bench.emulator.counters().calls_of("object"), 0, "walking reads nothing");
    bench.end();
}

#[test]
fn changed_file_is_new_to_the_next_open_and_stale_to_the_old_handle() {
    if !mounts_are_allowed() {
        return;
    }
    for how in [Replacement::SameObject, Replacement::NewObject, Replacement::NewId] {
        let emulator = Emulator::synthetic();
        let size = 64 << 20;
        let id = emulator.tree().add("", Entry::file("file", size));
        let bench = Bench::with(emulator, &["--ttl", "1", "--op-timeout", "10"], &[]);
        let signals = bench.mountpoint.beside("reader");
        let far = (size - 16).to_string();
        let reader = Watched::start(act("hold", &bench.path("file"), &[&far, text(&signals)]), LIMIT);
        await_that("the reader", || signals.with_extension("opened").exists());
        let id = bench.emulator.tree().replace(&id, Content::Pattern(size), how);
        fs::write(signals.with_extension("go"), "").unwrap();
        let said = acted(reader);
        assert_ne!(said[0], said[1], "{how:?}: inode numbers");
        assert_eq!(unhex(&said[2]), bench.emulator.tree().expected(&id, 0, 16), "{how:?}: new bytes");
        assert_eq!(said[3], libc::ESTALE.to_string(), "{how:?}: the old handle");
        bench.end();
    }
}

#[test]
fn no_secret_appears_in_the_most_verbose_log_or_the_process_list() {
    if !mounts_are_allowed() {
        return;
    }
    const CODE: &str = "q7Zx-s3cr3t";
    let emulator = emulator_with(|knobs| {
        knobs.access_code = Some(CODE.to_owned());
        knobs.link_lifetime = Duration::from_secs(2);
    });
    let id = emulator.tree().add("", Entry::file("file", 5 << 20));
    let seed = seed_of(&emulator, &id);
    emulator.tree().add_many("", (0..120).map(|number| Entry::file(format!("f{number}"), 10)));
    let bench = Bench::with(emulator, &["-vvv", "--ttl", "1"], &[("KOOFS_ACCESS_CODE", CODE)]);
    let mut tokens = bench.emulator.tokens();
    assert!(!tokens.is_empty());
    do_act("stream", &bench.path("file"), &[&seed]);
    // Everything that may be said is said: refused links and tokens, broken answers, failed reads.
    bench.emulator.revoke_tokens();
    bench.emulator.revoke_links();
    for kind in [FaultKind::Forbidden, FaultKind::SlowDown, FaultKind::Reset, FaultKind::WrongRange] {
        bench.emulator.fault(Fault::object(kind).every(3));
    }
    for kind in [FaultKind::Garbage, FaultKind::Internal, FaultKind::Unauthorized] {
        bench.emulator.fault(Fault::any_api(kind).every(4));
    }
    let cat = |pattern: &str| tool("sh", ["-c", "cat -- \"$0\"/f* | wc -c", pattern]);
    cat(text(bench.mountpoint.path()));
    tokens.extend(bench.emulator.tokens());

    let pid = bench.daemon.pid();
    let line = String::from_utf8(fs::read(format!("/proc/{pid}/cmdline")).unwrap()).unwrap();
    let log = bench.log();
    assert!(log.contains("failed: ") && log.contains("link refused"), "the log says what happened: {log}");
    let places = [("log", log), ("command line", line), ("environment", environment_of(pid).unwrap_or_default())];
    for (place, text) in &places {
        for secret in tokens.iter().map(String::as_str).chain([CODE, "Signature", "X-Amz-", "AccessKeyId="]) {
            assert!(!text.contains(secret), "{secret} in the {place}: {text}");
        }
    }
    let mode = fs::metadata(bench.mountpoint.beside("log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the log is the user's own");
    bench.end();
}

/// What `koofs mount` in the background says when it is refused: its one line.
#[track_caller]
fn refused(said: Said) -> String {
    assert!(matches!(said.code, Some(1 | 3)) && said.out.is_empty(), "{said:?}");
    assert!(said.error.starts_with("koofs: ") && said.error.matches('\n').count() == 1, "{said:?}");
    said.error
}

#[test]
fn refused_mount_says_what_to_do_in_one_line() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::start(EmulatorConfig::default());
    let mountpoint = Mountpoint::new();
    let file = mountpoint.beside("code");
    fs::write(&file, "wrong-code\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let try_with = |options: &[&str]| refused(run(mount_command(&emulator, mountpoint.path(), options)));
    let code_file = ["--access-code-file", text(&file)];

    let try_at = |endpoint: &str| {
        let mut command = koofs(&["mount", "--endpoint", endpoint, "--agent", AGENT, "--op-timeout", "3", "share:1"]);
        command.arg(mountpoint.path());
        refused(run(command))
    };
    let line = try_at("http://127.0.0.1:9");
    assert!(line.contains("cannot reach http://127.0.0.1:9") && line.contains("check --endpoint"), "{line}");
    let line = try_at(&format!("http://{}", emulator.object_host()));
    assert!(line.contains("check --endpoint"), "{line}");

    let mut command = koofs(&["mount", "--endpoint", &emulator.url(), "share:1"]);
    command.arg(mountpoint.path());
    let said = run(command);
    assert!(
        said.code == Some(2) && said.error.contains("--agent") && said.error.matches('\n').count() == 1,
        "{said:?}"
    );
    emulator.knobs(|knobs| knobs.agent = Some("another".to_owned()));
    assert!(try_with(&[]).contains(&format!("check --agent ({AGENT:?})")));
    emulator.knobs(|knobs| knobs.agent = None);

    emulator.knobs(|knobs| knobs.access_code = Some("the-right-one".to_owned()));
    assert!(try_with(&[]).contains("give it with --access-code-file"));
    let line = try_with(&code_file);
    assert!(line.contains("does not accept the access code") && line.contains("check --access-code-file"), "{line}");
    assert!(!line.contains("wrong-code"), "{line}");
    emulator.knobs(|knobs| knobs.access_code = None);

    emulator.knobs(|knobs| knobs.expire_time = "2025-03-01T10:00:00Z".to_owned());
    assert!(try_with(&[]).contains("expired on 2025-03-01T10:00:00Z: ask the owner"));
    emulator.knobs(|knobs| knobs.expire_time = "+1000".to_owned());
    emulator.knobs(|knobs| knobs.share_status = 1);
    assert!(try_with(&[]).contains("have been deleted: ask the owner"));
    emulator.knobs(|knobs| knobs.share_status = 0);

    let missing = mountpoint.beside("none");
    let line = refused(run(mount_command(&emulator, &missing, &[])));
    assert!(line.contains("does not exist") && line.contains("mkdir -p"), "{line}");
    assert!(refused(run(mount_command(&emulator, &file, &[]))).contains("is not a directory"));
    assert!(try_with(&["--root", "nowhere"]).contains("koofs ls"));
    assert_eq!(mountpoint.types(), [""; 0], "nothing was mounted");

    run(mount_command(&emulator, mountpoint.path(), &[])).well();
    let line = try_with(&[]);
    assert!(line.contains("mounted already") && line.contains("koofs unmount"), "{line}");
    assert_eq!(mountpoint.types(), ["fuse.koofs"]);
    run(koofs(&["unmount", text(mountpoint.path())])).well();
}

#[test]
fn root_option_shows_a_folder_as_the_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let outer = emulator.tree().add("", Entry::folder("Reports"));
    let inner = emulator.tree().add(&outer, Entry::folder("20/25"));
    emulator.tree().add(&inner, Entry::bytes("a", "text"));
    let bench = Bench::with(emulator, &["--root", "Reports/20\u{ff0f}25"], &[]);
    assert_eq!(tool("ls", ["-a", text(bench.mountpoint.path())]).well(), ".\n..\na\n");
    assert_eq!(tool("cat", [text(&bench.path("a"))]).well(), "text");
    bench.end();
}

#[test]
fn idle_mount_has_only_the_threads_that_receive_and_wait() {
    if !mounts_are_allowed() {
        return;
    }
    // 17 of fuser, 3 of the HTTP clients, a worker each for listings and content, 5 that wait for signals, deadlines, changes, the
    // parent and the end; and a few to spare.
    const MAX_IDLE_THREADS: usize = 32;
    let emulator = emulator_with(|knobs| knobs.object_latency = Duration::from_millis(200));
    emulator.tree().add_many("", (0..64).map(|number| Entry::file(format!("file-{number}"), 10)));
    let bench = Bench::new(emulator);
    let threads = || fs::read_dir(format!("/proc/{}/task", bench.daemon.pid())).unwrap().count();
    tool("ls", [text(bench.mountpoint.path())]).well();
    // Those that have listed, or looked on the disk, end when there has been no work for a while.
    await_that("an idle mount's threads", || threads() <= MAX_IDLE_THREADS);
    let readers: Vec<_> = (0..64)
        .map(|number| {
            let mut command = Command::new("cat");
            command.arg(bench.path(&format!("file-{number}"))).stdout(Stdio::null());
            Watched::start(command, LIMIT)
        })
        .collect();
    await_that("more threads for the readers", || threads() > MAX_IDLE_THREADS);
    for mut reader in readers {
        assert_eq!(reader.wait().code(), Some(0));
    }
    await_that("their end", || threads() <= MAX_IDLE_THREADS);
    bench.end();
}
