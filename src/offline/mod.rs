//! A drive that may be out of reach: opened if it can be, known from before if not, and found again by itself.
//!
//! While the service cannot be reached every call fails at once ([`Offline`](crate::remote::RemoteErrorKind::Offline)), and one thread
//! tries in the background. Only a failure to reach it counts: whatever it says, a refusal too, is an answer. When that begins and ends is
//! [`crate::policy::outage`]'s to say. Knows nothing of what is remembered, nor how a source is opened.
//!
//! Threads: one that tries; one that opens a source that is known, as long as that takes. Locks: the outage's and the refusal's, each
//! for the length of a look.

mod drive;
mod facts;
mod open;
mod plan;
mod tries;

pub use drive::Reconnecting;
pub use facts::Facts;
pub use open::open;
pub use plan::{Event, Failed, Keep, Meaning, Opened, Plan};
