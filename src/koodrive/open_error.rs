//! Why a share or a space cannot be opened: for the person who typed the command.
//!
//! Each text is one line that says what is wrong, where, and what to do about it. None holds a secret (access code, token), nor
//! the share's short code: no secret, as everybody with the link has it, but all that most shares take.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::convert::Share;
use super::error::{CallError, Reason, ServiceRefusal};
use super::login_error::{LoginError, remedy};
use super::share_state::{Ended, ended, ended_text};
use super::shown::cleaned;
use crate::config::{Credentials, LoginConfig};
use crate::http::{HttpError, HttpErrorKind};
use crate::remote::{RemoteError, RemoteErrorKind};

/// How much of the operating system's or the TLS library's own reason is shown, in characters.
const MAX_REASON_CHARS: usize = 120;

/// The service's refusal, or why there was no answer. Its `Display` is one line.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a share or a space cannot be opened. `endpoint` is `scheme://host[:port]`.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are explained above")]
pub enum OpenError {
    /// The endpoint is not of the form `https://host[:port]`.
    BadEndpoint { source: HttpError },
    /// Plain http to another machine.
    PlainHttp { endpoint: String, source: HttpError },
    /// The endpoint's name does not resolve.
    UnknownHost { endpoint: String, source: HttpError },
    /// No connection, or one that broke.
    Unreachable { endpoint: String, source: HttpError },
    /// No trustworthy TLS connection.
    Tls { endpoint: String, source: HttpError },
    /// Something else answers there.
    NotKooDrive { endpoint: String, source: Cause },
    /// No answer in time.
    Timeout { endpoint: String, source: Cause },
    /// The service asks for fewer requests.
    Throttled { endpoint: String, source: Cause },
    /// The service does not work at the moment (5xx).
    Unavailable { endpoint: String, source: Cause },
    /// The service refuses the agent, or does not say what else it refuses.
    AgentRefused { endpoint: String, agent: String, source: Cause },
    /// The service does not know the share.
    UnknownShare { endpoint: String, agent: String, source: Cause },
    /// What was shared has been deleted.
    Deleted,
    /// The share has ended, at that time if the service gives one.
    Expired { expired_at: Option<SystemTime> },
    /// The share is protected and no access code was given.
    AccessCodeNeeded { source: Cause },
    /// The service does not accept the access code.
    WrongAccessCode { source: Cause },
    /// There is nothing to log in with, or the service does not accept it.
    Login { source: LoginError },
    /// The service refuses the token or the signature, also a new one.
    LoginRefused { endpoint: String, source: Cause, remedy: String },
    /// The user id is not known: neither configured nor told by the service.
    UserIdMissing,
    /// The login may not see what it asks for.
    SpaceDenied { what: String, source: Cause },
    /// There is no such thing.
    SpaceMissing { what: String, source: Cause },
    /// The service refuses, and does not say why.
    SpaceRefused { what: String, source: Cause, remedy: String },
    /// A setting of the network is not what it must be.
    BadSetting { source: HttpError },
    /// The HTTP client cannot be set up on this machine.
    NoClient { source: HttpError },
    /// No thread can be started.
    NoThread { source: io::Error },
}

/// Which call of the opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Info,
    Verify,
    List { with_access_code: bool },
}

/// What the messages name.
#[derive(Clone, Copy)]
pub(super) struct ShareNames<'a> {
    pub(super) endpoint: &'a str,
    pub(super) agent: &'a str,
}

/// What the messages name where there is a login.
#[derive(Clone, Copy)]
pub(super) struct SpaceNames<'a> {
    endpoint: &'a str,
    what: &'a str,
    credentials: &'a Credentials,
}

impl<'a> SpaceNames<'a> {
    /// `what` is asked of `endpoint`.
    pub(super) fn new(endpoint: &'a str, login: &'a LoginConfig, what: &'a str) -> SpaceNames<'a> {
        SpaceNames { endpoint, what, credentials: &login.credentials }
    }
}

impl OpenError {
    /// Whether the service refuses what was sent as password, token, app secret or access code, or has locked the account. The same
    /// again would be refused again, and may lock the account or the share.
    pub fn refuses_credentials(&self) -> bool {
        match self {
            OpenError::WrongAccessCode { .. } | OpenError::LoginRefused { .. } => true,
            OpenError::Login { source } => source.is_refusal(),
            _ => false,
        }
    }

    /// Whether the service has refused: the source is not, or no longer, this caller's. A failure to reach it is none.
    pub fn is_refusal(&self) -> bool {
        match self {
            OpenError::UnknownShare { .. }
            | OpenError::Deleted
            | OpenError::Expired { .. }
            | OpenError::AccessCodeNeeded { .. }
            | OpenError::SpaceDenied { .. }
            | OpenError::SpaceMissing { .. }
            | OpenError::SpaceRefused { .. } => true,
            _ => self.refuses_credentials(),
        }
    }

    /// Whether the service may be reached, or work, some time later: nothing was refused, and nobody has to change anything here.
    pub fn may_pass(&self) -> bool {
        use RemoteErrorKind::{Foreign, Interrupted, Timeout, Unavailable, Unreachable};
        match self {
            OpenError::UnknownHost { .. } | OpenError::Unreachable { .. } | OpenError::Tls { .. } => true,
            OpenError::Timeout { source, .. }
            | OpenError::Unavailable { source, .. }
            | OpenError::NotKooDrive { source, .. } => {
                let kind = kind_of(source.as_ref());
                matches!(kind, Some(Unreachable | Interrupted | Timeout | Unavailable | Foreign))
            }
            _ => false,
        }
    }

    /// How the service was not reached, if that is why there is no answer of its own: in words.
    pub fn outage(&self) -> Option<String> {
        const LOGIN_PAGE: &str = "does this network want a login?";
        match self {
            OpenError::UnknownHost { endpoint, .. } => Some(format!("the host of {endpoint} does not resolve")),
            OpenError::Unreachable { endpoint, source } if source.kind() == HttpErrorKind::Connect => {
                Some(format!("cannot reach {endpoint} ({})", reason(source)))
            }
            OpenError::Tls { endpoint, source } => {
                Some(format!("no trustworthy TLS connection to {endpoint} ({}); {LOGIN_PAGE}", reason(source)))
            }
            OpenError::NotKooDrive { endpoint, source }
            | OpenError::Timeout { endpoint, source }
            | OpenError::Unavailable { endpoint, source } => match kind_of(source.as_ref())? {
                RemoteErrorKind::Unreachable => Some(format!("cannot reach {endpoint} ({source})")),
                RemoteErrorKind::Foreign => {
                    Some(format!("something else answers at {endpoint} ({source}); {LOGIN_PAGE}"))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Why the HTTP client could not be made.
    pub(super) fn of_setup(source: HttpError, endpoint: &str) -> OpenError {
        match source.kind() {
            HttpErrorKind::InsecureUrl => OpenError::PlainHttp { endpoint: endpoint.to_owned(), source },
            HttpErrorKind::UnsendableUrl => OpenError::BadEndpoint { source },
            HttpErrorKind::BadSetting => OpenError::BadSetting { source },
            _ => OpenError::NoClient { source },
        }
    }

    /// What the failure of a call means while a share is opened.
    pub(super) fn of_share_call(error: CallError, step: Step, names: ShareNames<'_>) -> OpenError {
        let endpoint = names.endpoint.to_owned();
        match error {
            CallError::Http(source) => OpenError::of_http(source, endpoint),
            CallError::Login(source) => OpenError::of_login(source, endpoint),
            CallError::Refused(refusal) => OpenError::of_share_refusal(refusal, step, names),
            error => OpenError::NotKooDrive { endpoint, source: error.into() },
        }
    }

    fn of_share_refusal(refusal: ServiceRefusal, step: Step, names: ShareNames<'_>) -> OpenError {
        let (endpoint, agent, reason) = (names.endpoint.to_owned(), names.agent.to_owned(), refusal.reason);
        let source = CallError::Refused(refusal).into();
        match (reason, step) {
            (Reason::Known(RemoteErrorKind::Throttled), _) => OpenError::Throttled { endpoint, source },
            (Reason::Known(RemoteErrorKind::Timeout), _) => OpenError::Timeout { endpoint, source },
            (Reason::Known(RemoteErrorKind::Unavailable), _) => OpenError::Unavailable { endpoint, source },
            (Reason::Known(RemoteErrorKind::NeedsLogin), Step::Info) if agent.is_empty() => {
                let remedy = "check the login, and --user-id".to_owned();
                OpenError::LoginRefused { endpoint, source, remedy }
            }
            (Reason::Known(RemoteErrorKind::NotFound) | Reason::NoSpace, _) | (Reason::Unknown, Step::Info) => {
                OpenError::UnknownShare { endpoint, agent, source }
            }
            (_, Step::Info) => OpenError::AgentRefused { endpoint, agent, source },
            (_, Step::Verify | Step::List { with_access_code: true }) => OpenError::WrongAccessCode { source },
            (_, Step::List { with_access_code: false }) => OpenError::AccessCodeNeeded { source },
        }
    }

    /// What the failure of a call with a login means while something is opened.
    pub(super) fn of_space_call(error: CallError, names: SpaceNames<'_>) -> OpenError {
        use RemoteErrorKind::{Denied, NeedsLogin, NotFound, Throttled, Timeout, Unavailable};
        let endpoint = names.endpoint.to_owned();
        let reason = match &error {
            CallError::Refused(refusal) => refusal.reason,
            _ => {
                return match error {
                    CallError::Http(source) => OpenError::of_http(source, endpoint),
                    CallError::Login(source) => OpenError::of_login(source, endpoint),
                    error => OpenError::NotKooDrive { endpoint, source: error.into() },
                };
            }
        };
        let (what, source, remedy) = (names.what.to_owned(), error.into(), remedy(names.credentials));
        match reason {
            Reason::Known(Throttled) => OpenError::Throttled { endpoint, source },
            Reason::Known(Timeout) => OpenError::Timeout { endpoint, source },
            Reason::Known(Unavailable) => OpenError::Unavailable { endpoint, source },
            Reason::Known(NeedsLogin) => OpenError::LoginRefused { endpoint, source, remedy },
            Reason::Known(Denied) => OpenError::SpaceDenied { what, source },
            Reason::Known(NotFound) | Reason::NoSpace => OpenError::SpaceMissing { what, source },
            Reason::Known(_) | Reason::Parameters | Reason::Cursor | Reason::Unknown => {
                OpenError::SpaceRefused { what, source, remedy }
            }
        }
    }

    fn of_login(source: LoginError, endpoint: String) -> OpenError {
        match source {
            LoginError::Failed(source) if source.kind() == RemoteErrorKind::Timeout => {
                OpenError::Timeout { endpoint, source: source.into() }
            }
            LoginError::Failed(source) => OpenError::Unavailable { endpoint, source: source.into() },
            source => OpenError::Login { source },
        }
    }

    fn of_http(source: HttpError, endpoint: String) -> OpenError {
        match source.kind() {
            HttpErrorKind::Dns => OpenError::UnknownHost { endpoint, source },
            HttpErrorKind::Connect | HttpErrorKind::Interrupted => OpenError::Unreachable { endpoint, source },
            HttpErrorKind::Tls => OpenError::Tls { endpoint, source },
            HttpErrorKind::ConnectTimeout | HttpErrorKind::Timeout => {
                OpenError::Timeout { endpoint, source: source.into() }
            }
            HttpErrorKind::InsecureUrl => OpenError::PlainHttp { endpoint, source },
            HttpErrorKind::RedirectRefused
            | HttpErrorKind::TooLarge
            | HttpErrorKind::UnsendableUrl
            | HttpErrorKind::PrivateAddress => OpenError::NotKooDrive { endpoint, source: source.into() },
            HttpErrorKind::BadSetting => OpenError::BadSetting { source },
            HttpErrorKind::Spent | HttpErrorKind::Other => OpenError::NoClient { source },
        }
    }

    /// Why a share that the service knows cannot be used at `server_now`, if it cannot.
    pub(super) fn of_share(share: &Share, server_now: SystemTime) -> Option<OpenError> {
        ended(share, server_now).map(|ended| match ended {
            Ended::Deleted => OpenError::Deleted,
            Ended::Expired(expired_at) => OpenError::Expired { expired_at },
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::BadEndpoint { .. } => {
                write!(f, "the endpoint is not of the form https://host[:port]: check --endpoint")
            }
            OpenError::PlainHttp { endpoint, .. } => write!(
                f,
                "{endpoint} is plain http, which anyone on the way can read: use https, or add --allow-http if you must"
            ),
            OpenError::UnknownHost { endpoint, .. } => {
                write!(f, "the host of {endpoint} does not resolve: check --endpoint and the network's name server")
            }
            OpenError::Unreachable { endpoint, source } => {
                write!(f, "cannot reach {endpoint} ({}): check --endpoint and the network", reason(source))?;
                source.proxy_variable().map_or(Ok(()), |variable| write!(f, ", and the proxy that {variable} names"))
            }
            OpenError::Tls { endpoint, source } => write!(
                f,
                "no trustworthy TLS connection to {endpoint} ({}): check --endpoint, --ca-file and this \
                 machine's certificates and clock",
                reason(source)
            ),
            OpenError::NotKooDrive { endpoint, source } => {
                write!(f, "{endpoint} does not answer like KooDrive ({source}): check --endpoint")
            }
            OpenError::Timeout { endpoint, .. } => {
                write!(f, "{endpoint} did not answer in time: check --endpoint and the network, or try again later")
            }
            OpenError::Throttled { endpoint, .. } => {
                write!(f, "{endpoint} asks for fewer requests: try again later")
            }
            OpenError::Unavailable { endpoint, source } => {
                write!(f, "{endpoint} does not work at the moment ({source}): try again later")
            }
            OpenError::AgentRefused { endpoint, agent, source } if agent.is_empty() => {
                write!(f, "{endpoint} refuses the request for the share ({source}): check the share link and the login")
            }
            OpenError::UnknownShare { endpoint, agent, source } if agent.is_empty() => write!(
                f,
                "{endpoint} does not know the share ({source}): check the share link, --endpoint and whose login it is"
            ),
            OpenError::AgentRefused { endpoint, agent, source } => write!(
                f,
                "{endpoint} refuses the request for the share ({source}): check --agent ({agent:?}) and the share link"
            ),
            OpenError::UnknownShare { endpoint, agent, source } => write!(
                f,
                "{endpoint} does not know the share ({source}): check the share link, --agent ({agent:?}) and --endpoint"
            ),
            OpenError::Deleted => write!(f, "the shared files have been deleted: ask the owner for a new share"),
            OpenError::Expired { expired_at } => {
                write!(f, "the share {}: ask the owner to extend it", ended_text(*expired_at))
            }
            OpenError::AccessCodeNeeded { source } => write!(
                f,
                "the service does not list the share without an access code ({source}): give it with --access-code-file"
            ),
            OpenError::WrongAccessCode { source } => write!(
                f,
                "the service does not accept the access code ({source}): check --access-code-file; too many wrong codes may \
                 lock the share"
            ),
            // Its text says what to do.
            OpenError::BadSetting { source } => source.fmt(f),
            OpenError::Login { source } => source.fmt(f),
            OpenError::LoginRefused { endpoint, source, remedy } => {
                write!(f, "{endpoint} refuses the login ({source}): {remedy}")
            }
            OpenError::UserIdMissing => f.write_str(
                "the service needs the user id: give it with --user-id (a login by password does not need it)",
            ),
            OpenError::SpaceDenied { what, source } => write!(
                f,
                "the login has no permission on {what} ({source}): ask its owner for access, or see with koofs spaces what the \
                 login can open"
            ),
            OpenError::SpaceMissing { what, source } => {
                write!(f, "the service does not know {what} ({source}): see with koofs spaces what there is")
            }
            OpenError::SpaceRefused { what, source, remedy } => write!(
                f,
                "the service refuses to open {what} ({source}): see with koofs spaces what there is, and {remedy}"
            ),
            OpenError::NoThread { source } => {
                write!(f, "cannot start a thread ({source}): raise the limit on processes (ulimit -u)")
            }
            OpenError::NoClient { source } => {
                write!(f, "cannot make HTTP requests on this machine ({})", reason(source))
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::BadEndpoint { source }
            | OpenError::PlainHttp { source, .. }
            | OpenError::UnknownHost { source, .. }
            | OpenError::Unreachable { source, .. }
            | OpenError::Tls { source, .. }
            | OpenError::BadSetting { source }
            | OpenError::NoClient { source } => Some(source),
            OpenError::NotKooDrive { source, .. }
            | OpenError::Timeout { source, .. }
            | OpenError::Throttled { source, .. }
            | OpenError::Unavailable { source, .. }
            | OpenError::AgentRefused { source, .. }
            | OpenError::UnknownShare { source, .. }
            | OpenError::AccessCodeNeeded { source }
            | OpenError::WrongAccessCode { source }
            | OpenError::LoginRefused { source, .. }
            | OpenError::SpaceDenied { source, .. }
            | OpenError::SpaceMissing { source, .. }
            | OpenError::SpaceRefused { source, .. } => Some(source.as_ref()),
            OpenError::Login { source } => Some(source),
            OpenError::NoThread { source } => Some(source),
            OpenError::Deleted | OpenError::Expired { .. } | OpenError::UserIdMissing => None,
        }
    }
}

/// What kind of failure a cause is.
fn kind_of(cause: &(dyn Error + Send + Sync + 'static)) -> Option<RemoteErrorKind> {
    if let Some(error) = cause.downcast_ref::<HttpError>() {
        return Some(match error.kind() {
            HttpErrorKind::RedirectRefused => RemoteErrorKind::Foreign,
            kind => kind.remote_kind(),
        });
    }
    let call = cause.downcast_ref::<CallError>().map(CallError::kind);
    call.or_else(|| cause.downcast_ref::<Arc<RemoteError>>().map(|error| error.kind()))
}

/// The innermost cause of a failure: the system's own words, such as "Connection refused (os error 111)".
fn reason(error: &HttpError) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cleaned(&cause.to_string(), MAX_REASON_CHARS, &[])
}
