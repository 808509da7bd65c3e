//! The thread that tries to reach a service that was not reached, and keeps what is known of the source.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::drive::Reconnecting;
use super::facts::Facts;
use super::plan::{Opened, Plan};
use crate::remote::Remote;

/// How often it is looked whether what is known of the source is still kept: other blobs, which are used more often, may have taken its
/// place, and it counts from when the service last answered.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The work of the thread.
pub(super) struct Tries<O> {
    drive: Weak<Reconnecting>,
    open: Arc<O>,
    woken: Receiver<()>,
}

impl<E, O> Tries<O>
where
    E: fmt::Display + Send + 'static,
    O: Fn() -> Opened<E> + Send + Sync + 'static,
{
    /// The drive of which `facts` are known, with the thread that tries it. Without `inner` it is offline, for the reason `notice`;
    /// `opening` is a try that is under way.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(
        plan: Plan,
        facts: Facts,
        inner: Option<Arc<dyn Remote>>,
        notice: Option<String>,
        open: Arc<O>,
        opening: Option<Receiver<Opened<E>>>,
    ) -> io::Result<Arc<Reconnecting>> {
        let (wake, woken) = sync_channel(1);
        let clock = Arc::clone(&plan.clock);
        let drive = Arc::new(Reconnecting::new(plan, facts, inner, notice, wake));
        let tries = Tries { drive: Arc::downgrade(&drive), open, woken };
        std::thread::Builder::new().name("koofs-reach".to_owned()).spawn(move || {
            if let Some(opened) = opening.and_then(|opening| opening.recv().ok())
                && let Some(drive) = tries.drive.upgrade()
            {
                drive.opened(opened);
            }
            let mut keep_at = clock.now();
            while let Some(next) = tries.look(&mut keep_at) {
                match tries.woken.recv_timeout(clock.time_until(next)) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(drive)
    }

    /// Does what is due; when to look again. `None` once the drive is gone.
    fn look(&self, keep_at: &mut Instant) -> Option<Instant> {
        let drive = self.drive.upgrade()?;
        let now = drive.now();
        drive.end_expired();
        if drive.is_due(now) {
            drive.try_once(self.open.as_ref());
        }
        if drive.is_news() || *keep_at <= now {
            drive.keep();
            *keep_at = now + KEEP_INTERVAL;
        }
        Some(drive.next_try().map_or(*keep_at, |due| due.min(*keep_at)))
    }
}
