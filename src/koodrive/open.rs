//! Why a share or a space cannot be opened: for the person who typed the command.
//!
//! Each text is one line that says what is wrong, where, and what to do about it. None holds a secret (access code, token), nor
//! the share's short code: no secret, as everybody with the link has it, but all that most shares take.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::SystemTime;

use super::convert::Share;
use super::error::{CallError, Reason, Refusal};
use super::login_error::{LoginError, remedy};
use super::share_state::{Ended, ended, ended_text};
use super::shown::cleaned;
use crate::config::{Credentials, SpaceConfig};
use crate::http::{HttpError, HttpErrorKind};
use crate::remote::RemoteErrorKind;

/// How much of the operating system's or the TLS library's own reason is shown, in characters.
const MAX_REASON_CHARS: usize = 120;

/// What keeps a share from being opened. `endpoint` is `scheme://host[:port]`; `detail` is what the service said.
#[derive(Debug)]
#[expect(missing_docs, reason = "the two fields are explained above")]
pub enum OpenError {
    /// The endpoint is not of the form `https://host[:port]`.
    BadEndpoint,
    /// Plain http to another machine.
    PlainHttp { endpoint: String },
    /// The endpoint's name does not resolve.
    UnknownHost { endpoint: String, source: HttpError },
    /// No connection, or one that broke.
    Unreachable { endpoint: String, source: HttpError },
    /// No trustworthy TLS connection.
    Tls { endpoint: String, source: HttpError },
    /// Something else answers there.
    NotKooDrive { endpoint: String, detail: String },
    /// No answer in time.
    Timeout { endpoint: String },
    /// The service asks for fewer requests.
    Throttled { endpoint: String },
    /// The service is out of order.
    Unavailable { endpoint: String, detail: String },
    /// The service refuses the agent, or does not say what else it refuses.
    AgentRefused { endpoint: String, agent: String, detail: String },
    /// The service does not know the share.
    UnknownShare { endpoint: String, agent: String, detail: String },
    /// What was shared has been deleted.
    Deleted,
    /// The share has ended, at that time if the service gives one.
    Expired { expired_at: Option<SystemTime> },
    /// The owner does not allow downloads.
    DownloadForbidden,
    /// The share is protected and no access code was given.
    AccessCodeNeeded { detail: String },
    /// The service does not accept the access code.
    WrongAccessCode { detail: String },
    /// There is nothing to log in with, or the service does not accept it.
    Login(LoginError),
    /// The service refuses what the login gave, of whatever age.
    LoginRefused { endpoint: String, detail: String, remedy: String },
    /// Nobody said whose login it is.
    UserIdMissing,
    /// The login may not see what it asks for.
    SpaceDenied { what: String, detail: String },
    /// There is no such thing.
    SpaceMissing { what: String, detail: String },
    /// The service refuses, and does not say why.
    SpaceRefused { what: String, detail: String, remedy: String },
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
pub(super) struct Place<'a> {
    pub(super) endpoint: &'a str,
    pub(super) agent: &'a str,
}

/// What the messages name where there is a login.
#[derive(Clone, Copy)]
pub(super) struct SpacePlace<'a> {
    endpoint: &'a str,
    what: &'a str,
    credentials: &'a Credentials,
}

impl<'a> SpacePlace<'a> {
    /// `what` is asked of `endpoint`.
    pub(super) fn new(endpoint: &'a str, config: &'a SpaceConfig, what: &'a str) -> SpacePlace<'a> {
        SpacePlace { endpoint, what, credentials: &config.credentials }
    }
}

impl OpenError {
    /// What a client that cannot even be made means.
    pub(super) fn of_setup(error: HttpError, endpoint: &str) -> OpenError {
        match error.kind() {
            HttpErrorKind::InsecureUrl => OpenError::PlainHttp { endpoint: endpoint.to_owned() },
            HttpErrorKind::UnsendableUrl => OpenError::BadEndpoint,
            HttpErrorKind::BadSetting => OpenError::BadSetting { source: error },
            _ => OpenError::NoClient { source: error },
        }
    }

    /// What the failure of a call means while the share is opened.
    pub(super) fn of_call(error: CallError, step: Step, place: Place<'_>) -> OpenError {
        let endpoint = place.endpoint.to_owned();
        match error {
            CallError::Http(error) => OpenError::of_http(error, endpoint),
            CallError::Login(error) => OpenError::of_login(error, endpoint),
            CallError::Refused(refusal) => OpenError::of_refusal(refusal, step, place),
            error => OpenError::NotKooDrive { endpoint, detail: error.detail() },
        }
    }

    /// What the failure of a call with a login means while something is opened.
    pub(super) fn of_space_call(error: CallError, place: SpacePlace<'_>) -> OpenError {
        use RemoteErrorKind::{Denied, NeedsLogin, NotFound, Throttled, Timeout, Unavailable};
        let endpoint = place.endpoint.to_owned();
        let refusal = match error {
            CallError::Http(error) => return OpenError::of_http(error, endpoint),
            CallError::Login(error) => return OpenError::of_login(error, endpoint),
            CallError::Refused(refusal) => refusal,
            error => return OpenError::NotKooDrive { endpoint, detail: error.detail() },
        };
        let (what, detail, remedy) = (place.what.to_owned(), refusal.detail, remedy(place.credentials));
        match refusal.reason {
            Reason::Known(Throttled) => OpenError::Throttled { endpoint },
            Reason::Known(Timeout) => OpenError::Timeout { endpoint },
            Reason::Known(Unavailable) => OpenError::Unavailable { endpoint, detail },
            Reason::Known(NeedsLogin) => OpenError::LoginRefused { endpoint, detail, remedy },
            Reason::Known(Denied) => OpenError::SpaceDenied { what, detail },
            Reason::Known(NotFound) | Reason::NoSpace => OpenError::SpaceMissing { what, detail },
            Reason::Known(_) | Reason::Parameters | Reason::Unknown => OpenError::SpaceRefused { what, detail, remedy },
        }
    }

    fn of_login(error: LoginError, endpoint: String) -> OpenError {
        match error {
            LoginError::Failed { kind: RemoteErrorKind::Timeout, .. } => OpenError::Timeout { endpoint },
            LoginError::Failed { detail, .. } => OpenError::Unavailable { endpoint, detail },
            error => OpenError::Login(error),
        }
    }

    fn of_http(source: HttpError, endpoint: String) -> OpenError {
        match source.kind() {
            HttpErrorKind::Dns => OpenError::UnknownHost { endpoint, source },
            HttpErrorKind::Connect | HttpErrorKind::Interrupted => OpenError::Unreachable { endpoint, source },
            HttpErrorKind::Tls => OpenError::Tls { endpoint, source },
            HttpErrorKind::Timeout => OpenError::Timeout { endpoint },
            HttpErrorKind::InsecureUrl => OpenError::PlainHttp { endpoint },
            HttpErrorKind::RedirectRefused
            | HttpErrorKind::TooLarge
            | HttpErrorKind::UnsendableUrl
            | HttpErrorKind::PrivateAddress => OpenError::NotKooDrive { endpoint, detail: source.to_string() },
            HttpErrorKind::BadSetting => OpenError::BadSetting { source },
            HttpErrorKind::Other => OpenError::NoClient { source },
        }
    }

    fn of_refusal(refusal: Refusal, step: Step, place: Place<'_>) -> OpenError {
        let (endpoint, agent, detail) = (place.endpoint.to_owned(), place.agent.to_owned(), refusal.detail);
        match (refusal.reason, step) {
            (Reason::Known(RemoteErrorKind::Throttled), _) => OpenError::Throttled { endpoint },
            (Reason::Known(RemoteErrorKind::Timeout), _) => OpenError::Timeout { endpoint },
            (Reason::Known(RemoteErrorKind::Unavailable), _) => OpenError::Unavailable { endpoint, detail },
            (Reason::Known(RemoteErrorKind::NeedsLogin), Step::Info) if agent.is_empty() => {
                let remedy = "check the login, and --user-id".to_owned();
                OpenError::LoginRefused { endpoint, detail, remedy }
            }
            (Reason::Known(RemoteErrorKind::NotFound) | Reason::NoSpace, _) | (Reason::Unknown, Step::Info) => {
                OpenError::UnknownShare { endpoint, agent, detail }
            }
            (_, Step::Info) => OpenError::AgentRefused { endpoint, agent, detail },
            (_, Step::Verify | Step::List { with_access_code: true }) => OpenError::WrongAccessCode { detail },
            (_, Step::List { with_access_code: false }) => OpenError::AccessCodeNeeded { detail },
        }
    }

    /// Why a share that the service knows cannot be used at `server_now`, if it cannot.
    pub(super) fn of_share(share: &Share, server_now: SystemTime) -> Option<OpenError> {
        match ended(share, server_now) {
            Some(Ended::Deleted) => Some(OpenError::Deleted),
            Some(Ended::Expired(expired_at)) => Some(OpenError::Expired { expired_at }),
            None => share.download_forbidden.then_some(OpenError::DownloadForbidden),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::BadEndpoint => {
                write!(f, "the endpoint is not of the form https://host[:port]: check --endpoint")
            }
            OpenError::PlainHttp { endpoint } => write!(
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
            OpenError::NotKooDrive { endpoint, detail } => {
                write!(f, "{endpoint} does not answer like KooDrive ({detail}): check --endpoint")
            }
            OpenError::Timeout { endpoint } => {
                write!(f, "{endpoint} did not answer in time: check --endpoint and the network, or try again later")
            }
            OpenError::Throttled { endpoint } => {
                write!(f, "{endpoint} asks for fewer requests: try again later")
            }
            OpenError::Unavailable { endpoint, detail } => {
                write!(f, "{endpoint} is out of order ({detail}): try again later")
            }
            OpenError::AgentRefused { endpoint, agent, detail } if agent.is_empty() => {
                write!(f, "{endpoint} refuses the request for the share ({detail}): check the share link and the login")
            }
            OpenError::UnknownShare { endpoint, agent, detail } if agent.is_empty() => write!(
                f,
                "{endpoint} does not know the share ({detail}): check the share link, --endpoint and whose login it is"
            ),
            OpenError::AgentRefused { endpoint, agent, detail } => write!(
                f,
                "{endpoint} refuses the request for the share ({detail}): check --agent ({agent:?}) and the share link"
            ),
            OpenError::UnknownShare { endpoint, agent, detail } => write!(
                f,
                "{endpoint} does not know the share ({detail}): check the share link, --agent ({agent:?}) and --endpoint"
            ),
            OpenError::Deleted => write!(f, "the shared files have been deleted: ask the owner for a new share"),
            OpenError::Expired { expired_at } => {
                write!(f, "the share {}: ask the owner to extend it", ended_text(*expired_at))
            }
            OpenError::DownloadForbidden => {
                write!(f, "the owner of the share does not permit downloads: ask the owner to allow them")
            }
            OpenError::AccessCodeNeeded { detail } => write!(
                f,
                "the service does not list the share without an access code ({detail}): give it with --access-code-file"
            ),
            OpenError::WrongAccessCode { detail } => write!(
                f,
                "the service does not accept the access code ({detail}): check --access-code-file; too many wrong codes may \
                 lock the share"
            ),
            // Says itself what to do.
            OpenError::BadSetting { source } => source.fmt(f),
            OpenError::Login(error) => error.fmt(f),
            OpenError::LoginRefused { endpoint, detail, remedy } => {
                write!(f, "{endpoint} refuses the login ({detail}): {remedy}")
            }
            OpenError::UserIdMissing => f.write_str(
                "the service wants to know whose login it is: give the user id with --user-id (a login by password tells it)",
            ),
            OpenError::SpaceDenied { what, detail } => write!(
                f,
                "the login has no permission on {what} ({detail}): ask its owner for access, or see with koofs spaces what the \
                 login can open"
            ),
            OpenError::SpaceMissing { what, detail } => {
                write!(f, "the service does not know {what} ({detail}): see with koofs spaces what there is")
            }
            OpenError::SpaceRefused { what, detail, remedy } => write!(
                f,
                "the service refuses to open {what} ({detail}): see with koofs spaces what there is, and {remedy}"
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
            OpenError::UnknownHost { source, .. }
            | OpenError::Unreachable { source, .. }
            | OpenError::Tls { source, .. }
            | OpenError::NoClient { source } => Some(source),
            OpenError::NoThread { source } => Some(source),
            _ => None,
        }
    }
}

/// The innermost cause of a failure: the system's own words, such as "Connection refused (os error 111)".
fn reason(error: &HttpError) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cleaned(&cause.to_string(), MAX_REASON_CHARS, &[])
}
