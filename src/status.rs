//! `koofs status`: asks mounts how they are, and prints it for people or as JSON. Touches no network, and of a mount nothing but the
//! question.

mod lines;
mod table;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::StatusConfig;
use crate::kernel::inquiry::ask;
use crate::kernel::mountinfo::{self, MountEntry};
use crate::policy::printable::json_text;
use lines::Lines;

/// How long one mount is waited for. It answers from memory; one that was stopped never does.
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// How often `--watch` asks.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Goes to the first place of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What other filesystems answer to our ioctl (ENOTTY, ioctl(2)).
const NOT_A_MOUNT_OF_OURS: i32 = 25;

/// Why there is no status. `Display` is one line.
#[derive(Debug)]
pub enum StatusError {
    /// There is no such path, or it is in no KooFS mount.
    NotMounted(PathBuf),
    /// It is another user's mount.
    Others(PathBuf, Option<u32>),
    /// Its process is gone.
    Dead(PathBuf),
    /// Its process does not answer.
    Silent(PathBuf),
    /// The question failed.
    Io(PathBuf, io::Error),
    /// The answer could not be written.
    Output(io::Error),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusError::NotMounted(path) => write!(f, "{} is not in a KooFS mount", path.display()),
            StatusError::Others(path, owner) => {
                let owner = owner.map_or_else(|| "another user".to_owned(), |owner| format!("user {owner}"));
                write!(
                    f,
                    "{} is mounted by {owner}: only its owner may ask, and root with --allow-other",
                    path.display()
                )
            }
            StatusError::Dead(path) => {
                write!(f, "the process of {} is gone: mount again, or take it away by koofs unmount", path.display())
            }
            StatusError::Silent(path) => {
                write!(f, "{} does not answer: its process is stopped, or the machine is very busy", path.display())
            }
            StatusError::Io(path, _) => write!(f, "cannot ask {}", path.display()),
            StatusError::Output(_) => f.write_str("cannot write the status"),
        }
    }
}

impl Error for StatusError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StatusError::Io(_, cause) | StatusError::Output(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Prints the status of one mount, or of all of this user's; again and again if so asked.
///
/// # Errors
/// [`StatusError`]. Of several mounts, those without a status are listed as such, and are no error.
pub fn run(
    config: &StatusConfig,
    clock: &dyn Clock,
    is_terminal: bool,
    out: &mut dyn Write,
) -> Result<(), StatusError> {
    loop {
        let text = match &config.path {
            Some(path) => of_path(path, config.is_json)?,
            None => of_all(config.is_json)?,
        };
        let clear = if config.is_watching && is_terminal && !config.is_json { CLEAR } else { "" };
        write!(out, "{clear}{text}").and_then(|()| out.flush()).map_err(StatusError::Output)?;
        if !config.is_watching {
            return Ok(());
        }
        clock.sleep(WATCH_PAUSE);
    }
}

fn of_path(path: &Path, is_json: bool) -> Result<String, StatusError> {
    let mounts = mounts()?;
    let around = path.ancestors().find_map(|ancestor| mountinfo::newest_at(&mounts, ancestor));
    let mount = around.filter(|mount| mount.is_koofs());
    let (asked, mountpoint) = match mount {
        Some(mount) => (mount.mountpoint.as_path(), mount.mountpoint.display().to_string()),
        // A link may lead into a mount.
        None => (path, path.display().to_string()),
    };
    let lines = lines_of(asked, mount)?;
    let alive = Alive { mountpoint, lines };
    Ok(if is_json { alive.json() } else { table::of_one(&alive.mountpoint, &alive.lines) })
}

fn of_all(is_json: bool) -> Result<String, StatusError> {
    let me = rustix::process::geteuid();
    let is_mine = |mount: &MountEntry| me.is_root() || mount.owner == Some(me.as_raw());
    let mut text = String::new();
    let mut rows = Vec::new();
    for mount in mounts()?.into_iter().filter(|mount| mount.is_koofs() && is_mine(mount)) {
        let mountpoint = mount.mountpoint.display().to_string();
        match lines_of(&mount.mountpoint, Some(&mount)) {
            Ok(lines) if is_json => text += &Alive { mountpoint, lines }.json(),
            Ok(lines) => rows.push(table::row(&mountpoint, &lines)),
            Err(error) if is_json => {
                let (mountpoint, source) = (json_text(&mountpoint), json_text(&mount.source));
                let state = json_text(state(&error));
                text += &format!("{{\"mountpoint\":{mountpoint},\"state\":{state},\"source\":{source}}}\n");
            }
            Err(error) => rows.push(table::row_without(&mountpoint, &mount.source, state(&error))),
        }
    }
    if is_json { Ok(text) } else { Ok(table::of_rows(&rows)) }
}

fn mounts() -> Result<Vec<MountEntry>, StatusError> {
    mountinfo::mounts().map_err(|error| StatusError::Io(PathBuf::from("/proc/self/mountinfo"), error))
}

/// In one word.
fn state(error: &StatusError) -> &'static str {
    match error {
        StatusError::Dead(_) => "dead",
        StatusError::Silent(_) => "silent",
        StatusError::Others(..) => "private",
        StatusError::NotMounted(_) | StatusError::Io(..) | StatusError::Output(_) => "unknown",
    }
}

/// A mount that has answered.
struct Alive {
    mountpoint: String,
    lines: Lines,
}

impl Alive {
    fn json(&self) -> String {
        format!("{}\n", self.lines.json(&[("mountpoint", json_text(&self.mountpoint)), ("state", json_text("alive"))]))
    }
}

/// What the mount that holds `path` says; `mount` is that mount, where it is known.
fn lines_of(path: &Path, mount: Option<&MountEntry>) -> Result<Lines, StatusError> {
    let (sender, receiver) = mpsc::channel();
    let (asked, path) = (path.to_owned(), path.to_owned());
    // Left behind if the mount does not answer: the process ends soon.
    std::thread::spawn(move || sender.send(ask(&asked)).ok());
    match receiver.recv_timeout(ASK_WITHIN) {
        Err(_) => Err(StatusError::Silent(path)),
        Ok(Ok(answer)) => Ok(Lines::parse(&String::from_utf8_lossy(&answer))),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::NotConnected => StatusError::Dead(path),
            ErrorKind::PermissionDenied if mount.is_some() => {
                StatusError::Others(path, mount.and_then(|mount| mount.owner))
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory => StatusError::NotMounted(path),
            _ if error.raw_os_error() == Some(NOT_A_MOUNT_OF_OURS) => StatusError::NotMounted(path),
            _ => StatusError::Io(path, error),
        }),
    }
}
