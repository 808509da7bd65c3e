//! An emulator, the koofs command that mounts it, and the processes that use the mount.
//!
//! Nothing here touches the mount from this process: whoever does is a child under a watchdog.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::emulator::spaces::USER_ID;
use crate::emulator::tree::{Lookup, Source};
use crate::emulator::{Emulator, EmulatorConfig};
use crate::mounted::{Mountpoint, Watched, koofs, this_binary};

/// More than any process here needs, on a machine that builds something else at the same time.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);

/// The most of a log that a failed law shows.
const LOG_SHOWN_BYTES: usize = 20_000;

/// The carrier's name that every mount here sends.
pub(crate) const AGENT: &str = "carrier";

/// A mounted share. The fields are dropped in this order: first the daemon, then what it mounted, then what it asked.
pub(crate) struct Bench {
    pub(crate) daemon: Watched,
    pub(crate) mountpoint: Mountpoint,
    pub(crate) emulator: Emulator,
}

/// Another mount of a share that is mounted.
pub(crate) struct Second {
    daemon: Watched,
    mountpoint: Mountpoint,
}

impl Second {
    /// Where it is.
    pub(crate) fn mountpoint(&self) -> &Path {
        self.mountpoint.path()
    }

    /// Unmounts it.
    pub(crate) fn end(mut self) {
        self.daemon.signal(libc::SIGTERM);
        assert_eq!(self.daemon.wait().code(), Some(0), "the daemon's end");
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    /// Its output, if it ended well and silently.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert!(self.code == Some(0) && self.error.is_empty(), "{self:?}");
        self.out
    }
}

impl Bench {
    /// The share of `emulator`, mounted.
    pub(crate) fn new(emulator: Emulator) -> Bench {
        Bench::with(emulator, &[], &[])
    }

    /// The share of `emulator`, mounted with `options` and `variables`.
    pub(crate) fn with(emulator: Emulator, options: &[&str], variables: &[(&str, &str)]) -> Bench {
        let mountpoint = Mountpoint::new();
        Bench { daemon: start(&mountpoint, &emulator, options, variables), mountpoint, emulator }
    }

    /// The own space of `emulator`'s user, mounted with `options`.
    pub(crate) fn of_space(emulator: Emulator, options: &[&str]) -> Bench {
        let mountpoint = Mountpoint::new();
        Bench {
            daemon: started(space_command(&emulator, mountpoint.path(), options), &mountpoint),
            mountpoint,
            emulator,
        }
    }

    /// As [`Bench::remount`], of a space.
    pub(crate) fn remount_space(&mut self, options: &[&str]) {
        self.checked_end();
        self.daemon = started(space_command(&self.emulator, self.mountpoint.path(), options), &self.mountpoint);
        self.emulator.reset_counters();
    }

    /// A path in the mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mountpoint.path().join(name)
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.mountpoint.beside("log")).unwrap_or_default()
    }

    /// Unmounts, and mounts again with `options`: what is kept on disk is the same. Only what the service is asked from then on is
    /// counted, and the mount's own opening is not.
    pub(crate) fn remount(&mut self, options: &[&str]) {
        self.checked_end();
        self.daemon = start(&self.mountpoint, &self.emulator, options, &[]);
        self.emulator.reset_counters();
    }

    /// The same share once more, mounted with `options`.
    pub(crate) fn beside(&self, options: &[&str]) -> Second {
        let mountpoint = Mountpoint::new();
        Second { daemon: start(&mountpoint, &self.emulator, options, &[]), mountpoint }
    }

    /// Unmounts as a user would, and checks what must be so at every end: the daemon ends well, and the service had
    /// nothing to complain about.
    pub(crate) fn end(mut self) {
        self.checked_end();
    }

    fn checked_end(&mut self) {
        self.daemon.signal(libc::SIGTERM);
        assert_eq!(self.daemon.wait().code(), Some(0), "the daemon's end");
        assert_eq!(self.mountpoint.types(), [""; 0]);
        self.checked_counters();
    }

    /// What only a bad client does has not been done.
    pub(crate) fn checked_counters(&self) {
        let counters = self.emulator.counters();
        assert_eq!(counters.secret_leaks, 0, "secrets went to the object store");
        assert_eq!(counters.complaints, [""; 0], "the service's complaints");
        assert_eq!((counters.views, counters.visits, counters.compressible), (0, 0, 0));
    }
}

/// A daemon that has mounted the share of `emulator`.
fn start(mountpoint: &Mountpoint, emulator: &Emulator, options: &[&str], variables: &[(&str, &str)]) -> Watched {
    let mut command = mount_command(emulator, mountpoint.path(), options);
    command.envs(variables.iter().copied());
    started(command, mountpoint)
}

/// The daemon of `command`, once it has mounted.
fn started(mut command: Command, mountpoint: &Mountpoint) -> Watched {
    command.arg("-f").arg("--log-file").arg(mountpoint.beside("log"));
    let daemon = Watched::start(command, LIMIT);
    mountpoint.await_types(&["fuse.koofs"]);
    daemon
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let shown = log.len().saturating_sub(LOG_SHOWN_BYTES);
            eprintln!("--- the daemon's log, its end:\n{}", String::from_utf8_lossy(&log.as_bytes()[shown..]));
        }
    }
}

/// `koofs mount` of the share of `emulator`, with a cache beside the mountpoint.
pub(crate) fn mount_command(emulator: &Emulator, mountpoint: &Path, options: &[&str]) -> Command {
    let source = format!("share:{}", emulator.share_code());
    let command = koofs(&["mount", "--endpoint", &emulator.url(), "--agent", AGENT, &source]);
    in_cache(command, mountpoint, options)
}

/// `koofs mount` of the own space of `emulator`'s user, with a cache beside the mountpoint.
fn space_command(emulator: &Emulator, mountpoint: &Path, options: &[&str]) -> Command {
    let mut command = koofs(&["mount", "--endpoint", &emulator.url(), "--user-id", USER_ID, "space:"]);
    command.env("KOOFS_TOKEN", emulator.mint_token());
    in_cache(command, mountpoint, options)
}

/// `command` with the rest of a mount's command line.
fn in_cache(mut command: Command, mountpoint: &Path, options: &[&str]) -> Command {
    command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", mountpoint.with_file_name("cache"));
    command.arg(mountpoint).args(options).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, out, error) = Watched::start(command, LIMIT).output();
    Said { code: status.code(), out, error }
}

/// Runs one of the system's programs, in no language.
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Said {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").env("TZ", "UTC");
    run(command)
}

/// A child of this binary that does `act` (see `mount_child`) to `path`.
pub(crate) fn act(act: &str, path: &Path, arguments: &[&str]) -> Command {
    let mut command = this_binary("mount_child::child_acts_on_a_mount", &[]);
    command.env("KOOFS_TEST_ACT", act).env("KOOFS_TEST_PATH", path);
    command.env("KOOFS_TEST_ARGUMENTS", arguments.join("\n"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The lines that a child said in the end.
#[track_caller]
pub(crate) fn acted(child: Watched) -> Vec<String> {
    let (status, out, error) = child.output();
    assert!(status.success(), "{status}\n{out}\n{error}");
    out.lines().filter_map(|line| line.split_once("> ").map(|(_, said)| said.to_owned())).collect()
}

/// Does `act` to `path` in a child, and returns what it said.
#[track_caller]
pub(crate) fn do_act(name: &str, path: &Path, arguments: &[&str]) -> Vec<String> {
    acted(Watched::start(act(name, path, arguments), LIMIT))
}

/// The seed of a pattern file, for a child that checks it.
pub(crate) fn seed_of(emulator: &Emulator, id: &str) -> String {
    let Lookup::Found(node) = emulator.tree().lookup(id) else { panic!("no file {id}") };
    match emulator.tree().object(&node.object).unwrap().source {
        Source::Pattern(seed) => seed.to_string(),
        ref other => panic!("{other:?} has no pattern"),
    }
}

/// An emulator with these knobs and an empty tree.
pub(crate) fn emulator_with(change: impl FnOnce(&mut crate::emulator::Knobs)) -> Emulator {
    let emulator = Emulator::start(EmulatorConfig::default());
    emulator.knobs(change);
    emulator
}
