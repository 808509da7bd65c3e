//! Laws of `--retry-mount`: a mount that is asked for before the network is there waits for it, for as long as was said, and is not
//! waited for if the service refuses.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry};
use crate::gate::{Behind, Gate};
use crate::mount_bench::{AGENT, LIMIT, run, tool};
use crate::mounted::{Mountpoint, Watched, await_that, koofs, mounts_are_allowed};

/// Far less than the time that is said where nothing is to be waited for.
const SOON: Duration = Duration::from_secs(60);

/// A share with one file, behind a door.
struct Late {
    mountpoint: Mountpoint,
    gate: Gate,
    emulator: Emulator,
}

impl Late {
    fn new() -> Late {
        let emulator = Emulator::synthetic();
        emulator.tree().add("", Entry::bytes("file", "text"));
        let gate = Gate::to(&emulator.url());
        Late { mountpoint: Mountpoint::new(), gate, emulator }
    }

    /// `koofs mount`, into the background.
    fn command(&self, options: &[&str]) -> std::process::Command {
        let source = format!("share:{}", self.emulator.share_code());
        let mut command = koofs(&["mount", "--endpoint", &self.gate.url(), "--agent", AGENT, "--op-timeout", "1"]);
        command.arg(source).arg(self.mountpoint.path()).args(options);
        command.arg("--log-file").arg(self.mountpoint.beside("log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.mountpoint.beside("log")).unwrap_or_default()
    }

    fn unmount(&self) {
        run(koofs(&["unmount", self.mountpoint.path().to_str().unwrap()])).well();
    }
}

#[test]
fn mount_before_the_network_is_there_waits_for_it_and_says_so_once() {
    if !mounts_are_allowed() {
        return;
    }
    for before in [None, Some(Behind::Silence), Some(Behind::LoginPage)] {
        let late = Late::new();
        match before {
            None => late.gate.shut(),
            Some(behind) => late.gate.open(behind),
        }
        let starting = Watched::start(late.command(&["--retry-mount", "2m"]), LIMIT);
        await_that("the first try to fail", || late.log().contains("--retry-mount"));
        assert_eq!(late.mountpoint.types(), [""; 0], "{before:?}: nothing is mounted that is not open");
        late.gate.open(Behind::Server);
        let (status, _, error) = starting.output();
        assert!(status.success(), "{before:?}: {status} {error}\n{}", late.log());
        assert_eq!(tool("cat", [late.mountpoint.path().join("file")]).well(), "text");
        for text in [&error, &late.log()] {
            assert_eq!(text.matches("--retry-mount").count(), 1, "{before:?}: {text}");
        }
        late.unmount();
    }
}

#[test]
fn mount_whose_network_does_not_come_is_given_up_after_the_time_that_was_said() {
    if !mounts_are_allowed() {
        return;
    }
    let late = Late::new();
    late.gate.shut();
    let began = Instant::now();
    let said = run(late.command(&["--retry-mount", "4"]));
    let took = began.elapsed();
    assert!(said.code == Some(1) && said.error.contains("cannot reach"), "{said:?}");
    assert_eq!(said.error.matches("--retry-mount").count(), 1, "{said:?}");
    // The last try ends when another has no time any more.
    assert!(took >= Duration::from_secs(3) && took < SOON, "{took:?}");
    // In the foreground, and not at all if nobody asked for it.
    let said = run(late.command(&["-f", "--retry-mount", "1"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    let said = run(late.command(&[]));
    assert!(said.code == Some(1) && !said.error.contains("--retry-mount"), "{said:?}");
    assert_eq!(late.mountpoint.types(), [""; 0]);
}

#[test]
fn refusal_is_not_waited_out() {
    if !mounts_are_allowed() {
        return;
    }
    let late = Late::new();
    let code = late.mountpoint.beside("code");
    std::fs::write(&code, "wrong").unwrap();
    std::fs::set_permissions(&code, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    late.emulator.knobs(|knobs| {
        knobs.access_code = Some("right-one".to_owned());
        knobs.wrong_code_limit = u32::MAX;
    });
    let began = Instant::now();
    let said = run(late.command(&["--retry-mount", "10m", "--access-code-file", code.to_str().unwrap()]));
    assert!(said.code == Some(3) && !said.error.contains("--retry-mount"), "{said:?}");
    assert_eq!(late.emulator.counters().calls_of("verify"), 1, "the code was sent once");
    late.emulator.knobs(|knobs| knobs.share_status = 1);
    let said = run(late.command(&["--retry-mount", "10m"]));
    assert!(said.code == Some(1) && !said.error.contains("--retry-mount"), "{said:?}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn source_that_is_known_is_mounted_without_waiting_for_its_network() {
    if !mounts_are_allowed() {
        return;
    }
    let late = Late::new();
    let cached = |options: &[&str]| {
        let mut command = late.command(options);
        command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", late.mountpoint.beside("cache"));
        run(command)
    };
    cached(&[]).well();
    assert_eq!(tool("cat", [late.mountpoint.path().join("file")]).well(), "text");
    // What the opening told is kept by a thread of its own, some moments after the mount.
    await_that("what the opening told to be kept", || {
        late.unmount();
        late.gate.shut();
        let began = Instant::now();
        let said = cached(&["--retry-mount", "5"]);
        late.gate.open(Behind::Server);
        if said.code == Some(0) {
            assert!(said.error.contains("offline") && !said.error.contains("--retry-mount"), "{said:?}");
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            return true;
        }
        cached(&[]).well();
        false
    });
    late.unmount();
}
