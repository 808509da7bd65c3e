//! One FUSE session: mount options, what is agreed with the kernel, loop threads, read-ahead, and an end that unmounts
//! nothing but our own mount. Generic over the filesystem; knows nothing of what is inside.
//!
//! fuser 0.18.0 is worked around fact by fact (LINUX.md, section 1): it unmounts by path in `Drop` and at the end of
//! `Session::run` (1.1), so its `Mount` must never be dropped; and it does not give the kernel the subtype when it
//! mounts without the helper (1.4), so the type would be a bare `fuse`.

use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process;

use fuser::{BackgroundSession, Config, Filesystem, InitFlags, KernelConfig, MountOption, Session, SessionACL};
use log::{debug, info};

use super::mountinfo::{self, MountEntry};
use super::notify::Teller;
use crate::policy::linux::{MAX_BACKGROUND, MAX_REQUEST_BYTES, READ_AHEAD_KIB};

/// Loop threads: each only translates and hands over, and 16 answered small reads 2.4 times as fast as one (LINUX.md, section 3).
const LOOP_THREADS: usize = 16;

/// The longest source name, in bytes: /proc/self/mountinfo is read by line-oriented tools.
const MAX_SOURCE_BYTES: usize = 128;

/// The capabilities asked for beyond fuser's own (`ASYNC_READ`, `BIG_WRITES`, `MAX_PAGES`). Not asked for:
/// `ABORT_ERROR` (1.5); `AUTO_INVAL_DATA`, as a changed file is a new inode here and each read would check the attributes.
const CAPABILITIES: [InitFlags; 2] = [
    // Without it one lookup that waits holds up all others in its directory (LINUX.md, section 4).
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Attributes come with the listing for free; `find` is 12.9 times as fast (section 4). `_AUTO` does not help it.
    InitFlags::FUSE_DO_READDIRPLUS,
];

/// How to mount.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where: a directory, absolute and without symbolic links.
    pub mountpoint: PathBuf,
    /// What is mounted, for the mount table; any text.
    pub source: String,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// No program of the mount may be run.
    pub noexec: bool,
}

/// What kernel and filesystem agreed on; made for a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The FUSE version of the kernel: major, minor.
    pub kernel_abi: (u32, u32),
    /// The asked-for capabilities that the kernel has.
    pub granted: InitFlags,
    /// The asked-for capabilities that it lacks.
    pub refused: InitFlags,
}

impl fmt::Display for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FUSE {}.{}, granted {}", self.kernel_abi.0, self.kernel_abi.1, names(self.granted))?;
        if !self.refused.is_empty() {
            write!(f, ", not in this kernel: {}", names(self.refused))?;
        }
        write!(f, ", {MAX_BACKGROUND} background requests of at most {} KiB", MAX_REQUEST_BYTES / 1024)
    }
}

fn names(flags: InitFlags) -> String {
    if flags.is_empty() {
        return "none".to_owned();
    }
    flags.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

/// To be called by the filesystem's `init`: asks for what KooFS uses, and takes what the kernel has.
pub fn negotiate(config: &mut KernelConfig) -> Negotiated {
    let mut granted = InitFlags::empty();
    let mut refused = InitFlags::empty();
    for capability in CAPABILITIES {
        // One by one: fuser rejects a whole set for one missing bit.
        match config.add_capabilities(capability) {
            Ok(()) => granted |= capability,
            Err(missing) => refused |= missing,
        }
    }
    // These fail only for values out of fuser's bounds, which the constants are not.
    let bounds = [
        config.set_max_background(MAX_BACKGROUND).is_ok(),
        config.set_congestion_threshold(MAX_BACKGROUND).is_ok(),
        config.set_max_write(MAX_REQUEST_BYTES).is_ok(),
    ];
    debug_assert_eq!(bounds, [true; 3]);
    let version = config.kernel_abi();
    Negotiated { kernel_abi: (version.0, version.1), granted, refused }
}

/// A mounted filesystem whose loop does not run yet: whoever touches the mountpoint waits. This process must not.
pub struct Mounted<F: Filesystem> {
    session: Session<F>,
    mount: MountEntry,
}

/// Mounts `filesystem`, after its `init` has run. `None` if somebody has unmounted it already.
///
/// # Errors
/// What fuser says: no `/dev/fuse`, not permitted, no helper. Nothing is mounted then.
pub fn mount<F: Filesystem>(filesystem: F, options: &SessionOptions) -> io::Result<Option<Mounted<F>>> {
    let session = match Session::new(filesystem, &options.mountpoint, &fuser_config(options)) {
        // How fuser calls the end of the connection before the first request was answered.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            return if own_mount(&options.mountpoint)?.is_none() { Ok(None) } else { Err(error) };
        }
        session => session?,
    };
    let Some(mount) = own_mount(&options.mountpoint)? else {
        // There is nothing to unmount, and fuser would unmount whatever stands at the path by now.
        mem::forget(session);
        return Ok(None);
    };
    raise_read_ahead(&mount);
    Ok(Some(Mounted { session, mount }))
}

impl<F: Filesystem> Mounted<F> {
    /// The mount, for whoever has to unmount it.
    pub fn entry(&self) -> &MountEntry {
        &self.mount
    }

    /// The way to tell the kernel of changes, whose protocol has version `kernel_abi`. Never to be used on a loop thread (LINUX.md,
    /// section 7: deadlocks).
    ///
    /// # Errors
    /// When there is no further file descriptor.
    pub fn teller(&self, kernel_abi: (u32, u32)) -> io::Result<Teller> {
        let connection = self.session.as_fd().try_clone_to_owned()?;
        let (notifier, mountpoint) = (self.session.notifier(), self.mount.mountpoint.clone());
        Ok(Teller { notifier, connection, kernel_abi, mountpoint })
    }

    /// Starts the loop threads: the mount answers from now on.
    ///
    /// # Errors
    /// When the first thread cannot be started; fuser has unmounted then.
    pub fn start(self) -> io::Result<Running> {
        Ok(Running { background: self.session.spawn()?, mount: self.mount })
    }
}

/// A mount that answers.
pub struct Running {
    background: BackgroundSession,
    mount: MountEntry,
}

impl Running {
    /// Waits until the FUSE loop has ended, and ends the process with the exit code that `verdict` makes of it: of the mount,
    /// and of why the loop failed. A loop ends well, or with any error, when its mount was taken away; it also ends well when
    /// the connection was aborted, which leaves the mount where it is.
    ///
    /// Never returns, as the rest of `BackgroundSession` must never be dropped: its `Drop` unmounts by path.
    pub fn exit_at_end(self, verdict: impl FnOnce(&MountEntry, Option<String>) -> i32) -> ! {
        let failure = match self.background.guard.join() {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure.to_string()),
            Err(_) => Some("its thread panicked".to_owned()),
        };
        process::exit(verdict(&self.mount, failure))
    }
}

fn fuser_config(options: &SessionOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source_name(&options.source)),
        // Not `Subtype`: only the helper would be told. The kernel takes it as data as well (fs/fuse/inode.c, OPT_SUBTYPE).
        MountOption::CUSTOM("subtype=koofs".to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
    ];
    if options.noexec {
        config.mount_options.push(MountOption::NoExec);
    }
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(LOOP_THREADS);
    // clone_fd stays off: no measurable effect (LINUX.md, section 3).
    config
}

/// `source` without what has a meaning in mount options (fuser does not escape commas: A, bug 5) or in the mount table.
pub fn source_name(source: &str) -> String {
    let keep = |c: char| if c.is_ascii_graphic() && !matches!(c, ',' | '\\' | '#' | '"') { c } else { '_' };
    source.chars().take(MAX_SOURCE_BYTES).map(keep).collect()
}

/// Our mount in the table: the newest KooFS mount at the mountpoint, where there was none, and which another mount may cover by now;
/// `None` if it is gone. The table is all that may be asked before the loop runs: a question to the mount would wait for ever.
fn own_mount(mountpoint: &Path) -> io::Result<Option<MountEntry>> {
    let mounts = mountinfo::mounts()?;
    Ok(mounts.into_iter().rfind(|mount| mount.mountpoint == mountpoint && mount.is_koofs()))
}

/// Raises the read-ahead window, which INIT can only lower (section D). Takes root; without it sequential reads are slower.
fn raise_read_ahead(mount: &MountEntry) {
    let knob = format!("/sys/class/bdi/{}/read_ahead_kb", mount.device);
    match fs::write(&knob, READ_AHEAD_KIB.to_string()) {
        Ok(()) => debug!("{knob} is {READ_AHEAD_KIB}"),
        Err(refused) => info!("the kernel's read-ahead stays small, as {knob} cannot be written: {refused}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_name_cannot_add_mount_options() {
        for (source, want) in [
            ("koofs:1800000000000000001", "koofs:1800000000000000001"),
            ("koofs:a,allow_other", "koofs:a_allow_other"),
            ("a b\n\\#\"ä", "a_b_____"),
        ] {
            assert_eq!(source_name(source), want);
        }
        assert_eq!(source_name(&"x".repeat(1000)).len(), MAX_SOURCE_BYTES);
    }

    #[test]
    fn mount_is_read_only_and_checked_by_the_kernel() {
        let options =
            SessionOptions { mountpoint: "/m".into(), source: "koofs:1".to_owned(), allow_other: false, noexec: false };
        let config = fuser_config(&options);
        for option in [MountOption::RO, MountOption::NoSuid, MountOption::NoDev, MountOption::DefaultPermissions] {
            assert!(config.mount_options.contains(&option), "{option:?}");
        }
        assert_eq!(config.acl, SessionACL::Owner);
        assert!(!config.mount_options.contains(&MountOption::NoExec));
        let noexec = fuser_config(&SessionOptions { noexec: true, ..options.clone() });
        assert!(noexec.mount_options.contains(&MountOption::NoExec));
        assert_eq!(fuser_config(&SessionOptions { allow_other: true, ..options }).acl, SessionACL::All);
    }
}
