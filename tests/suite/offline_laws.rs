//! Laws of a mount whose service cannot be reached, seen through real mounts: what is remembered is shown, the rest fails at once,
//! and the service is found again without a remount. Only a failure to reach it counts.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::emulator::{Emulator, Entry, Knobs};
use crate::gate::{Behind, Gate};
use crate::mount_bench::{AGENT, LIMIT, Said, run, tool};
use crate::mounted::{Mountpoint, Watched, await_that, koofs};

/// What nobody takes who does not try the network: told from an operation's time limit, which is 30 s in these laws.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A mounted share, behind a door. Dropped in this order.
struct Away {
    daemon: Option<Watched>,
    mountpoint: Mountpoint,
    gate: Gate,
    emulator: Emulator,
}

impl Away {
    /// Three folders with ten small files each, not mounted yet.
    fn new() -> Away {
        let emulator = Emulator::synthetic();
        for folder in 0..3 {
            let folder = emulator.tree().add("", Entry::folder(format!("d{folder}")));
            let files = (0..10).map(|file| Entry::bytes(format!("f{file}"), format!("needle {file}\n").repeat(50)));
            emulator.tree().add_many(&folder, files);
        }
        let d2 = emulator.tree().find("d2").unwrap().id.clone();
        emulator.tree().add(&d2, Entry::file("long", 3 << 20));
        let gate = Gate::to(&emulator.url());
        Away { daemon: None, mountpoint: Mountpoint::new(), gate, emulator }
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        let source = format!("share:{}", self.emulator.share_code());
        let mut command = koofs(&["mount", "--endpoint", &self.gate.url(), "--agent", AGENT, &source]);
        command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", self.mountpoint.beside("cache"));
        command.arg(self.mountpoint.path()).args(options);
        command
    }

    fn mount(&mut self, options: &[&str]) {
        let mut command = self.command(options);
        command.arg("-f").arg("--log-file").arg(self.mountpoint.beside("log"));
        self.daemon = Some(Watched::start(command, LIMIT));
        self.mountpoint.await_types(&["fuse.koofs"]);
    }

    fn unmount(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(libc::SIGTERM);
        assert_eq!(daemon.wait().code(), Some(0), "the daemon's end");
    }

    /// Mounts, reads `paths`, unmounts, and forgets what was counted.
    fn remember(&mut self, paths: &[&str], options: &[&str]) {
        self.mount(options);
        for path in paths {
            grep(&self.path(path));
        }
        self.await_facts();
        self.unmount();
        self.emulator.reset_counters();
    }

    /// What the opening told is kept by a thread of its own, some moments after the mount.
    fn await_facts(&self) {
        await_that("what the opening told to be kept", || self.spellings().contains(&b'O'));
    }

    /// The first letter of each blob's identity.
    fn spellings(&self) -> Vec<u8> {
        let cache = self.mountpoint.beside("cache");
        let said = tool("find", [cache.to_str().unwrap(), "-type", "f"]);
        let finished = said.out.lines().map(Path::new).filter(|path| !path.starts_with(cache.join("tmp")));
        let blobs = finished.filter_map(|path| fs::read(path).ok());
        blobs.filter(|bytes| bytes.starts_with(b"koofs\r\n\0")).filter_map(|bytes| bytes.get(48).copied()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mountpoint.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.mountpoint.beside("log")).unwrap_or_default()
    }

    fn requests(&self) -> u64 {
        let counters = self.emulator.counters();
        counters.api_calls() + counters.calls_of("object")
    }
}

/// How many entries a directory has.
fn listed(path: &Path) -> io::Result<usize> {
    fs::read_dir(path)?.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

/// Fails at once, as nobody is asked.
#[track_caller]
fn assert_unreachable<T: std::fmt::Debug>(act: impl FnOnce() -> io::Result<T>) {
    let began = Instant::now();
    assert_eq!(act().unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

impl Drop for Away {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log:\n{}", self.log());
        }
    }
}

fn grep(path: &Path) -> String {
    let said = tool("grep", ["-rc", "needle", path.to_str().unwrap()]).well();
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn names(path: &Path) -> Said {
    tool("ls", [path.to_str().unwrap()])
}

macro_rules! needs_mounts {
    () => {
        if !crate::mounted::mounts_are_allowed() {
            return;
        }
    };
}

#[test]
fn what_was_read_before_is_shown_without_a_service_and_the_rest_fails_at_once() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0", "d1"], &["--ttl", "1"]);
    away.gate.shut();
    let began = Instant::now();
    away.mount(&["--ttl", "1"]);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    let log = away.log();
    assert_eq!(log.matches("offline: cannot reach http://127.0.0.1:").count(), 1, "{log}");
    // Also when its time is over: there is nobody to ask.
    for _ in 0..2 {
        assert_eq!(grep(&away.path("d0")).lines().count(), 10);
        assert_eq!(grep(&away.path("d1")).lines().count(), 10);
        let began = Instant::now();
        await_that("the time of the listings to be over", || began.elapsed() > Duration::from_millis(1100));
    }
    let root = names(away.mountpoint.path()).well();
    assert_eq!(root, "d0\nd1\nd2\n");
    // Of a long file the head is fetched ahead, which is not all of a piece.
    assert_unreachable(|| fs::read(away.path("d2/long")));
    assert_eq!(away.requests(), 0);
    away.unmount();
}

#[test]
fn directory_that_was_not_listed_is_an_error_at_once_without_a_service_and_never_empty() {
    needs_mounts!();
    let mut away = Away::new();
    away.mount(&[]);
    // One opened directory has nothing listed ahead.
    assert_eq!(names(away.mountpoint.path()).well(), "d0\nd1\nd2\n");
    away.await_facts();
    away.unmount();
    away.gate.shut();
    away.mount(&[]);
    assert_eq!(names(away.mountpoint.path()).well(), "d0\nd1\nd2\n");
    for _ in 0..2 {
        assert_unreachable(|| listed(&away.path("d1")));
        assert_unreachable(|| fs::metadata(away.path("d1/f0")));
    }
    away.unmount();
}

#[test]
fn service_that_is_back_is_found_without_a_remount() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0"], &[]);
    away.gate.shut();
    away.mount(&[]);
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    let d0 = away.emulator.tree().find("d0").unwrap().id.clone();
    away.emulator.tree().add(&d0, Entry::bytes("new", "needle\n"));
    away.gate.open(Behind::Server);
    await_that("the service to be found", || away.log().contains("online: the service is reached again"));
    assert_eq!(grep(&away.path("d1")).lines().count(), 10);
    assert_eq!(grep(&away.path("d2")).lines().count(), 11);
    run(koofs(&["refresh", away.mountpoint.path().to_str().unwrap()])).well();
    assert_eq!(grep(&away.path("d0")).lines().count(), 11);
    away.unmount();
}

#[test]
fn service_that_is_lost_during_a_mount_is_not_waited_for_any_longer() {
    needs_mounts!();
    let mut away = Away::new();
    away.mount(&["--op-timeout", "2", "--ttl", "1"]);
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.gate.shut();
    // Each tries for as long as it may, at first.
    await_that("the service to be given up", || {
        let _ = tool("ls", [away.path("d1").to_str().unwrap()]);
        away.log().contains("offline: not reached for 2 s")
    });
    assert_eq!(grep(&away.path("d0")).lines().count(), 10, "its time is over");
    away.gate.open(Behind::Server);
    await_that("the service to be found", || away.log().contains("online: the service is reached again"));
    assert_eq!(grep(&away.path("d2")).lines().count(), 11);
    away.unmount();
}

#[test]
fn source_that_is_not_known_needs_its_service() {
    needs_mounts!();
    let mut away = Away::new();
    away.gate.shut();
    let said = run(away.command(&[]));
    assert!(said.code == Some(1) && said.error.contains("cannot reach http://127.0.0.1:"), "{said:?}");
    away.gate.open(Behind::Server);
    away.remember(&["d0"], &[]);
    away.gate.shut();
    for options in [&["--offline-for", "0"][..], &["--no-cache"], &["--root", "/d1"]] {
        let said = run(away.command(options));
        assert!(said.code == Some(1) && said.error.contains("cannot reach http://127.0.0.1:"), "{said:?}");
    }
}

#[test]
fn source_is_known_for_as_long_as_was_said_and_no_longer() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0"], &[]);
    away.gate.shut();
    let began = Instant::now();
    await_that("that time to be over", || began.elapsed() > Duration::from_millis(1100));
    let said = run(away.command(&["--offline-for", "1s"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    away.mount(&["--offline-for", "1h"]);
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.unmount();
}

#[test]
fn folder_that_was_the_root_is_it_again_without_a_service() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&[""], &["--root", "/d1"]);
    away.gate.shut();
    away.mount(&["--root", "/d1"]);
    assert_eq!(grep(away.mountpoint.path()).lines().count(), 10);
    away.unmount();
}

#[test]
fn share_is_not_known_by_another_access_code() {
    needs_mounts!();
    let away = Away::new();
    away.emulator.knobs(|knobs| knobs.access_code = Some("a1B2c3D4".to_owned()));
    let with = |away: &Away, code: &str| {
        let mut command = away.command(&[]);
        command.env("KOOFS_ACCESS_CODE", code);
        command
    };
    let code = run(with(&away, "a1B2c3D4"));
    assert_eq!(code.code, Some(0), "{code:?}");
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.await_facts();
    run(koofs(&["unmount", away.mountpoint.path().to_str().unwrap()])).well();
    for path in tool("find", [away.mountpoint.beside("cache").to_str().unwrap(), "-type", "f"]).out.lines() {
        let bytes = fs::read(path).unwrap_or_default();
        assert!(!bytes.windows(8).any(|bytes| bytes == b"a1B2c3D4"), "{path}");
    }
    away.gate.shut();
    for other in ["a1B2c3D5", ""] {
        let said = match other {
            "" => run(away.command(&[])),
            other => run(with(&away, other)),
        };
        assert!(said.code == Some(1) && said.error.contains("cannot reach"), "{said:?}");
    }
    let said = run(with(&away, "a1B2c3D4"));
    assert!(said.code == Some(0) && said.error.contains("offline: cannot reach"), "{said:?}");
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    run(koofs(&["unmount", away.mountpoint.path().to_str().unwrap()])).well();
}

#[test]
fn refusal_takes_away_what_was_remembered_although_it_comes_after_the_mount() {
    needs_mounts!();
    for end in [
        |knobs: &mut Knobs| knobs.share_status = 1,
        |knobs: &mut Knobs| {
            knobs.access_code = Some("a1B2c3D4".to_owned());
        },
    ] {
        let mut away = Away::new();
        away.remember(&["d0"], &[]);
        away.gate.shut();
        away.mount(&[]);
        assert_eq!(grep(&away.path("d0")).lines().count(), 10);
        away.emulator.knobs(end);
        away.gate.open(Behind::Server);
        await_that("the refusal", || away.log().contains("what was remembered is taken away"));
        await_that("it to be gone", || {
            listed(away.mountpoint.path()).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        });
        await_that("the cache to be empty", || away.spellings().is_empty());
        away.unmount();
    }
}

#[test]
fn share_whose_end_has_come_is_not_shown_without_a_service_either() {
    needs_mounts!();
    let mut away = Away::new();
    away.emulator.knobs(|knobs| knobs.expire_time = "+4".to_owned());
    away.remember(&["d0"], &[]);
    away.gate.shut();
    let began = Instant::now();
    await_that("the end of the share", || began.elapsed() > Duration::from_secs(5));
    let said = run(away.command(&[]));
    assert!(said.code == Some(1) && said.error.contains("cannot reach"), "{said:?}");
}

#[test]
fn share_whose_end_has_come_by_the_clock_is_shown_again_when_the_service_still_gives_it() {
    needs_mounts!();
    let mut away = Away::new();
    away.emulator.knobs(|knobs| knobs.expire_time = "+12".to_owned());
    away.remember(&["d0"], &[]);
    away.gate.shut();
    away.mount(&[]);
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    await_that("the end of the share", || away.log().contains("the share has ended by what the service said last"));
    let refused = tool("ls", [away.path("d1")]);
    assert!(refused.code == Some(2) && refused.error.contains("Permission denied"), "{refused:?}");
    // Its owner has prolonged it meanwhile.
    away.emulator.knobs(|knobs| knobs.expire_time = "+3600".to_owned());
    away.gate.open(Behind::Server);
    await_that("the share to be shown again", || tool("ls", [away.path("d1")]).code == Some(0));
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.unmount();
}

#[test]
fn refresh_forgets_nothing_that_cannot_be_had_again() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0"], &[]);
    away.gate.shut();
    away.mount(&[]);
    let said = run(koofs(&["refresh", away.mountpoint.path().to_str().unwrap()]));
    assert!(said.code == Some(1) && said.error.contains("the service cannot be reached"), "{said:?}");
    away.daemon.as_ref().unwrap().signal(libc::SIGHUP);
    await_that("the signal to be told of", || away.log().contains("nothing is forgotten"));
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.unmount();
    away.mount(&[]);
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.unmount();
}

#[test]
fn login_page_of_a_network_is_no_service_and_is_told_apart() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0"], &[]);
    away.gate.open(Behind::LoginPage);
    away.mount(&[]);
    let log = away.log();
    assert!(log.contains("offline: something else answers at") && log.contains("want a login?"), "{log}");
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.gate.open(Behind::Server);
    await_that("the service to be found", || away.log().contains("online: the service is reached again"));
    assert_eq!(grep(&away.path("d2")).lines().count(), 11);
    away.unmount();
}

#[test]
fn service_that_says_nothing_is_waited_for_a_moment_where_the_source_is_known() {
    needs_mounts!();
    let mut away = Away::new();
    away.remember(&["d0"], &[]);
    away.gate.open(Behind::Silence);
    let began = Instant::now();
    away.mount(&[]);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert!(away.log().contains("offline: no answer within 2 s"), "{}", away.log());
    assert_eq!(grep(&away.path("d0")).lines().count(), 10);
    away.unmount();
}
