//! Opens a drive, or goes on with what is known of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::drive::Reconnecting;
use super::facts::Facts;
use super::plan::{Failed, Meaning, Opened, Plan};
use super::tries::Tries;
use crate::remote::Remote;

/// How long the mount of a source that is known waits for the service's first answer, of whatever kind. A network that takes longer is
/// one that swallows packets, or one that the mount goes on without until the service has answered.
const MAX_FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Opens a drive as `plan` says, by `open`, which blocks for the time limit of one operation at most. One that is known is there at once
/// if the service cannot be reached; all others are there only if they could be opened.
///
/// # Errors
/// That of `open`; what `no_thread` makes of a thread that cannot be started.
pub fn open<E: fmt::Display + Send + 'static>(
    plan: Plan,
    open: impl Fn() -> Opened<E> + Send + Sync + 'static,
    no_thread: impl Fn(io::Error) -> E,
) -> Result<Arc<Reconnecting>, E> {
    let open = Arc::new(open);
    let now = plan.clock.utc();
    let known = plan.known.clone().filter(|facts| facts.expires_at.is_none_or(|end| now < end));
    let Some(facts) = known.filter(|_| plan.may_be_offline) else {
        return match open() {
            Ok(inner) => Tries::start(plan, facts_of(&inner), Some(inner), None, open, None).map_err(no_thread),
            Err(failed) => {
                if let Meaning::Refused(_) = failed.meaning {
                    (plan.take_away)();
                }
                Err(failed.error)
            }
        };
    };
    let (sender, opened) = sync_channel(1);
    let opening = Arc::clone(&open);
    let started = std::thread::Builder::new().name("koofs-open".to_owned()).spawn(move || {
        // Nobody waits for it any more if the process is about to end.
        let _ = sender.send(opening());
    });
    started.map_err(&no_thread)?;
    let result = match opened.recv_timeout(MAX_FIRST_ANSWER) {
        Err(RecvTimeoutError::Timeout) if !(plan.has_answered)() => {
            let notice = format!("no answer within {} s", MAX_FIRST_ANSWER.as_secs());
            return Tries::start(plan, facts, None, Some(notice), open, Some(opened)).map_err(no_thread);
        }
        Err(RecvTimeoutError::Timeout) => opened.recv().ok(),
        result => result.ok(),
    };
    match result {
        Some(Ok(inner)) => Tries::start(plan, facts_of(&inner), Some(inner), None, open, None).map_err(no_thread),
        Some(Err(Failed { meaning: Meaning::Unreached(how), .. })) => {
            Tries::start(plan, facts, None, Some(how), open, None).map_err(no_thread)
        }
        Some(Err(failed)) => {
            if let Meaning::Refused(_) = failed.meaning {
                (plan.take_away)();
            }
            Err(failed.error)
        }
        None => Err(no_thread(io::Error::other("the thread that opens the source has ended"))),
    }
}

fn facts_of(inner: &Arc<dyn Remote>) -> Facts {
    Facts {
        root: inner.root(),
        shown_root: inner.root(),
        max_links: inner.max_links_per_call(),
        capacity: inner.capacity(),
        expires_at: inner.expires_at(),
    }
}
