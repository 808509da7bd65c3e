//! HTTP/1.1 for the two kinds of server there are: the API (small JSON answers) and the object store (ranges of files).
//!
//! Owns both clients, their time limits and the kinds of failure; the only room that knows `reqwest`. Must not know what
//! KooDrive's answers mean, nor blocks. Every call blocks its thread: worker threads only, never inside an async runtime.
//! No locks of its own; each underlying client owns one runtime thread.
//!
//! Time: reqwest's blocking client restarts its client-wide timeout at every read of a body (measured: src/kernel/LINUX.md,
//! section 8), which is what makes it a stall limit: the longest time without a byte. The deadline of the whole call is checked
//! here between reads. A request that has less time left than the stall limit gets a total limit instead. Hence no call returns
//! later than its deadline plus one stall limit, and it returns that late only if it stalls just before the deadline.
//!
//! Proxies are those of the standard variables, and never for this machine. Certificates are always verified. Links and
//! redirects lead to private addresses only where the endpoint is in such a place too (`reach.rs`).
//!
//! Secrets: links are secrets and API queries hold the share's code. No error here shows more of a URL than
//! `scheme://host:port`.

mod address;
mod api;
mod config;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod meter;
mod object;
mod proxy;
mod reach;
mod url;

pub use api::{ApiAnswer, ApiClient, ApiRequest};
pub use config::HttpConfig;
pub use error::{HttpError, HttpErrorKind};
pub use meter::Meter;
pub use object::{ObjectAnswer, ObjectBody, ObjectClient};
pub use proxy::Proxies;
pub use reach::EndpointPlaces;
