//! Laws of `koofs status`: it says what a mount has done and does, asks nobody for it, and shows it to nobody else.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{AGENT, Bench, LIMIT, Said, act, acted, do_act, run, seed_of, tool};
use crate::mounted::{Watched, await_that, koofs, mounts_are_allowed};

fn text(bench: &Bench) -> &str {
    bench.mountpoint.path().to_str().unwrap()
}

fn status(arguments: &[&str]) -> Said {
    run(koofs(&[&["status"], arguments].concat()))
}

/// What the mount says of itself.
fn asked(bench: &Bench) -> Value {
    serde_json::from_str(&status(&["--json", text(bench)]).well()).unwrap()
}

/// The figure at `path`, with dots; 0 if it is left out.
fn figure(value: &Value, path: &str) -> u64 {
    let found = path.split('.').try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_u64).unwrap_or(0)
}

/// A share with one file of ten bytes, mounted.
fn bench_of_one(options: &[&str]) -> Bench {
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("file", 10));
    Bench::with(emulator, options, &[])
}

#[test]
fn status_tells_what_was_asked_for_and_asks_nobody() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("file", 3 << 20));
    let seed = seed_of(&emulator, &id);
    // More than the first page, which is had when a share is opened.
    emulator.tree().add_many("", (0..500).map(|number| Entry::file(format!("file-{number}"), 10)));
    let bench = Bench::with(emulator, &[], &[]);
    // The rest was not listed yet, and the question lists nothing.
    bench.emulator.reset_counters();
    // Asked so often that what the first question had set going would be done by the last.
    let before = (0..20).map(|_| asked(&bench)).last().unwrap();
    assert_eq!(bench.emulator.counters().calls, Default::default(), "the question is no request");
    assert_eq!(figure(&before, "requests.content.count"), 0);
    assert_eq!(before["state"], "alive");
    assert_eq!(before["mountpoint"], text(&bench));
    assert_eq!(figure(&before, "pid"), u64::try_from(bench.daemon.pid()).unwrap());

    for _ in 0..2 {
        do_act("read, drop pages, read", &bench.path("file"), &[&seed]);
    }
    bench.emulator.reset_counters();
    let after = asked(&bench);
    assert_eq!(bench.emulator.counters().calls, Default::default());
    assert_eq!(figure(&after, "requests.content.bytes"), 3 << 20, "every byte once: {after:#}");
    assert!(figure(&after, "requests.listing.count") >= 1);
    assert!(figure(&after, "requests.content.p99_us") >= figure(&after, "requests.content.p50_us"));
    assert!(figure(&after, "requests.content.p50_us") > 0);
    assert_eq!(figure(&after, "requests.content.running"), 0);
    assert!(figure(&after, "reads.from_memory") > 0, "{after:#}");
    assert!(figure(&after, "memory.used_bytes") <= figure(&after, "memory.budget_bytes"));
    assert!(figure(&after, "memory.peak_bytes") >= 3 << 20);
    await_that("the file to be kept", || figure(&asked(&bench), "cache.written_bytes") >= 3 << 20);
    assert!(figure(&asked(&bench), "cache.used_bytes") >= 3 << 20);

    // The same for people, and no word of it is a secret.
    let shown = status(&[text(&bench)]).well();
    for want in ["koofs:share-", "memory ", "reads ", "content ", "REQUESTS"] {
        assert!(shown.contains(want), "no {want} in\n{shown}");
    }
    assert!(!format!("{shown}{after}").contains(bench.emulator.share_code()));
    bench.end();
}

#[test]
fn status_answers_while_the_network_does_not_and_tells_what_is_being_fetched() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = bench_of_one(&["--op-timeout", "20"]);
    tool("ls", ["-l", text(&bench)]).well();
    bench.emulator.fault(Fault::object(FaultKind::Hang));
    bench.emulator.fault(Fault::any_api(FaultKind::Hang));
    let mut reader = Watched::start(act("read", &bench.path("file"), &[]), LIMIT);
    await_that("the fetch to be told", || figure(&asked(&bench), "requests.content.running") == 1);
    let told = asked(&bench);
    let fetching = told["fetching"].as_array().unwrap();
    assert_eq!(fetching.len(), 1, "{told:#}");
    assert!(fetching[0]["path"].as_str().unwrap().ends_with("file"), "{told:#}");
    assert_eq!((figure(&fetching[0], "offset"), figure(&fetching[0], "length")), (0, 10));
    assert!(status(&[text(&bench)]).well().contains("fetching"));
    bench.emulator.clear_faults();
    reader.kill();
}

#[test]
fn status_names_the_processes_that_have_read_most() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("large", 2 << 20));
    emulator.tree().add("", Entry::file("small", 10));
    let bench = Bench::with(emulator, &[], &[]);
    // Each opens one file, and reads it through.
    tool("sum", [bench.path("large").to_str().unwrap()]).well();
    tool("cat", [bench.path("small").to_str().unwrap()]).well();
    tool("ls", [text(&bench)]).well();
    let told = asked(&bench);
    let user = |name: &str| {
        let users = told["users"].as_array().unwrap();
        let place = users.iter().position(|user| user["name"] == name);
        place.map(|place| (place, users[place].clone())).unwrap_or_else(|| panic!("no {name}: {told:#}"))
    };
    let ((first, sum), (_, cat), (_, ls)) = (user("sum"), user("cat"), user("ls"));
    assert_eq!((first, figure(&sum, "files"), figure(&sum, "bytes")), (0, 1, 2 << 20), "{told:#}");
    assert!(figure(&sum, "waited") >= 1 && figure(&sum, "pid") > 0, "{told:#}");
    assert_eq!((figure(&cat, "files"), figure(&cat, "bytes")), (1, 10), "{told:#}");
    assert_eq!((figure(&ls, "files"), figure(&ls, "directories")), (0, 1), "{told:#}");
    let shown = status(&[text(&bench)]).well();
    assert!(shown.contains("PROCESS") && shown.contains("\nsum "), "{shown}");
    bench.end();
}

#[test]
fn status_counts_throttles_retries_and_errors_by_kind() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = bench_of_one(&["--op-timeout", "4"]);
    tool("ls", ["-l", text(&bench)]).well();
    bench.emulator.fault(Fault::object(FaultKind::SlowDown).limit(1).retry_after(Some(Duration::ZERO)));
    bench.emulator.fault(Fault::object(FaultKind::Forbidden).skip(1).limit(1));
    assert_eq!(acted(Watched::start(act("read", &bench.path("file"), &[]), LIMIT)), ["10"]);
    let told = asked(&bench);
    assert_eq!(figure(&told, "throttles"), 1, "{told:#}");
    assert_eq!(figure(&told, "requests.content.errors.throttled"), 1, "{told:#}");
    assert_eq!(figure(&told, "requests.content.errors.denied"), 1, "{told:#}");
    assert_eq!(figure(&told, "links.renewed"), 1, "{told:#}");
    assert!(figure(&told, "retries.content") >= 1, "{told:#}");
    assert_eq!(told.get("errors"), None, "no program has seen one");
    bench.emulator.clear_faults();
    bench.end();
}

#[test]
fn status_lists_mounts_and_says_which_are_dead() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = bench_of_one(&[]);
    let line_of = |said: Said| {
        let out = said.well();
        out.lines().find(|line| line.contains(text(&bench))).map(str::to_owned)
    };
    let line = line_of(status(&[])).unwrap();
    assert!(line.contains("koofs:share-") && line.contains("alive"), "{line}");
    let json: Value = serde_json::from_str(&line_of(status(&["--json"])).unwrap()).unwrap();
    assert_eq!((&json["state"], &json["mountpoint"]), (&Value::from("alive"), &Value::from(text(&bench))));
    bench.daemon.signal(libc::SIGKILL);
    await_that("its end", || line_of(status(&[])).is_some_and(|line| line.contains("dead")));
    let json: Value = serde_json::from_str(&line_of(status(&["--json"])).unwrap()).unwrap();
    assert_eq!(json["state"], "dead");
    let said = status(&[text(&bench)]);
    assert!(said.code == Some(1) && said.error.contains("is gone"), "{said:?}");
    tool("umount", [text(&bench)]).well();
    for path in [text(&bench), "/proc", "/nowhere"] {
        let said = status(&[path]);
        assert!(said.code == Some(1) && said.error.contains("is not in a KooFS mount"), "{said:?}");
    }
}

#[test]
fn status_is_said_again_until_nobody_reads_it() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = bench_of_one(&[]);
    let mut watch = Command::new("sh");
    watch.args(["-c", r#""$KOOFS" status --json --watch "$MNT" | head -n 3"#]).stdin(Stdio::null());
    watch.env("KOOFS", env!("CARGO_BIN_EXE_koofs")).env("MNT", text(&bench));
    let out = run(watch).well();
    assert_eq!(out.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 3, "{out}");
    bench.end();
}

#[test]
fn listing_of_names_is_counted_as_such_and_so_is_a_login() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.own().tree.add("", Entry::bytes("hello", "hello\n"));
    let mountpoint = crate::mounted::Mountpoint::new();
    let knobs = crate::emulator::Knobs::default();
    let mut mount = koofs(&["mount", "--endpoint", &emulator.url(), "--agent", AGENT, "space:"]);
    mount.arg(mountpoint.path()).args(["--account", &knobs.account]).env("KOOFS_PASSWORD", &knobs.password);
    run(mount).well();
    let path = mountpoint.path().to_str().unwrap();
    assert_eq!(tool("cat", [&format!("{path}/hello")]).well(), "hello\n");
    let told: Value = serde_json::from_str(&status(&["--json", path]).well()).unwrap();
    assert_eq!(told["source"], "space:");
    for purpose in ["listing", "links", "login", "other", "content"] {
        assert!(figure(&told, &format!("requests.{purpose}.count")) >= 1, "{purpose}: {told:#}");
    }
    assert!(!told.to_string().contains(&knobs.password));
    run(koofs(&["unmount", path])).well();
}
