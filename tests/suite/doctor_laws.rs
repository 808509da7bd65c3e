//! Laws of `koofs doctor`: what it says is what the service does, in few requests, and nothing of it names the source.

use std::time::Duration;

use crate::emulator::knobs::NameFilter;
use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{AGENT, Said, run};
use crate::mounted::koofs;

/// A share with a long top level, and a folder on its first page with two files.
fn share() -> Emulator {
    let emulator = Emulator::synthetic();
    let tree = emulator.tree();
    let folder = tree.add("", Entry::folder("0-secret-folder"));
    tree.add_many(&folder, ["secret-file", "secret-other"].map(|name| Entry::file(name, 5_000_000)));
    tree.add_many("", (0..150).map(|number| Entry::file(format!("secret-{number}"), 10)));
    emulator
}

fn examine(emulator: &Emulator) -> Said {
    let source = format!("share:{}", emulator.share_code());
    run(koofs(&["doctor", "--endpoint", &emulator.url(), "--agent", AGENT, &source]))
}

/// The line of `step`.
fn line<'a>(said: &'a Said, step: &str) -> &'a str {
    said.out.lines().find(|line| line.chars().skip(2).collect::<String>().starts_with(step)).unwrap_or_else(|| {
        panic!("no line of {step}:\n{}{}", said.out, said.error);
    })
}

#[test]
fn service_that_does_all_is_found_to_do_all_in_few_requests() {
    let emulator = share();
    let said = examine(&emulator);
    assert_eq!((said.code, said.error.as_str()), (Some(0), ""), "{}", said.out);
    for step in ["opening", "a page", "cursors", "fileName", "links", "ranges", "ETag", "If-Match"] {
        assert!(line(&said, step).starts_with('✓'), "{}", said.out);
    }
    for secret in ["secret", emulator.share_code(), "Signature", "http"] {
        assert!(!said.out.contains(secret), "{secret}: {}", said.out);
    }
    let counters = emulator.counters();
    let requests: u64 = counters.calls.values().flat_map(|by_status| by_status.values()).sum();
    assert!(requests <= 20, "{requests}");
}

#[test]
fn what_a_service_lacks_is_named_and_the_mount_goes_without() {
    for filter in [NameFilter::Ignored, NameFilter::Refused] {
        let emulator = share();
        emulator.knobs(|knobs| knobs.name_filter = filter);
        let said = examine(&emulator);
        assert!(line(&said, "fileName").starts_with('!') && said.code == Some(0), "{}", said.out);
    }
    let emulator = share();
    emulator.knobs(|knobs| knobs.link_lifetime = Duration::from_secs(20));
    let said = examine(&emulator);
    assert!(line(&said, "links").starts_with("! links") && said.code == Some(0), "{}", said.out);
}

#[test]
fn what_does_not_work_is_named_with_exit_code_1() {
    for (fault, step, want) in [
        (Fault::object(FaultKind::IgnoredRange), "ranges", "ignored"),
        (Fault::object(FaultKind::Forbidden), "ranges", "HTTP 403"),
        (Fault::object(FaultKind::Reset), "ranges", "cannot be read"),
    ] {
        let emulator = share();
        emulator.fault(fault);
        let said = examine(&emulator);
        assert_eq!(said.code, Some(1), "{}{}", said.out, said.error);
        assert!(line(&said, step).starts_with('✗') && line(&said, step).contains(want), "{}", said.out);
        assert!(said.error.starts_with("koofs: one step does not work"), "{}", said.error);
    }
}

#[test]
fn source_that_does_not_open_is_told_as_by_a_mount() {
    let emulator = share();
    let said = run(koofs(&["doctor", "--endpoint", &emulator.url(), "--agent", AGENT, "share:4711"]));
    assert!(said.code == Some(1) && said.error.contains("share") && said.out.is_empty(), "{}{}", said.out, said.error);
    let said = run(koofs(&["doctor", "--endpoint", &emulator.url(), "--agent", AGENT, "share:4711/below"]));
    assert_eq!(said.code, Some(2), "{}", said.error);
}
