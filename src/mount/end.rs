//! The end of a mount: whether it was unmounted, or nobody answers any more while it is still there.

use std::thread;
use std::time::{Duration, Instant};

use log::{debug, error, info};

use crate::kernel::mountinfo::{self, MountEntry};
use crate::kernel::unmount::{self, Detachment};

/// How long a mount whose loop has ended may stay in the mount table before it counts as aborted: `umount -f` aborts the connection
/// first and takes the mount away next, some microseconds later, or refuses to, as somebody uses it.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// How often the mount table is looked at meanwhile.
const ABORT_PAUSE: Duration = Duration::from_millis(10);

/// The exit code at the end of the loop, with the log lines that go with it. A loop ends well when its mount was taken away, which
/// a thread may see as any error, but also when the connection was aborted, which leaves the mount where it is.
pub(super) fn end_of_loop(mount: &MountEntry, failure: Option<String>) -> i32 {
    let mountpoint = mount.mountpoint.display();
    if is_gone_soon(mount) {
        if let Some(failure) = failure {
            debug!("the FUSE loop of {mountpoint} ended with its mount: {failure}");
        }
        info!("{mountpoint} is unmounted");
        return 0;
    }
    match failure {
        Some(failure) => error!("the FUSE loop of {mountpoint} failed: {failure}"),
        None => error!("the FUSE connection of {mountpoint} was aborted (umount -f, or /sys/fs/fuse/connections)"),
    }
    match unmount::detach(mount) {
        Ok(Detachment::Done) => error!("{mountpoint} answers no more: unmounted"),
        Ok(Detachment::Gone) => {}
        Ok(Detachment::Covered(by)) => {
            error!("{mountpoint} is dead below another mount ({}): unmount that, then koofs unmount", by.fstype);
        }
        Err(failure) => error!("cannot unmount {mountpoint}: {failure}"),
    }
    1
}

/// Whether `mount` leaves the mount table within the grace.
fn is_gone_soon(mount: &MountEntry) -> bool {
    let deadline = Instant::now() + ABORT_GRACE;
    loop {
        // A table that cannot be read tells nothing: the attempt to unmount will.
        if mountinfo::mounts().is_ok_and(|mounts| !mounts.iter().any(|other| other.is_same_mount(mount))) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(ABORT_PAUSE);
    }
}
