//! Checked plain values that say what to mount and how. Owns the defaults and their reasons; knows neither clap nor the environment.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a listing and what it says about its entries is believed. Minutes: a walk of a large tree must not outlive it.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// The deadline of every operation, queueing included. fuser answers FUSE_INTERRUPT with ENOSYS, so this is all that frees a
/// process which waits for a dead network.
pub const DEFAULT_OP_TIMEOUT: Duration = Duration::from_secs(30);

/// A text that must never be printed: no `Display`, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to reach a share: everything that `koofs ls` needs as well.
#[derive(Clone, Debug)]
pub struct ShareConfig {
    /// `https://host[:port]`, without a path or a trailing slash.
    pub endpoint: String,
    /// The short code of the share: opaque, never empty.
    pub code: String,
    /// The carrier's name, sent as `X-Hw-Agentname`.
    pub agent: String,
    /// The share's access code, if it has one.
    pub access_code: Option<Secret>,
    /// Plain http is allowed to hosts other than loopback.
    pub allow_http: bool,
    /// The most that one operation may take.
    pub op_timeout: Duration,
}

/// Everything that `koofs mount` needs.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount.
    pub share: ShareConfig,
    /// The folder inside the share that becomes the root; names from the top, none for the top itself.
    pub root: Vec<String>,
    /// Where to mount it: an absolute path, as it was when the command started.
    pub mountpoint: PathBuf,
    /// Stay in the foreground.
    pub foreground: bool,
    /// How many times `-v` was given.
    pub verbosity: u8,
    /// Where the log goes; standard error (foreground) or the system log's absence (background) otherwise.
    pub log_file: Option<PathBuf>,
    /// See [`DEFAULT_TTL`].
    pub ttl: Duration,
    /// The budget of all cached and prefetched bytes.
    pub memory_bytes: u64,
    /// See [`DEFAULT_OP_TIMEOUT`].
    pub op_timeout: Duration,
}
