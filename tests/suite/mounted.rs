//! Help for laws over real mounts: mountpoints that vanish, child processes that cannot hang the suite.
//!
//! A law must not hold a mount in its own process: whoever waits for a mount that it serves itself cannot be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use koofs::kernel::mountinfo::{self, MountEntry};
use koofs::sync::lock;

/// How often a condition is looked at. A pause between looks, not a time that makes anything right.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Whether laws over real mounts run. A run without `/dev/fuse` fails, unless it was told to leave mounts out.
pub(crate) fn mounts_are_allowed() -> bool {
    if std::env::var_os("KOOFS_TEST_WITHOUT_MOUNTS").is_some_and(|value| value == "1") {
        eprintln!("left out, as KOOFS_TEST_WITHOUT_MOUNTS=1: no law over a real mount was checked");
        return false;
    }
    assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing; KOOFS_TEST_WITHOUT_MOUNTS=1 leaves mounts out");
    true
}

/// An empty temporary directory to mount on. Everything that is mounted there is detached when it is dropped, so it is to
/// be declared before the processes that use it.
pub(crate) struct Mountpoint {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Mountpoint {
    /// A new one. Its path holds a blank, which the mount table escapes.
    pub(crate) fn new() -> Mountpoint {
        let directory = tempfile::Builder::new().prefix("koofs test ").tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("mnt");
        std::fs::create_dir(&path).unwrap();
        Mountpoint { path, _directory: directory }
    }

    /// The mountpoint itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path next to the mountpoint, never mounted on.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// What is mounted here, the newest last. Touches no filesystem.
    pub(crate) fn mounts(&self) -> Vec<MountEntry> {
        mountinfo::mounts().unwrap().into_iter().filter(|mount| mount.mountpoint == self.path).collect()
    }

    /// The types of what is mounted here, the newest last.
    pub(crate) fn types(&self) -> Vec<String> {
        self.mounts().into_iter().map(|mount| mount.fstype).collect()
    }

    /// Waits until `types` says that just `wanted` is mounted here.
    pub(crate) fn await_types(&self, wanted: &[&str]) {
        await_that(&format!("{wanted:?} to be mounted"), || self.types() == wanted);
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        let path = c_path(&self.path);
        for _ in self.mounts() {
            // SAFETY: `path` outlives the call. Detaching below our own temporary directory harms nobody.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// `path` for a system call.
pub(crate) fn c_path(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Whether `is_so` becomes true within a time that no machine needs.
pub(crate) fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        thread::sleep(LOOK_PAUSE);
    }
    false
}

/// Waits until `is_so`; fails after a time that no machine needs.
pub(crate) fn await_that(what: &str, is_so: impl FnMut() -> bool) {
    assert!(comes_true(is_so), "waited in vain for {what}");
}

/// What `thread` returns. Its panic goes on here as it is, so that a failed law shows what went wrong and not that a thread ended.
pub(crate) fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A child process under a watchdog: killed after its limit, when the law fails and when the law forgets it.
pub(crate) struct Watched {
    child: Arc<Mutex<Child>>,
    pid: libc::pid_t,
    bitten: Receiver<()>,
    _leash: Sender<()>,
}

impl Watched {
    /// Starts `command`, which may run for `limit`.
    pub(crate) fn start(mut command: Command, limit: Duration) -> Watched {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        let child = Arc::new(Mutex::new(child));
        let (leash, held) = mpsc::channel::<()>();
        let (bite, bitten) = mpsc::channel();
        let victim = Arc::clone(&child);
        thread::spawn(move || {
            if held.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Sent first: whoever sees the child dead sees why. A child that was reaped is not killed: `Child` knows.
                let _ = bite.send(());
                let _ = lock(&victim).kill();
            }
        });
        Watched { child, pid, bitten, _leash: leash }
    }

    /// The process id, valid until [`Watched::wait`] has returned.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Sends `signal` to this process and no other.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved; the child is not reaped before `wait` or `drop`.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0, "signal {signal}");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Kills it; one that waits for a mount that does not answer goes on waiting.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.lock().unwrap().kill();
    }

    /// Waits for the end. Fails if the watchdog had to bring it about.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        loop {
            let ended = lock(&self.child).try_wait().unwrap();
            if let Some(status) = ended {
                assert!(self.bitten.try_recv().is_err(), "process {} hung and was killed", self.pid);
                return status;
            }
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Waits for the end; what it wrote to the standard output and error that `command` had piped.
    pub(crate) fn output(mut self) -> (ExitStatus, String, String) {
        use std::io::Read;
        let (out, error) = {
            let mut child = lock(&self.child);
            (child.stdout.take(), child.stderr.take())
        };
        let reader = |pipe: Option<Box<dyn Read + Send>>| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.map(|mut pipe| pipe.read_to_string(&mut text));
                text
            })
        };
        let out = reader(out.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
        let error = reader(error.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
        let status = self.wait();
        (status, joined(out), joined(error))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// This test binary once more, to run only the test `name` with `variables` set. SIGINT, SIGTERM and SIGHUP are blocked
/// from its first instruction, as they are in koofs: the harness has a thread of its own that they would end.
pub(crate) fn this_binary(name: &str, variables: &[(&str, &str)]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).envs(variables.iter().copied());
    // SAFETY: the closure makes async-signal-safe calls only and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            Ok(())
        });
    }
    command
}

/// The environment of the koofs process `pid`, if this user may read it: nobody but root may.
pub(crate) fn environment_of(pid: libc::pid_t) -> Option<String> {
    match std::fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => Some(String::from_utf8_lossy(&environment).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        Err(error) => panic!("the environment of process {pid}: {error}"),
    }
}

/// The koofs program that belongs to this one: the suite's, or for an example the one that was built beside it.
fn koofs_program() -> PathBuf {
    if let Some(program) = option_env!("CARGO_BIN_EXE_koofs") {
        return PathBuf::from(program);
    }
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(Path::parent).unwrap().join("koofs")
}

/// The koofs command with a clean environment of its own variables, and without the configuration of whoever runs the suite. Keeps
/// nothing on the disk, unless it is told to (see `mount_bench::mount_command`).
pub(crate) fn koofs(arguments: &[&str]) -> Command {
    let mut command = Command::new(koofs_program());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("KOOFS_") {
            command.env_remove(variable);
        }
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("KOOFS_NO_CACHE", "true").args(arguments);
    command
}
