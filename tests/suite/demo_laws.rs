//! Laws of `scripts/demo`: what it prints can be typed, and nothing of it stays behind, however it ends.
//!
//! The script is the real one. What it would build for minutes is here already: `cargo` is a stub, koofs the binary of this run,
//! and the emulator this binary once more.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use koofs::kernel::mountinfo;

use crate::emulator::Emulator;
use crate::mount_bench::{LIMIT, Said, run};
use crate::mounted::{Watched, await_that, mounts_are_allowed};

/// How many moments of a run are tried, and how many runs are under way at a time.
const MOMENTS: u32 = 24;
const RUNS_AT_A_TIME: usize = 4;

/// Not a law: the emulator of the demo, started by a script in its place with the emulator's arguments.
#[test]
fn child_is_the_emulator_of_a_demo() {
    let Ok(arguments) = std::env::var("KOOFS_TEST_EMULATOR") else { return };
    let arguments: Vec<&str> = arguments.lines().collect();
    let ready = arguments.iter().position(|word| *word == "--print-ready-file").unwrap();
    let emulator = Emulator::serving(Path::new(arguments[0]));
    println!("\nshare link   {}", emulator.share_link());
    let aside = format!("{}.tmp", arguments[ready + 1]);
    std::fs::write(&aside, format!("{}\n", emulator.url())).unwrap();
    std::fs::rename(&aside, arguments[ready + 1]).unwrap();
    // Until the script ends it, or has forgotten to.
    std::thread::sleep(LIMIT);
}

/// A machine on which everything is built, with a directory to serve; all that a demo makes is below it.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { directory: tempfile::Builder::new().prefix("koofs demo ").tempdir().unwrap() };
        for name in ["tmp", "bin", "target/release/examples", "served dir/one/two"] {
            std::fs::create_dir_all(machine.path(name)).unwrap();
        }
        for number in 0..30 {
            let path = machine.path("served dir/one/two").join(format!("file {number}"));
            std::fs::write(path, format!("unsafe {number}\n").repeat(number * 100)).unwrap();
        }
        let suite = std::env::current_exe().unwrap();
        let emulator = format!(
            "#!/bin/bash\nexport KOOFS_TEST_EMULATOR=$(printf '%s\\n' \"$@\")\n\
             exec '{}' demo_laws::child_is_the_emulator_of_a_demo --exact --nocapture --test-threads=1\n",
            suite.display()
        );
        for (name, script) in [("bin/cargo", "#!/bin/sh\n"), ("target/release/examples/emulator", emulator.as_str())] {
            std::fs::write(machine.path(name), script).unwrap();
            std::fs::set_permissions(machine.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_koofs"), machine.path("target/release/koofs")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn demo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.args(arguments).arg(self.path("served dir")).env("PATH", path).env("TMPDIR", self.path("tmp"));
        command.env("CARGO_TARGET_DIR", self.path("target")).stdin(Stdio::null());
        // As a terminal has it: what the demo starts in a session of its own is not in this group.
        command.process_group(0);
        command
    }

    /// What is left of a demo: mounts, processes, files.
    fn left(&self) -> Vec<String> {
        let place = self.path("tmp");
        let mounts = mountinfo::mounts().unwrap().into_iter().map(|mount| mount.mountpoint);
        let mounts = mounts.filter(|mountpoint| mountpoint.starts_with(&place)).map(|path| format!("mount {path:?}"));
        let files = std::fs::read_dir(&place).unwrap().map(|entry| format!("file {:?}", entry.unwrap().path()));
        mounts.chain(self.processes().into_iter().map(|(_, line)| format!("process {line}"))).chain(files).collect()
    }

    /// The processes whose command line or environment names this machine, but for those that are ours.
    fn processes(&self) -> Vec<(libc::pid_t, String)> {
        let place = self.path("tmp").to_str().unwrap().to_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let text = |name: &str| {
                String::from_utf8_lossy(&std::fs::read(entry.path().join(name)).unwrap_or_default()).into_owned()
            };
            let line = text("cmdline").replace('\0', " ");
            if !line.is_empty() && (line.contains(&place) || text("environ").contains(&place)) {
                found.push((pid, line));
            }
        }
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for mount in mountinfo::mounts().unwrap() {
            if mount.mountpoint.starts_with(self.path("tmp")) {
                let path = crate::mounted::c_path(&mount.mountpoint);
                // SAFETY: the path outlives the call. Detaching below our own temporary directory harms nobody.
                unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
            }
        }
        for (pid, _) in self.processes() {
            // SAFETY: no memory is involved. Only what a law's own demo has left names this directory.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[test]
fn demo_shows_a_mount_and_leaves_nothing() {
    if !mounts_are_allowed() {
        return;
    }
    let machine = Machine::new();
    let Said { code, out, error } = run(machine.demo(&[]));
    assert!(code == Some(0) && error.is_empty(), "{code:?}\n{out}\n{error}");
    assert!(out.contains("\nDEMO OK: 30 files,"), "{out}");
    assert_eq!(machine.left(), [""; 0]);
    // Where the served directory begins with a single directory, what is listed is further down.
    let listed = out.split("\n== list\n").nth(1).unwrap().split("\nfind: ").next().unwrap();
    assert_eq!(listed.lines().count(), 11, "{listed}");
    assert!(listed.contains(" file 0\n") && listed.contains("\nand 20 more in "), "{listed}");
}

#[test]
fn demo_refuses_what_it_cannot_serve_before_it_builds() {
    let machine = Machine::new();
    std::fs::write(machine.path("bin/cargo"), "#!/bin/sh\necho built\n").unwrap();
    let mut command = machine.demo(&[]);
    command.arg("no mountpoint").arg("and no more");
    assert_eq!(run(command).code, Some(2));
    for (arguments, want) in
        [([machine.path("nothing")], "is no directory"), ([machine.path("bin/cargo")], "is no directory")]
    {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo"));
        command.args(arguments).env("PATH", machine.path("bin").display().to_string() + ":/usr/bin:/bin");
        let said = run(command);
        assert!(said.code == Some(1) && said.error.contains(want) && said.out.is_empty(), "{said:?}");
    }
    let mut command = machine.demo(&[]);
    command.arg(machine.path("served dir"));
    let said = run(command);
    assert!(said.code == Some(1) && said.error.contains("is not empty") && !said.out.contains("built"), "{said:?}");
}

#[test]
fn commands_that_a_demo_prints_run_as_printed() {
    if !mounts_are_allowed() {
        return;
    }
    let machine = Machine::new();
    let mountpoint = machine.path("tmp/my mnt");
    let mut command = machine.demo(&["--keep"]);
    command.arg(&mountpoint);
    let said = run(command);
    assert!(said.code == Some(0) && said.error.is_empty(), "{said:?}");
    let type_it = |line: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir("/");
        let said = run(command);
        assert!(said.code == Some(0) && said.error.is_empty(), "{line}: {said:?}");
    };
    let mounted = || mountinfo::mounts().unwrap().iter().any(|mount| mount.mountpoint == mountpoint);
    assert!(mounted());
    let mount = said.out.split("\n== mount\n").nth(1).unwrap().lines().next().unwrap();
    let end = said.out.split("\nto end it: ").nth(1).unwrap().lines().next().unwrap();
    type_it(end.split(" && ").next().unwrap());
    assert!(!mounted());
    type_it(mount);
    assert!(mounted());
    type_it(end);
    std::fs::remove_dir(&mountpoint).unwrap();
    await_that("everything to be gone", || machine.left().is_empty());
}

#[test]
fn demo_that_is_interrupted_once_or_twice_at_any_moment_leaves_nothing() {
    if !mounts_are_allowed() {
        return;
    }
    let start = Instant::now();
    run(Machine::new().demo(&[])).code.unwrap();
    let whole = start.elapsed();
    let mut moments: Vec<(Duration, Option<Duration>)> = Vec::new();
    for moment in 0..MOMENTS {
        // Once, twice at once, and twice with some time between.
        let second = [None, Some(Duration::ZERO), Some(Duration::from_millis(20)), Some(Duration::from_millis(100))];
        moments.push((whole * moment / MOMENTS, second[moment as usize % second.len()]));
    }
    for moments in moments.chunks(RUNS_AT_A_TIME) {
        std::thread::scope(|scope| {
            for (first, second) in moments {
                scope.spawn(|| interrupt(*first, *second));
            }
        });
    }
}

/// Runs a demo and interrupts all its group, as Ctrl-C does, `first` after its start and once more `second` after that.
fn interrupt(first: Duration, second: Option<Duration>) {
    let machine = Machine::new();
    let mut command = machine.demo(&[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let demo = Watched::start(command, LIMIT);
    let group = -demo.pid();
    for pause in [Some(first), second].into_iter().flatten() {
        std::thread::sleep(pause);
        // SAFETY: the group is the demo's, which is not reaped yet.
        unsafe { libc::kill(group, libc::SIGINT) };
    }
    let (status, out, error) = demo.output();
    let left = machine.left();
    assert!(left.is_empty(), "{first:?} {second:?}: {status}: {left:#?}\n{out}\n{error}");
}
