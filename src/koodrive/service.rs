//! How calls are sent: without a login but with the carrier's name, or with a login, whose headers are made anew for every attempt.
//!
//! Owns what happens when the login is refused: a wrong clock is set right, the login renewed, the call repeated; each once.
//! Threads: any. One lock, never held during a call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::caller::{Call, Caller, KeptCall};
use super::convert::Moment;
use super::error::{CallError, Reason, ServiceRefusal, is_still_good};
use super::login::{Login, Pass};
use super::login_error::LoginError;
use super::renewable::{Held, Reaction};
use super::signature::{self, Signable};
use super::token::bare;
use super::wire::Envelope;
use crate::config::{LoginConfig, Secret};
use crate::policy::server_time::ServerOffset;
use crate::remote::RemoteErrorKind;
use crate::sync::lock;

/// How much earlier than the service's clock `X-Date` is, which must not be later (API.md, section 2). A `Date` header has
/// whole seconds, and the time of transmission adds to the error.
const DATE_MARGIN: Duration = Duration::from_secs(3);

/// The least error of our clock that is taken as the reason of a refusal.
const CLOCK_ERROR_MILLIS: u64 = 2_000;

/// As whom calls are made.
pub(super) enum Service {
    /// Without a login.
    Public {
        caller: Box<Caller>,
        /// The carrier's name.
        agent: String,
    },
    /// With a login.
    Account(Arc<Account>),
}

impl Service {
    pub(super) fn caller(&self) -> &Caller {
        match self {
            Service::Public { caller, .. } => caller,
            Service::Account(account) => &account.caller,
        }
    }

    /// The carrier's name; empty with a login.
    pub(super) fn agent(&self) -> &str {
        match self {
            Service::Public { agent, .. } => agent,
            Service::Account(_) => "",
        }
    }

    pub(super) fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<(Envelope, Moment), CallError> {
        match self {
            Service::Public { caller, agent } => {
                caller.attempt(call, &[("x-hw-agentname", agent.as_str())], &[], deadline)
            }
            Service::Account(account) => account.call(call, deadline),
        }
    }
}

/// A login, and the endpoint that it is for.
pub(super) struct Account {
    caller: Caller,
    login: Login,
    /// Whom the login belongs to: as configured, or as the service said.
    user_id: String,
    /// A call that was accepted: repeated where it must be known whether the login is still good.
    accepted_call: Mutex<Option<Arc<KeptCall>>>,
}

impl Account {
    /// Gets what the login needs at first; may wait for the service until `deadline`. `None` if nobody says whose login it is,
    /// which the service wants to know with each call.
    pub(super) fn open(caller: Caller, config: &LoginConfig, deadline: Instant) -> Result<Option<Account>, CallError> {
        let (login, told) = Login::open(config, &caller, deadline)?;
        let user_id = config.user_id.clone().or(told);
        Ok(user_id.map(|user_id| Account { caller, login, user_id, accepted_call: Mutex::default() }))
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whom the login belongs to.
    pub(super) fn user_id(&self) -> &str {
        &self.user_id
    }

    /// One attempt with the login in use, and at most two more: one if the refusal shows that our clock was wrong, one with a
    /// renewed login. Where a renewal has not helped another call of late, the login is renewed only if a call that was accepted
    /// before is refused as well.
    pub(super) fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<(Envelope, Moment), CallError> {
        let mut held = self.login.current(&self.caller, deadline).map_err(CallError::Login)?;
        let (mut is_clock_set, mut is_renewed, mut has_check_failed) = (false, false, false);
        loop {
            let offset = self.caller.offset();
            let error = match self.attempt(call, &held.value, offset, deadline) {
                Ok(answer) => {
                    self.login.was_accepted(&held);
                    self.note_accepted(call);
                    return Ok(answer);
                }
                Err(error) if !error.doubts_login() => return Err(error),
                Err(error) => error,
            };
            if !is_clock_set && self.caller.offset().millis.abs_diff(offset.millis) > CLOCK_ERROR_MILLIS {
                is_clock_set = true;
                continue;
            }
            if is_renewed {
                self.login.was_useless(&held, self.caller.clock().now());
                if has_check_failed {
                    // For a reason of its own: the next call that is accepted serves as the check.
                    *lock(&self.accepted_call) = None;
                }
                return Err(error);
            }
            match self.login.reaction(self.caller.clock().now()) {
                Reaction::Renew => {}
                Reaction::Keep => return Err(error),
                Reaction::CheckFirst => match self.check(&held, deadline) {
                    Some(Ok(true)) => return Err(error),
                    Some(Ok(false)) => has_check_failed = true,
                    Some(Err(failed)) => return Err(failed),
                    None => {}
                },
            }
            held = match self.login.renew(&self.caller, &held, deadline) {
                Ok(fresh) => fresh,
                Err(why) => return Err(unrenewed(error, why)),
            };
            is_renewed = true;
        }
    }

    /// Keeps `call` for the check, unless there is one that asks for less: a call without a body is about one thing.
    fn note_accepted(&self, call: &Call<'_>) {
        let mut kept = lock(&self.accepted_call);
        if kept.as_ref().is_none_or(|kept| kept.has_body() && call.body.is_none()) {
            *kept = Some(Arc::new(KeptCall::of(call)));
        }
    }

    /// Whether the login is still good, by a call that was accepted before; `None` without one.
    fn check(&self, held: &Held<Pass>, deadline: Instant) -> Option<Result<bool, CallError>> {
        let accepted_call = lock(&self.accepted_call).clone()?;
        let again = accepted_call.made(|call| self.attempt(call, &held.value, self.caller.offset(), deadline));
        if again.is_ok() {
            self.login.was_accepted(held);
        }
        Some(is_still_good(again, CallError::doubts_login))
    }

    fn attempt(
        &self,
        call: &Call<'_>,
        pass: &Pass,
        offset: ServerOffset,
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let server_now = offset.to_server(self.caller.clock().utc());
        let x_date = x_date(server_now.checked_sub(DATE_MARGIN).unwrap_or(SystemTime::UNIX_EPOCH));
        let authorization = match self.login.app_id() {
            None => pass.secret.clone(),
            Some(app_id) => {
                let request = Signable {
                    method: if call.body.is_some() { "POST" } else { "GET" },
                    path: call.path,
                    query: call.query,
                    host: self.caller.authority(),
                    x_date: &x_date,
                    x_user_id: &self.user_id,
                    body: call.body.unwrap_or_default(),
                };
                Secret::new(signature::authorization(app_id, pass.secret.expose(), request))
            }
        };
        let headers =
            [("authorization", authorization.expose()), ("x-date", x_date.as_str()), ("x-user-id", &self.user_id)];
        let secrets = [authorization.expose(), bare(&authorization), pass.secret.expose()];
        self.caller.attempt(call, &headers, &secrets, deadline)
    }
}

/// Whether a refusal can have no other reason than the login.
fn is_certain(refusal: &CallError) -> bool {
    matches!(refusal, CallError::Refused(ServiceRefusal { reason: Reason::Known(RemoteErrorKind::NeedsLogin), .. }))
}

/// The error to report if the login cannot be renewed. A refusal that may have another reason is reported as it was, if the
/// login is one that cannot be renewed at all.
fn unrenewed(refusal: CallError, why: LoginError) -> CallError {
    match why {
        LoginError::Useless => refusal,
        LoginError::NothingNewer { .. } if !is_certain(&refusal) => refusal,
        LoginError::NothingNewer { remedy, .. } => {
            CallError::Login(LoginError::NothingNewer { remedy, detail: refusal.to_string() })
        }
        why => CallError::Login(why),
    }
}

/// `20251103T070140Z` (API.md, section 2).
fn x_date(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_date_is_compact_and_utc() {
        let may = SystemTime::UNIX_EPOCH + Duration::from_millis(1_746_086_400_999);
        assert_eq!(x_date(may), "20250501T080000Z");
        assert_eq!(x_date(SystemTime::UNIX_EPOCH), "19700101T000000Z");
    }
}
