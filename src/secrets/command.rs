//! The command that prints a token: run by the shell, with limits on time and output; only its standard output is read.
//!
//! Blocks its thread while the command runs. The command gets none of our secrets: every `KOOFS_…` variable is taken out of its
//! environment. What it prints is never shown: not even standard error, which may repeat what it was given.

use std::env;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::config::Secret;

/// The most that the command may take. A call waits for it, so it must leave time for that.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// The most of its output that is read, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// The longest single wait for output, in milliseconds: the end of the command is noticed at most so much later.
const POLL_MS: u16 = 20;

/// What all variables with our secrets start with.
const OWN_VARIABLES: &[u8] = b"KOOFS_";

/// Why the command gave no token. `Display` is one line with a remedy, and nothing that the command printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It could not be started: the system's error text.
    NotStarted(String),
    /// It ended with a failure: its exit code or signal, in words.
    Failed(String),
    /// It was killed after this time.
    TimedOut(Duration),
    /// Its output has no first line.
    NoOutput,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "run the command of --token-command by hand to see what it says";
        match self {
            CommandError::NotStarted(reason) => {
                write!(f, "the token command cannot be started ({reason}): check that sh is installed")
            }
            CommandError::Failed(how) => write!(f, "the token command failed ({how}): {REMEDY}"),
            CommandError::TimedOut(limit) => write!(
                f,
                "the token command took longer than {} s and was killed: make it faster, or keep a token in --token-file",
                limit.as_secs()
            ),
            CommandError::NoOutput => write!(f, "the token command printed no token: {REMEDY}"),
        }
    }
}

/// The first line that the shell's `command` prints, if it then succeeds. Takes [`COMMAND_LIMIT`] at most, and no
/// more than `limit`.
///
/// # Errors
/// [`CommandError`]; the command and all that it has started are killed by then.
pub fn run_command(command: &str, limit: Duration) -> Result<Secret, CommandError> {
    let limit = COMMAND_LIMIT.min(limit);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own, so that what it starts can be killed with it.
    shell.process_group(0);
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(OWN_VARIABLES)) {
        shell.env_remove(name);
    }
    let mut child = shell.spawn().map_err(|error| CommandError::NotStarted(error.to_string()))?;
    let mut output = Vec::new();
    match wait(&mut child, &mut output, Instant::now() + limit) {
        Ok(Some(status)) if status.success() => first_line(&output).ok_or(CommandError::NoOutput),
        Ok(Some(status)) => Err(CommandError::Failed(described(status))),
        Ok(None) => {
            kill(&mut child);
            Err(CommandError::TimedOut(limit))
        }
        Err(error) => {
            kill(&mut child);
            Err(CommandError::Failed(error.to_string()))
        }
    }
}

/// Waits for the command's end while reading what it prints; `None` if it has not ended by `end`. Background processes that it has
/// started are not waited for.
fn wait(child: &mut Child, output: &mut Vec<u8>, end: Instant) -> io::Result<Option<ExitStatus>> {
    let mut stdout = child.stdout.take();
    loop {
        // In this order: all output from before the end is in the pipe by then.
        let status = child.try_wait()?;
        let pause = if status.is_some() { 0 } else { POLL_MS };
        let mut is_open = true;
        match &mut stdout {
            Some(pipe) if is_readable(pipe, pause)? => is_open = read_some(pipe, output)? > 0,
            _ if status.is_some() => return Ok(status),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(POLL_MS.into())),
        }
        if !is_open {
            stdout = None;
        }
        if Instant::now() >= end {
            return Ok(status);
        }
    }
}

/// Waits for `pause_ms` at most until a read of `pipe` would not block.
fn is_readable(pipe: &ChildStdout, pause_ms: u16) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd, whose descriptor `pipe` keeps open.
    match unsafe { libc::poll(&raw mut poll, 1, pause_ms.into()) } {
        0 => Ok(false),
        1 => Ok(true),
        _ => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
    }
}

/// Reads once; output beyond the limit is dropped.
fn read_some(pipe: &mut ChildStdout, output: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    let len = pipe.read(&mut piece)?;
    let room = MAX_OUTPUT_BYTES.saturating_sub(output.len());
    output.extend_from_slice(&piece[..len.min(room)]);
    Ok(len)
}

/// Kills the command with all that is in its group, and collects it.
fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // SAFETY: only sends a signal. The child has not been waited for, so its id, which is its group's, is still its own.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn first_line(output: &[u8]) -> Option<Secret> {
    let line = std::str::from_utf8(output.split(|byte| *byte == b'\n').next()?).ok()?.trim();
    (!line.is_empty()).then(|| Secret::new(line))
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(command: &str) -> Result<String, CommandError> {
        run_command(command, Duration::from_secs(30)).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn first_line_of_a_success_is_the_token() {
        assert_eq!(printed("echo ' tok en '; echo second"), Ok("tok en".to_owned()));
        assert_eq!(printed("printf token"), Ok("token".to_owned()));
        assert_eq!(printed("echo token; yes | head -c 300000").as_deref(), Ok("token"));
        for silent in ["true", "echo", "echo >&2 token", "echo; echo token"] {
            assert_eq!(printed(silent), Err(CommandError::NoOutput), "{silent}");
        }
    }

    #[test]
    fn failure_tells_the_status_and_nothing_that_was_printed() {
        let error = printed("echo sesame; echo sesame >&2; exit 3").expect_err("it fails");
        assert_eq!(error, CommandError::Failed("exit status 3".to_owned()));
        assert!(!format!("{error} {error:?}").contains("sesame"));
        assert_eq!(printed("kill -9 $$"), Err(CommandError::Failed("killed by signal 9".to_owned())));
        assert!(matches!(printed("no-such-command-here"), Err(CommandError::Failed(_))));
    }

    #[test]
    fn command_is_killed_with_what_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let pid_file = directory.path().join("pid");
        let command = format!("sleep 60 & echo $! > '{}'; wait", pid_file.display());
        let started = Instant::now();
        let error = run_command(&command, Duration::from_millis(300)).expect_err("it is killed");
        assert!(matches!(error, CommandError::TimedOut(_)), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid = std::fs::read_to_string(&pid_file).expect("it was started");
        let gone = |pid: &str| match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            // Killed, and not yet collected by whoever inherited it.
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !gone(&pid) {
            assert!(started.elapsed() < Duration::from_secs(10), "the sleep lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_is_left_in_the_background_is_not_waited_for() {
        let started = Instant::now();
        assert_eq!(printed("sleep 20 & echo token").as_deref(), Ok("token"));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
