//! Checks before a mount is tried, so that the user reads a remedy and not an error number. Removes a dead mount of ours at the
//! mountpoint.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::info;

use super::error::MountError;
use crate::kernel::mountinfo::{self, MountEntry};
use crate::kernel::unmount::{self, Detachment};

/// Dead mounts that may lie on top of each other: one for each crash since the last start that looked.
const MAX_DEAD_MOUNTS: usize = 16;

/// The machine as far as mounting depends on it; a value, so that tests can have another one.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `/dev/fuse`.
    pub(super) device: PathBuf,
    /// `/etc/fuse.conf`.
    pub(super) fuse_conf: PathBuf,
    /// The effective user is root.
    pub(super) is_root: bool,
    /// The setuid helper, where there is one.
    pub(super) helper: Option<PathBuf>,
}

impl Machine {
    /// This machine.
    pub(super) fn this() -> Machine {
        Machine {
            device: PathBuf::from("/dev/fuse"),
            fuse_conf: PathBuf::from("/etc/fuse.conf"),
            is_root: user() == 0,
            helper: unmount::fusermount(),
        }
    }

    /// Whether this user can mount here at all.
    ///
    /// # Errors
    /// [`MountError::AllowOtherRefused`], [`MountError::NoDevice`], [`MountError::DeviceDenied`], [`MountError::NoHelper`].
    pub(super) fn check(&self, allow_other: bool) -> Result<(), MountError> {
        if !self.is_root && allow_other && !self.user_may_allow_other() {
            return Err(MountError::AllowOtherRefused(self.fuse_conf.clone()));
        }
        // fuser opens the device itself first, and asks the helper only when mount(2) is refused (src/kernel/LINUX.md, 1.3).
        if let Err(error) = OpenOptions::new().read(true).write(true).open(&self.device) {
            return Err(match error.kind() {
                ErrorKind::PermissionDenied => MountError::DeviceDenied(self.device.clone(), error),
                // ENODEV and ENXIO: the node is there and the module is not.
                _ => MountError::NoDevice(self.device.clone()),
            });
        }
        if !self.is_root && self.helper.is_none() {
            return Err(MountError::NoHelper);
        }
        Ok(())
    }

    fn user_may_allow_other(&self) -> bool {
        let conf = fs::read_to_string(&self.fuse_conf).unwrap_or_default();
        conf.lines().any(|line| line.trim() == "user_allow_other")
    }
}

/// `mountpoint` without symbolic links, ready to be mounted on.
///
/// May wait for a filesystem that is mounted there and does not answer: the caller has a time limit.
///
/// # Errors
/// [`MountError::Missing`], [`MountError::NotADirectory`], [`MountError::NotWritable`], [`MountError::NotEmpty`] unless
/// `may_hold_files`, [`MountError::Busy`], [`MountError::Others`], [`MountError::DeadMount`], [`MountError::Inspect`].
pub(super) fn clear_mountpoint(mountpoint: &Path, may_hold_files: bool) -> Result<PathBuf, MountError> {
    let inspect = |error| MountError::Inspect(mountpoint.to_owned(), error);
    let mountpoint = without_links(mountpoint)?;
    for _ in 0..MAX_DEAD_MOUNTS {
        let mounts = mountinfo::mounts().map_err(inspect)?;
        let Some(mount) = mountinfo::newest_at(&mounts, &mountpoint) else { break };
        replace_dead(mount)?;
    }
    let metadata = fs::metadata(&mountpoint).map_err(inspect)?;
    if !metadata.is_dir() {
        return Err(MountError::NotADirectory(mountpoint));
    }
    if !may_mount_on(&mountpoint, &metadata) {
        return Err(MountError::NotWritable(mountpoint, user()));
    }
    // A user who may write there but not list it cannot be told what is in it.
    let is_empty = fs::read_dir(&mountpoint).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !may_hold_files {
        return Err(MountError::NotEmpty(mountpoint));
    }
    Ok(mountpoint)
}

/// Whether this user may mount on a directory: root may; the setuid helper lets others only where they can write, and in a sticky
/// directory, like /tmp, only its owner (fusermount3, `check_perm`).
fn may_mount_on(mountpoint: &Path, metadata: &fs::Metadata) -> bool {
    if user() == 0 {
        return true;
    }
    let Ok(path) = CString::new(mountpoint.as_os_str().as_bytes()) else { return true };
    // SAFETY: `path` is a C string that outlives the call.
    let is_writable = unsafe { libc::access(path.as_ptr(), libc::W_OK) } == 0;
    let is_sticky = metadata.mode() & libc::S_ISVTX != 0;
    is_writable && (!is_sticky || metadata.uid() == user())
}

/// The user that this process runs as.
fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whose mount it is, if that is another user and this one is not root, who may do everything.
pub(super) fn other_owner(mount: &MountEntry) -> Option<u32> {
    mount.owner.filter(|owner| user() != 0 && *owner != user())
}

/// `mountpoint` without symbolic links. Works on a dead mount: realpath(3) reads links and asks no filesystem's root for its
/// attributes.
pub(super) fn without_links(mountpoint: &Path) -> Result<PathBuf, MountError> {
    fs::canonicalize(mountpoint).map_err(|error| match error.kind() {
        ErrorKind::NotFound => MountError::Missing(mountpoint.to_owned()),
        ErrorKind::NotADirectory => MountError::NotADirectory(mountpoint.to_owned()),
        _ => MountError::Inspect(mountpoint.to_owned(), error),
    })
}

/// Whether the process behind a mount is gone. Asked by statfs(2), which the kernel always passes on: the attributes of the
/// root it may still have in memory, for as long as they were said to be valid.
pub(super) fn is_dead(mountpoint: &Path) -> bool {
    let Ok(path) = CString::new(mountpoint.as_os_str().as_bytes()) else { return false };
    let mut figures = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is a C string and `figures` has room for the answer; both outlive the call.
    let failed = unsafe { libc::statfs(path.as_ptr(), figures.as_mut_ptr()) } != 0;
    failed && io::Error::last_os_error().kind() == ErrorKind::NotConnected
}

/// Takes `mount` away if it is KooFS and its process is gone.
fn replace_dead(mount: &MountEntry) -> Result<(), MountError> {
    if let Some(owner) = other_owner(mount).filter(|_| mount.is_koofs()) {
        return Err(MountError::Others { mount: Box::new(mount.clone()), owner, verb: "replace" });
    }
    if !mount.is_koofs() || !is_dead(&mount.mountpoint) {
        return Err(MountError::Busy(mount.clone()));
    }
    match unmount::detach(mount) {
        Ok(Detachment::Done | Detachment::Gone) => {
            info!("took away the dead mount of {} at {}", mount.source, mount.mountpoint.display());
            Ok(())
        }
        Ok(Detachment::Covered(by)) => Err(MountError::Busy(by)),
        Err(error) => Err(MountError::DeadMount(mount.clone(), error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::policy::printable::one_line;

    fn machine(directory: &Path, is_root: bool) -> Machine {
        let device = directory.join("fuse");
        fs::write(&device, "").unwrap();
        Machine { device, fuse_conf: directory.join("fuse.conf"), is_root, helper: None }
    }

    fn refusal(machine: &Machine, allow_other: bool) -> String {
        one_line(&machine.check(allow_other).unwrap_err())
    }

    #[test]
    fn missing_device_names_module_and_container_option() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine { device: directory.path().join("none"), ..machine(directory.path(), true) };
        let line = refusal(&machine, false);
        assert!(line.contains("modprobe fuse") && line.contains("--device"), "{line}");
    }

    #[test]
    fn missing_helper_names_its_package_unless_root() {
        let directory = tempfile::tempdir().unwrap();
        assert!(refusal(&machine(directory.path(), false), false).contains("package fuse3"));
        assert!(machine(directory.path(), true).check(true).is_ok());
        let with_helper = Machine { helper: Some("/x/fusermount3".into()), ..machine(directory.path(), false) };
        assert!(with_helper.check(false).is_ok());
    }

    #[test]
    fn allow_other_needs_its_line_unless_root() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine { helper: Some("/x/fusermount3".into()), ..machine(directory.path(), false) };
        for (conf, allowed) in
            [("", false), ("# user_allow_other\n", false), ("mount_max = 9\n user_allow_other \n", true)]
        {
            fs::write(&machine.fuse_conf, conf).unwrap();
            assert_eq!(machine.check(true).is_ok(), allowed, "{conf:?}");
        }
        fs::remove_file(&machine.fuse_conf).unwrap();
        let line = refusal(&machine, true);
        assert!(line.contains("user_allow_other") && line.contains("fuse.conf"), "{line}");
    }

    #[test]
    fn mountpoint_must_be_an_existing_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (file, empty) = (directory.path().join("file"), directory.path().join("a b"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&empty).unwrap();
        let clear = |path: &Path| clear_mountpoint(path, false);
        assert!(matches!(clear(&directory.path().join("none")), Err(MountError::Missing(_))));
        assert!(matches!(clear(&file), Err(MountError::NotADirectory(_))));
        assert!(matches!(clear(&file.join("x")), Err(MountError::NotADirectory(_))));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&empty, &link).unwrap();
        assert_eq!(clear(&link).unwrap(), empty.canonicalize().unwrap());
    }

    #[test]
    fn mountpoint_that_holds_files_is_refused_unless_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".hidden"), "").unwrap();
        let line = one_line(&clear_mountpoint(directory.path(), false).unwrap_err());
        assert!(line.contains("not empty") && line.contains("--nonempty"), "{line}");
        assert_eq!(clear_mountpoint(directory.path(), true).unwrap(), directory.path().canonicalize().unwrap());
    }

    #[test]
    fn foreign_mount_is_named_and_left_alone() {
        let line = one_line(&clear_mountpoint(Path::new("/proc"), true).unwrap_err());
        assert!(line.contains("/proc has another filesystem") && line.contains("type proc"), "{line}");
    }
}
