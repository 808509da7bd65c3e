//! Why there is no login: for the person who reads the line, and for whoever decides whether to try again. No secret in it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::attempts::{Resend, Said, Withheld};
use crate::config::Credentials;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::secrets::{CommandError, SecretFileError};

/// Why there is no (new) credential. `Display` is one line, with a remedy where there is one, and without a secret.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`detail` is what the service said")]
pub enum LoginError {
    File(SecretFileError),
    Command(CommandError),
    /// The text that was given as the token cannot be one: where it came from.
    NotAToken(&'static str),
    /// A login by password needs the carrier's name.
    NoAgent,
    /// The service does not accept account and password: just now, or not long ago, which `resend` tells.
    PasswordRefused {
        detail: String,
        resend: Option<Resend>,
    },
    /// The service says that the account is locked (HTTP 423): just now, or not long ago, which `resend` tells.
    Locked {
        detail: String,
        resend: Option<Resend>,
    },
    /// The credential is refused as `detail` says, and there is no other. `remedy` says what to do.
    NothingNewer {
        remedy: String,
        detail: String,
    },
    /// A new one was refused as well, not long ago.
    Useless,
    /// A call of the login failed, and may succeed later. Shared by all who waited for it.
    Failed(Arc<RemoteError>),
}

impl LoginError {
    pub(super) fn kind(&self) -> RemoteErrorKind {
        match self {
            LoginError::Failed(error) => error.kind(),
            LoginError::Command(CommandError::TimedOut(_)) => RemoteErrorKind::Timeout,
            // A file that is just being written, a command whose own service is away.
            LoginError::File(_) | LoginError::Command(_) => RemoteErrorKind::LoginNotReady,
            _ => RemoteErrorKind::NeedsLogin,
        }
    }

    /// Whether the service has refused the credential.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            LoginError::PasswordRefused { .. }
            | LoginError::Locked { .. }
            | LoginError::NothingNewer { .. }
            | LoginError::Useless => true,
            LoginError::File(_)
            | LoginError::Command(_)
            | LoginError::NotAToken(_)
            | LoginError::NoAgent
            | LoginError::Failed(_) => false,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            LoginError::Failed(error) => error.retry_after(),
            _ => None,
        }
    }

    /// What it means that the password is not sent.
    pub(super) fn of_withheld(Withheld { said, detail, resend }: Withheld) -> LoginError {
        LoginError::of_refused(said, detail, Some(resend))
    }

    /// What it means that the password is refused.
    pub(super) fn of_refused(said: Said, detail: String, resend: Option<Resend>) -> LoginError {
        match said {
            Said::Locked => LoginError::Locked { detail, resend },
            Said::Wrong | Said::Unclear => LoginError::PasswordRefused { detail, resend },
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoginError::File(error) => error.fmt(f),
            LoginError::Command(error) => error.fmt(f),
            LoginError::NotAToken(whence) => {
                write!(f, "{whence} is not a token: give the value of the Authorization header, which is visible ASCII")
            }
            LoginError::NoAgent => f.write_str("a login by password needs the carrier's name: give it with --agent"),
            LoginError::PasswordRefused { detail, resend } => {
                write!(
                    f,
                    "the service does not accept account and password ({detail}): check --account, --password-file and \
                     --agent; too many wrong passwords may lock the account"
                )?;
                write_resend(f, *resend)
            }
            LoginError::Locked { detail, resend } => {
                write!(f, "the account is locked ({detail}): unlock it at the service, or wait until it is unlocked")?;
                write_resend(f, *resend)
            }
            LoginError::NothingNewer { remedy, detail } => {
                write!(f, "the service refuses the login ({detail}), and there is no newer one: {remedy}")
            }
            LoginError::Useless => f.write_str("the service refuses the login, and has refused a new one as well"),
            LoginError::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for LoginError {
    /// The source of the failed call: `Display` shows the call's own text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LoginError::Failed(error) => error.source(),
            _ => None,
        }
    }
}

fn write_resend(f: &mut fmt::Formatter<'_>, resend: Option<Resend>) -> fmt::Result {
    match resend {
        Some(resend) => write!(f, "; {resend}, or when the password's file has changed"),
        None => Ok(()),
    }
}

/// What to do about a refused login that does not renew itself.
pub(super) fn remedy(credentials: &Credentials) -> String {
    match credentials {
        Credentials::TokenFile(path) => format!("put a fresh token into {}", path.display()),
        Credentials::Token(_) => {
            "give a fresh token in KOOFS_TOKEN, or one that can be renewed: --token-file, --token-command".to_owned()
        }
        Credentials::TokenCommand(_) => "see that the command of --token-command prints a fresh token".to_owned(),
        Credentials::Password { .. } => "check --account, --password-file and --user-id".to_owned(),
        Credentials::App { .. } => "check --app-id, --app-secret-file and --user-id".to_owned(),
    }
}
