//! The credential that a login sends to the service, and where the next one comes from when it expires: files, commands, the
//! carrier's login calls.
//!
//! Owns the secrets in use; none shows in a log, an error or a `Debug` text. Threads: any. No lock is held during a call or a
//! command; a thread that needs a credential which another thread is fetching waits for that one until its deadline.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::caller::{Call, Caller, payload};
use super::convert;
use super::error::{BadField, CallError, bad};
use super::login_error::{LoginError, remedy};
use super::renewable::{Held, Missed, Reaction, Renewable};
use super::token::{bare, header_value};
use super::wire::{LoginRequest, RefreshRequest, SessionAnswer, to_json};
use crate::clock::BootTime;
use crate::config::{Credentials, LoginConfig, Secret, SecretSource};
use crate::policy::printable::one_line;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::secrets::{FileStamp, read_secret, run_command};
use crate::sync::lock;

/// Which part of a token's life is over when it is renewed, in percent (API.md, section 13).
const RENEW_AT_PERCENT: u32 = 80;

/// The pause after a failed renewal ahead of time: the token is still valid.
const EARLY_PAUSE: Duration = Duration::from_secs(5);

/// How long a token command that failed, or that gave the refused token again, is not run again.
const COMMAND_PAUSE: Duration = Duration::from_secs(5);

/// `authType` of a login by account and password (API.md, section 3.2).
const BY_PASSWORD: &str = "1";

const LOGIN_PATH: &str = "/koodrive/ose/v1/auth/login";
const REFRESH_PATH: &str = "/koodrive/ose/v1/auth/refreshToken";

/// The credential in use.
#[derive(Clone)]
pub(super) struct Pass {
    /// The value of `Authorization`, or the AppSecret.
    pub(super) secret: Secret,
    /// Whom the login belongs to, where the login says so.
    user_id: Option<String>,
    /// Of the file it was read from.
    stamp: Option<FileStamp>,
    /// Of a login by password.
    session: Option<Session>,
}

#[derive(Clone)]
struct Session {
    refresh_token: Option<Secret>,
    /// None where the service does not tell how long the token lives.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    renew_at: BootTime,
    ends_at: BootTime,
}

/// The login of one client.
pub(super) struct Login {
    source: PassSource,
    pass: Renewable<Pass, LoginError>,
    /// Until when no pass is renewed ahead of time, as that has failed.
    early_after: Mutex<Option<BootTime>>,
}

/// Where passes come from.
struct PassSource {
    credentials: Credentials,
    agent: Option<String>,
    /// With passwords, by the state of their file; `None` for one that was given by other means.
    passwords: Mutex<Attempts<Option<FileStamp>>>,
    refresh_tokens: Mutex<Attempts<Secret>>,
}

impl Login {
    /// Gets the first pass: from the file, the command or the service. Also returns whom the login belongs to, where the service
    /// says so.
    pub(super) fn open(
        config: &LoginConfig,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<(Login, Option<String>), CallError> {
        let source = PassSource {
            credentials: config.credentials.clone(),
            agent: config.agent.clone(),
            passwords: Mutex::default(),
            refresh_tokens: Mutex::default(),
        };
        let first = caller.patiently(deadline, || source.fetch_first(caller, deadline))?;
        let user_id = first.user_id.clone();
        Ok((Login { source, pass: Renewable::new(first), early_after: Mutex::default() }, user_id))
    }

    /// The AppId, if requests are signed.
    pub(super) fn app_id(&self) -> Option<&str> {
        match &self.source.credentials {
            Credentials::App { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The credential to send now. A file that was written since it was read is read again; a token at the end of its life is
    /// renewed, by one thread while the others use it as long as it lives.
    pub(super) fn current(&self, caller: &Caller, deadline: Instant) -> Result<Held<Pass>, LoginError> {
        let held = self.pass.current();
        if self.source.has_changed(&held.value) {
            return match self.renew(caller, &held, deadline) {
                // Not readable at the moment, or not valid as it is: what was read before may still be accepted.
                Err(error) => {
                    log::debug!("login: {error}");
                    Ok(held)
                }
                renewed => renewed,
            };
        }
        let Some(life) = held.value.session.as_ref().and_then(|session| session.life) else { return Ok(held) };
        let now = caller.clock().boot();
        if now < life.renew_at {
            return Ok(held);
        }
        if now < life.ends_at {
            let is_resting = lock(&self.early_after).is_some_and(|until| now < until);
            if is_resting || self.pass.is_in_flight() {
                return Ok(held);
            }
            return Ok(self.renew(caller, &held, deadline).unwrap_or_else(|error| {
                log::debug!("login: renewed too early to matter: {error}");
                *lock(&self.early_after) = Some(now + EARLY_PAUSE);
                held
            }));
        }
        self.renew(caller, &held, deadline)
    }

    /// A pass that is newer than `refused`.
    pub(super) fn renew(
        &self,
        caller: &Caller,
        refused: &Held<Pass>,
        deadline: Instant,
    ) -> Result<Held<Pass>, LoginError> {
        let pause = match &self.source.credentials {
            Credentials::TokenCommand(_) => COMMAND_PAUSE,
            _ => Duration::ZERO,
        };
        let renewed = self.pass.renew(refused, caller.clock(), deadline, pause, || {
            let result = self.source.fetch_newer(caller, &refused.value, deadline);
            match &result {
                Ok(_) => log::debug!("login: renewed"),
                Err(error) => log::debug!("login: not renewed: {error}"),
            }
            result
        });
        let failed = |kind, context: &str| LoginError::Failed(Arc::new(RemoteError::new(kind, context)));
        renewed.map_err(|missed| match missed {
            Missed::Failed(error) => error,
            Missed::Useless => LoginError::Useless,
            Missed::TooLate => failed(RemoteErrorKind::Timeout, "login: another thread's renewal took too long"),
            Missed::Lost => failed(RemoteErrorKind::Unavailable, "login: the renewal was lost"),
        })
    }

    /// Notes that a call with this pass succeeded.
    pub(super) fn was_accepted(&self, held: &Held<Pass>) {
        self.pass.was_accepted(held);
    }

    /// Notes that a call was refused as well with a pass that [`Login::renew`] had just given.
    pub(super) fn was_useless(&self, fresh: &Held<Pass>, now: Instant) {
        self.pass.was_useless(fresh, now);
    }

    /// What to do about a call that was refused at `now`, where the pass may be what was refused.
    pub(super) fn reaction(&self, now: Instant) -> Reaction {
        self.pass.reaction(now)
    }
}

impl PassSource {
    /// Whether the file that `pass` was read from was written since.
    fn has_changed(&self, pass: &Pass) -> bool {
        let path = match &self.credentials {
            Credentials::TokenFile(path) => path,
            Credentials::App { secret: SecretSource::File(path), .. } => path,
            _ => return false,
        };
        // A file that is missing for a moment is being replaced.
        FileStamp::at(path).is_some_and(|stamp| Some(stamp) != pass.stamp)
    }

    fn fetch_first(&self, caller: &Caller, deadline: Instant) -> Result<Pass, CallError> {
        match &self.credentials {
            Credentials::TokenFile(path) => token_in(path).map_err(CallError::Login),
            Credentials::Token(token) => {
                Ok(plain(header_value(token, "what KOOFS_TOKEN holds").map_err(CallError::Login)?))
            }
            Credentials::TokenCommand(command) => {
                command_token(command, left(caller, deadline)).map_err(CallError::Login)
            }
            Credentials::App { secret, .. } => secret_of(secret).map_err(CallError::Login),
            Credentials::Password { account, password } => self.log_in(caller, account, password, deadline),
        }
    }

    fn fetch_newer(&self, caller: &Caller, refused: &Pass, deadline: Instant) -> Result<Pass, LoginError> {
        let newer = match &self.credentials {
            Credentials::TokenFile(path) => token_in(path)?,
            Credentials::Token(_) => return Err(self.nothing_newer()),
            Credentials::TokenCommand(command) => command_token(command, left(caller, deadline))?,
            Credentials::App { secret: SecretSource::Given(_), .. } => return Err(self.nothing_newer()),
            Credentials::App { secret, .. } => secret_of(secret)?,
            Credentials::Password { account, password } => {
                return self.renewed_session(caller, refused, account, password, deadline);
            }
        };
        // The file may have been written again with the same content: then the new stamp is worth keeping.
        if newer.secret == refused.secret && newer.stamp == refused.stamp {
            return Err(self.nothing_newer());
        }
        Ok(newer)
    }

    fn nothing_newer(&self) -> LoginError {
        LoginError::NothingNewer { remedy: remedy(&self.credentials), detail: "refused before".to_owned() }
    }

    /// Gets a new token by the refresh token, or, where that is refused, by a login.
    fn renewed_session(
        &self,
        caller: &Caller,
        old: &Pass,
        account: &str,
        password: &SecretSource,
        deadline: Instant,
    ) -> Result<Pass, LoginError> {
        let refresh_token = old.session.as_ref().and_then(|session| session.refresh_token.as_ref());
        if let Some(refresh_token) = refresh_token
            && lock(&self.refresh_tokens).may_send(refresh_token, caller.clock().boot()).is_ok()
        {
            match refresh(caller, old, refresh_token, deadline) {
                Ok(pass) => {
                    lock(&self.refresh_tokens).was_accepted();
                    return Ok(pass);
                }
                Err(error) => {
                    let Some(said) = error.said_of_secret() else { return Err(failed_call("refreshToken", error)) };
                    log::debug!("login: refreshToken: {}", one_line(&error));
                    let now = caller.clock().boot();
                    lock(&self.refresh_tokens).was_refused(refresh_token.clone(), said, error.to_string(), now);
                }
            }
        }
        self.log_in(caller, account, password, deadline).map_err(|error| match error {
            CallError::Login(error) => error,
            error => failed_call("login", error),
        })
    }

    /// A login by password (API.md, section 3.2). When a password that was refused is sent again is up to [`Attempts`].
    fn log_in(
        &self,
        caller: &Caller,
        account: &str,
        password: &SecretSource,
        deadline: Instant,
    ) -> Result<Pass, CallError> {
        let agent = self.agent.as_deref().ok_or(CallError::Login(LoginError::NoAgent))?;
        let (password, stamp) = match password {
            SecretSource::File(path) => {
                let (secret, stamp) = read_secret(path).map_err(|error| CallError::Login(LoginError::File(error)))?;
                (secret, Some(stamp))
            }
            SecretSource::Given(secret) => (secret.clone(), None),
        };
        let asked_at = caller.clock().boot();
        let withheld = lock(&self.passwords).may_send(&stamp, caller.clock().boot());
        withheld.map_err(|withheld| CallError::Login(LoginError::of_withheld(withheld)))?;
        let body = to_json(&LoginRequest { account, auth_type: BY_PASSWORD, password: password.expose() });
        let call = Call {
            name: "login",
            path: LOGIN_PATH,
            body: Some(&body),
            payload_keys: &["sessionInfo", "accessToken"],
            secrets: &[password.expose(), account],
            ..Call::default()
        };
        let result = caller.attempt(&call, &[("x-hw-agentname", agent)], &[], deadline);
        let (envelope, _) = result.map_err(|error| match error.said_of_secret() {
            None => error,
            Some(said) => {
                lock(&self.passwords).was_refused(stamp, said, error.to_string(), caller.clock().boot());
                CallError::Login(LoginError::of_refused(said, error.to_string(), None))
            }
        })?;
        lock(&self.passwords).was_accepted();
        session_pass(payload(envelope)?, None, asked_at).map_err(CallError::Bad)
    }
}

/// The failure of the login's own call `step`, for all who wait for it.
fn failed_call(step: &str, error: CallError) -> LoginError {
    LoginError::Failed(Arc::new(error.into_remote(step)))
}

/// Renews a token (API.md, section 3.3).
fn refresh(caller: &Caller, old: &Pass, refresh_token: &Secret, deadline: Instant) -> Result<Pass, CallError> {
    let body = to_json(&RefreshRequest { refresh_token: refresh_token.expose() });
    let secrets = [refresh_token.expose(), old.secret.expose(), bare(&old.secret)];
    let call = Call {
        name: "refreshToken",
        path: REFRESH_PATH,
        body: Some(&body),
        payload_keys: &["sessionInfo", "accessToken"],
        secrets: &secrets,
        ..Call::default()
    };
    let asked_at = caller.clock().boot();
    let (envelope, _) = caller.attempt(&call, &[("authorization", old.secret.expose())], &[], deadline)?;
    session_pass(payload(envelope)?, Some(old), asked_at).map_err(CallError::Bad)
}

/// What a login or a refresh answers, whose session may lie one level deeper (API.md, section 12, row 9). What a refresh leaves
/// out stays as it was.
fn session_pass(answer: SessionAnswer, old: Option<&Pass>, asked_at: BootTime) -> Result<Pass, BadField> {
    let session = convert::session(answer)?;
    let token = header_value(&Secret::new(session.access_token), "the access token of the service").ok();
    let token = token.ok_or_else(|| bad("accessToken", "not a token"))?;
    let old_refresh_token = || old?.session.as_ref()?.refresh_token.clone();
    let life = session.expires_in.map(|life| {
        let renew_at = asked_at + life * RENEW_AT_PERCENT / 100;
        Life { renew_at, ends_at: asked_at + life }
    });
    Ok(Pass {
        secret: token,
        user_id: session.user_id.or_else(|| old?.user_id.clone()),
        stamp: None,
        session: Some(Session {
            refresh_token: session.refresh_token.map(Secret::new).or_else(old_refresh_token),
            life,
        }),
    })
}

/// How much time there is until `deadline`.
fn left(caller: &Caller, deadline: Instant) -> Duration {
    deadline.saturating_duration_since(caller.clock().now())
}

fn plain(secret: Secret) -> Pass {
    Pass { secret, user_id: None, stamp: None, session: None }
}

fn token_in(path: &Path) -> Result<Pass, LoginError> {
    let (token, stamp) = read_secret(path).map_err(LoginError::File)?;
    Ok(Pass { stamp: Some(stamp), ..plain(header_value(&token, "what --token-file names")?) })
}

fn command_token(command: &str, limit: Duration) -> Result<Pass, LoginError> {
    let token = run_command(command, limit).map_err(LoginError::Command)?;
    Ok(plain(header_value(&token, "what the token command printed")?))
}

fn secret_of(source: &SecretSource) -> Result<Pass, LoginError> {
    match source {
        SecretSource::File(path) => {
            let (secret, stamp) = read_secret(path).map_err(LoginError::File)?;
            Ok(Pass { stamp: Some(stamp), ..plain(Secret::new(secret.expose().trim())) })
        }
        SecretSource::Given(secret) => Ok(plain(secret.clone())),
    }
}
