//! What the user typed, and what it means: command line and environment to [`Command`]. The only room that knows clap.
//!
//! Knows no network and no threads; reads the access code's file and the machine's memory size.

mod machine;
mod values;

use std::ffi::{OsString, c_char};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::{
    self, Command, Connection, DEFAULT_OP_TIMEOUT, DEFAULT_TTL, ListConfig, ListFormat, MountConfig, Secret,
    ShareConfig, Source,
};
use values::{Endpoint, TypedSource};

/// The variable that may hold the share's access code.
const ACCESS_CODE_VARIABLE: &std::ffi::CStr = c"KOOFS_ACCESS_CODE";

const EXIT_CODES: &str = "\x1b[1mExit codes:\x1b[0m
  0  done; mount: the mount answers (-f: it has ended as it was asked to)
  1  failed; one line on standard error says why
  2  the command line makes no sense";

const MOUNT_EXAMPLES: &str = "\x1b[1mExamples:\x1b[0m
  koofs mount --agent CARRIER --endpoint intl share:180001 /mnt/share
  koofs mount --agent CARRIER 'https://HOST/cloudfile/#/sharelink/i/180001' /mnt
  koofs mount --access-code-file ~/.code --root Reports/2025 share:180001 ~/r
  koofs unmount /mnt/share

Quote a link for the shell. The access code is never given on the command line,
where every user could read it: it comes from --access-code-file, or from the
variable KOOFS_ACCESS_CODE, which is removed from the environment at once.";

const LS_EXAMPLES: &str = "\x1b[1mExamples:\x1b[0m
  koofs ls --agent CARRIER --endpoint intl share:180001
  koofs ls -l 'https://HOST/cloudfile/#/sharelink/i/180001' Reports/2025
  koofs ls --json share:180001 | jq -r 'select(.type == \"file\") | .name'

--json prints one object on a line, as its page arrives: \"name\" (text), \"type\"
(\"file\" or \"directory\"), \"size\" (bytes), \"modified\" (RFC 3339 or null).";

/// Mount a Huawei Cloud KooDrive share as a read-only filesystem.
#[derive(Parser)]
#[command(name = "koofs", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Subcommand)]
enum TypedCommand {
    /// Mount a share; returns as soon as the mount answers.
    #[command(after_help = MOUNT_EXAMPLES)]
    Mount(TypedMount),
    /// Unmount a share, dead or alive.
    #[command(visible_alias = "umount")]
    Unmount {
        /// Where the share is mounted.
        mountpoint: PathBuf,
    },
    /// List a directory of a share without mounting it.
    #[command(after_help = LS_EXAMPLES)]
    Ls(TypedList),
}

#[derive(Args)]
struct TypedMount {
    /// share:CODE, or the whole share link.
    source: TypedSource,
    /// The directory to mount on.
    mountpoint: PathBuf,
    #[command(flatten)]
    share: TypedShare,
    /// Show this folder of the share as the root of the mount.
    #[arg(long, value_name = "PATH", value_parser = values::share_path, default_value = "", hide_default_value = true, help_heading = "Mount")]
    root: ShareNames,
    /// Stay in the foreground and log to standard error.
    #[arg(short, long, help_heading = "Mount")]
    foreground: bool,
    /// Let other users use the mount (others than root need `user_allow_other` in /etc/fuse.conf).
    #[arg(long, help_heading = "Mount")]
    allow_other: bool,
    /// How long a listing is believed before the service is asked again [default: 300].
    #[arg(long, value_name = "SECONDS", value_parser = values::ttl, help_heading = "Mount")]
    ttl: Option<Duration>,
    /// Budget of all cached and prefetched bytes, like 64M or 1G, 16M to 1T [default: the least of 1/8 of the RAM, 1/4 of the
    /// cgroup's limit and 1G, but at least 64M].
    #[arg(long, value_name = "SIZE", value_parser = values::memory_size, help_heading = "Mount")]
    memory: Option<u64>,
    /// Append the log to this file, made readable for you only.
    #[arg(long, value_name = "FILE", help_heading = "Diagnosis")]
    log_file: Option<PathBuf>,
    /// Log more: -v what happens, -vv with details, -vvv everything.
    #[arg(short, action = clap::ArgAction::Count, help_heading = "Diagnosis")]
    verbose: u8,
}

#[derive(Args)]
struct TypedList {
    /// share:CODE, or the whole share link.
    source: TypedSource,
    /// The directory or file inside the share; the top if absent.
    #[arg(value_parser = values::share_path, default_value = "", hide_default_value = true)]
    path: ShareNames,
    /// Sizes in bytes and times (UTC); directories end with `/`.
    #[arg(short)]
    long: bool,
    /// One JSON object on a line.
    #[arg(long, conflicts_with = "long")]
    json: bool,
    #[command(flatten)]
    share: TypedShare,
    /// Log more: -v what happens, -vv with details, -vvv everything.
    #[arg(short, action = clap::ArgAction::Count, help_heading = "Diagnosis")]
    verbose: u8,
}

/// Names of a path; an alias, as clap would take a bare `Vec` for a repeatable option.
type ShareNames = Vec<String>;

#[derive(Args)]
struct TypedShare {
    /// The KooDrive service: https://HOST:PORT, or a preset: cn, intl. A share link needs none: its own host is tried.
    #[arg(long, env = "KOOFS_ENDPOINT", hide_env_values = true, value_name = "URL", help_heading = "Share")]
    endpoint: Option<Endpoint>,
    /// The carrier's (operator's) name, which public shares ask for.
    #[arg(long, env = "KOOFS_AGENT", hide_env_values = true, value_name = "NAME", value_parser = values::agent, help_heading = "Share")]
    agent: Option<String>,
    /// A file with the share's access code that only you can read. Or the environment: KOOFS_ACCESS_CODE.
    #[arg(long, value_name = "FILE", help_heading = "Share")]
    access_code_file: Option<PathBuf>,
    /// Allow plain http to other hosts than this one: access code and content can be read on the way.
    #[arg(long, help_heading = "Share")]
    allow_http: bool,
    /// The most that one operation may take, its retries included [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = values::op_timeout, help_heading = "Share")]
    op_timeout: Option<Duration>,
}

/// Why there is nothing to do: what the user should read instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user asked for help or the version: print it on standard output; exit code 0.
    Help {
        /// For a terminal.
        coloured: String,
        /// For anything else.
        plain: String,
    },
    /// The command line makes no sense: one line for standard error; exit code 2.
    Usage(String),
}

/// Takes the access code out of the environment, so that no child process inherits it.
///
/// `/proc/PID/environ` shows the memory in which the kernel laid the environment down (proc(5)), whatever `environ` points
/// to later: the value is overwritten there too. Between exec and this call it can be read by this user and by root.
///
/// # Safety
/// To be called before the process has a second thread: nobody else may be reading the environment.
pub unsafe fn take_access_code() -> Option<OsString> {
    let name = ACCESS_CODE_VARIABLE.to_str().ok()?;
    let value = std::env::var_os(name)?;
    // SAFETY: no other thread reads or changes the environment (the caller's promise). getenv's text is writable memory of
    // this process and ends with the NUL that strlen finds; only bytes before it are written.
    unsafe {
        let text: *mut c_char = libc::getenv(ACCESS_CODE_VARIABLE.as_ptr());
        if !text.is_null() {
            std::ptr::write_bytes(text, 0, libc::strlen(text));
        }
        std::env::remove_var(name);
    }
    Some(value)
}

/// What `arguments` (the program's name first) ask for. `access_code` is what [`take_access_code`] found.
///
/// # Errors
/// [`Refusal`]; a secret never stands in it.
pub fn parse<I, T>(arguments: I, access_code: Option<OsString>) -> Result<Command, Refusal>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let typed = Typed::try_parse_from(arguments).map_err(|error| refusal(&error))?;
    let command = match typed.command {
        TypedCommand::Mount(typed) => mount(typed, access_code).map(Command::Mount),
        TypedCommand::Unmount { mountpoint } => absolute(&mountpoint).map(|mountpoint| Command::Unmount { mountpoint }),
        TypedCommand::Ls(typed) => list(typed, access_code).map(Command::List),
    };
    command.map_err(Refusal::Usage)
}

fn mount(typed: TypedMount, access_code: Option<OsString>) -> Result<MountConfig, String> {
    let source = Source::Share(share(typed.share, typed.source, access_code)?);
    Ok(MountConfig {
        root: typed.root,
        mountpoint: absolute(&typed.mountpoint)?,
        foreground: typed.foreground,
        verbosity: typed.verbose,
        log_file: typed.log_file.as_deref().map(absolute).transpose()?,
        ttl: typed.ttl.unwrap_or(DEFAULT_TTL),
        memory_bytes: typed.memory.unwrap_or_else(default_memory_bytes),
        allow_other: typed.allow_other,
        source,
    })
}

fn list(typed: TypedList, access_code: Option<OsString>) -> Result<ListConfig, String> {
    let format = match (typed.long, typed.json) {
        (_, true) => ListFormat::JsonLines,
        (true, false) => ListFormat::Long,
        (false, false) => ListFormat::Names,
    };
    let source = Source::Share(share(typed.share, typed.source, access_code)?);
    Ok(ListConfig { source, path: typed.path, format, verbosity: typed.verbose })
}

fn share(typed: TypedShare, source: TypedSource, access_code: Option<OsString>) -> Result<ShareConfig, String> {
    let endpoint =
        typed.endpoint.map(|endpoint| endpoint.0).or(source.origin).ok_or_else(|| {
            format!("share:CODE needs --endpoint: {}, or your carrier's https://HOST", values::presets())
        })?;
    if !typed.allow_http && !values::is_safe_transport(&endpoint) {
        return Err(format!("{endpoint} would send everything in the clear: use https, or --allow-http if you must"));
    }
    let agent = typed.agent.filter(|name| !name.is_empty()).ok_or(
        "public shares need the carrier's name: give --agent NAME or set KOOFS_AGENT (the service refuses requests without it)",
    )?;
    let connection = Connection {
        endpoint,
        allow_http: typed.allow_http,
        ca_file: None,
        op_timeout: typed.op_timeout.unwrap_or(DEFAULT_OP_TIMEOUT),
    };
    let access_code = chosen_access_code(typed.access_code_file.as_deref(), access_code)?;
    Ok(ShareConfig { connection, code: source.code, agent, access_code })
}

/// The file's code, else the environment's; an empty variable is none.
fn chosen_access_code(file: Option<&Path>, variable: Option<OsString>) -> Result<Option<Secret>, String> {
    if let Some(file) = file {
        return values::access_code_file(file).map(Some);
    }
    match variable {
        Some(text) if !text.is_empty() => {
            let text = text.into_string().map_err(|_| "KOOFS_ACCESS_CODE is not text".to_owned())?;
            values::access_code(&text).map(Some).map_err(|why| format!("KOOFS_ACCESS_CODE {why}"))
        }
        _ => Ok(None),
    }
}

fn default_memory_bytes() -> u64 {
    config::default_memory_bytes(machine::ram_bytes(), machine::cgroup_limit_bytes())
}

/// `path` from the root directory, as the daemon changes there; without a trailing slash, with its symbolic links and `..`.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.components().collect())
}

fn refusal(error: &clap::Error) -> Refusal {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Refusal::Help { coloured: text.ansi().to_string(), plain: text.to_string() }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Refusal::Usage("say what to do: mount, unmount or ls (koofs --help)".to_owned())
        }
        _ => Refusal::Usage(one_line(&text.to_string())),
    }
}

/// clap's error and its tips without its usage block, as one line.
fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let lines = paragraphs.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    format!("{} (see --help)", line.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use clap::CommandFactory;

    const LINK: &str = "https://drive.example/cloudfile/#/sharelink/i/42";

    fn share_of(config: &MountConfig) -> &ShareConfig {
        match &config.source {
            Source::Share(share) => share,
            Source::Space(space) => panic!("{space:?}"),
        }
    }

    fn parsed(arguments: &str) -> Result<Command, Refusal> {
        parse(std::iter::once("koofs").chain(arguments.split_whitespace()), None)
    }

    fn mounted(arguments: &str) -> MountConfig {
        match parsed(arguments) {
            Ok(Command::Mount(config)) => config,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn usage(arguments: &str) -> String {
        match parsed(arguments) {
            Err(Refusal::Usage(line)) => line,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn command_definition_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn mount_without_options_has_the_defaults() {
        let config = mounted(&format!("mount --agent carrier {LINK} /mnt/"));
        assert_eq!(share_of(&config).connection.endpoint, "https://drive.example");
        assert_eq!(share_of(&config).code, "42");
        assert_eq!(share_of(&config).agent, "carrier");
        assert!(share_of(&config).access_code.is_none() && !share_of(&config).connection.allow_http);
        assert_eq!(config.mountpoint, Path::new("/mnt"));
        assert!(config.root.is_empty() && !config.foreground && !config.allow_other && config.log_file.is_none());
        assert_eq!(
            (config.ttl, share_of(&config).connection.op_timeout, share_of(&config).connection.op_timeout),
            (DEFAULT_TTL, DEFAULT_OP_TIMEOUT, DEFAULT_OP_TIMEOUT)
        );
        assert!((64 << 20..=1 << 30).contains(&config.memory_bytes));
        assert_eq!(config.verbosity, 0);
    }

    #[test]
    fn mount_options_arrive() {
        let config = mounted(
            "mount share:7 mnt/x --endpoint intl --agent a --root /A/B/ -f -vvv --log-file log --ttl 9 --memory 64M \
             --op-timeout 5 --allow-http --allow-other",
        );
        let here = std::env::current_dir().unwrap();
        assert_eq!(share_of(&config).connection.endpoint, "https://intl.myhuaweicloud-koodrive.com");
        assert_eq!(config.mountpoint, here.join("mnt/x"));
        assert_eq!(config.log_file, Some(here.join("log")));
        assert_eq!(config.root, ["A", "B"]);
        assert!(config.foreground && config.allow_other && share_of(&config).connection.allow_http);
        assert_eq!(
            (config.ttl, share_of(&config).connection.op_timeout),
            (Duration::from_secs(9), Duration::from_secs(5))
        );
        assert_eq!((config.memory_bytes, config.verbosity), (64 << 20, 3));
    }

    #[test]
    fn endpoint_option_beats_the_origin_of_the_link() {
        let config = mounted(&format!("mount --agent a --endpoint cn {LINK} /mnt"));
        assert_eq!(share_of(&config).connection.endpoint, "https://cn.myhuaweicloud-koodrive.com");
    }

    #[test]
    fn share_code_without_endpoint_is_refused_with_the_presets() {
        let line = usage("mount --agent a share:7 /mnt");
        assert!(
            line.contains("--endpoint") && line.contains("cn (https://") && line.contains("intl (https://"),
            "{line}"
        );
    }

    #[test]
    fn missing_agent_is_refused_with_the_reason() {
        for arguments in [format!("mount {LINK} /mnt"), format!("ls {LINK}"), format!("ls --agent= {LINK}")] {
            assert!(usage(&arguments).contains("carrier's name"), "{arguments}");
        }
    }

    #[test]
    fn plain_http_is_refused_but_to_loopback_or_on_demand() {
        let link = "http://drive.example/#/sharelink/i/42";
        assert!(usage(&format!("mount --agent a {link} /mnt")).contains("--allow-http"));
        assert!(usage("ls --agent a --endpoint http://h share:7").contains("--allow-http"));
        mounted(&format!("mount --agent a --allow-http {link} /mnt"));
        mounted("mount --agent a --endpoint http://127.0.0.1:8080 share:7 /mnt");
    }

    #[test]
    fn usage_errors_are_one_line_and_say_what_is_wrong() {
        for (arguments, want) in [
            ("", "mount, unmount or ls"),
            ("mount", "<SOURCE> <MOUNTPOINT>"),
            ("mount --agent a share:7", "<MOUNTPOINT>"),
            ("mount --agent a 7 /mnt", "share:CODE"),
            ("mount --rot x share:7 /mnt", "'--rot' found"),
            ("mount --memory 1M share:7 /mnt", "between 16M and 1T"),
            ("mount --access-code secret share:7 /mnt", "--access-code"),
            ("ls -l --json share:7", "cannot be used with"),
            ("ls share:7 ../x", "no meaning"),
            ("frobnicate", "frobnicate"),
        ] {
            let line = usage(arguments);
            assert!(line.contains(want) && !line.contains('\n'), "{arguments}: {line}");
        }
    }

    #[test]
    fn list_formats_and_path_arrive() {
        for (options, format) in [("", ListFormat::Names), ("-l", ListFormat::Long), ("--json", ListFormat::JsonLines)]
        {
            match parsed(&format!("ls --agent a {options} {LINK} a//b/")) {
                Ok(Command::List(config)) => {
                    assert_eq!((config.format, config.path.join("|")), (format, "a|b".to_owned()))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn unmount_takes_any_path_and_makes_it_absolute() {
        for (arguments, want) in [("unmount /a/b/", "/a/b"), ("umount /a/./b", "/a/b")] {
            match parsed(arguments) {
                Ok(Command::Unmount { mountpoint }) => assert_eq!(mountpoint, Path::new(want)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn access_code_comes_from_the_file_before_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("code");
        std::fs::write(&file, "of-file\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, private).unwrap();
        let code = |file, variable: Option<&str>| {
            chosen_access_code(file, variable.map(OsString::from)).unwrap().map(|code| code.expose().to_owned())
        };
        assert_eq!(code(Some(&file), Some("of-environment")).as_deref(), Some("of-file"));
        assert_eq!(code(None, Some("of-environment")).as_deref(), Some("of-environment"));
        assert_eq!(code(None, Some("")), None);
        assert_eq!(code(None, None), None);
    }

    #[test]
    fn help_tells_presets_examples_and_exit_codes() {
        for (arguments, wants) in [
            ("--help", ["Exit codes", "mount", "unmount"]),
            ("mount --help", ["Examples", "cn, intl", "KOOFS_ACCESS_CODE"]),
            ("ls --help", ["Examples", "--json", "KOOFS_AGENT"]),
        ] {
            let Err(Refusal::Help { plain: text, .. }) = parsed(arguments) else { panic!("{arguments}") };
            for want in wants {
                assert!(text.contains(want), "{arguments}: no {want}");
            }
            assert!(!text.contains('\x1b'), "{arguments}");
        }
    }
}
