//! A share as a [`Remote`]: the carrier edition's public one without a login, the enterprise edition's with one; either may have
//! an access code.
//!
//! Owns the order of calls and what a refusal leads to. Must not know HTTP or JSON. Threads: any; no lock is held during a call.

use std::time::{Instant, SystemTime};

use super::attempts::Resend;
use super::auth::{Access, Credential, RenewError};
use super::error::{CallError, is_still_good};
use super::open_error::{OpenError, ShareNames, Step};
use super::opening_page::OpeningPage;
use super::renewable::Reaction;
use super::service::Service;
use super::share_calls::ShareCalls;
use super::share_state::{Closed, NO_DOWNLOADS, ended};
use crate::config::Secret;
use crate::remote::{Capacity, Child, Cursor, LinkResults, NodeId, Page, Remote, RemoteError, RemoteErrorKind};

/// Which call of an opened share was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShareCall {
    Files,
    Download,
}

impl ShareCall {
    /// For messages.
    fn name(self) -> &'static str {
        match self {
            ShareCall::Files => "files",
            ShareCall::Download => "download",
        }
    }
}

/// An opened share. Shared by all worker threads.
pub(super) struct ShareClient {
    calls: ShareCalls,
    access: Access,
    /// Stands for the top level. It is no file's id: those begin with `F`.
    share_id: NodeId,
    /// When it ends, as the service said at its opening.
    expires_at: Option<SystemTime>,
    opening_page: OpeningPage,
}

impl ShareClient {
    /// Opens the share `code`, public or with a login as `service` is: reads what the service says about it, exchanges the
    /// access code for a temporary token, and lists the top level once, until `deadline` at most.
    ///
    /// # Errors
    /// [`OpenError`]. A refused access code is sent only once.
    pub(super) fn open(
        service: Service,
        code: &str,
        access_code: Option<&Secret>,
        deadline: Instant,
    ) -> Result<ShareClient, OpenError> {
        let calls = ShareCalls::new(service, code, access_code);
        let caller = calls.service().caller();
        let names = ShareNames { endpoint: caller.origin(), agent: calls.service().agent() };
        let failed = |step| move |error| OpenError::of_share_call(error, step, names);

        let share = caller.patiently(deadline, || calls.user_info(deadline)).map_err(failed(Step::Info))?;
        if let Some(error) = OpenError::of_share(&share, calls.server_now()) {
            return Err(error);
        }
        if share.download_forbidden {
            log::warn!("{NO_DOWNLOADS}: its files are listed, and reading one is refused unless the owner permits it");
        }
        let none = Secret::new("");
        let token = match access_code {
            Some(code) => {
                let verify = || calls.verify(code, &none, deadline);
                caller.patiently(deadline, verify).map_err(failed(Step::Verify))?
            }
            None => none,
        };
        let step = Step::List { with_access_code: access_code.is_some() };
        let asked = caller.clock().now();
        let listed = caller.patiently(deadline, || calls.files(None, None, false, &token, deadline));
        let (page, listed_share) = listed.map_err(failed(step))?;

        let share_id = share.id.clone().or_else(|| listed_share?.id);
        let no_id = || failed(Step::Info)(CallError::missing("link.shareId"));
        let share_id = NodeId::new(&share_id.ok_or_else(no_id)?);
        let opening_page = OpeningPage::new(asked, page);
        let (access, expires_at) = (Access::new(access_code.cloned(), token), share.expires_at);
        Ok(ShareClient { access, calls, share_id, expires_at, opening_page })
    }

    /// The calls themselves, and the token in use.
    pub(super) fn below(&self) -> (&ShareCalls, Secret) {
        (&self.calls, self.access.current().value)
    }

    /// Makes one cheap call, which keeps a login alive.
    pub(super) fn touch(&self, deadline: Instant) -> Result<(), CallError> {
        self.calls.user_info(deadline).map(|_| ())
    }

    /// Runs `attempt` with the token in use. If it is refused and the token may be the reason, a new token is fetched, once, and
    /// `attempt` run again, once. If that has not helped another call in the last minute, a new token is fetched only if the top
    /// level is not listed with the one in use either.
    fn with_token<T>(
        &self,
        call: ShareCall,
        deadline: Instant,
        attempt: impl Fn(&Secret) -> Result<T, CallError>,
    ) -> Result<T, RemoteError> {
        let credential = self.access.current();
        let error = match self.noted(&credential, attempt(&credential.value)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !error.doubts_access() || !self.access.has_code() {
            return Err(self.explained(call, error, deadline));
        }
        let clock = self.calls.service().caller().clock();
        match self.access.reaction(clock.now()) {
            Reaction::Renew => {}
            Reaction::Keep => return Err(self.explained(call, error, deadline)),
            Reaction::CheckFirst => {
                let again = self.calls.files(None, None, false, &credential.value, deadline);
                let again = is_still_good(self.noted(&credential, again), CallError::doubts_access);
                if again.map_err(|failed| failed.into_remote("files"))? {
                    return Err(self.explained(call, error, deadline));
                }
            }
        }
        // The code of a share that has ended or forbids downloads is not documented either: the service is asked which it is before
        // the access code is sent again.
        let closed = || self.closed(call, deadline);
        let verify = |code: &Secret| self.calls.verify(code, &credential.value, deadline);
        match self.access.renew(&credential, clock, deadline, closed, verify) {
            Ok(fresh) => self.noted(&fresh, attempt(&fresh.value)).map_err(|error| {
                if error.doubts_access() {
                    self.access.was_useless(&fresh, clock.now());
                }
                self.explained(call, error, deadline)
            }),
            Err(RenewError::Useless) => Err(self.explained(call, error, deadline)),
            Err(RenewError::Closed(closed)) => Err(closed.as_remote(call.name()).with_source(error)),
            Err(RenewError::CodeRefused { detail, resend }) => {
                let context = format!("{}: the service does not accept the access code ({detail})", call.name());
                let context = match resend {
                    None => context,
                    Some(resend @ Resend::In(_)) => format!("{context}; {resend}"),
                    Some(resend @ Resend::Never(_)) => format!("{context}; {resend}: mount again with the right one"),
                };
                Err(RemoteError::new(RemoteErrorKind::NeedsLogin, context))
            }
            Err(RenewError::Failed(cause)) => {
                let error = RemoteError::new(cause.kind(), format!("{}: there is no new temporary token", call.name()));
                Err(error.with_retry_after(cause.retry_after()).with_source(cause))
            }
        }
    }

    fn noted<T>(&self, credential: &Credential, result: Result<T, CallError>) -> Result<T, CallError> {
        if result.is_ok() {
            self.access.was_accepted(credential);
        }
        result
    }

    /// `error` for the caller. A refusal without a known meaning may be due to the end of the share, or to an owner who forbids
    /// downloads; their codes are not documented, so the service is asked about the share.
    fn explained(&self, call: ShareCall, error: CallError, deadline: Instant) -> RemoteError {
        let closed = if error.doubts_access() { self.closed(call, deadline) } else { None };
        match closed {
            Some(closed) => closed.as_remote(call.name()).with_source(error),
            None => error.into_remote(call.name()),
        }
    }

    /// Why `call` is refused, if the service says so now. The owner may undo all of it: nothing is remembered.
    fn closed(&self, call: ShareCall, deadline: Instant) -> Option<Closed> {
        let share = self.calls.user_info(deadline).ok()?;
        let no_downloads = call == ShareCall::Download && share.download_forbidden;
        let ended = ended(&share, self.calls.server_now()).map(Closed::Ended);
        ended.or(no_downloads.then_some(Closed::NoDownloads))
    }
}

impl Remote for ShareClient {
    fn root(&self) -> NodeId {
        self.share_id.clone()
    }

    fn forget(&self) {
        self.opening_page.forget();
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        let folder = (*directory != self.share_id).then_some(directory);
        if folder.is_none()
            && cursor.is_none()
            && let Some(page) = self.opening_page.take(self.calls.service().caller().clock().now())
        {
            return Ok(page);
        }
        let listed = self
            .with_token(ShareCall::Files, deadline, |token| self.calls.files(folder, cursor, false, token, deadline))?;
        Ok(listed.0)
    }

    fn page_from_end(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Page, RemoteError> {
        let folder = (*directory != self.share_id).then_some(directory);
        let credential = self.access.current();
        // A token that is refused is renewed by the calls from the first end.
        let listed = self.calls.files(folder, cursor, true, &credential.value, deadline);
        listed.map(|(page, _)| page).map_err(|error| error.into_remote("files"))
    }

    /// The top level is not asked for names: it has 100 entries at most, and they may be from any directories (API.md, section 5.4).
    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError> {
        if *directory == self.share_id {
            return Ok(Child::Unclear);
        }
        let credential = self.access.current();
        match self.calls.named(directory, name, &credential.value, deadline) {
            Err(error) if error.may_refuse_parameter() => {
                // Or the token is refused: then the listing beside this call has it renewed.
                let is_certain = !self.access.has_code() || {
                    let again = self.calls.files(Some(directory), None, false, &credential.value, deadline);
                    let again = is_still_good(again, CallError::doubts_access);
                    again.map_err(|failed| failed.into_remote("files"))?
                };
                log::debug!("the service does not look for names: {error}");
                Ok(if is_certain { Child::NotOffered } else { Child::Unclear })
            }
            answered => answered.map_err(|error| error.into_remote("files")),
        }
    }

    /// The share's `download` call takes one id (API.md, section 5.5).
    fn max_links_per_call(&self) -> usize {
        1
    }

    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        let resolve = |id| {
            self.with_token(ShareCall::Download, deadline, |token| {
                self.calls.download(&self.share_id, id, token, deadline)
            })
        };
        Ok(ids.iter().map(resolve).collect())
    }

    /// No call tells a share's size (API.md, section 8.2).
    fn capacity(&self) -> Option<Capacity> {
        None
    }

    fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}
