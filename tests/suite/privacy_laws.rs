//! Laws of what other users of a machine can see of a mount: its row in the mount table, its log, its process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::mount_bench::{AGENT, Bench, LIMIT, Said, mount_command, run, tool};
use crate::mounted::{Mountpoint, Watched, c_path, koofs, mounts_are_allowed};

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

/// `koofs mount` with this log file, of a service that is not there: it logs why it ends, and ends.
fn logged_to(log: &Path) -> Said {
    let mountpoint = Mountpoint::new();
    let mut command =
        koofs(&["mount", "--endpoint", "http://127.0.0.1:9", "--agent", AGENT, "--op-timeout", "1", "share:1"]);
    command.arg(mountpoint.path()).arg("--log-file").arg(log);
    run(command)
}

/// What is in `log`, if the command ended for its own reason.
#[track_caller]
fn log_of(said: &Said, log: &Path) -> String {
    assert!(said.code == Some(1) && said.error.contains("cannot reach"), "{said:?}");
    fs::read_to_string(log).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn log_file_that_others_could_read_is_made_private_and_appended_to() {
    if !mounts_are_allowed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for before in [0o644, 0o666, 0o640, 0o600] {
        let log = directory.path().join(format!("log-{before:o}"));
        fs::write(&log, "before\n").unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(before)).unwrap();
        let text = log_of(&logged_to(&log), &log);
        assert!(text.starts_with("before\n") && text.contains("cannot reach"), "{text}");
        assert_eq!(mode(&log), 0o600, "was {before:o}");
    }
    // By a link of one's own, too.
    let (log, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&log, &link).unwrap();
    assert!(log_of(&logged_to(&link), &log).contains("cannot reach"));
    assert_eq!(mode(&log), 0o600);
}

#[test]
fn log_may_go_to_terminals_pipes_and_nowhere() {
    if !mounts_are_allowed() {
        return;
    }
    let null_mode = mode(Path::new("/dev/null"));
    let said = logged_to(Path::new("/dev/null"));
    assert!(said.error.contains("cannot reach"), "{said:?}");
    assert_eq!(mode(Path::new("/dev/null")), null_mode);
    // The log and the last word, on the same pipe.
    let said = logged_to(Path::new("/dev/stderr"));
    assert_eq!(said.error.matches("cannot reach").count(), 2, "{said:?}");

    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(c_path(&fifo).as_ptr(), 0o622) }, 0);
    let before = mode(&fifo);
    let reader = {
        let fifo = fifo.clone();
        std::thread::spawn(move || fs::read_to_string(fifo).unwrap())
    };
    assert!(logged_to(&fifo).error.contains("cannot reach"));
    assert!(reader.join().unwrap().contains("cannot reach"));
    assert_eq!(mode(&fifo), before);
}

#[test]
fn log_file_that_another_user_could_use_is_refused_with_the_remedy() {
    if !mounts_are_allowed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let refused = |log: &Path, why: &str| {
        let said = logged_to(log);
        assert!(said.code == Some(1) && said.error.contains(why), "{said:?}");
        assert!(said.error.contains("--log-file") && said.error.matches('\n').count() == 1, "{said:?}");
    };
    let (log, second) = (directory.path().join("log"), directory.path().join("second"));
    fs::write(&log, "mine\n").unwrap();
    fs::hard_link(&log, &second).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&log, "has another name");
    // SAFETY: cannot fail and touches no memory.
    if unsafe { libc::getuid() } == 0 {
        fs::remove_file(&second).unwrap();
        std::os::unix::fs::chown(&log, Some(65_534), None).unwrap();
        refused(&log, "belongs to another user (uid 65534)");
        let link = directory.path().join("link");
        symlink(directory.path().join("victim"), &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        refused(&link, "is a link of another user (uid 65534)");
        assert!(!directory.path().join("victim").exists());
    }
    assert_eq!((fs::read_to_string(&log).unwrap().as_str(), mode(&log)), ("mine\n", 0o644), "left as it was");
}

/// A foreground mount that may leave core dumps of any size, in its working directory.
fn dumping(bench: &Emulator, mountpoint: &Mountpoint) -> Command {
    let mut command = mount_command(bench, mountpoint.path(), &["-f", "--no-cache"]);
    command.current_dir(mountpoint.beside("")).stderr(Stdio::null());
    // SAFETY: the closure makes one async-signal-safe call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // A user who may not raise the hard limit has no core dump to fear from it.
            libc::setrlimit(libc::RLIMIT_CORE, &raw const all);
            Ok(())
        });
    }
    command
}

#[test]
fn process_that_dies_leaves_no_core_dump() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let mountpoint = Mountpoint::new();
    let mut daemon = Watched::start(dumping(&emulator, &mountpoint), LIMIT);
    mountpoint.await_types(&["fuse.koofs"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    daemon.signal(libc::SIGABRT);
    let status = daemon.wait();
    assert_eq!((status.signal(), status.core_dumped()), (Some(libc::SIGABRT), false));
    run(koofs(&["unmount", mountpoint.path().to_str().unwrap()])).well();
    let left: Vec<_> = fs::read_dir(mountpoint.beside("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mnt"]);
}

/// What a user who is not root does in a mount namespace: mounts, and tries to look into the process.
const LOOK_INSIDE: &str = r#"
    mknod -m 666 "$DIR/fuse" c 10 229
    mount --bind "$DIR/fuse" /dev/fuse
    exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -eu -c '
        "$DIR/koofs" mount -f --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/mnt" &
        trap "\"$DIR/koofs\" unmount \"$DIR/mnt\"" EXIT
        until [ -e "$DIR/mnt/file" ]; do sleep 0.01; done
        for what in cmdline status environ maps; do
            if head -c 1 "/proc/$!/$what" >/dev/null 2>&1; then echo "$what is open"; else echo "$what is closed"; fi
        done'
"#;

#[test]
fn memory_and_environment_are_closed_to_other_processes_of_the_same_user() {
    // SAFETY: cannot fail and touches no memory.
    if !mounts_are_allowed() || unsafe { libc::getuid() } != 0 {
        // Takes a mount namespace, and root, whom nothing is closed to, to become somebody else.
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("file", "text"));
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // By another process: a descriptor of this one that is open for writing may be in a child of another law when it is run.
    tool("cp", [env!("CARGO_BIN_EXE_koofs"), directory.path().join("koofs").to_str().unwrap()]).well();
    let mountpoint = directory.path().join("mnt");
    fs::create_dir(&mountpoint).unwrap();
    std::os::unix::fs::chown(&mountpoint, Some(65_534), Some(65_534)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-eu", "-c", LOOK_INSIDE]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("KOOFS_NO_CACHE", "true");
    command.env("DIR", directory.path()).env("ENDPOINT", emulator.url()).env("AGENT", AGENT);
    command.env("SOURCE", format!("share:{}", emulator.share_code()));
    let want = "cmdline is open\nstatus is open\nenviron is closed\nmaps is closed\n";
    assert_eq!(run(command).out, want);
}
