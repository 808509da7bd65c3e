//! A source that is asked in other ways than a mount asks: other page sizes and orders, by name, in whole trees. For `koofs doctor`.
//!
//! Opens and calls by the same code as a mount and reads answers by the same parsers; shows besides what they hide: the shape of an
//! answer, the entries' parents, a thumbnail's link. Threads: any. One attempt each, but for the login's own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::payload;
use super::convert::{self, Moment};
use super::error::{CallError, ServiceRefusal};
use super::open::{Drive, open_drive};
use super::open_error::OpenError;
use super::question::Question;
use super::wire::{Envelope, FilesAnswer, Shapes};
use crate::clock::Clock;
use crate::config::Source;
use crate::http::{HttpConfig, HttpErrorKind};
use crate::remote::{Child, Link, NodeId, Page, Remote, RemoteError, RemoteErrorKind, SubtreeSize};

/// The most characters of a code that is shown: those of the service are digits, those of its gateway `APIGW.0308`.
const MAX_CODE_CHARS: usize = 10;

/// A page, and what a mount does not look at.
#[derive(Clone, Debug)]
pub struct Answered {
    /// As a mount would see it.
    pub page: Page,
    /// The shapes that it came in.
    pub shapes: Shapes,
    /// For each entry of the page the id of its directory, if there is one.
    pub parents: Vec<Option<String>>,
    /// The first link to a thumbnail.
    pub thumbnail: Option<Link>,
}

/// What the service says of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareState {
    /// How long it will last; `None` without an end.
    pub left: Option<Duration>,
    /// Its owner forbids downloads.
    pub forbids_downloads: bool,
}

/// Why there is no answer. Its `Display` has no text of the service but a code: no message, no name, no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeError {
    /// What it means for a mount.
    pub kind: RemoteErrorKind,
    /// The service does not offer it: it refuses a parameter, or there is no such call.
    pub is_not_offered: bool,
    /// The requests or bytes that are permitted are used up.
    pub is_spent: bool,
    shown: String,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for ProbeError {}

impl From<CallError> for ProbeError {
    fn from(error: CallError) -> ProbeError {
        let is_spent = matches!(&error, CallError::Http(error) if error.kind() == HttpErrorKind::Spent);
        let is_not_offered = match &error {
            CallError::Bad(_) => false,
            error => error.may_be_no_call(),
        };
        let shown = match &error {
            CallError::Http(_) if is_spent => "the requests or bytes of this command are used up".to_owned(),
            CallError::Http(error) => match error.kind() {
                HttpErrorKind::Timeout => "no answer in time".to_owned(),
                HttpErrorKind::Interrupted => "the connection broke, or the answer is cut or damaged".to_owned(),
                _ => "no answer".to_owned(),
            },
            CallError::Foreign { status, .. } => format!("HTTP {status} and no KooDrive answer"),
            CallError::Refused(refusal) => shown_refusal(refusal),
            CallError::Bad(_) => "an answer that cannot be read".to_owned(),
            CallError::NoLink => "no link for this file".to_owned(),
            CallError::Login(_) => "the login is not accepted any more".to_owned(),
        };
        ProbeError { kind: error.kind(), is_not_offered, is_spent, shown }
    }
}

/// `HTTP 400, code 13000102`, without the service's message. A code is shown if it looks like one of theirs.
fn shown_refusal(refusal: &ServiceRefusal) -> String {
    let status = refusal.status;
    // At the beginning only: what follows is the service's message, which may name anything.
    let code = refusal.detail.strip_prefix(&format!("HTTP {status}, code ")).unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    let digits =
        code.strip_prefix("API").map_or(code, |rest| rest.trim_start_matches(|c: char| c.is_ascii_uppercase()));
    let is_code =
        !code.is_empty() && code.len() <= MAX_CODE_CHARS && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_code { format!("HTTP {status}, code {code}") } else { format!("HTTP {status}") }
}

impl From<RemoteError> for ProbeError {
    fn from(error: RemoteError) -> ProbeError {
        let shown = match error.kind() {
            RemoteErrorKind::Timeout => "no answer in time",
            RemoteErrorKind::Throttled => "the service asks for fewer requests",
            RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin => "the service refuses",
            RemoteErrorKind::Malformed => "an answer that cannot be read",
            _ => "no answer that can be used",
        };
        ProbeError { kind: error.kind(), is_not_offered: false, is_spent: false, shown: shown.to_owned() }
    }
}

/// An opened source.
pub struct Probe {
    drive: Drive,
}

impl Probe {
    /// Opens `source` as a mount does; no thread keeps a login alive. Blocks for the time limit of one operation at most.
    ///
    /// # Errors
    /// As [`open()`](super::open()).
    pub fn open(source: &Source, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Probe, OpenError> {
        open_drive(source, http, clock).map(|drive| Probe { drive })
    }

    /// What the service says of the share; `None` if this is none.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn share_state(&self, deadline: Instant) -> Result<Option<ShareState>, ProbeError> {
        let (Drive::Public(share) | Drive::WithLogin(share)) = &self.drive else { return Ok(None) };
        let (calls, _) = share.below();
        let share = calls.user_info(deadline)?;
        let left = share.expires_at.map(|end| end.duration_since(calls.server_now()).unwrap_or_default());
        Ok(Some(ShareState { left, forbids_downloads: share.download_forbidden }))
    }

    /// A page of a listing.
    ///
    /// # Errors
    /// [`ProbeError`]
    pub fn list(&self, question: Question<'_>, deadline: Instant) -> Result<Answered, ProbeError> {
        let (envelope, moment) = match &self.drive {
            Drive::Public(share) | Drive::WithLogin(share) => {
                let (calls, token) = share.below();
                calls.asked(question, &token, deadline)?
            }
            Drive::Space(space) => {
                let (calls, scope, root) = space.below();
                calls.asked(scope, question.directory.unwrap_or(root), question, deadline)?
            }
        };
        answered(envelope, moment)
    }

    /// A page of all that is below the top, by the call for whole trees (6.6); `None` where it is not for this kind of source. No
    /// question about a name or a direction.
    ///
    /// # Errors
    /// [`ProbeError`]
    pub fn walk(&self, question: Question<'_>, deadline: Instant) -> Result<Option<Answered>, ProbeError> {
        let Drive::Space(space) = &self.drive else { return Ok(None) };
        let (calls, scope, root) = space.below();
        if scope.share_folder_id.is_some() {
            return Ok(None);
        }
        let (envelope, moment) = calls.walked(scope, root, question, deadline)?;
        answered(envelope, moment).map(Some)
    }

    /// What a mount makes of the service's search for `name` in `directory`, the top if `None`.
    ///
    /// # Errors
    /// [`ProbeError`]
    pub fn child(&self, directory: Option<&NodeId>, name: &str, deadline: Instant) -> Result<Child, ProbeError> {
        let remote = self.remote();
        let root = remote.root();
        Ok(remote.find_child(directory.unwrap_or(&root), name, deadline)?)
    }

    /// How much is below the top, as a mount asks for it before a walk; `None` where that is not for this kind of source, or not offered.
    ///
    /// # Errors
    /// [`ProbeError`]
    pub fn subtree_size(&self, deadline: Instant) -> Result<Option<SubtreeSize>, ProbeError> {
        let remote = self.remote();
        Ok(remote.subtree_size(&remote.root(), deadline)?)
    }

    /// Whether there may be calls for whole trees.
    pub fn may_have_subtrees(&self) -> bool {
        self.remote().may_have_subtrees()
    }

    /// Whether the service tells used and total size, as `df` shows them.
    pub fn has_capacity(&self) -> bool {
        self.remote().capacity().is_some()
    }

    fn remote(&self) -> &dyn Remote {
        match &self.drive {
            Drive::Public(share) | Drive::WithLogin(share) => share,
            Drive::Space(space) => space,
        }
    }

    /// A link to a file, as a mount gets one.
    ///
    /// # Errors
    /// [`ProbeError`]
    pub fn link(&self, file: &NodeId, deadline: Instant) -> Result<Link, ProbeError> {
        match &self.drive {
            Drive::Public(share) | Drive::WithLogin(share) => {
                let (calls, token) = share.below();
                Ok(calls.download(&share.root(), file, &token, deadline)?)
            }
            Drive::Space(space) => {
                let (calls, scope, _) = space.below();
                let mut links = calls.links(scope, std::slice::from_ref(file), deadline)?;
                Ok(links.remove(file.as_str()).unwrap_or(Err(CallError::NoLink))?)
            }
        }
    }
}

fn answered(envelope: Envelope, moment: Moment) -> Result<Answered, ProbeError> {
    let shapes = Shapes::of(&envelope);
    let mut answer: FilesAnswer = payload(envelope)?;
    let mut thumbnail = None;
    for file in answer.files.iter_mut().flatten() {
        let link = file.download_links.thumbnail.take().filter(|_| thumbnail.is_none());
        thumbnail = thumbnail.or_else(|| convert::listed_link(&link?, moment));
    }
    let rows = convert::rows(answer, moment).map_err(CallError::Bad)?;
    let parents = rows.rows.iter().map(|(_, parent)| parent.clone()).collect();
    let page = rows.into_page();
    Ok(Answered { page, shapes, parents, thumbnail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::koodrive::error::Reason;

    #[test]
    fn refusal_shows_a_code_of_the_service_and_nothing_of_its_message() {
        for (detail, want) in [
            ("HTTP 400, code 13000102: fileName: someone's file", "HTTP 400, code 13000102"),
            ("HTTP 400, code APIGW.0308", "HTTP 400, code APIGW.0308"),
            ("HTTP 400: the access code 12345678 is wrong", "HTTP 400"),
            ("HTTP 400, code 1880000000000000001: no such user", "HTTP 400"),
            ("HTTP 400, code secret: no", "HTTP 400"),
            ("HTTP 400", "HTTP 400"),
        ] {
            let refusal =
                ServiceRefusal { reason: Reason::Unknown, status: 400, retry_after: None, detail: detail.to_owned() };
            assert_eq!(shown_refusal(&refusal), want, "{detail}");
        }
    }
}
