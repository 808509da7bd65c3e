//! What the user typed, and what it means: command line, environment and configuration file to [`Command`]. The only room
//! that knows clap.
//!
//! Knows no network and no threads; reads the configuration file, an access code's file and the machine's memory size.

mod check;
mod environment;
mod file;
mod help;
mod layers;
mod login;
mod machine;
mod resolve;
mod settings;
mod source;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Command, DEFAULT_TTL, ListConfig, ListFormat, MountConfig, Report, SpacesConfig};
use crate::policy::printable::printable;
pub use environment::Environment;
use file::{ConfigFile, Place, Section};
use layers::Layers;
use settings::{Flags, ForConfig, ForList, ForMount, ForSpaces, TypedFlags};
use source::{TypedPath, TypedSource};

/// Mount a Huawei Cloud KooDrive share or space as a read-only filesystem.
#[derive(Parser)]
#[command(name = "koofs", version, about, arg_required_else_help = true, after_help = help::EXIT_CODES)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Subcommand)]
enum TypedCommand {
    /// Mount a share or space; returns as soon as the mount answers.
    #[command(after_help = help::MOUNT)]
    Mount(TypedMount),
    /// Forget what a mount remembers of a directory, so that changes show at once.
    #[command(after_help = help::REFRESH)]
    Refresh {
        /// The mountpoint, or a directory below it.
        path: PathBuf,
    },
    /// Unmount a share or space, dead or alive.
    #[command(visible_alias = "umount")]
    Unmount {
        /// Where it is mounted.
        mountpoint: PathBuf,
    },
    /// List a directory of a share or space without mounting it.
    #[command(after_help = help::LS, disable_help_flag = true)]
    Ls(TypedList),
    /// List the spaces that a login can see.
    #[command(after_help = help::SPACES)]
    Spaces(TypedSpaces),
    /// Look at the configuration file.
    #[command(after_help = help::CONFIG)]
    Config {
        #[command(subcommand)]
        command: TypedConfig,
    },
}

#[derive(Args)]
struct TypedMount {
    /// share:CODE, a share link, space: or space:ID, team:ID, sharedfolder:ID, or NAME: for a remote of the configuration; /PATH
    /// may follow, but for a link.
    source: TypedPath,
    /// The directory to mount on.
    mountpoint: PathBuf,
    #[command(flatten)]
    options: TypedFlags<ForMount>,
}

#[derive(Args)]
struct TypedList {
    /// As for `koofs mount`.
    source: TypedPath,
    /// The directory or file inside the source; the top if absent.
    #[arg(value_parser = values::share_path, default_value = "", hide_default_value = true)]
    path: Names,
    /// Sizes in bytes and times (UTC); directories end with `/`.
    #[arg(short)]
    long: bool,
    /// With -l: sizes like 1.5K, 234M or 2.0G, by powers of 1024.
    #[arg(short, long)]
    human_readable: bool,
    /// One JSON object on a line.
    #[arg(long, conflicts_with_all = ["long", "human_readable"])]
    json: bool,
    /// Print help. Not `-h`, which means sizes here as in ls(1).
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    options: TypedFlags<ForList>,
}

#[derive(Args)]
struct TypedSpaces {
    /// NAME: of a remote of the configuration, for its service and login.
    remote: Option<TypedPath>,
    /// One JSON object on a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: TypedFlags<ForSpaces>,
}

#[derive(Subcommand)]
enum TypedConfig {
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

/// Names of a path; an alias, as clap would take a bare `Vec` for a repeatable option.
type Names = Vec<String>;

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
    /// What was said makes no sense: one line for standard error; exit code 2.
    Usage(String),
}

/// What `arguments` (the program's name first) ask for, in `environment`.
///
/// # Errors
/// [`Refusal`]; a secret never stands in it.
pub fn parse<I, T>(arguments: I, environment: &Environment) -> Result<Command, Refusal>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    refuse_secrets(&arguments).map_err(Refusal::Usage)?;
    let typed = Typed::try_parse_from(&arguments).map_err(|error| refusal(&error, &arguments))?;
    let command = match typed.command {
        TypedCommand::Mount(typed) => mount(typed, environment).map(Command::Mount),
        TypedCommand::Refresh { path } => absolute("PATH", &path).map(|path| Command::Refresh { path }),
        TypedCommand::Unmount { mountpoint } => {
            absolute("MOUNTPOINT", &mountpoint).map(|mountpoint| Command::Unmount { mountpoint })
        }
        TypedCommand::Ls(typed) => list(typed, environment).map(Command::List),
        TypedCommand::Spaces(typed) => spaces(typed, environment).map(Command::Spaces),
        TypedCommand::Config { command } => config(&command, environment).map(|mut report| {
            report.lines.iter_mut().for_each(|line| *line = printable(line).into_owned());
            Command::Report(report)
        }),
    };
    command.map_err(|line| Refusal::Usage(printable(&line).into_owned()))
}

/// The path that stands for `what` on the command line, from the root directory.
fn absolute(what: &str, path: &Path) -> Result<PathBuf, String> {
    values::absolute(path).map_err(|why| format!("{what}: {why}"))
}

/// A secret on the command line is refused before anything else, and by a line that says where it goes.
fn refuse_secrets(arguments: &[OsString]) -> Result<(), String> {
    for argument in arguments.iter().take_while(|argument| *argument != "--") {
        let Some(flag) = argument.to_str().and_then(|argument| argument.split('=').next()) else { continue };
        if let Some(secret) = settings::SECRETS.into_iter().find(|secret| secret.flag() == flag) {
            let (file, variable) = (secret.file.flag(), secret.variable());
            return Err(format!(
                "{flag} is not taken: every user can read the command line; use {file} FILE or {variable}"
            ));
        }
    }
    Ok(())
}

fn mount(typed: TypedMount, environment: &Environment) -> Result<MountConfig, String> {
    let remote_name = typed.source.source.remote_name();
    let said = Said::new(typed.source, &typed.options.flags, environment)?;
    let mut layers = said.layers(&typed.options.flags, environment);
    let values = MountValues::of(&mut layers);
    let source = resolve::source(&mut layers, &said.source);
    let source = settled(layers, source)?;
    Ok(MountConfig {
        name: remote_name.unwrap_or_else(|| source.name()),
        source,
        root: said.below(values.root),
        mountpoint: absolute("MOUNTPOINT", &typed.mountpoint)?,
        nonempty: values.nonempty,
        foreground: values.foreground,
        verbosity: values.verbosity,
        log_file: values.log_file,
        ttl: values.ttl.unwrap_or(DEFAULT_TTL),
        memory_bytes: values.memory_bytes.unwrap_or_else(default_memory_bytes),
        allow_other: values.allow_other,
    })
}

fn list(typed: TypedList, environment: &Environment) -> Result<ListConfig, String> {
    let format = match (typed.json, typed.long, typed.human_readable) {
        (true, _, _) => ListFormat::JsonLines,
        (false, true, true) => ListFormat::LongForPeople,
        (false, true, false) => ListFormat::Long,
        (false, false, _) => ListFormat::Names,
    };
    let said = Said::new(typed.source, &typed.options.flags, environment)?;
    let mut layers = said.layers(&typed.options.flags, environment);
    let source = resolve::source(&mut layers, &said.source);
    let root = layers.value(&settings::ROOT, values::share_path).unwrap_or_default();
    let verbosity = verbosity(&mut layers);
    let source = settled(layers, source)?;
    let mut path = said.below(root);
    path.extend(typed.path);
    Ok(ListConfig { source, path, format, verbosity })
}

fn spaces(typed: TypedSpaces, environment: &Environment) -> Result<SpacesConfig, String> {
    let flags = &typed.options.flags;
    let (said, origin) = match typed.remote {
        Some(remote) if matches!(remote.source, TypedSource::Remote(_)) => {
            let said = Said::new(remote, flags, environment)?;
            let origin = source::origin(&said.source);
            (said, origin)
        }
        Some(typed) => {
            return Err(format!("koofs spaces takes a remote (NAME:) or nothing, not {}", typed.source.shown()));
        }
        None => {
            let own = TypedPath { source: TypedSource::Space(None), names: Names::new() };
            (Said::new(own, flags, environment)?, None)
        }
    };
    let mut layers = said.layers(flags, environment);
    let login = resolve::login(&mut layers, "koofs spaces", origin);
    let verbosity = verbosity(&mut layers);
    let (connection, login) = settled(layers, login)?;
    Ok(SpacesConfig { connection, login, is_json: typed.json, verbosity })
}

fn config(typed: &TypedConfig, environment: &Environment) -> Result<Report, String> {
    match typed {
        TypedConfig::Check { name, options } => {
            let name = name.as_deref().map(|name| name.strip_suffix(':').unwrap_or(name));
            Ok(check::check(Place::of(&options.flags, environment)?, environment, name))
        }
        TypedConfig::Path { options } => match Place::of(&options.flags, environment)? {
            Some(place) => Ok(Report { lines: vec![place.path.display().to_string()], is_well: true }),
            None => Err(no_config_file(None)),
        },
    }
}

/// What to open, and the file that may say more about it.
struct Said {
    source: TypedSource,
    /// Where a remote begins in its source, by its own table.
    base: Names,
    /// Below the root.
    path: Names,
    remote: Option<Section>,
    defaults: Option<Section>,
}

impl Said {
    /// # Errors
    /// One line: the file is not to be used, or has no such remote.
    fn new(typed: TypedPath, flags: &Flags, environment: &Environment) -> Result<Said, String> {
        let place = Place::of(flags, environment)?;
        let file = place.as_ref().map(|place| ConfigFile::read(place, environment)).transpose()?.flatten();
        if let Some(why) = file.as_ref().and_then(|file| file.complaints.iter().chain(&file.defaults.complaints).next())
        {
            return Err(why.clone());
        }
        let TypedPath { source, names: path } = typed;
        let TypedSource::Remote(name) = source else {
            let defaults = file.map(|file| file.defaults);
            return Ok(Said { source, base: Names::new(), path, remote: None, defaults });
        };
        let Some(file) = file else {
            return Err(format!("{name}: is a remote, but {}", no_config_file(place.as_ref())));
        };
        let section = file.remote(&name)?.clone();
        if let Some(why) = section.complaints.first() {
            return Err(why.clone());
        }
        let TypedPath { source, names: base } = remote_source(&section)?;
        Ok(Said { source, base, path, remote: Some(section), defaults: Some(file.defaults) })
    }

    fn layers<'a>(&'a self, flags: &'a Flags, environment: &'a Environment) -> Layers<'a> {
        let (remote, defaults) = (self.remote.as_ref(), self.defaults.as_ref());
        Layers { flags, environment, remote, defaults, complaints: Vec::new() }
    }

    /// The path that was typed, below `root`, which begins where the remote does.
    fn below(&self, root: Names) -> Names {
        self.base.iter().cloned().chain(root).chain(self.path.iter().cloned()).collect()
    }
}

/// What `result` is, or the first of the complaints.
fn settled<T>(layers: Layers<'_>, result: Option<T>) -> Result<T, String> {
    match layers.complaints.into_iter().next() {
        Some(line) => Err(line),
        None => result.ok_or_else(|| "this makes no sense (see --help)".to_owned()),
    }
}

/// What the table of a remote opens.
fn remote_source(section: &Section) -> Result<TypedPath, String> {
    let label = section.label(file::SOURCE);
    let text = section.value(file::SOURCE).and_then(|text| text.to_str());
    let text =
        text.ok_or_else(|| format!("{label}: missing; write source = \"space:\", or what else `koofs mount` takes"))?;
    match text.parse() {
        Ok(TypedPath { source: TypedSource::Remote(name), .. }) => {
            Err(format!("{label}: {name}: is no source that `koofs mount` knows; see koofs mount --help"))
        }
        parsed => parsed.map_err(|why| format!("{label}: {why}")),
    }
}

fn no_config_file(place: Option<&Place>) -> String {
    match place {
        Some(place) => {
            format!("there is no configuration file {}; koofs config --help shows one", place.path.display())
        }
        None => "there is no place for a configuration file: set HOME, or give --config FILE".to_owned(),
    }
}

/// The settings that do not belong to the source.
struct MountValues {
    root: Names,
    foreground: bool,
    allow_other: bool,
    nonempty: bool,
    ttl: Option<Duration>,
    memory_bytes: Option<u64>,
    log_file: Option<PathBuf>,
    verbosity: u8,
}

impl MountValues {
    fn of(layers: &mut Layers<'_>) -> MountValues {
        MountValues {
            root: layers.value(&settings::ROOT, values::share_path).unwrap_or_default(),
            foreground: layers.switch(&settings::FOREGROUND),
            allow_other: layers.switch(&settings::ALLOW_OTHER),
            nonempty: layers.switch(&settings::NONEMPTY),
            ttl: layers.value(&settings::TTL, values::ttl),
            memory_bytes: layers.value(&settings::MEMORY, values::memory_size),
            log_file: layers.path(&settings::LOG_FILE),
            verbosity: verbosity(layers),
        }
    }
}

fn verbosity(layers: &mut Layers<'_>) -> u8 {
    layers.value(&settings::VERBOSE, values::verbosity).unwrap_or(0)
}

fn default_memory_bytes() -> u64 {
    config::default_memory_bytes(machine::ram_bytes(), machine::cgroup_limit_bytes())
}

fn refusal(error: &clap::Error, arguments: &[OsString]) -> Refusal {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Refusal::Help { coloured: text.ansi().to_string(), plain: text.to_string() }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Refusal::Usage(what_there_is_to_do(arguments))
        }
        _ => Refusal::Usage(one_line(&text.to_string())),
    }
}

/// The commands to choose from, after those that were typed.
fn what_there_is_to_do(arguments: &[OsString]) -> String {
    let (mut command, mut typed) = (Typed::command(), "koofs".to_owned());
    for argument in arguments.iter().skip(1) {
        let Some(chosen) = command.find_subcommand(argument).cloned() else { continue };
        typed = format!("{typed} {}", chosen.get_name());
        command = chosen;
    }
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("say what to do: {} or {last} ({typed} --help)", others.join(", "))
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
    use crate::config::{
        Credentials, DEFAULT_OP_TIMEOUT, Edition, SecretSource, ShareConfig, Source, SpaceConfig, SpaceSource, TeamKind,
    };

    const LINK: &str = "https://drive.example/cloudfile/#/sharelink/i/42";

    fn share_of(config: &MountConfig) -> &ShareConfig {
        match &config.source {
            Source::Share(share) => share,
            Source::Space(space) => panic!("{space:?}"),
        }
    }

    fn parsed(arguments: &str) -> Result<Command, Refusal> {
        parsed_in(arguments, &[])
    }

    fn parsed_in(arguments: &str, variables: &[(&str, &str)]) -> Result<Command, Refusal> {
        let environment = Environment::of(variables.iter().copied());
        parse(std::iter::once("koofs").chain(arguments.split_whitespace()), &environment)
    }

    fn space_in(arguments: &str, variables: &[(&str, &str)]) -> SpaceConfig {
        match parsed_in(&format!("mount --endpoint intl {arguments} /mnt"), variables) {
            Ok(Command::Mount(MountConfig { source: Source::Space(space), .. })) => space,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn refused_in(arguments: &str, variables: &[(&str, &str)]) -> String {
        match parsed_in(&format!("mount --endpoint intl {arguments} /mnt"), variables) {
            Err(Refusal::Usage(line)) => line,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    /// A file in `directory` that only we can read.
    fn secret_file(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file.to_str().unwrap().to_owned()
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
        assert!(matches!(&share_of(&config).edition, Edition::Carrier { agent } if agent == "carrier"));
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
            ("", "mount, refresh, unmount, ls, spaces or config (koofs --help)"),
            ("config", "check or path (koofs config --help)"),
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
    fn access_code_comes_from_the_flag_before_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let flag = format!("--access-code-file {}", secret_file(&directory, "code", "of-file\n"));
        let code = |arguments: &str, variables: &[(&str, &str)]| match parsed_in(
            &format!("mount --agent a {arguments} {LINK} /mnt"),
            variables,
        ) {
            Ok(Command::Mount(config)) => share_of(&config).access_code.clone().map(|code| code.expose().to_owned()),
            other => panic!("{arguments}: {other:?}"),
        };
        let variable = ("KOOFS_ACCESS_CODE", "of-environment");
        assert_eq!(code(&flag, &[variable]).as_deref(), Some("of-file"));
        assert_eq!(code("", &[variable]).as_deref(), Some("of-environment"));
        assert_eq!(code("", &[("KOOFS_ACCESS_CODE", "")]), None);
        assert_eq!(code("", &[]), None);
    }

    #[test]
    fn sources_arrive_with_a_login() {
        let token = [("KOOFS_TOKEN", "AT 00")];
        let id = |text: &str| text.to_owned();
        for (arguments, want) in [
            ("space: --user-id 17", SpaceSource::Own),
            ("space:IAAE1", SpaceSource::Container(id("IAAE1"))),
            ("team:7", SpaceSource::Team { group_id: id("7"), kind: None }),
            ("team:7 --team-type group", SpaceSource::Team { group_id: id("7"), kind: Some(TeamKind::Group) }),
            (
                "team:7 --team-type department",
                SpaceSource::Team { group_id: id("7"), kind: Some(TeamKind::Department) },
            ),
            ("sharedfolder:S1", SpaceSource::SharedFolder(id("S1"))),
        ] {
            let space = space_in(arguments, &token);
            assert_eq!(space.source, want, "{arguments}");
            assert!(
                matches!(&space.login.credentials, Credentials::Token(token) if token.expose() == "AT 00"),
                "{arguments}"
            );
        }
    }

    #[test]
    fn share_of_the_enterprise_edition_arrives_with_a_login() {
        let token = [("KOOFS_TOKEN", "AT 00")];
        let Ok(Command::Mount(config)) = parsed_in("mount --endpoint intl share:5 --edition enterprise /mnt", &token)
        else {
            panic!("it must parse");
        };
        let share = share_of(&config);
        assert!(share.code == "5" && share.access_code.is_none());
        let Edition::Enterprise(login) = &share.edition else { panic!("{share:?}") };
        assert!(matches!(&login.credentials, Credentials::Token(token) if token.expose() == "AT 00"));
    }

    #[test]
    fn ways_to_log_in_arrive() {
        let directory = tempfile::tempdir().unwrap();
        let file = secret_file(&directory, "secret", "s3cret");
        let shown = |arguments: &str, variables: &[(&str, &str)]| match space_in(arguments, variables).login.credentials
        {
            Credentials::TokenFile(path) => format!("file {}", path.display()),
            Credentials::Token(token) => format!("token {}", token.expose()),
            Credentials::TokenCommand(command) => format!("command {command}"),
            Credentials::Password { account, password } => format!("{account} {}", of(&password)),
            Credentials::App { id, secret } => format!("{id} {}", of(&secret)),
        };
        fn of(secret: &SecretSource) -> String {
            match secret {
                SecretSource::File(path) => path.display().to_string(),
                SecretSource::Given(text) => text.expose().to_owned(),
            }
        }
        for (arguments, variables, want) in [
            (format!("space:1 --token-file {file}"), vec![], format!("file {file}")),
            ("space:1".to_owned(), vec![("KOOFS_TOKEN_FILE", file.as_str())], format!("file {file}")),
            (format!("space:1 --token-file {file}"), vec![("KOOFS_TOKEN", "t")], format!("file {file}")),
            ("space:1 --token-command pass".to_owned(), vec![("KOOFS_TOKEN", "t")], "command pass".to_owned()),
            (format!("space: --agent c --account me --password-file {file}"), vec![], format!("me {file}")),
            ("space: --account me".to_owned(), vec![("KOOFS_PASSWORD", "p"), ("KOOFS_AGENT", "c")], "me p".to_owned()),
            (format!("space:1 --app-id A --user-id 1 --app-secret-file {file}"), vec![], format!("A {file}")),
            ("space:1 --app-id A --user-id 1".to_owned(), vec![("KOOFS_APP_SECRET", "s")], "A s".to_owned()),
            // The password is for another remote.
            (format!("space:1 --token-file {file}"), vec![("KOOFS_PASSWORD", "p")], format!("file {file}")),
        ] {
            assert_eq!(shown(&arguments, &variables), want, "{arguments} {variables:?}");
        }
    }

    #[test]
    fn logins_that_make_no_sense_are_refused_with_the_remedy_and_without_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = secret_file(&directory, "secret", "s3cret");
        let empty = secret_file(&directory, "empty", "");
        let open = secret_file(&directory, "open", "s3cret");
        std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        for (arguments, variables, wants) in [
            (
                "space:1".to_owned(),
                vec![],
                vec!["--token-file", "--account", "--app-id", "KOOFS_TOKEN", "KOOFS_PASSWORD"],
            ),
            ("share:1 --edition enterprise".to_owned(), vec![], vec!["--token-file"]),
            (format!("space:1 --token-file {file} --token-command x"), vec![], vec!["--token-file", "--token-command"]),
            (
                format!("space:1 --token-file {file} --account x"),
                vec![],
                vec!["--token-file", "--account", "leave one out"],
            ),
            (
                format!("space:1 --token-command x --password-file {file}"),
                vec![],
                vec!["--token-command", "--password-file"],
            ),
            (
                "space:1".to_owned(),
                vec![("KOOFS_TOKEN", "s3cret"), ("KOOFS_PASSWORD", "s3cret")],
                vec!["KOOFS_TOKEN", "KOOFS_PASSWORD"],
            ),
            (
                "space:1".to_owned(),
                vec![("KOOFS_TOKEN", "s3cret"), ("KOOFS_TOKEN_FILE", file.as_str())],
                vec!["KOOFS_TOKEN_FILE and KOOFS_TOKEN", "unset"],
            ),
            ("space:1 --account me --agent c".to_owned(), vec![], vec!["--password-file", "KOOFS_PASSWORD"]),
            ("space:1 --account me".to_owned(), vec![("KOOFS_PASSWORD", "s3cret")], vec!["--agent"]),
            ("space:1 --app-id A --user-id 1".to_owned(), vec![], vec!["--app-secret-file", "KOOFS_APP_SECRET"]),
            ("space:1 --app-id A".to_owned(), vec![("KOOFS_APP_SECRET", "s3cret")], vec!["--user-id"]),
            (format!("space:1 --password-file {file}"), vec![], vec!["--password-file", "goes with --account"]),
            ("space:".to_owned(), vec![("KOOFS_TOKEN", "s3cret")], vec!["--user-id"]),
            (format!("space:1 --token-file {open}"), vec![], vec!["--token-file", "chmod 600"]),
            (format!("space:1 --token-file {empty}"), vec![], vec!["--token-file", "empty"]),
            (format!("space:1 --token-file {file}x"), vec![], vec!["--token-file", "No such file"]),
            ("space:1 --token-file=".to_owned(), vec![], vec!["--token-file: is empty"]),
            ("space:1".to_owned(), vec![("KOOFS_TOKEN", "s3cret\nx")], vec!["KOOFS_TOKEN: holds more than one line"]),
            ("space:1 --token=s3cret".to_owned(), vec![], vec!["--token-file", "KOOFS_TOKEN"]),
            ("space:1 --password s3cret".to_owned(), vec![], vec!["--password-file", "KOOFS_PASSWORD"]),
            (format!("share:1 --agent a --token-file {file}"), vec![], vec!["--token-file", "--edition enterprise"]),
            ("space:1 --team-type group".to_owned(), vec![], vec!["--team-type", "team:ID"]),
            ("space:1 --edition enterprise".to_owned(), vec![], vec!["--edition", "shares only"]),
            ("team:1 --team-type x".to_owned(), vec![], vec!["--team-type: must be department or group"]),
            ("share:1 --edition x".to_owned(), vec![], vec!["--edition: must be carrier or enterprise"]),
            (
                "space:1 --ca-file /nonexistent".to_owned(),
                vec![("KOOFS_TOKEN", "t")],
                vec!["--ca-file", "No such file"],
            ),
        ] {
            let line = refused_in(&arguments, &variables);
            for want in wants {
                assert!(line.contains(want), "{arguments} {variables:?}: no {want}: {line}");
            }
            assert!(!line.contains('\n') && !line.contains("s3cret"), "{arguments}: {line}");
        }
    }

    #[test]
    fn spaces_needs_a_login_and_no_source() {
        let variables = [("KOOFS_TOKEN", "t")];
        match parsed_in("spaces --json --endpoint intl -v", &variables) {
            Ok(Command::Spaces(config)) => assert!(config.is_json && config.verbosity == 1),
            other => panic!("{other:?}"),
        }
        assert!(usage("spaces --endpoint intl").contains("--token-file"));
        assert!(usage("spaces share:1").contains("NAME:"));
    }

    #[test]
    fn switches_come_from_the_environment_and_can_be_turned_off() {
        let base = format!("mount --agent a {LINK} /mnt");
        let allowed = |arguments: &str, value| match parsed_in(arguments, &[("KOOFS_ALLOW_OTHER", value)]) {
            Ok(Command::Mount(config)) => config.allow_other,
            other => panic!("{other:?}"),
        };
        assert!(allowed(&base, "1") && allowed(&base, "yes") && !allowed(&base, "false") && !allowed(&base, ""));
        assert!(!allowed(&format!("{base} --allow-other=no"), "1"));
        assert!(allowed(&format!("{base} --allow-other"), "no"));
        let line = match parsed_in(&base, &[("KOOFS_ALLOW_OTHER", "maybe")]) {
            Err(Refusal::Usage(line)) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line, "KOOFS_ALLOW_OTHER: must be true or false");
    }

    #[test]
    fn help_of_mount_fits_a_terminal_and_names_every_setting() {
        let text = Typed::command().term_width(80).find_subcommand_mut("mount").unwrap().clone().term_width(80);
        let text = text.clone().render_help().to_string();
        assert!(text.lines().count() <= 100, "{} lines:\n{text}", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for setting in settings::ALL {
            assert!(text.contains(&setting.flag()) && text.contains(&setting.variable()), "{setting:?}");
        }
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
