//! Taking a mount away, and only that one: fuser 0.18.0 would unmount whatever stands at the path (LINUX.md, 1.1).
//!
//! Everything here works on dead mounts and on mounts that do not answer: it sends no request to the filesystem.

use std::env;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mountinfo::{self, MountEntry};

/// How a mount left the mount table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody used it; it is gone.
    Clean,
    /// It was in use: out of sight now, gone when the last user closes it.
    Detached,
}

/// What [`detach`] found at the mountpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detachment {
    /// Our mount, now detached.
    Done,
    /// Our mount is no longer in the mount table.
    Gone,
    /// Another mount covers ours. It was not touched, so ours is still there.
    Covered(MountEntry),
}

/// Detaches `mount` if it is the one that its mountpoint shows, at once, even if it is busy.
///
/// Another mount that arrives between the look into the table and the system call, some microseconds, would be detached
/// instead: Linux has no call that names a mount by its id.
///
/// # Errors
/// When the table cannot be read or the kernel, or `fusermount3` for others than root, refuses.
pub fn detach(mount: &MountEntry) -> io::Result<Detachment> {
    let mounts = mountinfo::mounts()?;
    if !mounts.iter().any(|other| other.is_same_mount(mount)) {
        return Ok(Detachment::Gone);
    }
    match mountinfo::newest_at(&mounts, &mount.mountpoint) {
        Some(top) if !top.is_same_mount(mount) => Ok(Detachment::Covered(top.clone())),
        _ => umount(&mount.mountpoint, libc::MNT_DETACH, &["-u", "-z"]).map(|()| Detachment::Done),
    }
}

/// Unmounts `mount`, which must be the one that its mountpoint shows: cleanly if nobody uses it, else lazily.
///
/// # Errors
/// As [`detach`]; and when another mount covers it meanwhile.
pub fn unmount(mount: &MountEntry) -> io::Result<Unmounted> {
    if umount(&mount.mountpoint, 0, &["-u"]).is_ok() {
        return Ok(Unmounted::Clean);
    }
    // Busy, or refused: the second call, which does not mind the users, tells which.
    match detach(mount)? {
        Detachment::Done => Ok(Unmounted::Detached),
        Detachment::Gone => Ok(Unmounted::Clean),
        Detachment::Covered(by) => {
            Err(io::Error::other(format!("it is covered by another mount ({}); unmount that first", by.fstype)))
        }
    }
}

/// `umount2(2)`; where that is not permitted, the setuid helper does the same for the mount's owner.
fn umount(mountpoint: &Path, flags: i32, helper_options: &[&str]) -> io::Result<()> {
    let path = CString::new(mountpoint.as_os_str().as_bytes())?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call; umount2 keeps no pointer to it.
    if unsafe { libc::umount2(path.as_ptr(), flags | libc::UMOUNT_NOFOLLOW) } == 0 {
        return Ok(());
    }
    let refused = io::Error::last_os_error();
    if refused.kind() != io::ErrorKind::PermissionDenied {
        return Err(refused);
    }
    let Some(helper) = fusermount() else { return Err(refused) };
    let output = Command::new(helper).args(helper_options).arg("--").arg(mountpoint).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The setuid helper, found where fuser finds it (LINUX.md, 1.3): `FUSERMOUNT_PATH`, then `PATH`, then the usual directories.
pub fn fusermount() -> Option<PathBuf> {
    if let Some(named) = env::var_os("FUSERMOUNT_PATH") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        env::split_paths(&path).chain(["/usr/bin", "/bin", "/sbin"].map(PathBuf::from)).collect();
    let candidates = ["fusermount3", "fusermount"].into_iter();
    candidates
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|path| path.is_file())
}
