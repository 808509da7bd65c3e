//! A drive that may be out of reach.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::facts::Facts;
use super::plan::{Event, Failed, Meaning, Opened, Plan};
use crate::policy::outage::Outage;
use crate::policy::printable::one_line;
use crate::remote::{
    Capacity, Child, Cursor, LinkResults, NodeId, Page, Remote, RemoteError, RemoteErrorKind, SubtreePage, SubtreeSize,
};
use crate::sync::lock;

type Listener = Box<dyn Fn(Event) + Send + Sync>;

/// A drive that may be out of reach.
pub struct Reconnecting {
    plan: Plan,
    facts: Mutex<Facts>,
    /// Whether `facts` are all there is to know, and may be kept.
    is_rooted: AtomicBool,
    /// Whether that is news.
    is_news: AtomicBool,
    /// The drive itself, once it has been opened.
    inner: OnceLock<Arc<dyn Remote>>,
    outage: Mutex<Outage>,
    is_away: AtomicBool,
    /// When the service last answered.
    answered_at: Mutex<Option<SystemTime>>,
    /// Why nothing is shown of a source that was known from before.
    refusal: Mutex<Option<Refusal>>,
    /// Why it was not reached when it was mounted.
    notice: Option<String>,
    listener: OnceLock<Listener>,
    /// Wakes the thread that tries. Full means that it is about to look.
    wake: SyncSender<()>,
}

/// Why nothing is shown of a source.
struct Refusal {
    kind: RemoteErrorKind,
    why: String,
    by: Judge,
}

/// Who says that a source is not to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judge {
    /// The service: that is its last word.
    Service,
    /// The clock of this machine, by what the service has said before: the service is asked again, as the clock may be wrong, and the
    /// source may have been prolonged.
    Clock,
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reconnecting(away: {})", self.is_away.load(Ordering::Relaxed))
    }
}

impl Reconnecting {
    /// A drive of which `facts` are known. Without `inner` it is offline, for the reason `notice`. `wake` has its thread look.
    pub(super) fn new(
        plan: Plan,
        facts: Facts,
        inner: Option<Arc<dyn Remote>>,
        notice: Option<String>,
        wake: SyncSender<()>,
    ) -> Reconnecting {
        let is_away = inner.is_none();
        let tolerance = if plan.may_be_offline { plan.op_timeout } else { Duration::MAX };
        let outage = Outage::new(tolerance, is_away, plan.clock.now());
        let answered_at = (!is_away).then(|| plan.clock.utc());
        Reconnecting {
            plan,
            facts: Mutex::new(facts),
            is_rooted: AtomicBool::new(false),
            is_news: AtomicBool::new(false),
            inner: inner.map_or_else(OnceLock::new, OnceLock::from),
            outage: Mutex::new(outage),
            is_away: AtomicBool::new(is_away),
            answered_at: Mutex::new(answered_at),
            refusal: Mutex::new(None),
            notice,
            listener: OnceLock::new(),
            wake,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.plan.clock.now()
    }

    /// When it is to be tried.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let is_over = lock(&self.refusal).as_ref().is_some_and(|refusal| refusal.by == Judge::Service);
        lock(&self.outage).next_try().filter(|_| !is_over)
    }

    /// Whether it is to be tried at `now`: then it is.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_due = self.next_try().is_some_and(|due| due <= now);
        if is_due {
            lock(&self.outage).on_try(now);
        }
        is_due
    }

    /// Why the service was not reached at the mount, if it was not.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The directory that was shown as the root when the source was mounted last.
    pub fn known_root(&self) -> NodeId {
        lock(&self.facts).shown_root.clone()
    }

    /// Says which directory is shown as the root: with that, enough is known to be kept.
    pub fn set_shown_root(&self, root: NodeId) {
        lock(&self.facts).shown_root = root;
        self.is_rooted.store(true, Ordering::Release);
        self.is_news.store(true, Ordering::Release);
        self.wake();
    }

    /// Has `listener` told what happens from now on, on the thread that tries or on a caller's; once.
    pub fn listen(&self, listener: impl Fn(Event) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    fn tell(&self, event: Event) {
        if let Some(listener) = self.listener.get() {
            listener(event);
        }
    }

    /// The drive, if it can be asked.
    fn reachable(&self) -> Result<&Arc<dyn Remote>, RemoteError> {
        let refused =
            lock(&self.refusal).as_ref().map(|Refusal { kind, why, by }| (RemoteError::new(*kind, why.clone()), *by));
        if let Some((error, by)) = refused {
            if by == Judge::Clock {
                self.try_soon();
            }
            return Err(error);
        }
        match self.inner.get() {
            Some(inner) if !self.is_away.load(Ordering::Acquire) => Ok(inner),
            _ => {
                self.try_soon();
                let context = "offline: the service cannot be reached; it is tried again in the background";
                Err(RemoteError::new(RemoteErrorKind::Offline, context))
            }
        }
    }

    /// Notes what `result` says about whether the service can be reached.
    fn noted<T>(&self, result: Result<T, RemoteError>) -> Result<T, RemoteError> {
        match &result {
            Ok(_) => self.note_success(),
            Err(error) => self.note_failure(error),
        }
        result
    }

    fn note_failure(&self, error: &RemoteError) {
        match error.kind() {
            RemoteErrorKind::Unreachable | RemoteErrorKind::Foreign => {
                let now = self.plan.clock.now();
                let mut outage = lock(&self.outage);
                let was_doubted = outage.next_try().is_some();
                let is_news = outage.on_unreached(now);
                if is_news {
                    self.is_away.store(true, Ordering::Release);
                }
                drop(outage);
                if is_news {
                    let how = one_line(error);
                    let seconds = self.plan.op_timeout.as_secs();
                    log::warn!("offline: not reached for {seconds} s ({how}): {}", what_now(error.kind()));
                }
                if is_news || !was_doubted {
                    self.wake();
                }
            }
            // A server that hangs and a connection that breaks say nothing of the network, nor does a file of ours.
            RemoteErrorKind::Timeout
            | RemoteErrorKind::Interrupted
            | RemoteErrorKind::LoginNotReady
            | RemoteErrorKind::Offline => {}
            // It may be that the source is refused: what is known of it is not kept before something else is said.
            RemoteErrorKind::NotFound | RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin => {
                self.note_answer();
                *lock(&self.answered_at) = None;
            }
            RemoteErrorKind::Throttled
            | RemoteErrorKind::Unavailable
            | RemoteErrorKind::Changed
            | RemoteErrorKind::Malformed
            | RemoteErrorKind::CursorRefused
            | RemoteErrorKind::Unusable => self.note_answer(),
        }
    }

    fn note_success(&self) {
        *lock(&self.answered_at) = Some(self.plan.clock.utc());
        self.note_answer();
    }

    fn note_answer(&self) {
        let mut outage = lock(&self.outage);
        let is_news = outage.on_answer();
        if is_news {
            self.is_away.store(false, Ordering::Release);
        }
        drop(outage);
        // Whatever it says of the source, it says so itself.
        lock(&self.refusal).take_if(|refusal| refusal.by == Judge::Clock);
        if is_news {
            log::warn!("online: the service is reached again");
            self.tell(Event::Back);
        }
    }

    pub(super) fn try_once<E: fmt::Display>(&self, open: &impl Fn() -> Opened<E>) {
        let Some(inner) = self.inner.get() else { return self.opened(open()) };
        let deadline = self.plan.clock.now() + self.plan.op_timeout;
        let was_away = self.is_offline();
        let listed = self.noted(inner.list_page(&inner.root(), None, deadline));
        let refused =
            |kind| matches!(kind, RemoteErrorKind::NotFound | RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin);
        match listed {
            Err(error) if was_away && refused(error.kind()) => {
                log::warn!("the service refuses the source: {}", one_line(&error));
                self.take_away();
            }
            Err(error) => log::debug!("the service was tried: {}", one_line(&error)),
            Ok(_) => {}
        }
    }

    /// A source that was known from before has been opened, or not.
    pub(super) fn opened<E: fmt::Display>(&self, opened: Opened<E>) {
        match opened {
            Ok(inner) if inner.root() != lock(&self.facts).root => {
                let why = "it is another source by now: mount it again".to_owned();
                self.refuse(RemoteErrorKind::NotFound, why, Judge::Service);
            }
            Ok(inner) => {
                {
                    let mut facts = lock(&self.facts);
                    facts.expires_at = inner.expires_at();
                }
                let _ = self.inner.set(inner);
                self.note_success();
            }
            Err(Failed { error, meaning: Meaning::Refused(kind) }) => {
                self.refuse(kind, format!("{error}; mount it again"), Judge::Service);
            }
            Err(Failed { error, .. }) => log::debug!("the service was tried: {error}"),
        }
    }

    /// The source is refused: nothing of it is shown, and by the service's word nobody asks any more.
    fn refuse(&self, kind: RemoteErrorKind, why: String, by: Judge) {
        log::error!("what was remembered is taken away: {why}");
        *lock(&self.refusal) = Some(Refusal { kind, why, by });
        self.is_away.store(false, Ordering::Release);
        self.take_away();
    }

    fn take_away(&self) {
        (self.plan.take_away)();
        self.tell(Event::TakenAway);
    }

    /// A source whose end was told before is not shown any longer, also while nobody can be asked. It is once the service can be asked, and
    /// still gives it.
    pub(super) fn end_expired(&self) {
        let has_ended = self.expires_at().is_some_and(|end| end <= self.plan.clock.utc());
        if has_ended && self.is_offline() && lock(&self.refusal).is_none() {
            let why = "the share has ended by what the service said last; it is asked again when it can be reached"
                .to_owned();
            self.refuse(RemoteErrorKind::Denied, why, Judge::Clock);
        }
    }

    /// Whether what is to be kept has become known since this was asked last.
    pub(super) fn is_news(&self) -> bool {
        self.is_news.swap(false, Ordering::AcqRel)
    }

    /// Keeps what is known of the source, if the service has not refused it.
    pub(super) fn keep(&self) {
        let answered_at = *lock(&self.answered_at);
        if !self.is_rooted.load(Ordering::Acquire) || lock(&self.refusal).is_some() {
            return;
        }
        let Some(answered_at) = answered_at else { return };
        let facts = Facts { capacity: self.capacity(), ..lock(&self.facts).clone() };
        (self.plan.keep)(&facts, answered_at);
    }
}

/// What an outage comes to, for the log.
fn what_now(kind: RemoteErrorKind) -> &'static str {
    match kind {
        RemoteErrorKind::Foreign => {
            "something else answers in the service's place, as a network does that wants a login; what is remembered is \
             shown, all else fails at once, and the service is tried again in the background"
        }
        _ => "what is remembered is shown, all else fails at once, and the service is tried again in the background",
    }
}

impl Remote for Reconnecting {
    fn root(&self) -> NodeId {
        lock(&self.facts).root.clone()
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        self.noted(self.reachable()?.list_page(directory, cursor, deadline))
    }

    fn page_from_end(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Page, RemoteError> {
        self.noted(self.reachable()?.page_from_end(directory, cursor, deadline))
    }

    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError> {
        self.noted(self.reachable()?.find_child(directory, name, deadline))
    }

    fn forget(&self) {
        if let Some(inner) = self.inner.get() {
            inner.forget();
        }
    }

    fn may_have_subtrees(&self) -> bool {
        self.inner.get().is_some_and(|inner| inner.may_have_subtrees()) && !self.is_offline()
    }

    fn subtree_size(&self, directory: &NodeId, deadline: Instant) -> Result<Option<SubtreeSize>, RemoteError> {
        self.noted(self.reachable()?.subtree_size(directory, deadline))
    }

    fn subtree_page(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Option<SubtreePage>, RemoteError> {
        self.noted(self.reachable()?.subtree_page(directory, cursor, deadline))
    }

    fn max_links_per_call(&self) -> usize {
        match self.inner.get() {
            Some(inner) => inner.max_links_per_call(),
            None => lock(&self.facts).max_links,
        }
    }

    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        let results = self.reachable()?.resolve_links(ids, deadline);
        match &results {
            // Each may have been a call of its own.
            Ok(links) => match links.iter().filter_map(|link| link.as_ref().err()).next_back() {
                Some(error) if links.iter().all(Result::is_err) => self.note_failure(error),
                _ => self.note_success(),
            },
            Err(error) => self.note_failure(error),
        }
        results
    }

    fn capacity(&self) -> Option<Capacity> {
        match self.inner.get() {
            Some(inner) => inner.capacity(),
            None => lock(&self.facts).capacity,
        }
    }

    fn expires_at(&self) -> Option<SystemTime> {
        lock(&self.facts).expires_at
    }

    fn is_offline(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    fn doubt(&self) {
        lock(&self.outage).doubt(self.plan.clock.now());
        self.wake();
    }

    fn try_soon(&self) {
        let now = self.plan.clock.now();
        let mut outage = lock(&self.outage);
        let before = outage.next_try();
        outage.want(now);
        let is_sooner = outage.next_try() != before;
        drop(outage);
        if is_sooner {
            self.wake();
        }
    }
}
