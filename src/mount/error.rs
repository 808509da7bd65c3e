//! Why there is no mount, or why it is still there: each with what to do about it, in one line.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::HttpError;
use crate::kernel::mountinfo::MountEntry;
use crate::koodrive::OpenError;
use crate::listing::ListError;
use crate::policy::shell::shell_word;

/// What other filesystems answer to our ioctl (ENOTTY, ioctl(2)).
const NOT_A_MOUNT_OF_OURS: i32 = 25;

/// A failed `koofs mount` or `koofs unmount`. `Display` is one line with a remedy, the cause is its `source`.
#[derive(Debug)]
pub enum MountError {
    /// The mountpoint does not exist.
    Missing(PathBuf),
    /// The mountpoint is no directory.
    NotADirectory(PathBuf),
    /// Something is mounted there already, and alive if it is ours.
    Busy(MountEntry),
    /// A dead mount of ours could not be taken away.
    DeadMount(MountEntry, io::Error),
    /// Something is in the mountpoint, which a mount would hide.
    NotEmpty(PathBuf),
    /// This user, who is not root, may not write to the mountpoint: the helper refuses to mount there.
    NotWritable(PathBuf, u32),
    /// The mountpoint could not be looked at.
    Inspect(PathBuf, io::Error),
    /// `/dev/fuse` does not exist.
    NoDevice(PathBuf),
    /// `/dev/fuse` may not be opened.
    DeviceDenied(PathBuf, io::Error),
    /// Mounting is not permitted, and the helper that would be is not installed.
    NoHelper,
    /// `--allow-other` needs a line in this file.
    AllowOtherRefused(PathBuf),
    /// The share could not be opened.
    Open(OpenError),
    /// `--root` names nothing in the share, or not a directory.
    Root(ListError),
    /// `--root` names a file.
    RootIsAFile(String),
    /// The connection to the object store could not be prepared.
    Http(HttpError),
    /// The kernel, or the helper, refused the mount.
    Refused(io::Error),
    /// Somebody has unmounted it before it answered.
    UnmountedEarly(PathBuf),
    /// A system call failed that does not.
    System(&'static str, io::Error),
    /// `--metrics`: nothing can be served there.
    Metrics(String, io::Error),
    /// The log file could not be opened.
    LogFile(PathBuf, io::Error),
    /// The log file is one that another user may have put there: in words.
    UnsafeLogFile(PathBuf, String),
    /// The process in the background said this, and ended with this exit code.
    Background(String, u8),
    /// The process in the background ended without a word.
    DiedSilently(String),
    /// The process in the background was not ready in time, and was killed.
    TooSlow(Duration),
    /// Nothing is there that could be mounted.
    NothingThere(PathBuf),
    /// Nothing is mounted there.
    NotMounted(PathBuf),
    /// It is another user's mount, and this one is not root.
    Others {
        /// What is mounted.
        mount: Box<MountEntry>,
        /// Whose mount it is.
        owner: u32,
        /// What was to be done to it.
        verb: &'static str,
    },
    /// What is mounted there is not KooFS.
    NotOurs(MountEntry),
    /// The mount was to be made writable.
    ReadOnly(PathBuf),
    /// What is to be refreshed does not exist.
    NothingToRefresh(PathBuf),
    /// What is there could not be refreshed.
    Refresh(PathBuf, io::Error),
    /// The kernel, or the helper, refused to unmount.
    Unmount(PathBuf, io::Error),
}

/// The exit code where the service refuses the credentials. A supervisor must not try again with the same ones: services lock an
/// account or a share after some number of wrong attempts.
const CREDENTIALS_REFUSED: u8 = 3;

/// The exit code of every other failure.
pub(super) const FAILED: u8 = 1;

impl MountError {
    /// The exit code of a command that fails so: 3 if the service refuses the credentials, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            MountError::Open(error) if error.refuses_credentials() => CREDENTIALS_REFUSED,
            MountError::Background(_, code) => *code,
            _ => FAILED,
        }
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::Missing(path) => {
                let (shown, word) = (path.display(), shell_word(path));
                write!(f, "mountpoint {shown} does not exist; create it: mkdir -p {word}")
            }
            MountError::NotADirectory(path) => write!(f, "mountpoint {} is not a directory", path.display()),
            MountError::NotEmpty(path) => {
                let path = path.display();
                write!(f, "mountpoint {path} is not empty, and a mount hides what is in it; ")?;
                f.write_str("choose an empty directory, or give --nonempty")
            }
            MountError::NotWritable(path, user) => {
                let (shown, word) = (path.display(), shell_word(path));
                write!(f, "mountpoint {shown} must belong to you and be writable, as you are not root; ")?;
                write!(f, "choose a directory of your own, or as root run: chown {user} {word}")
            }
            MountError::Busy(mount) if mount.is_koofs() => {
                let (path, word) = (mount.mountpoint.display(), shell_word(&mount.mountpoint));
                write!(f, "{path} has {} mounted already; unmount it first: koofs unmount {word}", mount.source)
            }
            MountError::Busy(mount) => {
                let path = mount.mountpoint.display();
                write!(
                    f,
                    "{path} has another filesystem mounted already ({} of type {}); ",
                    mount.source, mount.fstype
                )?;
                f.write_str("choose another directory, or unmount that")
            }
            MountError::DeadMount(mount, _) => {
                let (path, word) = (mount.mountpoint.display(), shell_word(&mount.mountpoint));
                write!(f, "{path} has a dead mount of {}; as its owner or root run: koofs unmount {word}", mount.source)
            }
            MountError::Inspect(path, _) => write!(f, "cannot look at mountpoint {}", path.display()),
            MountError::NoDevice(device) => {
                let device = device.display();
                write!(
                    f,
                    "{device} is missing; load the module: modprobe fuse (container: --device {device} --cap-add SYS_ADMIN)"
                )
            }
            MountError::DeviceDenied(device, _) => {
                write!(
                    f,
                    "{0} may not be opened; as root run: chmod 666 {0} (container: --device {0})",
                    device.display()
                )
            }
            MountError::NoHelper => f.write_str(
                "not permitted to mount, and fusermount3 is missing; install the package fuse3, or run as root \
                 (container: --cap-add SYS_ADMIN)",
            ),
            MountError::AllowOtherRefused(file) => {
                write!(f, "--allow-other is for root only, until {} has a line `user_allow_other`", file.display())
            }
            // Says itself what is wrong, why, and what to do: it has no source here.
            MountError::Open(error) => error.fmt(f),
            MountError::Root(_) => f.write_str("--root cannot be mounted; see what there is with koofs ls"),
            MountError::RootIsAFile(path) => write!(f, "--root {path} is a file; name the folder that holds it"),
            MountError::Http(_) => f.write_str("cannot prepare to read from object stores"),
            MountError::Refused(_) => f.write_str("the mount was refused"),
            MountError::UnmountedEarly(path) => {
                write!(f, "{} was unmounted by somebody else before the mount was ready", path.display())
            }
            MountError::System(call, _) => write!(f, "{call} failed"),
            MountError::Metrics(at, _) => write!(f, "cannot serve metrics at {at}: give --metrics another address"),
            MountError::LogFile(path, _) => write!(f, "cannot open log file {}", path.display()),
            MountError::UnsafeLogFile(path, why) => {
                write!(f, "log file {} {why}: remove it, or name another with --log-file", path.display())
            }
            MountError::Background(line, _) => f.write_str(line),
            MountError::DiedSilently(how) => {
                write!(f, "the mount process ended before the mount was ready ({how}); run it with -f -vv to see more")
            }
            MountError::TooSlow(limit) => {
                write!(f, "the mount was not ready within {} s and was given up; see --op-timeout", limit.as_secs())
            }
            MountError::NothingThere(path) => write!(f, "nothing to unmount: {} does not exist", path.display()),
            MountError::Others { mount, owner, verb } => {
                let (path, source) = (mount.mountpoint.display(), &mount.source);
                write!(f, "{path} has {source} mounted by user {owner}: only its owner and root may {verb} it")
            }
            MountError::NothingToRefresh(path) => {
                let parent = path.parent().unwrap_or(path);
                write!(f, "there is no {}; if it is new, refresh where it should be: ", path.display())?;
                write!(f, "koofs refresh {}", shell_word(parent))
            }
            MountError::NotMounted(path) => write!(f, "nothing is mounted at {}", path.display()),
            MountError::NotOurs(mount) => {
                let path = mount.mountpoint.display();
                write!(f, "{path} is not a KooFS mount: {} of type {}; left as it is", mount.source, mount.fstype)
            }
            MountError::ReadOnly(path) => {
                write!(f, "cannot remount {} read-write, as KooFS is read-only: give ro", path.display())
            }
            MountError::Refresh(path, cause) if cause.raw_os_error() == Some(NOT_A_MOUNT_OF_OURS) => {
                write!(f, "{} is not in a KooFS mount: nothing to refresh", path.display())
            }
            MountError::Refresh(path, cause) if cause.kind() == io::ErrorKind::NetworkUnreachable => {
                let path = path.display();
                write!(
                    f,
                    "{path} is not refreshed: the service cannot be reached, and what is remembered could not be "
                )?;
                f.write_str("had again; it is tried again now")
            }
            MountError::Refresh(path, _) => write!(f, "cannot refresh {}", path.display()),
            MountError::Unmount(path, _) => write!(f, "cannot unmount {}", path.display()),
        }
    }
}

impl Error for MountError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            MountError::Root(cause) => Some(cause),
            MountError::Http(cause) => Some(cause),
            MountError::DeadMount(_, cause)
            | MountError::Inspect(_, cause)
            | MountError::DeviceDenied(_, cause)
            | MountError::Refused(cause)
            | MountError::System(_, cause)
            | MountError::Metrics(_, cause)
            | MountError::LogFile(_, cause)
            | MountError::Refresh(_, cause)
            | MountError::Unmount(_, cause) => Some(cause),
            _ => None,
        }
    }
}
