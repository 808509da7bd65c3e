//! The mount of a run: the koofs process in the foreground, in a directory of its own, and what it takes of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::plan::{ACCESS_CODE, Run, SourceKind};
use super::world::World;
use crate::emulator::spaces;
use crate::mounted::{Mountpoint, Watched, koofs};

/// How long a mount may take to be there, and to go.
const TURN: Duration = Duration::from_secs(30);
/// The end of a log that a complaint shows, in bytes.
const LOG_SHOWN: usize = 6000;

/// What a process takes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Resident memory, in KiB.
    pub(crate) resident_kib: u64,
    /// The most there ever was, in KiB.
    pub(crate) peak_kib: u64,
    pub(crate) threads: u64,
    /// Open files; 0 if this user may not see them.
    pub(crate) descriptors: u64,
}

/// A running mount. Dropped, it is ended and taken away.
pub(crate) struct Mount {
    daemon: Watched,
    /// After the daemon: whatever it leaves is detached.
    mountpoint: Mountpoint,
}

/// The command in a process group of its own, so that Ctrl-C on a terminal reaches us alone; it ends when the thread ends that
/// starts it, whichever way.
pub(crate) fn owned(mut command: Command, signal: i32) -> Command {
    command.process_group(0).stdin(Stdio::null());
    // SAFETY: prctl is one system call, touches no memory, and is called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal);
            Ok(())
        });
    }
    command
}

impl Mount {
    /// Mounts what the service has. `limit` is more than the whole run takes.
    pub(crate) fn start(world: &World, run: &Run, verbose: u8, limit: Duration) -> Result<Mount, String> {
        let mountpoint = Mountpoint::new();
        let secret = mountpoint.beside("secret");
        let emulator = &world.emulator;
        let knobs = emulator.current_knobs();
        let mut command = koofs(&["mount", "-f", "--endpoint", &emulator.url(), "--agent", "soak"]);
        let code = match run.source {
            SourceKind::Share => {
                command.arg("--access-code-file").arg(&secret).arg(format!("share:{}", emulator.share_code()));
                ACCESS_CODE.to_owned()
            }
            SourceKind::Space => {
                command.args(["--account", &knobs.account, "--password-file"]).arg(&secret);
                command.arg(format!("space:{}", spaces::OWN));
                knobs.password
            }
        };
        fs::write(&secret, code).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        command.arg(mountpoint.path());
        command.args(["--ttl", &run.ttl.as_secs().to_string()]);
        command.args(["--op-timeout", &run.op_timeout.as_secs().to_string(), "--memory", run.memory]);
        command.env("KOOFS_NO_CACHE", "false").arg("--cache-dir").arg(mountpoint.beside("cache"));
        command.args((0..verbose).map(|_| "-v"));
        command.arg("--log-file").arg(mountpoint.beside("koofs.log"));
        let mut mount = Mount { daemon: Watched::start(owned(command, libc::SIGTERM), limit), mountpoint };
        let deadline = Instant::now() + TURN;
        while mount.mountpoint.types() != ["fuse.koofs"] {
            if let Some(status) = mount.daemon.ended() {
                return Err(format!("koofs mount failed ({status}):\n{}", mount.log_end()));
            }
            if Instant::now() > deadline {
                return Err(format!("nothing is mounted after {TURN:?}:\n{}", mount.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(mount)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.mountpoint.path()
    }

    /// The log of the koofs process.
    pub(crate) fn log(&self) -> PathBuf {
        self.mountpoint.beside("koofs.log")
    }

    fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN)..]).into_owned()
    }

    /// A path beside the mountpoint, on an ordinary filesystem.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.mountpoint.beside(name)
    }

    /// How the process ended, if it has: it should not.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.daemon.ended()
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.daemon.pid()
    }

    /// Kills the process: everybody who waits for the mount is answered by the kernel.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill();
    }

    /// What the process takes now.
    pub(crate) fn sample(&self) -> Sample {
        let process = PathBuf::from(format!("/proc/{}", self.daemon.pid()));
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let descriptors = fs::read_dir(process.join("fd")).map_or(0, |files| files.count() as u64);
        let (resident_kib, peak_kib) = (field("VmRSS:"), field("VmHWM:"));
        Sample { resident_kib, peak_kib, threads: field("Threads:"), descriptors }
    }

    /// Unmounts as SIGTERM does.
    pub(crate) fn end(mut self) -> Result<(), String> {
        self.daemon.signal(libc::SIGTERM);
        let deadline = Instant::now() + TURN;
        loop {
            if let Some(status) = self.daemon.ended() {
                let left = self.mountpoint.types();
                return match status.code() {
                    Some(0) if left.is_empty() => Ok(()),
                    _ => Err(format!(
                        "after SIGTERM koofs ended with {status}, mounted is {left:?}:\n{}",
                        self.log_end()
                    )),
                };
            }
            if Instant::now() > deadline {
                return Err(format!("koofs did not end within {TURN:?} after SIGTERM:\n{}", self.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that is left early (Ctrl-C, a finding) goes in order, if it goes soon; else it is killed and detached.
        if self.daemon.ended().is_none() {
            self.daemon.signal(libc::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(8);
            while self.daemon.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
