//! Into the background: the parent waits until the mount answers or one line says why not, the child becomes the mount. Whoever
//! ends the parent before that ends the child with it.
//!
//! The fork happens before any thread exists, as a forked child has only the thread that forked.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use log::warn;

use super::error::{FAILED, MountError};
use super::signals::{SHUTDOWN_GRACE, SIGNALS};
use crate::kernel::mountinfo::MountEntry;

/// What starting may take beyond one operation's time limit: a fork, a mount, a stat.
const START_MARGIN: Duration = Duration::from_secs(10);

/// How long a child that was asked to end may take before it is killed: its own grace and a little.
const KILL_AFTER: Duration = SHUTDOWN_GRACE.saturating_add(Duration::from_secs(2));

/// How often the parent looks whether the child has ended. Only while it gives up.
const REAP_PAUSE: Duration = Duration::from_millis(20);

/// The first word of the child's line when the mount is there: `serving MAJOR:MINOR MOUNTPOINT`. Any other line is an error.
const SERVING: &str = "serving ";

/// The parent's answer when it has found that the mount answers; from then on the child does not depend on it.
const ACCEPTED: u8 = b'.';

/// Which of the two processes this is after [`fork`].
pub(super) enum Side {
    /// The one that the user waits for.
    Parent(Starting),
    /// The one that becomes the mount: in a session of its own, in the root directory.
    Child(Reporter),
}

/// The parent's view of the child.
pub(super) struct Starting {
    child: libc::pid_t,
    line: UnixStream,
}

/// The child's line to the parent.
pub(super) struct Reporter {
    line: UnixStream,
}

/// Splits the process.
///
/// # Errors
/// [`MountError::System`].
///
/// # Safety
/// The process must have one thread only.
pub(super) unsafe fn fork() -> Result<Side, MountError> {
    let system = |call| move |error| MountError::System(call, error);
    let (ours, childs) = UnixStream::pair().map_err(system("socketpair"))?;
    // SAFETY: with one thread (the caller's promise) the child's copy of every lock and buffer is in a consistent state.
    match unsafe { libc::fork() } {
        -1 => Err(MountError::System("fork", io::Error::last_os_error())),
        0 => {
            drop(ours);
            // SAFETY: setsid has no preconditions; it fails only for a group leader, which a new child is not.
            unsafe { libc::setsid() };
            std::env::set_current_dir("/").map_err(system("chdir"))?;
            Ok(Side::Child(Reporter { line: childs }))
        }
        child => Ok(Side::Parent(Starting { child, line: ours })),
    }
}

impl Reporter {
    /// Ends this process, by a signal of its own, if the parent ends before it has accepted the mount: who interrupts a mount
    /// command does not want the mount. To be called when signals are received ([`super::signals::start`]).
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn end_with_parent(&self) -> io::Result<()> {
        let mut line = self.line.try_clone()?;
        thread::Builder::new().name("koofs-parent".to_owned()).spawn(move || {
            let mut answer = [0];
            if line.read_exact(&mut answer).is_err() || answer != [ACCEPTED] {
                warn!("nobody waits for the mount any more: ending");
                // SAFETY: no memory is involved; the thread that receives signals unmounts what there is.
                unsafe { libc::kill(process::id().cast_signed(), libc::SIGTERM) };
            }
        })?;
        Ok(())
    }

    /// Tells the parent that `mount` is there and its loop runs. Standard input, output and error are `/dev/null` before
    /// that: whoever reads our output through a pipe waits for its end.
    ///
    /// # Errors
    /// When nobody waits for it any more: the parent was interrupted.
    pub(super) fn serving(mut self, mount: &MountEntry) -> io::Result<()> {
        silence_standard_streams()?;
        writeln!(self.line, "{SERVING}{}", mount.device)
    }

    /// Tells the parent why there is no mount; `line` is one line.
    pub(super) fn failed(mut self, line: &str) {
        // Nobody is left to tell when this fails.
        let _ = writeln!(self.line, "{line}");
    }
}

fn silence_standard_streams() -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: `null` is open, and nothing owns the numbers 0 to 2 as an `OwnedFd`: std borrows them.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

impl Starting {
    /// Waits until the mount at `mountpoint` answers a stat.
    ///
    /// # Errors
    /// [`MountError::Background`] with the child's line, [`MountError::DiedSilently`]; [`MountError::TooSlow`] after
    /// `opening`, which is the most that opening the source may take, and a margin. There is no child then.
    pub(super) fn wait(self, mountpoint: &Path, opening: Duration) -> Result<(), MountError> {
        let limit = opening.saturating_add(START_MARGIN);
        let deadline = Instant::now() + limit;
        let mut accept = self.line.try_clone().map_err(|error| MountError::System("dup", error))?;
        let report = self.line;
        let line = within(deadline, move || first_line(report));
        let verdict = match line.as_deref() {
            None => Err(MountError::TooSlow(limit)),
            Some(line) => match line.strip_prefix(SERVING) {
                Some(device) => answers(mountpoint.to_owned(), device.to_owned(), deadline, limit),
                // The child ends by itself now; it is not disturbed at that.
                None => return Err(failure(line, end_of(self.child))),
            },
        };
        let verdict = verdict.and_then(|()| {
            ignore_interrupts();
            // A child that is gone already cannot be told.
            let told = accept.write_all(&[ACCEPTED]);
            told.map_err(|error| MountError::DiedSilently(format!("it hung up: {error}")))
        });
        if verdict.is_err() {
            end(self.child);
        }
        verdict
    }
}

/// From here on the command has done its work: an interrupt comes too late to take it back, and must not say that it was not done.
fn ignore_interrupts() {
    for signal in SIGNALS {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What the child's last line and its end say.
fn failure(line: &str, end: End) -> MountError {
    match (line, end) {
        ("", end) => MountError::DiedSilently(end.to_string()),
        (line, End::Exited(code)) => MountError::Background(line.to_owned(), code),
        (line, End::Killed(_) | End::Hung) => MountError::Background(line.to_owned(), FAILED),
    }
}

/// How the child ended.
enum End {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Killed(i32),
    /// Not by itself.
    Hung,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(code) => write!(f, "exit code {code}"),
            End::Killed(signal) => write!(f, "killed by signal {signal}"),
            End::Hung => f.write_str("it hung"),
        }
    }
}

/// The child's line; empty if it ended without one.
fn first_line(report: UnixStream) -> String {
    let mut line = String::new();
    // A broken line is no line: the child ended in the middle of it.
    let _ = BufReader::new(report).read_line(&mut line);
    line.strip_suffix('\n').unwrap_or_default().to_owned()
}

/// Whether what answers at `mountpoint` is the filesystem `device`, and not the directory below it. The stat is the
/// parent's: a daemon that waits for its own mount cannot be killed.
fn answers(mountpoint: PathBuf, device: String, deadline: Instant, limit: Duration) -> Result<(), MountError> {
    let shown = mountpoint.clone();
    match within(deadline, move || fs::metadata(&mountpoint)) {
        None => Err(MountError::TooSlow(limit)),
        Some(Ok(metadata)) if device_text(metadata.st_dev()) == device => Ok(()),
        Some(Ok(_)) => Err(MountError::UnmountedEarly(shown)),
        Some(Err(error)) => Err(MountError::Inspect(shown, error)),
    }
}

fn device_text(device: u64) -> String {
    format!("{}:{}", libc::major(device), libc::minor(device))
}

/// What `work` returns, unless `deadline` comes first; the thread is left behind then, as the process ends soon.
fn within<T: Send + 'static>(deadline: Instant, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()).ok());
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// Asks the child to unmount and end, then kills it. The number is the child's until it is reaped here.
fn end(child: libc::pid_t) {
    for (signal, patience) in [(libc::SIGTERM, KILL_AFTER), (libc::SIGKILL, KILL_AFTER)] {
        // SAFETY: kill has no memory preconditions; `child` is our own, not yet reaped child.
        unsafe { libc::kill(child, signal) };
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if reaped(child, libc::WNOHANG).is_some() {
                return;
            }
            thread::sleep(REAP_PAUSE);
        }
    }
}

/// How the child, which has closed its end of the line, ended.
fn end_of(child: libc::pid_t) -> End {
    let deadline = Instant::now() + KILL_AFTER;
    while Instant::now() < deadline {
        match reaped(child, libc::WNOHANG) {
            Some(status) if libc::WIFSIGNALED(status) => return End::Killed(libc::WTERMSIG(status)),
            // The kernel keeps 8 bits of an exit code.
            Some(status) => return End::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(FAILED)),
            None => thread::sleep(REAP_PAUSE),
        }
    }
    end(child);
    End::Hung
}

fn reaped(child: libc::pid_t, options: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    (unsafe { libc::waitpid(child, &mut status, options) } == child).then_some(status)
}
