//! The composition root: builds the stack and lives with it. Preflight, daemon, readiness, signals, unmount; no rule of any
//! other room.
//!
//! Threads: the main thread waits for the end of the FUSE loop, `koofs-signals` for signals; fuser has the loop threads.

mod built;
mod cache;
mod daemon;
mod end;
mod error;
mod figures;
mod helper;
mod log_file;
mod log_queue;
pub mod logging;
mod preflight;
mod signals;
mod stack;
mod supervisor;
mod users;

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use fuser::Filesystem;
use log::{info, warn};

use crate::config::MountConfig;
use crate::kernel::mountinfo::{self, MountEntry};
use crate::kernel::notify;
use crate::kernel::refresh;
use crate::kernel::session::{self, SessionOptions};
use crate::kernel::unmount::{self, Unmounted};
use crate::policy::printable::one_line;
pub use built::Built;
use daemon::{Reporter, Side};
pub use error::MountError;
pub use helper::{is_mounted, remount};
use signals::Shared;
use stack::build_filesystem;
pub use stack::open_source;
use supervisor::Supervisor;

/// How long the end of a mount waits for what was read last to be written to the cache directory.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// `koofs mount`: returns when the mount answers, or, in the foreground, never but by error: the process ends with the mount.
///
/// # Errors
/// [`MountError`]; nothing of ours is mounted then.
///
/// # Safety
/// The process must have one thread only: it forks.
pub unsafe fn mount(config: &MountConfig) -> Result<(), MountError> {
    // SAFETY: the caller's promise.
    unsafe { mount_with(config, build_filesystem) }
}

/// [`mount`] with another filesystem than ours.
///
/// # Errors
/// As [`mount`].
///
/// # Safety
/// As [`mount`].
pub unsafe fn mount_with<F: Filesystem>(
    config: &MountConfig,
    build: impl FnOnce(&MountConfig) -> Result<Built<F>, MountError>,
) -> Result<(), MountError> {
    logging::start(config.verbosity, config.log_file.as_deref())?;
    // SAFETY: there is one thread only (the caller's promise).
    let supervisor = unsafe { Supervisor::take() };
    if config.foreground {
        let shared = receive_signals(&supervisor)?;
        logging::write_behind();
        return match serve(config, build, &shared, |_| Ok(())) {
            Ok(never) => match never {},
            // It has ended as somebody asked it to, like a mount that is unmounted later.
            Err(early @ MountError::UnmountedEarly(_)) => {
                info!("{early}");
                Ok(())
            }
            Err(error) => {
                supervisor.status(&one_line(&error));
                Err(error)
            }
        };
    }
    // SAFETY: the caller's promise.
    match unsafe { daemon::fork() }? {
        Side::Parent(starting) => {
            // The last try may begin when the time for tries is over.
            let opening = config.retry_mount.saturating_add(config.source.connection().op_timeout);
            starting.wait(&config.mountpoint, opening)
        }
        Side::Child(reporter) => serve_in_background(config, build, reporter, &supervisor),
    }
}

fn serve_in_background<F: Filesystem>(
    config: &MountConfig,
    build: impl FnOnce(&MountConfig) -> Result<Built<F>, MountError>,
    reporter: Reporter,
    supervisor: &Supervisor,
) -> ! {
    let watched = receive_signals(supervisor).and_then(|shared| match reporter.end_with_parent() {
        Ok(()) => Ok(shared),
        Err(error) => Err(MountError::System("starting the thread that waits for the parent", error)),
    });
    logging::write_behind();
    let mut reporter = Some(reporter);
    let tell = |mount: &MountEntry| reporter.take().map_or(Ok(()), |reporter| reporter.serving(mount));
    let error = match watched.and_then(|shared| serve(config, build, &shared, tell)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let failure = one_line(&error);
    supervisor.status(&failure);
    if config.log_file.is_some() {
        log::error!("{failure}");
    }
    if let Some(reporter) = reporter {
        reporter.failed(&failure);
    }
    std::process::exit(error.exit_code().into())
}

fn receive_signals(supervisor: &Supervisor) -> Result<Shared, MountError> {
    signals::start(supervisor).map_err(|error| MountError::System("starting the signal thread", error))
}

/// Mounts, calls `tell_ready`, and ends the process when the mount has ended.
fn serve<F: Filesystem>(
    config: &MountConfig,
    build: impl FnOnce(&MountConfig) -> Result<Built<F>, MountError>,
    shared: &Shared,
    tell_ready: impl FnOnce(&MountEntry) -> io::Result<()>,
) -> Result<Infallible, MountError> {
    preflight::Machine::this().check(config.allow_other)?;
    let supervisor = shared.supervisor();
    supervisor.status(&format!("opening {}", config.name));
    let mountpoint = preflight::clear_mountpoint(&config.mountpoint, config.nonempty)?;
    let Built { filesystem, drive, kernel_abi, store } = build(config)?;
    shared.set_refresh(drive.clone());
    let options = SessionOptions {
        mountpoint,
        source: config.name.clone(),
        allow_other: config.allow_other,
        noexec: config.noexec,
    };
    let mounted = {
        let mut slot = shared.lock();
        let mounted = session::mount(filesystem, &options).map_err(refused)?;
        let mounted = mounted.ok_or_else(|| MountError::UnmountedEarly(options.mountpoint.clone()))?;
        *slot = Some(mounted.entry().clone());
        mounted
    };
    let mount = mounted.entry().clone();
    if let Some(changes) = drive.and_then(|drive| drive.take_changes()) {
        let failed = |error| MountError::System("starting the thread that tells the kernel of changes", error);
        let teller = mounted.teller(kernel_abi.get().copied().unwrap_or_default()).map_err(failed)?;
        notify::start(teller, changes).map_err(failed)?;
    }
    let running = mounted.start().map_err(MountError::Refused)?;
    info!("{} is mounted at {}", mount.source, mount.mountpoint.display());
    if let Err(error) = tell_ready(&mount) {
        warn!("nobody waits for the mount any more ({error}): unmounting");
        unmount::detach(&mount).map_err(|error| MountError::Unmount(mount.mountpoint.clone(), error))?;
    }
    supervisor.ready(&format!("{} is mounted at {}", mount.source, mount.mountpoint.display()));
    let supervisor = supervisor.clone();
    running.exit_at_end(move |mount, failure| {
        supervisor.stopping();
        let code = end::end_of_loop(mount, failure);
        // What was read last is on its way to the disk.
        if store.is_some_and(|store| !store.flush(WRITTEN_WITHIN)) {
            info!("the cache directory is slow: what was read last is not all kept");
        }
        code
    })
}

/// fuser turns to the helper when mount(2) is not permitted, and fails with `NotFound` when there is none.
fn refused(error: io::Error) -> MountError {
    match error.kind() {
        ErrorKind::NotFound => MountError::NoHelper,
        // What the helper has printed, its line ends included.
        ErrorKind::Other => MountError::Refused(io::Error::other(error.to_string().trim().replace('\n', "; "))),
        _ => MountError::Refused(error),
    }
}

/// `koofs unmount`: takes the KooFS mount at `mountpoint` away, dead or alive, and says how it went. Returns when it is out
/// of the mount table.
///
/// # Errors
/// [`MountError::NothingThere`], [`MountError::NotMounted`], [`MountError::NotOurs`], [`MountError::Others`],
/// [`MountError::Unmount`].
pub fn unmount(mountpoint: &Path) -> Result<Unmounted, MountError> {
    let mountpoint = preflight::without_links(mountpoint).map_err(|error| match error {
        MountError::Missing(path) => MountError::NothingThere(path),
        error => error,
    })?;
    let failed = |error| MountError::Unmount(mountpoint.clone(), error);
    let mounts = mountinfo::mounts().map_err(failed)?;
    let mount = mountinfo::newest_at(&mounts, &mountpoint).ok_or_else(|| MountError::NotMounted(mountpoint.clone()))?;
    if !mount.is_koofs() {
        return Err(MountError::NotOurs(mount.clone()));
    }
    if let Some(owner) = preflight::other_owner(mount) {
        return Err(MountError::Others { mount: Box::new(mount.clone()), owner, verb: "unmount" });
    }
    unmount::unmount(mount).map_err(failed)
}

/// `koofs refresh`: has the mount that holds `path` forget what it remembers of it: of a directory and all below it, or of the
/// directory that holds a file.
///
/// # Errors
/// [`MountError::NothingToRefresh`], [`MountError::Others`], [`MountError::Refresh`].
pub fn refresh(path: &Path) -> Result<(), MountError> {
    let is_directory = path.metadata().map_err(|error| no_refresh(path, error))?.is_dir();
    let dir = if is_directory { path } else { path.parent().unwrap_or(path) };
    refresh::refresh(dir).map_err(|error| no_refresh(dir, error))
}

/// Why `path` cannot be refreshed.
fn no_refresh(path: &Path, error: io::Error) -> MountError {
    match error.kind() {
        ErrorKind::NotFound => return MountError::NothingToRefresh(path.to_owned()),
        ErrorKind::PermissionDenied => {}
        _ => return MountError::Refresh(path.to_owned(), error),
    }
    let mounts = mountinfo::mounts().unwrap_or_default();
    let around = path.ancestors().find_map(|ancestor| mountinfo::newest_at(&mounts, ancestor));
    match around.filter(|mount| mount.is_koofs()).and_then(|mount| Some((mount, preflight::other_owner(mount)?))) {
        Some((mount, owner)) => MountError::Others { mount: Box::new(mount.clone()), owner, verb: "refresh" },
        None => MountError::Refresh(path.to_owned(), error),
    }
}
