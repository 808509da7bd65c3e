//! Laws of a mount's life: it is announced when it answers, it ends when it is told to, and it never takes another mount with it.
//!
//! The mounts are real and hold a tiny filesystem; they live in children of this process (see `mounted`).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, KernelConfig, ReplyAttr, ReplyDirectory,
    ReplyEntry, Request,
};
use koofs::config::{Connection, Edition, MountConfig, Rights, ShareConfig, Source};
use koofs::kernel::session;
use koofs::koodrive::OpenError;
use koofs::mount::{self, Built, MountError};
use koofs::sync::lock;

use crate::mounted::{Mountpoint, Watched, await_that, c_path, koofs, mounts_are_allowed, this_binary};

/// More than any law here needs, the slow start included.
const LIMIT: Duration = Duration::from_secs(60);

/// Less than the grace of a shutdown: who ends within it did not wait for the grace.
const AT_ONCE: Duration = Duration::from_secs(4);

/// An empty directory that answers, or never does.
#[derive(Default)]
struct Tiny {
    is_stuck: bool,
    stuck: std::sync::Mutex<Vec<ReplyAttr>>,
    /// Done between the mount and its first answer.
    in_init: Option<fn(&Path)>,
}

impl Filesystem for Tiny {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        log::info!(target: "koofs::tiny", "{}", session::negotiate(config));
        if let Some(act) = self.in_init {
            act(Path::new(&std::env::var_os("KOOFS_TEST_MOUNTPOINT").unwrap()));
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "here" {
            reply.entry(&Duration::from_secs(1), &attr(2), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if self.is_stuck {
            lock(&self.stuck).push(reply);
        } else {
            reply.attr(&Duration::ZERO, &attr(ino.0));
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, reply: ReplyDirectory) {
        reply.ok();
    }
}

fn attr(ino: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o555,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Not a law: what the children run. Does nothing in the suite itself.
#[test]
fn child_serves_a_tiny_mount() {
    let Some(mountpoint) = std::env::var_os("KOOFS_TEST_MOUNTPOINT") else { return };
    let mode = std::env::var("KOOFS_TEST_MODE").unwrap_or_default();
    let op_timeout = Duration::from_secs(1);
    let share = ShareConfig {
        connection: Connection {
            endpoint: "https://drive.invalid".to_owned(),
            allow_http: false,
            allow_private_links: false,
            ca_file: None,
            op_timeout,
        },
        code: "42".to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: "test".to_owned() },
    };
    let config = MountConfig {
        source: Source::Share(share),
        name: "4 2,x".to_owned(),
        root: Vec::new(),
        mountpoint: mountpoint.into(),
        nonempty: false,
        foreground: std::env::var_os("KOOFS_TEST_BACKGROUND").is_none(),
        verbosity: 3,
        log_file: std::env::var_os("KOOFS_TEST_LOG").map(Into::into),
        ttl: Duration::from_secs(60),
        offline_for: koofs::config::DEFAULT_OFFLINE_FOR,
        retry_mount: Duration::ZERO,
        memory_bytes: 64 << 20,
        allow_other: false,
        noexec: false,
        rights: Rights::default(),
        cache: None,
        xattr: false,
        volume_info: false,
        bandwidth: None,
        shown: koofs::policy::glob::Shown::default(),
        metrics: None,
    };
    // SAFETY: in the background mode this forks while the harness's main thread waits for this one: it holds no lock.
    let done = unsafe { mount::mount_with(&config, |_| build(&mode)) };
    if let Err(error) = done {
        eprintln!("koofs: {}", koofs::policy::printable::one_line(&error));
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn build(mode: &str) -> Result<Built<Tiny>, MountError> {
    match mode {
        "refused" => {
            let source = "no".into();
            Err(MountError::Open(OpenError::WrongAccessCode { source }))
        }
        "crash" => std::process::abort(),
        "slow" => {
            let beside =
                |name| std::env::var_os("KOOFS_TEST_MOUNTPOINT").map(|path| Path::new(&path).with_file_name(name));
            // Complete as soon as it can be seen.
            fs::write(beside("building.new").unwrap(), std::process::id().to_string()).unwrap();
            fs::rename(beside("building.new").unwrap(), beside("building").unwrap()).unwrap();
            await_that("leave to go on", || beside("go").unwrap().exists());
            build("")
        }
        mode => {
            let in_init: Option<fn(&Path)> = match mode {
                "unmounted early" => Some(|mountpoint| umount(mountpoint, 0)),
                "covered early" => Some(|mountpoint| mount_other("tmpfs", mountpoint)),
                _ => None,
            };
            let filesystem = Tiny { is_stuck: mode == "stuck", in_init, ..Tiny::default() };
            Ok(Built { filesystem, drive: None, kernel_abi: Default::default(), store: None })
        }
    }
}

fn tiny(mountpoint: &Path, variables: &[(&str, &str)]) -> Command {
    let mut all = vec![("KOOFS_TEST_MOUNTPOINT", mountpoint.to_str().unwrap())];
    all.extend_from_slice(variables);
    let mut command = this_binary("session_laws::child_serves_a_tiny_mount", &all);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// [`tiny`] for a start in the background, whose parent is ended by signals as the koofs command is.
fn tiny_in_background(mountpoint: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = tiny(mountpoint, variables);
    // SAFETY: async-signal-safe calls only.
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    command
}

/// A tiny mount in the foreground, once it answers.
fn mounted(mountpoint: &Mountpoint) -> Watched {
    let child = Watched::start(tiny(mountpoint.path(), &[]), LIMIT);
    await_that("a mount that answers", || mountpoint.path().join("here").is_dir());
    child
}

/// A process with its working directory inside, which keeps the mount busy.
fn process_inside(mountpoint: &Mountpoint) -> Watched {
    let mut command = Command::new("sleep");
    command.arg("60").current_dir(mountpoint.path());
    Watched::start(command, LIMIT)
}

fn run_koofs(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = koofs(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, _, error) = Watched::start(command, LIMIT).output();
    (status.code(), error)
}

fn unmount_by_command(mountpoint: &Mountpoint) -> (Option<i32>, String) {
    run_koofs(&["unmount", mountpoint.path().to_str().unwrap()])
}

fn try_umount(mountpoint: &Path, flags: i32) -> io::Result<()> {
    let path = c_path(mountpoint);
    // SAFETY: `path` outlives the call.
    if unsafe { libc::umount2(path.as_ptr(), flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn umount(mountpoint: &Path, flags: i32) {
    try_umount(mountpoint, flags).unwrap_or_else(|error| panic!("umount: {error}"));
}

/// Another filesystem on top of whatever is there.
pub(crate) fn mount_other(fstype: &str, mountpoint: &Path) {
    let (path, fstype) = (c_path(mountpoint), c_path(Path::new(fstype)));
    // SAFETY: all strings outlive the call; these filesystems take no data here.
    let refused = unsafe { libc::mount(c"none".as_ptr(), path.as_ptr(), fstype.as_ptr(), 0, std::ptr::null()) };
    assert_eq!(refused, 0, "mounting {fstype:?}: {}", io::Error::last_os_error());
}

#[test]
fn mount_is_ours_read_only_and_reads_ahead() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let _child = mounted(&mountpoint);
    let mount = mountpoint.mounts().remove(0);
    assert_eq!(mount.source, "4_2_x");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.starts_with(&format!("{} ", mount.mount_id))).unwrap();
    for option in ["ro", "nosuid", "nodev", "noatime", "default_permissions"] {
        assert!(line.split([',', ' ']).any(|word| word == option), "{option}: {line}");
    }
    let read_ahead = format!("/sys/class/bdi/{}/read_ahead_kb", mount.device);
    await_that("a larger read-ahead window", || fs::read_to_string(&read_ahead).unwrap().trim() == "4096");
    assert!(mountpoint.path().join("here").is_dir());
    assert!(!mountpoint.path().join("gone").exists());
}

#[test]
fn sigterm_and_sigint_unmount_and_exit_0_at_once() {
    if !mounts_are_allowed() {
        return;
    }
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mountpoint = Mountpoint::new();
        let mut child = mounted(&mountpoint);
        let start = Instant::now();
        child.signal(signal);
        assert_eq!(child.wait().code(), Some(0));
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_eq!(mountpoint.types(), [""; 0]);
    }
}

#[test]
fn sigterm_with_a_process_inside_unmounts_at_once_and_exits_0_after_the_grace() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let child = mounted(&mountpoint);
    let inside = process_inside(&mountpoint);
    let start = Instant::now();
    child.signal(libc::SIGTERM);
    mountpoint.await_types(&[]);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let pid = inside.pid();
    let (status, _, log) = child.output();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("processes still using it") && log.contains(&format!("({pid})")), "{log}");
}

#[test]
fn sigterm_lets_readers_finish_and_ends_with_the_last_one() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    let inside = process_inside(&mountpoint);
    let start = Instant::now();
    child.signal(libc::SIGTERM);
    mountpoint.await_types(&[]);
    drop(inside);
    assert_eq!(child.wait().code(), Some(0));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn second_signal_ends_at_once() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    let _inside = process_inside(&mountpoint);
    let start = Instant::now();
    child.signal(libc::SIGTERM);
    mountpoint.await_types(&[]);
    child.signal(libc::SIGINT);
    child.wait();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn sighup_does_not_end_the_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    child.signal(libc::SIGHUP);
    assert!(mountpoint.path().join("here").is_dir());
    child.signal(libc::SIGTERM);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn sighup_opens_the_log_file_again() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let (log, moved) = (mountpoint.beside("log"), mountpoint.beside("log.1"));
    let mut child = Watched::start(tiny(mountpoint.path(), &[("KOOFS_TEST_LOG", log.to_str().unwrap())]), LIMIT);
    await_that("a mount that answers", || mountpoint.path().join("here").is_dir());
    fs::rename(&log, &moved).unwrap();
    child.signal(libc::SIGHUP);
    await_that("a new log file", || log.exists());
    child.signal(libc::SIGTERM);
    assert_eq!(child.wait().code(), Some(0));
    let (old, new) = (fs::read_to_string(&moved).unwrap(), fs::read_to_string(&log).unwrap());
    assert!(old.contains("is mounted at") && !old.contains("signal 15"), "{old}");
    assert!(new.contains("signal 15: unmounting") && !new.contains("is mounted at"), "{new}");
}

#[test]
fn unmount_from_outside_ends_the_process_with_0() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    umount(mountpoint.path(), 0);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn unmount_from_outside_before_the_mount_answers_ends_the_process_with_0() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mode = ("KOOFS_TEST_MODE", "unmounted early");
    let (status, _, log) = Watched::start(tiny(mountpoint.path(), &[mode]), LIMIT).output();
    assert!(status.code() == Some(0) && log.contains("was unmounted by somebody else"), "{status} {log}");
    // Who waits for the mount in the background does not get it.
    let variables = [mode, ("KOOFS_TEST_BACKGROUND", "1")];
    let (status, _, error) = Watched::start(tiny(mountpoint.path(), &variables), LIMIT).output();
    assert!(status.code() == Some(1) && error.contains("was unmounted by somebody else"), "{status} {error}");
    assert_eq!(mountpoint.types(), [""; 0]);
}

#[test]
fn forced_unmount_of_a_mount_that_nobody_uses_ends_the_process_with_0() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    umount(mountpoint.path(), libc::MNT_FORCE);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn aborted_connection_ends_the_process_with_1_and_the_mount_with_it() {
    if !mounts_are_allowed() {
        return;
    }
    let by_force = |mountpoint: &Mountpoint| {
        let refused = try_umount(mountpoint.path(), libc::MNT_FORCE).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    };
    let by_fusectl = |mountpoint: &Mountpoint| {
        let control = Mountpoint::new();
        mount_other("fusectl", control.path());
        let device = mountpoint.mounts().remove(0).device;
        let (_, connection) = device.split_once(':').unwrap();
        fs::write(control.path().join(connection).join("abort"), "1").unwrap();
    };
    let ways: [&dyn Fn(&Mountpoint); 2] = [&by_force, &by_fusectl];
    for abort in ways {
        let mountpoint = Mountpoint::new();
        let child = mounted(&mountpoint);
        let _inside = process_inside(&mountpoint);
        abort(&mountpoint);
        let (status, _, log) = child.output();
        assert!(status.code() == Some(1) && log.contains("connection of"), "{status} {log}");
        assert!(log.contains("was aborted") && log.contains("answers no more: unmounted"), "{log}");
        assert_eq!(mountpoint.types(), [""; 0]);
    }
}

#[test]
fn unmount_command_unmounts_once_and_then_finds_nothing() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    assert_eq!(unmount_by_command(&mountpoint), (Some(0), String::new()));
    assert_eq!(mountpoint.types(), [""; 0]);
    assert_eq!(child.wait().code(), Some(0));
    let (code, line) = unmount_by_command(&mountpoint);
    assert!(code == Some(1) && line.contains("nothing is mounted at"), "{code:?} {line}");
}

#[test]
fn unmount_command_detaches_a_busy_mount_and_says_so() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    let inside = process_inside(&mountpoint);
    let (code, line) = unmount_by_command(&mountpoint);
    assert!(code == Some(0) && line.contains("was busy: detached"), "{code:?} {line}");
    assert_eq!(mountpoint.types(), [""; 0]);
    drop(inside);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn unmount_command_refuses_what_is_not_ours_and_names_it() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    mount_other("tmpfs", mountpoint.path());
    let (code, line) = unmount_by_command(&mountpoint);
    assert!(code == Some(1) && line.contains("not a KooFS mount") && line.contains("type tmpfs"), "{code:?} {line}");
    assert_eq!(mountpoint.types(), ["tmpfs"]);
}

#[test]
fn mount_that_covers_ours_is_never_unmounted() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let child = mounted(&mountpoint);
    mount_other("tmpfs", mountpoint.path());
    child.signal(libc::SIGTERM);
    let (status, _, log) = child.output();
    assert!(status.code() == Some(1) && log.contains("covered by another mount (tmpfs)"), "{status} {log}");
    assert_eq!(mountpoint.types(), ["fuse.koofs", "tmpfs"]);
}

#[test]
fn mount_that_covers_ours_before_it_answers_is_never_unmounted() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = Watched::start(tiny(mountpoint.path(), &[("KOOFS_TEST_MODE", "covered early")]), LIMIT);
    mountpoint.await_types(&["fuse.koofs", "tmpfs"]);
    child.signal(libc::SIGTERM);
    assert_eq!(child.wait().code(), Some(1));
    assert_eq!(mountpoint.types(), ["fuse.koofs", "tmpfs"]);
}

#[test]
fn mount_that_took_our_place_is_never_unmounted() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = mounted(&mountpoint);
    let inside = process_inside(&mountpoint);
    umount(mountpoint.path(), libc::MNT_DETACH);
    mount_other("tmpfs", mountpoint.path());
    // Now the FUSE loop ends while another mount stands at its path: fuser's own end would unmount that.
    drop(inside);
    assert_eq!(child.wait().code(), Some(0));
    assert_eq!(mountpoint.types(), ["tmpfs"]);
}

#[test]
fn dead_mount_is_replaced_by_the_next_start() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut killed = mounted(&mountpoint);
    killed.signal(libc::SIGKILL);
    assert_eq!(killed.wait().signal(), Some(libc::SIGKILL));
    let error = fs::metadata(mountpoint.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);

    let mut child = Watched::start(tiny(mountpoint.path(), &[]), LIMIT);
    // The kernel may give the new mount the numbers of the dead one: only an answer tells them apart.
    await_that("a mount that answers", || mountpoint.path().join("here").is_dir());
    assert_eq!(mountpoint.types(), ["fuse.koofs"]);
    child.signal(libc::SIGTERM);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn dead_mount_is_unmounted_by_the_command() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut killed = mounted(&mountpoint);
    killed.signal(libc::SIGKILL);
    killed.wait();
    assert_eq!(unmount_by_command(&mountpoint), (Some(0), String::new()));
    assert_eq!(mountpoint.types(), [""; 0]);
}

#[test]
fn live_mount_is_not_covered_by_another_start() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let _child = mounted(&mountpoint);
    let (status, _, error) = Watched::start(tiny(mountpoint.path(), &[]), LIMIT).output();
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("mounted already") && error.contains("koofs unmount"), "{error}");
    assert_eq!(mountpoint.types(), ["fuse.koofs"]);
}

#[test]
fn foreign_mount_is_not_covered_by_a_start() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    mount_other("tmpfs", mountpoint.path());
    let (status, _, error) = Watched::start(tiny(mountpoint.path(), &[]), LIMIT).output();
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("another filesystem mounted already (none of type tmpfs)"), "{error}");
}

#[test]
fn background_start_returns_when_the_mount_answers() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let log = mountpoint.beside("log");
    let variables = [("KOOFS_TEST_BACKGROUND", "1"), ("KOOFS_TEST_LOG", log.to_str().unwrap())];
    // `output` returns at the end of the streams: the daemon must not hold them.
    let (status, _, error) = Watched::start(tiny(mountpoint.path(), &variables), LIMIT).output();
    assert_eq!((status.code(), error.as_str()), (Some(0), ""));
    assert!(mountpoint.path().join("here").is_dir());
    assert_eq!(unmount_by_command(&mountpoint), (Some(0), String::new()));
    await_that("the daemon's last line", || fs::read_to_string(&log).unwrap().contains("is unmounted"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("granted FUSE_DO_READDIRPLUS FUSE_PARALLEL_DIROPS"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&log).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn background_start_that_fails_says_why_in_one_line() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    for (mode, want) in [("refused", "check --access-code-file"), ("crash", "killed by signal 6")] {
        let variables = [("KOOFS_TEST_BACKGROUND", "1"), ("KOOFS_TEST_MODE", mode)];
        let (status, _, error) = Watched::start(tiny(mountpoint.path(), &variables), LIMIT).output();
        assert_eq!(status.code(), Some(1));
        assert!(error.contains(want) && error.matches('\n').count() == 1, "{mode}: {error}");
        assert_eq!(mountpoint.types(), [""; 0]);
    }
}

#[test]
fn background_start_that_never_answers_is_given_up_and_unmounted() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let variables = [("KOOFS_TEST_BACKGROUND", "1"), ("KOOFS_TEST_MODE", "stuck")];
    let (status, _, error) = Watched::start(tiny(mountpoint.path(), &variables), LIMIT).output();
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("not ready within 11 s"), "{error}");
    assert_eq!(mountpoint.types(), [""; 0]);
}

#[test]
fn signal_before_the_mount_is_there_ends_the_start() {
    if !mounts_are_allowed() {
        return;
    }
    let mountpoint = Mountpoint::new();
    let mut child = Watched::start(tiny(mountpoint.path(), &[("KOOFS_TEST_MODE", "slow")]), LIMIT);
    await_that("the start", || mountpoint.beside("building").exists());
    child.signal(libc::SIGTERM);
    assert_eq!(child.wait().code(), Some(128 + libc::SIGTERM));
    assert_eq!(mountpoint.types(), [""; 0]);
}

/// Whether the process `pid` runs; a zombie does not.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Whether this process ignores `signal`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(ignored, 16).unwrap() & (1 << (signal - 1)) != 0
}

#[test]
fn background_start_ends_with_the_command_that_waits_for_it() {
    if !mounts_are_allowed() {
        return;
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL] {
        // Under nohup, SIGHUP is ignored here and in what is started.
        if is_ignored(signal) {
            continue;
        }
        let mountpoint = Mountpoint::new();
        let log = mountpoint.beside("log");
        let variables =
            [("KOOFS_TEST_BACKGROUND", "1"), ("KOOFS_TEST_MODE", "slow"), ("KOOFS_TEST_LOG", log.to_str().unwrap())];
        let mut parent = Watched::start(tiny_in_background(mountpoint.path(), &variables), LIMIT);
        await_that("the start", || mountpoint.beside("building").exists());
        let child = fs::read_to_string(mountpoint.beside("building")).unwrap();
        assert!(is_running(&child));
        parent.signal(signal);
        assert_eq!(parent.wait().signal(), Some(signal));
        // It is never told to go on: it ends for its parent's end, long before its time is over.
        await_that("the end of the child", || !is_running(&child));
        assert!(fs::read_to_string(&log).unwrap().contains("nobody waits"));
        assert_eq!(mountpoint.types(), [""; 0]);
    }
}

#[test]
fn background_start_whose_command_is_killed_at_any_moment_leaves_no_mount() {
    if !mounts_are_allowed() {
        return;
    }
    for delay_ms in (0..60).step_by(2) {
        let mountpoint = Mountpoint::new();
        let mut command = tiny_in_background(mountpoint.path(), &[("KOOFS_TEST_BACKGROUND", "1")]);
        command.process_group(0);
        let mut parent = Watched::start(command, LIMIT);
        std::thread::sleep(Duration::from_millis(delay_ms));
        // SAFETY: the group is the child's own; it is not reaped yet.
        unsafe { libc::kill(-parent.pid(), libc::SIGINT) };
        if parent.wait().code() == Some(0) {
            // It had done its work before.
            assert_eq!(unmount_by_command(&mountpoint), (Some(0), String::new()));
        }
        mountpoint.await_types(&[]);
    }
}
