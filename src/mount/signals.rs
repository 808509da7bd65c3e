//! SIGINT and SIGTERM end the mount, wherever its threads are. One thread receives them: the others have them blocked.

use std::io;
use std::mem::MaybeUninit;
use std::process;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use super::logging;
use super::supervisor::Supervisor;
use super::users::users_of;
use crate::fs::{DriveFs, FsError, Ino};
use crate::kernel::mountinfo::MountEntry;
use crate::kernel::unmount::{self, Detachment};
use crate::policy::printable::one_line;
use crate::sync::lock;

/// How long processes that still use the mount may finish their reads after a signal, before this process ends regardless.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// SIGHUP makes the mount forget its listings and open its log file anew, and must not end it when a terminal closes.
pub(super) const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// What the signal thread has to unmount: empty until the mount is there. The lock is held while it is being made, so that
/// a signal in that moment waits for the mount and takes it away, and does not leave a dead one.
#[derive(Clone, Default)]
pub(super) struct Shared {
    mount: Arc<Mutex<Option<MountEntry>>>,
    drive: Arc<Mutex<Option<Arc<DriveFs>>>>,
    supervisor: Supervisor,
}

impl Shared {
    /// The slot, locked.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<MountEntry>> {
        lock(&self.mount)
    }

    /// Says what SIGHUP refreshes.
    pub(super) fn set_refresh(&self, drive: Option<Arc<DriveFs>>) {
        *lock(&self.drive) = drive;
    }

    /// Whoever has started this process and wants to know how it is.
    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    fn refresh(&self) {
        let drive = lock(&self.drive).clone();
        if let Some(drive) = drive {
            info!("SIGHUP: forgetting what is remembered of the tree");
            // Before the mount is there, "ready" is not ours to say.
            let supervisor = Some(self.supervisor.clone()).filter(|_| self.lock().is_some());
            supervisor.iter().for_each(Supervisor::reloading);
            let done = move |result: Result<(), FsError>| {
                if let Err(error) = result {
                    warn!("nothing is forgotten: {}", one_line(&error));
                }
                supervisor.iter().for_each(Supervisor::reloaded);
            };
            drive.refresh(Ino::ROOT, Box::new(done));
        }
    }
}

/// Blocks the signals in this thread and all that it starts, and starts the thread that receives them. To be called
/// before any other thread is started: a thread that does not block them would be ended by them, and the process with it.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(supervisor: &Supervisor) -> io::Result<Shared> {
    let signals = signal_set();
    // SAFETY: `signals` is an initialised set; the old mask is not asked for.
    let refused = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signals, ptr::null_mut()) };
    if refused != 0 {
        return Err(io::Error::from_raw_os_error(refused));
    }
    let shared = Shared { supervisor: supervisor.clone(), ..Shared::default() };
    let slot = shared.clone();
    thread::Builder::new().name("koofs-signals".to_owned()).spawn(move || end_on_signal(&slot))?;
    Ok(shared)
}

fn end_on_signal(slot: &Shared) {
    let signal = wait_for_end(slot, None).unwrap_or(libc::SIGTERM);
    let Some(mount) = slot.lock().clone() else {
        info!("ended by signal {signal} before the mount was there");
        process::exit(128 + signal);
    };
    info!("signal {signal}: unmounting {}", mount.mountpoint.display());
    slot.supervisor.stopping();
    let users = users_of(&mount.mountpoint);
    match unmount::detach(&mount) {
        Ok(Detachment::Done | Detachment::Gone) => await_loop(slot, &mount, &users),
        Ok(Detachment::Covered(by)) => {
            error!("{} is covered by another mount ({}): left as it is", mount.mountpoint.display(), by.fstype);
            process::exit(1);
        }
        Err(failure) => {
            error!("cannot unmount {}: {failure}", mount.mountpoint.display());
            process::exit(1);
        }
    }
}

/// The mount is out of sight. The FUSE loop ends with the last user, and the main thread ends the process; a second signal
/// or the end of the grace ends it here, and those users get ECONNABORTED.
fn await_loop(slot: &Shared, mount: &MountEntry, users: &[String]) {
    if !users.is_empty() {
        warn!(
            "{} was busy: detached lazily; processes still using it: {}",
            mount.mountpoint.display(),
            users.join(", ")
        );
    }
    if wait_for_end(slot, Some(Instant::now() + SHUTDOWN_GRACE)).is_none() {
        warn!("{} is still in use after {} s: ending anyway", mount.mountpoint.display(), SHUTDOWN_GRACE.as_secs());
    }
    process::exit(0);
}

/// The next signal that asks for the end; `None` when `deadline` has come first.
fn wait_for_end(slot: &Shared, deadline: Option<Instant>) -> Option<i32> {
    loop {
        match wait_for_signal(deadline)? {
            libc::SIGHUP => {
                logging::reopen();
                slot.refresh();
            }
            signal => return Some(signal),
        }
    }
}

fn wait_for_signal(deadline: Option<Instant>) -> Option<i32> {
    let signals = signal_set();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A day stands for "no deadline": the loop goes on after it.
        let left_seconds = left.unwrap_or(Duration::from_secs(24 * 3600));
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(left_seconds.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(i32::try_from(left_seconds.subsec_nanos()).unwrap_or(0)),
        };
        // SAFETY: both pointers are to initialised values that outlive the call; no siginfo is asked for.
        let signal = unsafe { libc::sigtimedwait(&signals, ptr::null_mut(), &timeout) };
        if signal > 0 {
            return Some(signal);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
    }
}

fn signal_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; sigaddset gets an initialised set and signal numbers that exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}
