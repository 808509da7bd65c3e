//! From what the user typed to a [`Command`]: command line, environment and configuration file. The only room
//! that knows clap.
//!
//! Knows no network and no threads; reads the configuration file, an access code's file and the machine's memory size.

mod cache;
mod check;
mod environment;
mod file;
mod guidance;
mod help;
mod helper;
mod layers;
mod login;
mod machine;
mod mount_values;
mod quantities;
mod remotes;
mod resolve;
mod settings;
mod source;
mod tests;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::config::{
    self, CacheAction, CacheCommand, Command, DEFAULT_OFFLINE_FOR, DEFAULT_TTL, DoctorConfig, HelperCommand,
    ListConfig, ListFormat, MountConfig, Pinning, Report, Source, SpacesConfig, StatusConfig, WarmCommand,
};
use crate::policy::printable::printable;
pub use environment::Environment;
use file::{ConfigFile, Place, Section};
use guidance::{one_line, what_there_is_to_do};
use helper::{Options, TypedHelper};
use layers::Layers;
use mount_values::{MountValues, verbosity};
use remotes::{no_config_file, remote_source};
use settings::{Flags, ForCache, ForDoctor, ForList, ForMount, ForSpaces, TypedCache, TypedConfig, TypedFlags};
use source::{TypedPath, TypedSource};

/// Mount a Huawei Cloud KooDrive share or space as a read-only filesystem.
#[derive(Parser)]
#[command(name = "koofs", version = help::VERSION, about, arg_required_else_help = true, after_help = help::EXIT_CODES)]
struct Typed {
    #[command(subcommand)]
    command: TypedCommand,
}

#[derive(Subcommand)]
enum TypedCommand {
    /// Mount a share or space; returns as soon as the mount answers.
    #[command(after_help = help::MOUNT)]
    Mount(TypedMount),
    /// Say how mounts are: memory, requests, what is being fetched.
    #[command(after_help = help::STATUS)]
    Status {
        /// A mountpoint, or a path in the mount; all of your mounts if absent.
        mountpoint: Option<PathBuf>,
        /// One JSON object on a line.
        #[arg(long)]
        json: bool,
        /// Every second, until it is interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Forget what a mount remembers of a directory, so that changes show at once.
    #[command(after_help = help::REFRESH)]
    Refresh {
        /// The mountpoint, or a directory below it.
        path: PathBuf,
    },
    /// Have listings, and with --data files, of a mount on disk ahead of a journey.
    #[command(after_help = help::WARM)]
    Warm {
        /// Directories of a mount, with all below them, or files.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Files too, not only the listings of directories.
        #[arg(long)]
        data: bool,
        /// What is fetched stays on disk, also when there is no more room, until --unpin.
        #[arg(long)]
        pin: bool,
        /// Fetch nothing: what was pinned below these paths goes like everything else again.
        #[arg(long, conflicts_with_all = ["pin", "data"])]
        unpin: bool,
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
    /// Try step by step what a mount would need, and say what follows.
    #[command(after_help = help::DOCTOR)]
    Doctor(TypedDoctor),
    /// List the spaces that a login can see.
    #[command(after_help = help::SPACES)]
    Spaces(TypedSpaces),
    /// Show what is kept on disk, clear it or check it.
    #[command(after_help = help::CACHE)]
    Cache {
        #[command(subcommand)]
        command: Option<TypedCache>,
        #[command(flatten)]
        options: TypedFlags<ForCache>,
    },
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
struct TypedDoctor {
    /// As for `koofs mount`; the whole source is looked at, whatever path follows.
    source: TypedPath,
    /// Write the same lines to this file, which must not be there yet; readable for you only.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    options: TypedFlags<ForDoctor>,
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

/// Names of a path; an alias, as clap would take a bare `Vec` for a repeatable option.
type Names = Vec<String>;

/// Why there is no command to run, and what to print instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user asked for help or the version: print it on standard output; exit code 0.
    Help {
        /// For a terminal.
        coloured: String,
        /// For anything else.
        plain: String,
    },
    /// The command line, the environment or the configuration is not valid: one line for standard error; exit code 2.
    Usage(String),
}

/// The command lines, for manuals and completions: of koofs, and of mount.koofs.
pub fn definitions() -> [clap::Command; 2] {
    [Typed::command(), TypedHelper::command()]
}

/// Whether `arguments` (the program's name first) are those of mount(8) to its helper.
pub fn is_helper(arguments: impl IntoIterator<Item = OsString>) -> bool {
    helper::is_meant(&arguments.into_iter().collect::<Vec<_>>())
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
    if helper::is_meant(&arguments) {
        return helper_command(&arguments, environment);
    }
    refuse_secrets(&arguments).map_err(Refusal::Usage)?;
    let typed = Typed::try_parse_from(&arguments).map_err(|error| refusal(&error, &arguments))?;
    let command = match typed.command {
        TypedCommand::Mount(typed) => mount(typed.source, &typed.mountpoint, &typed.options.flags, environment)
            .map(|config| Command::Mount(Box::new(config))),
        TypedCommand::Status { mountpoint, json, watch } => {
            let path = mountpoint.as_deref().map(|path| absolute("MOUNTPOINT", path)).transpose();
            path.map(|path| Command::Status(StatusConfig { path, is_json: json, is_watching: watch }))
        }
        TypedCommand::Refresh { path } => absolute("PATH", &path).map(|path| Command::Refresh { path }),
        TypedCommand::Warm { paths, data, pin, unpin } => {
            let paths: Result<_, _> = paths.iter().map(|path| absolute("PATH", path)).collect();
            let (with_data, pin) = (data || unpin, Pinning::of(pin, unpin));
            paths.map(|paths| Command::Warm(WarmCommand { paths, with_data, pin }))
        }
        TypedCommand::Unmount { mountpoint } => {
            absolute("MOUNTPOINT", &mountpoint).map(|mountpoint| Command::Unmount { mountpoint })
        }
        TypedCommand::Ls(typed) => list(typed, environment).map(Command::List),
        TypedCommand::Doctor(typed) => doctor(typed, environment).map(Command::Doctor),
        TypedCommand::Spaces(typed) => spaces(typed, environment).map(Command::Spaces),
        TypedCommand::Cache { command, options } => cache_command(command, options, environment).map(Command::Cache),
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

/// What mount(8) asks for by calling this program as its helper. As root everything is looked for where it is at boot.
fn helper_command(arguments: &[OsString], environment: &Environment) -> Result<Command, Refusal> {
    let typed = TypedHelper::try_parse_from(arguments).map_err(|error| refusal(&error, arguments))?;
    let is_root = rustix::process::geteuid().is_root();
    let at_boot = is_root.then(|| environment.at_boot());
    let command = helped(&typed, at_boot.as_ref().unwrap_or(environment)).map(Command::Helper);
    command.map_err(|line| Refusal::Usage(printable(&line).into_owned()))
}

fn helped(typed: &TypedHelper, environment: &Environment) -> Result<HelperCommand, String> {
    let Options { flags, wants_writing, is_remount } = typed.options()?;
    if is_remount {
        let mountpoint = absolute("MOUNTPOINT", &typed.mountpoint)?;
        return Ok(HelperCommand::Remount { mountpoint, wants_writing });
    }
    let source: TypedPath = typed.source.parse().map_err(|why| format!("SOURCE: {why}"))?;
    // As fstab has it, so that mount(8) finds it among the mounts. The code of a share is not for the mount table.
    let name = Some(typed.source.clone()).filter(|_| !matches!(source.source, TypedSource::Share { .. }));
    let config = mount(source, &typed.mountpoint, &flags, environment)?;
    let config = MountConfig { name: name.unwrap_or_else(|| config.source.name()), ..config };
    Ok(if typed.fake { HelperCommand::Fake } else { HelperCommand::Mount { config: Box::new(config), wants_writing } })
}

fn mount(source: TypedPath, mountpoint: &Path, flags: &Flags, env: &Environment) -> Result<MountConfig, String> {
    let remote_name = source.source.remote_name();
    let said = Said::new(source, flags, env)?;
    let mut layers = said.layers(flags, env);
    let values = MountValues::of(&mut layers);
    let source = resolve::source(&mut layers, &said.source);
    let source = settled(layers, source)?;
    Ok(MountConfig {
        name: remote_name.unwrap_or_else(|| source.name()),
        source,
        root: said.below(values.root),
        mountpoint: absolute("MOUNTPOINT", mountpoint)?,
        nonempty: values.nonempty,
        foreground: values.foreground,
        verbosity: values.verbosity,
        log_file: values.log_file,
        ttl: values.ttl.unwrap_or(DEFAULT_TTL),
        offline_for: values.offline_for.unwrap_or(DEFAULT_OFFLINE_FOR),
        retry_mount: values.retry_mount.unwrap_or_default(),
        memory_bytes: values.memory_bytes.unwrap_or_else(default_memory_bytes),
        allow_other: values.allow_other,
        noexec: values.noexec,
        rights: values.rights,
        cache: values.cache,
        shown: values.shown,
        bandwidth: values.bandwidth,
        xattr: values.xattr,
        volume_info: values.volume_info,
        metrics: values.metrics,
    })
}

fn list(typed: TypedList, environment: &Environment) -> Result<ListConfig, String> {
    let format = match (typed.json, typed.long, typed.human_readable) {
        (true, _, _) => ListFormat::JsonLines,
        (false, true, true) => ListFormat::LongForPeople,
        (false, true, false) => ListFormat::Long,
        (false, false, _) => ListFormat::Names,
    };
    let (source, mut path, verbosity) = listed(typed.source, &typed.options.flags, environment)?;
    path.extend(typed.path);
    Ok(ListConfig { source, path, format, verbosity })
}

/// What is to be looked into: the source, the path below it, and how often `-v` was given.
fn listed(typed: TypedPath, flags: &Flags, environment: &Environment) -> Result<(Source, Names, u8), String> {
    let said = Said::new(typed, flags, environment)?;
    let mut layers = said.layers(flags, environment);
    let source = resolve::source(&mut layers, &said.source);
    let root = layers.value(&settings::ROOT, values::share_path).unwrap_or_default();
    let verbosity = verbosity(&mut layers);
    Ok((settled(layers, source)?, said.below(root), verbosity))
}

fn doctor(typed: TypedDoctor, environment: &Environment) -> Result<DoctorConfig, String> {
    let (source, _, verbosity) = listed(typed.source, &typed.options.flags, environment)?;
    let report = typed.report.as_deref().map(|path| absolute("--report", path)).transpose()?;
    Ok(DoctorConfig { source, report, verbosity })
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

fn cache_command(
    typed: Option<TypedCache>,
    options: TypedFlags<ForCache>,
    environment: &Environment,
) -> Result<CacheCommand, String> {
    // Options may stand before the word and behind it.
    let mut flags = options.flags;
    let action = match typed {
        None => CacheAction::Show,
        Some(TypedCache::Clear { source, options }) => {
            flags.extend(options.flags);
            let of_share = |source: &str| source.strip_prefix("share:").map(config::share_name);
            CacheAction::Clear(source.map(|source| of_share(&source).unwrap_or(source)))
        }
        Some(TypedCache::Verify { options }) => {
            flags.extend(options.flags);
            CacheAction::Verify
        }
    };
    let own = TypedPath { source: TypedSource::Space(None), names: Names::new() };
    let said = Said::new(own, &flags, environment)?;
    let mut layers = said.layers(&flags, environment);
    let directory = cache::directory(&mut layers);
    let none = || "there is no place for a cache: set HOME, or give --cache-dir DIR".to_owned();
    if let Some(complaint) = layers.complaints.into_iter().next() {
        return Err(complaint);
    }
    Ok(CacheCommand { directory: directory.ok_or_else(none)?, action })
}

fn config(typed: &TypedConfig, environment: &Environment) -> Result<Report, String> {
    match typed {
        TypedConfig::Check { name, options } => {
            let name = name.as_deref().map(|name| name.strip_suffix(':').unwrap_or(name));
            Ok(check::check(&Place::of(&options.flags, environment)?, environment, name))
        }
        TypedConfig::Path { options } => {
            let place = Place::of(&options.flags, environment)?;
            Ok(Report { lines: vec![place.path.display().to_string()], is_well: true })
        }
    }
}

/// What to open, and the configuration file.
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
        let file = ConfigFile::read(&place, environment)?;
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
            return Err(format!("{name}: is a remote, but {}", no_config_file(&place)));
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
            Refusal::Usage(what_there_is_to_do(Typed::command(), arguments))
        }
        _ => Refusal::Usage(one_line(&text.to_string())),
    }
}
