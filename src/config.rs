//! Checked plain values that say what to mount and how. Owns the defaults and their reasons; knows neither clap nor the
//! environment.

mod cache;
mod metrics;
mod rights;
mod space;
mod warm;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::glob::Shown;
use crate::policy::hash::stable_hash;
pub use cache::{CacheAction, CacheCommand, CacheConfig};
pub use metrics::MetricsAt;
pub use rights::{DEFAULT_UMASK, Rights};
pub use space::{SpaceSource, TeamKind};
pub use warm::{Pinning, WarmCommand};

/// How long a listing, with the attributes in it, is used without asking again. Minutes: it must last for a walk of a large tree.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// The deadline of every operation, queueing included. fuser answers FUSE_INTERRUPT with ENOSYS, so but for a kill this is the only
/// thing that ends the wait of a process on a dead network.
pub const DEFAULT_OP_TIMEOUT: Duration = Duration::from_secs(30);

/// The least that `--ttl` may be: listings that are stale at once would make each `ls` two round trips per name.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// The most that `--ttl` may be: a week. Longer is a copy, not a mount.
pub const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least that `--bwlimit` may be, in bytes per second: a block, which is what a read waits for, takes four seconds then.
pub const MIN_BANDWIDTH: u64 = 64 << 10;

/// The most: more than any line brings.
pub const MAX_BANDWIDTH: u64 = 1 << 40;

/// The default of `--offline-for`: a week's journey.
pub const DEFAULT_OFFLINE_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most that `--offline-for` may be: clocks count as far back from the start of the machine.
pub const MAX_OFFLINE_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// The most that `--retry-mount` may be: for longer, a service manager is to start the mount again.
pub const MAX_RETRY_MOUNT: Duration = Duration::from_secs(3600);

/// The least that `--op-timeout` may be: one round trip to a far region, with a TLS handshake.
pub const MIN_OP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most that `--op-timeout` may be. A process that waits takes no signal before it, so an hour is far too long already.
pub const MAX_OP_TIMEOUT: Duration = Duration::from_secs(3600);

/// The least that `--memory` may be: a few blocks for each of a few readers.
pub const MIN_MEMORY_BYTES: u64 = 16 << 20;

/// The most that `--memory` may be: more than machines have, and far from any overflow.
pub const MAX_MEMORY_BYTES: u64 = 1 << 40;

/// The least that `--cache-size` may be: some blobs for each thread that writes.
pub const MIN_CACHE_BYTES: u64 = 16 << 20;

/// The most that `--cache-size` may be.
pub const MAX_CACHE_BYTES: u64 = 1 << 40;

/// The default budget is never below this, however small the machine looks.
const DEFAULT_MEMORY_FLOOR_BYTES: u64 = 64 << 20;

/// The default budget is never above this: as much as read-ahead can use; more has to be asked for.
const DEFAULT_MEMORY_CEILING_BYTES: u64 = 256 << 20;

/// The default of `--memory`: an eighth of `ram_bytes` and a quarter of `cgroup_limit_bytes`, whichever is less, between
/// 64 MiB and 256 MiB. `None` means unknown, or no limit.
pub fn default_memory_bytes(ram_bytes: Option<u64>, cgroup_limit_bytes: Option<u64>) -> u64 {
    let of_ram = ram_bytes.map_or(u64::MAX, |ram| ram / 8);
    let of_cgroup = cgroup_limit_bytes.map_or(u64::MAX, |limit| limit / 4);
    of_ram.min(of_cgroup).clamp(DEFAULT_MEMORY_FLOOR_BYTES, DEFAULT_MEMORY_CEILING_BYTES)
}

/// What the user asked for, checked.
#[derive(Clone, Debug)]
pub enum Command {
    /// `koofs mount`.
    Mount(Box<MountConfig>),
    /// `koofs refresh`.
    Refresh {
        /// A directory or file of a mount: an absolute path.
        path: PathBuf,
    },
    /// `koofs warm`.
    Warm(WarmCommand),
    /// `koofs unmount`.
    Unmount {
        /// Where the mount is: an absolute path.
        mountpoint: PathBuf,
    },
    /// `koofs ls`.
    List(ListConfig),
    /// `koofs spaces`.
    Spaces(SpacesConfig),
    /// `koofs cache …`.
    Cache(CacheCommand),
    /// `koofs status`.
    Status(StatusConfig),
    /// `koofs doctor`.
    Doctor(DoctorConfig),
    /// What mount(8) asks its helper for.
    Helper(HelperCommand),
    /// `koofs config …`: the report to print; nothing else is left to do.
    Report(Report),
}

/// What mount(8) asks its helper for.
#[derive(Clone, Debug)]
pub enum HelperCommand {
    /// To mount.
    Mount {
        /// What and how.
        config: Box<MountConfig>,
        /// Nobody has said that the mount is read-only.
        wants_writing: bool,
    },
    /// To do all but mount, which is done by now.
    Fake,
    /// To change a mount that is there.
    Remount {
        /// Where it is: an absolute path.
        mountpoint: PathBuf,
        /// Nobody has said that it is to stay read-only.
        wants_writing: bool,
    },
}

/// Everything that `koofs status` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusConfig {
    /// A path in the mount that is meant, an absolute one; `None` for all of this user's.
    pub path: Option<PathBuf>,
    /// One JSON object on a line.
    pub is_json: bool,
    /// Every second, until it is interrupted.
    pub is_watching: bool,
}

/// Lines for standard output, and whether they say that all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What to print, fit for a terminal.
    pub lines: Vec<String>,
    /// Exit code 0.
    pub is_well: bool,
}

/// A text that must never be printed: no `Display`, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// A hash of it together with `salt`, which is no secret. A part of it may be kept to tell this secret from others.
    pub fn hash_with(&self, salt: &str) -> u64 {
        stable_hash(&[b"secret", salt.as_bytes(), self.0.as_bytes()])
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

/// How to reach the service.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `https://host[:port]`, without a path or a trailing slash.
    pub endpoint: String,
    /// Plain http is allowed to hosts other than loopback.
    pub allow_http: bool,
    /// Download links may lead to this machine and to private addresses, wherever the endpoint is.
    pub allow_private_links: bool,
    /// A PEM file with certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The most that one operation may take.
    pub op_timeout: Duration,
}

/// The name of a share where others may read it: in the mount table, in the log. Its code is no password, as everybody who has
/// the link has it; but most shares need nothing else, so it is sent to the service and shown nowhere. 32 bits of a hash tell
/// shares apart, and are the same for the same share always.
pub fn share_name(code: &str) -> String {
    format!("koofs:share-{:08x}", stable_hash(&[b"share", code.as_bytes()]) >> 32)
}

/// A share: everything that is needed to open one. `Debug` does not show its code.
#[derive(Clone)]
pub struct ShareConfig {
    /// Where and how.
    pub connection: Connection,
    /// The short code of the share: opaque, never empty. Not to be shown to others: see [`Source::name`].
    pub code: String,
    /// The share's access code, if it has one.
    pub access_code: Option<Secret>,
    /// Its edition, and with it the login.
    pub edition: Edition,
}

/// Which edition of the service a share is of.
#[derive(Clone, Debug)]
pub enum Edition {
    /// The carrier edition: public shares, without a login.
    Carrier {
        /// The carrier's name, sent as `X-Hw-Agentname`.
        agent: String,
    },
    /// The enterprise edition, whose shares need a login.
    Enterprise(LoginConfig),
}

impl fmt::Debug for ShareConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShareConfig { connection, code, access_code, edition } = self;
        f.debug_struct("ShareConfig")
            .field("connection", connection)
            .field("code", &share_name(code))
            .field("access_code", access_code)
            .field("edition", edition)
            .finish()
    }
}

/// How to log in. Files and commands are read when they are needed, again when the service refuses what they gave.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A file that holds the token.
    TokenFile(PathBuf),
    /// The token itself, from the environment.
    Token(Secret),
    /// A shell command that prints the token.
    TokenCommand(String),
    /// Account and password, of the carrier edition.
    Password {
        /// Account name or mobile number.
        account: String,
        /// Where the password is.
        password: SecretSource,
    },
    /// AppId and AppSecret: every request is signed, nothing expires.
    App {
        /// The AppId.
        id: String,
        /// Where the AppSecret is.
        secret: SecretSource,
    },
}

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// From a file that others cannot read.
    File(PathBuf),
    /// From the environment.
    Given(Secret),
}

/// A login: how, and whose.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// How.
    pub credentials: Credentials,
    /// `X-User-Id`; a login by password tells it itself.
    pub user_id: Option<String>,
    /// The carrier's name, which a login by password needs.
    pub agent: Option<String>,
}

/// A space: everything that is needed to open one.
#[derive(Clone, Debug)]
pub struct SpaceConfig {
    /// Where and how.
    pub connection: Connection,
    /// What to open.
    pub source: SpaceSource,
    /// With which login.
    pub login: LoginConfig,
}

/// Everything that `koofs spaces` needs.
#[derive(Clone, Debug)]
pub struct SpacesConfig {
    /// Where and how.
    pub connection: Connection,
    /// Whose spaces.
    pub login: LoginConfig,
    /// One JSON object on a line.
    pub is_json: bool,
    /// How many times `-v` was given.
    pub verbosity: u8,
}

/// What to mount or to list.
#[derive(Clone, Debug)]
pub enum Source {
    /// A share, of either edition.
    Share(ShareConfig),
    /// A space, a team space or a shared folder.
    Space(SpaceConfig),
}

impl Source {
    /// Where and how it is reached.
    pub fn connection(&self) -> &Connection {
        match self {
            Source::Share(share) => &share.connection,
            Source::Space(space) => &space.connection,
        }
    }

    /// What kind of thing it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Share(_) => "share",
            Source::Space(space) => match space.source {
                SpaceSource::Own | SpaceSource::Container(_) => "space",
                SpaceSource::Team { .. } => "team space",
                SpaceSource::SharedFolder(_) => "shared folder",
            },
        }
    }

    /// The login that it needs, if any.
    pub fn login(&self) -> Option<&LoginConfig> {
        match self {
            Source::Share(ShareConfig { edition: Edition::Carrier { .. }, .. }) => None,
            Source::Share(ShareConfig { edition: Edition::Enterprise(login), .. }) => Some(login),
            Source::Space(space) => Some(&space.login),
        }
    }

    /// What others may see of it: `koofs:share-` and 8 hexadecimal digits for a share, which stand for its code; a space as it
    /// was typed.
    pub fn name(&self) -> String {
        match self {
            Source::Share(ShareConfig { code, .. }) => share_name(code),
            Source::Space(space) => space.source.to_string(),
        }
    }
}

/// Everything that `koofs mount` needs.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// What to mount.
    pub source: Source,
    /// What the mount table shows for it, which every user can read: `koofs:NAME` for a remote of the configuration file, else
    /// [`Source::name`].
    pub name: String,
    /// The folder inside the source that becomes the root; names from the top, none for the top itself.
    pub root: Vec<String>,
    /// Where to mount it: an absolute path, as it was when the command started.
    pub mountpoint: PathBuf,
    /// The mountpoint may hold files, which the mount hides.
    pub nonempty: bool,
    /// Stay in the foreground.
    pub foreground: bool,
    /// How many times `-v` was given.
    pub verbosity: u8,
    /// Where the log goes, an absolute path; none: standard error, which is `/dev/null` once a background mount is ready.
    pub log_file: Option<PathBuf>,
    /// See [`DEFAULT_TTL`].
    pub ttl: Duration,
    /// How long listings are believed, and the source is known, while the service cannot be reached; zero for never.
    pub offline_for: Duration,
    /// For how long the source is tried to be opened while the service is not reached; zero for once.
    pub retry_mount: Duration,
    /// The budget of all cached and prefetched bytes.
    pub memory_bytes: u64,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// No program of the mount may be run.
    pub noexec: bool,
    /// Whose everything is, and with which rights.
    pub rights: Rights,
    /// Where what was read is kept; `None` to keep nothing.
    pub cache: Option<CacheConfig>,
    /// Which entries are shown.
    pub shown: Shown,
    /// The most bytes of files' content that are fetched in a second; `None` for no limit.
    pub bandwidth: Option<u64>,
    /// Extended attributes are offered.
    pub xattr: bool,
    /// `.xdg-volume-info` is offered.
    pub volume_info: bool,
    /// Where Prometheus may ask; `None` for nowhere.
    pub metrics: Option<MetricsAt>,
}

/// Everything that `koofs ls` needs.
#[derive(Clone, Debug)]
pub struct ListConfig {
    /// What to look into.
    pub source: Source,
    /// The directory or file inside the source; names from the top, none for the top itself.
    pub path: Vec<String>,
    /// How to print it.
    pub format: ListFormat,
    /// How many times `-v` was given.
    pub verbosity: u8,
}

/// Everything that `koofs doctor` needs.
#[derive(Clone, Debug)]
pub struct DoctorConfig {
    /// What to examine.
    pub source: Source,
    /// A file that is to be made, with the same lines: an absolute path.
    pub report: Option<PathBuf>,
    /// How many times `-v` was given.
    pub verbosity: u8,
}

/// How `koofs ls` prints an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// The name, one on a line.
    Names,
    /// Size in bytes, time (UTC) and name; a directory's name ends with `/`.
    Long,
    /// The same with sizes for people, like `1.5G`.
    LongForPeople,
    /// One JSON object on a line.
    JsonLines,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_memory_is_a_fraction_within_bounds() {
        let gib = 1 << 30;
        let mib = 1 << 20;
        for (ram, cgroup, want) in [
            (None, None, gib / 4),
            (Some(24 * gib), None, gib / 4),
            (Some(gib), None, gib / 8),
            (Some(24 * gib), Some(512 * mib), 128 * mib),
            (Some(256 * mib), None, 64 * mib),
            (Some(gib), Some(u64::MAX), gib / 8),
            (Some(0), Some(0), 64 * mib),
        ] {
            assert_eq!(default_memory_bytes(ram, cgroup), want, "{ram:?} {cgroup:?}");
        }
    }

    #[test]
    fn name_of_a_share_is_the_same_always_and_shows_no_code() {
        let code = "1800000000000000001";
        let connection = Connection {
            endpoint: "https://h".to_owned(),
            allow_http: false,
            allow_private_links: false,
            ca_file: None,
            op_timeout: DEFAULT_OP_TIMEOUT,
        };
        let login =
            LoginConfig { credentials: Credentials::TokenFile(PathBuf::from("/t")), user_id: None, agent: None };
        for edition in [Edition::Carrier { agent: "a".to_owned() }, Edition::Enterprise(login)] {
            let connection = connection.clone();
            let share = Source::Share(ShareConfig { connection, code: code.to_owned(), access_code: None, edition });
            assert_eq!(share.name(), "koofs:share-ba6f331a");
            assert!(!format!("{share:?}").contains(code));
        }
        assert_ne!(share_name("1800000000000000002"), share_name(code));
    }

    #[test]
    fn secret_debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("a1B2c3D4")), "Secret(…)");
    }
}
