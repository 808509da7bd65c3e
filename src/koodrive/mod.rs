//! The KooDrive API: its calls, its answers, its credentials.
//!
//! Owns everything that is peculiar to the service. Must not know inodes or blocks. JSON stops at `wire`, HTTP at
//! [`crate::http`]; what leaves this room are the types of [`crate::remote`].
//!
//! What is known of the service is in `API.md` beside this file; numbers in brackets, such as (5.4), are its sections.
//!
//! ```text
//! share -> share_calls -+-> service (who calls: the carrier's name, or a login) -> caller (one attempt) -> http
//! space -> space_calls -+      -> login (credentials: files, commands, logins), signature
//! ```

mod attempts;
mod auth;
mod caller;
mod convert;
mod envelope;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod hostile_answers;
mod kept_alive;
mod login;
mod login_error;
mod open;
mod open_error;
mod opening_page;
mod page_size;
mod probe;
mod question;
mod renewable;
mod service;
mod share;
mod share_calls;
mod share_state;
mod shown;
mod signature;
mod space;
mod space_calls;
mod token;
mod visible;
mod wire;

pub use attempts::Resend;
pub use kept_alive::UPKEEP_INTERVAL;
pub use login_error::LoginError;
pub use open::open;
pub use open_error::OpenError;
pub use probe::{Answered, Probe, ProbeError, ShareState};
pub use question::Question;
pub use visible::{VisibleKind, VisibleSpace, visible_spaces};
pub use wire::Shapes;
