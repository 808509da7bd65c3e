//! A soak of some seconds (see `tests/soak`): that it works, and that it finds nothing.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::mounted::{mounts_are_allowed, this_binary};
use crate::soak::{ACT, Settings, child, run};

/// Not a law: what the children of the soak run. Does nothing in the suite itself.
#[test]
fn child_of_the_soak_checks_a_mount() {
    if let Ok(act) = std::env::var(ACT) {
        child(&act);
    }
}

#[test]
fn soak_of_some_seconds_finds_nothing() {
    if !mounts_are_allowed() {
        return;
    }
    static STOP: AtomicBool = AtomicBool::new(false);
    let child = |act: &str| -> Command { this_binary("soak_laws::child_of_the_soak_checks_a_mount", &[(ACT, act)]) };
    // One that has faults, changes and expiries; scripts/soak tries others.
    let seed = std::env::var("KOOFS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let settings = Settings {
        duration: Duration::from_secs(12),
        seed,
        is_smoke: true,
        child,
        stop: &STOP,
        verbose: 1,
        keep: Some(std::env::temp_dir()),
    };
    match run(&settings) {
        Ok(summary) => println!("{summary}"),
        Err(finding) => panic!("{finding}"),
    }
}
