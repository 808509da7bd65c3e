//! The one table of settings: each is the flag `--key`, the variable `KOOFS_KEY` and the key of the configuration file.
//!
//! Knows clap, for which it writes the flags; knows neither where a value came from nor what it means.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::marker::PhantomData;

use clap::builder::OsStringValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Subcommand, ValueHint};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A path; in the configuration file `~/` is the home directory, and a relative one starts at the file's directory.
    Path,
    /// A number, or a number with a unit.
    Number,
    /// Yes or no; the flag alone means yes.
    Switch,
    /// A flag that counts how often it is given.
    Count,
}

/// Which commands and sources a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reaching the service, and saying what happens.
    Service,
    /// Logging in.
    Login,
    /// Any source.
    Source,
    /// Shares only.
    Share,
    /// Team spaces only.
    Team,
    /// `koofs mount`.
    Mount,
    /// Where the cache on the disk is.
    Cache,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its name: as it stands in the configuration file.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) purpose: Purpose,
    heading: &'static str,
    value_name: &'static str,
    help: &'static str,
    short: Option<char>,
}

impl Setting {
    /// `--key`, with the dashes of a flag.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// `KOOFS_KEY`.
    pub(super) fn variable(&self) -> String {
        format!("KOOFS_{}", self.key.to_ascii_uppercase())
    }

    /// Whether it may stand in the configuration file: all but the name of that file.
    pub(super) fn is_in_file(&self) -> bool {
        self.key != CONFIG.key
    }

    fn arg(&self) -> Arg {
        let help = format!("{} [env:{}]", self.help, self.variable());
        let arg = Arg::new(self.key).long(self.key.replace('_', "-")).help(help).help_heading(self.heading);
        let arg = arg.value_parser(OsStringValueParser::new());
        let arg = match self.kind {
            Kind::Text | Kind::Number => arg.value_name(self.value_name),
            Kind::Path if self.value_name == "DIR" => arg.value_name(self.value_name).value_hint(ValueHint::DirPath),
            Kind::Path => arg.value_name(self.value_name).value_hint(ValueHint::FilePath),
            Kind::Switch => arg.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true"),
            // clap's own number: no value is typed.
            Kind::Count => arg.value_parser(clap::value_parser!(u8)).action(ArgAction::Count),
        };
        if let Some(short) = self.short { arg.short(short) } else { arg }
    }

    /// What the command line says; `None` if nothing.
    fn typed(&self, matches: &ArgMatches) -> Option<OsString> {
        if matches.value_source(self.key) != Some(ValueSource::CommandLine) {
            return None;
        }
        match self.kind {
            Kind::Count => Some(matches.get_count(self.key).to_string().into()),
            _ => matches.get_one::<OsString>(self.key).cloned(),
        }
    }
}

macro_rules! settings {
    ($($name:ident = $key:literal $(($short:literal))?, $kind:ident, $purpose:ident, $heading:literal, $value:literal, $help:literal;)+) => {
        $(
            pub(super) static $name: Setting = Setting {
                key: $key,
                kind: Kind::$kind,
                purpose: Purpose::$purpose,
                heading: $heading,
                value_name: $value,
                help: $help,
                short: settings!(@short $($short)?),
            };
        )+

        /// Every setting, in the order of the help.
        pub(super) static ALL: &[&Setting] = &[$(&$name),+];
    };
    (@short) => { None };
    (@short $short:literal) => { Some($short) };
}

settings! {
    ENDPOINT = "endpoint", Text, Service, "Service", "URL",
        "https://HOST[:PORT], or a preset: cn, intl; a share link needs none, its own host is tried";
    AGENT = "agent", Text, Service, "Service", "NAME",
        "The carrier's (operator's) name: for public shares and --account";
    CA_FILE = "ca_file", Path, Service, "Service", "FILE",
        "Trust the certificates in this PEM file too";
    ALLOW_HTTP = "allow_http", Switch, Service, "Service", "",
        "Allow plain http to other hosts than this one: all of it can be read on the way";
    ALLOW_PRIVATE_LINKS = "allow_private_links", Switch, Mount, "Service", "",
        "Allow download links to this machine and to private addresses, wherever the endpoint is";
    OP_TIMEOUT = "op_timeout", Number, Service, "Service", "TIME",
        "The most that one operation may take, its retries included: 90s, 2m, … [default: 30s]";

    EDITION = "edition", Text, Share, "Source", "EDITION",
        "A share's edition: carrier (public, no login; the default) or enterprise (with a login)";
    ACCESS_CODE_FILE = "access_code_file", Path, Share, "Source", "FILE",
        "The share's access code; or the code itself in KOOFS_ACCESS_CODE";
    TEAM_TYPE = "team_type", Text, Team, "Source", "TYPE",
        "What team:ID is: department or group; both are tried if absent";
    ROOT = "root", Text, Source, "Source", "PATH",
        "Show this folder as the root";

    TOKEN_FILE = "token_file", Path, Login, "Login (one way of the three)", "FILE",
        "1: An access token; or the token itself in KOOFS_TOKEN";
    TOKEN_COMMAND = "token_command", Text, Login, "Login (one way of the three)", "CMD",
        "1: A shell command that prints an access token";
    ACCOUNT = "account", Text, Login, "Login (one way of the three)", "NAME",
        "2: Account name or mobile number";
    PASSWORD_FILE = "password_file", Path, Login, "Login (one way of the three)", "FILE",
        "2: Its password; or the password itself in KOOFS_PASSWORD";
    APP_ID = "app_id", Text, Login, "Login (one way of the three)", "ID",
        "3: AppId: every request is signed";
    APP_SECRET_FILE = "app_secret_file", Path, Login, "Login (one way of the three)", "FILE",
        "3: Its AppSecret; or the secret itself in KOOFS_APP_SECRET";
    USER_ID = "user_id", Text, Login, "Login (one way of the three)", "ID",
        "The KooDrive user id; --account tells it by itself";

    FOREGROUND = "foreground" ('f'), Switch, Mount, "Mount", "",
        "Stay in the foreground and log to standard error";
    ALLOW_OTHER = "allow_other", Switch, Mount, "Mount", "",
        "Let other users in (unless you are root: `user_allow_other` in /etc/fuse.conf)";
    UID = "uid", Number, Mount, "Mount", "UID",
        "The user that everything belongs to [default: who mounts]";
    GID = "gid", Number, Mount, "Mount", "GID",
        "The group that everything belongs to [default: who mounts]";
    UMASK = "umask", Number, Mount, "Mount", "MASK",
        "Rights that nobody has: files get 666 and directories 777 without them [default: 022]";
    FILE_MODE = "file_mode", Number, Mount, "Mount", "MODE",
        "Rights of files: 755 lets scripts be run [default: 644]";
    DIR_MODE = "dir_mode", Number, Mount, "Mount", "MODE",
        "Rights of directories [default: 755]";
    NOEXEC = "noexec", Switch, Mount, "Mount", "",
        "Let no program of the mount be run";
    NONEMPTY = "nonempty", Switch, Mount, "Mount", "",
        "Mount over a directory that is not empty, and hide what is in it";
    XATTR = "xattr", Switch, Mount, "Mount", "",
        "Offer user.koofs.* attributes: id, version, original name, cached bytes; slows ls -l";
    VOLUME_INFO = "volume_info", Switch, Mount, "Mount", "",
        "Give file managers a name and an icon, by a file .xdg-volume-info at the top";
    TTL = "ttl", Number, Mount, "Mount", "TIME",
        "How long a listing is believed before the service is asked again: 90s, 1h30m, … [default: 5m]";
    OFFLINE_FOR = "offline_for", Number, Mount, "Mount", "TIME",
        "How long what is remembered is shown while the service cannot be reached; 0: never [default: 7d]";
    RETRY_MOUNT = "retry_mount", Number, Mount, "Mount", "TIME",
        "For how long to try again to mount while the service is not reached, up to 1h; 0: not at all [default: 0]";
    MEMORY = "memory", Number, Mount, "Mount", "SIZE",
        "Budget of all cached and prefetched bytes, 16M to 1T [default: the least of 1/8 of the RAM, 1/4 of the cgroup's limit and 256M, but at least 64M]";
    EXCLUDE = "exclude", Text, Mount, "Mount", "GLOB",
        "Hide files whose name matches: '*.tmp', '{*.tmp,.DS_Store}'; directories: 'cache/'";
    INCLUDE = "include", Text, Mount, "Mount", "GLOB",
        "Hide files whose name does not match, and show all directories";
    BWLIMIT = "bwlimit", Text, Mount, "Mount", "RATE",
        "The most that is fetched of files in a second: 500K, 10M, … bytes, or off [default: off]";
    CACHE_DIR = "cache_dir", Path, Cache, "Mount", "DIR",
        "Where what was read is kept [default: ~/.cache/koofs; root: /var/cache/koofs]";
    NO_CACHE = "no_cache", Switch, Mount, "Mount", "",
        "Keep nothing on disk";
    CACHE_SIZE = "cache_size", Number, Mount, "Mount", "SIZE",
        "The most that is kept, 16M to 1T [default: 1/10 of what is free, at most 10G]";

    METRICS = "metrics", Text, Mount, "Diagnosis", "ADDR",
        "Serve figures for Prometheus at [127.0.0.1:]PORT or on a Unix socket (a path), under /metrics";
    ALLOW_REMOTE_METRICS = "allow_remote_metrics", Switch, Mount, "Diagnosis", "",
        "Allow --metrics on an address that other machines reach: figures need no login";
    LOG_FILE = "log_file", Path, Mount, "Diagnosis", "FILE",
        "Append the log to this file, made readable for you only";
    VERBOSE = "verbose" ('v'), Count, Service, "Diagnosis", "",
        "Log more: -v what happens, -vv with details, -vvv everything";
    CONFIG = "config", Path, Service, "Diagnosis", "FILE",
        "The configuration file [default: ~/.config/koofs/config.toml, else /etc/koofs/config.toml]";
}

/// A secret: never on the command line, never in the configuration file.
#[derive(Debug)]
pub(super) struct SecretSetting {
    /// The word for it in flags, files and `KOOFS_WORD`, all but the last of which are refused.
    pub(super) key: &'static str,
    /// The setting that names a file with it.
    pub(super) file: &'static Setting,
    /// The most bytes it may have.
    pub(super) max_bytes: u64,
}

impl SecretSetting {
    /// `KOOFS_WORD`.
    pub(super) fn variable(&self) -> String {
        format!("KOOFS_{}", self.key.to_ascii_uppercase())
    }

    /// The flag that is refused.
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }
}

/// The access code of a share: 8 characters today.
pub(super) static ACCESS_CODE: SecretSetting =
    SecretSetting { key: "access_code", file: &ACCESS_CODE_FILE, max_bytes: 1024 };
/// A token: 48 characters today; some services have made theirs signed documents of kilobytes. Headers end at 8 to 16 KiB.
pub(super) static TOKEN: SecretSetting = SecretSetting { key: "token", file: &TOKEN_FILE, max_bytes: 16 << 10 };
/// The password of an account.
pub(super) static PASSWORD: SecretSetting = SecretSetting { key: "password", file: &PASSWORD_FILE, max_bytes: 1024 };
/// The AppSecret.
pub(super) static APP_SECRET: SecretSetting =
    SecretSetting { key: "app_secret", file: &APP_SECRET_FILE, max_bytes: 1024 };

/// Every secret.
pub(super) static SECRETS: [&SecretSetting; 4] = [&ACCESS_CODE, &TOKEN, &PASSWORD, &APP_SECRET];

/// What flags say, by key.
pub(super) type Flags = BTreeMap<&'static str, OsString>;

/// Which settings a command takes as flags.
pub(super) trait Taken {
    fn takes(setting: &Setting) -> bool;
}

/// `koofs mount`: all.
pub(super) struct ForMount;
/// `koofs ls`: all but those of the mount.
pub(super) struct ForList;
/// `koofs doctor`: those of `koofs ls`, and where links may lead.
pub(super) struct ForDoctor;
/// `koofs spaces`: the service and the login.
pub(super) struct ForSpaces;
/// `koofs cache`: where the cache is, and the file that may say so.
pub(super) struct ForCache;
/// `koofs config`: where the file is.
pub(super) struct ForConfig;

impl Taken for ForMount {
    fn takes(_: &Setting) -> bool {
        true
    }
}

impl Taken for ForList {
    fn takes(setting: &Setting) -> bool {
        !matches!(setting.purpose, Purpose::Mount | Purpose::Cache)
    }
}

impl Taken for ForDoctor {
    fn takes(setting: &Setting) -> bool {
        ForList::takes(setting) || setting.key == ALLOW_PRIVATE_LINKS.key
    }
}

impl Taken for ForSpaces {
    fn takes(setting: &Setting) -> bool {
        matches!(setting.purpose, Purpose::Service | Purpose::Login)
    }
}

impl Taken for ForCache {
    fn takes(setting: &Setting) -> bool {
        setting.purpose == Purpose::Cache || !setting.is_in_file()
    }
}

impl Taken for ForConfig {
    fn takes(setting: &Setting) -> bool {
        !setting.is_in_file()
    }
}

/// The flags of one command, for clap.
pub(super) struct TypedFlags<S> {
    pub(super) flags: Flags,
    command: PhantomData<S>,
}

impl<S: Taken> clap::FromArgMatches for TypedFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let taken = ALL.iter().filter(|setting| S::takes(setting));
        let flags = taken.filter_map(|setting| Some((setting.key, setting.typed(matches)?))).collect();
        Ok(TypedFlags { flags, command: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Taken> clap::Args for TypedFlags<S> {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().filter(|setting| S::takes(setting)).map(|setting| setting.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What `koofs cache` is to do.
#[derive(Subcommand)]
pub(super) enum TypedCache {
    /// Remove what is kept of a source, or all.
    Clear {
        /// As koofs cache shows it, or share:CODE; all if absent.
        source: Option<String>,
        #[command(flatten)]
        options: TypedFlags<ForCache>,
    },
    /// Read everything, and remove what is not as it was written.
    Verify {
        #[command(flatten)]
        options: TypedFlags<ForCache>,
    },
}

/// What `koofs config` is to do.
#[derive(Subcommand)]
pub(super) enum TypedConfig {
    /// Say what is missing, contradictory or unsafe, without using the network.
    Check {
        /// The remote to look at; all if absent.
        name: Option<String>,
        #[command(flatten)]
        options: TypedFlags<ForConfig>,
    },
    /// Print where the configuration file is looked for.
    Path {
        #[command(flatten)]
        options: TypedFlags<ForConfig>,
    },
}
