//! The command: from arguments to an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use koofs::cli::{self, Environment, Refusal};
use koofs::clock::SystemClock;
use koofs::config::{
    CacheCommand, Command, DoctorConfig, HelperCommand, ListConfig, MountConfig, Report, SpacesConfig, StatusConfig,
    WarmCommand,
};
use koofs::doctor;
use koofs::kernel::unmount::Unmounted;
use koofs::koodrive;
use koofs::listing::{self, ListError};
use koofs::mount::{self, MountError};
use koofs::policy::printable::one_line;
use koofs::secrets;
use koofs::spaces;
use koofs::status::{self, StatusError};
use koofs::stored;
use koofs::warm;

/// Exit codes of mount(8): the options or the configuration make no sense; the system fails; the mount fails.
const MISUSED: u8 = 1;
const SYSTEM_ERROR: u8 = 2;
const MOUNT_FAILED: u8 = 32;

fn main() -> ExitCode {
    if let Err(error) = secrets::protect_process() {
        eprintln!("koofs: cannot keep secrets out of core dumps: {error}");
        return ExitCode::FAILURE;
    }
    // SAFETY: this is the only thread: nothing has started one.
    let environment = unsafe { Environment::take() };
    let is_helper = cli::is_helper(std::env::args_os());
    match cli::parse(std::env::args_os(), &environment) {
        Ok(command) => run(command),
        Err(Refusal::Help { coloured, plain }) => {
            let text = if io::stdout().is_terminal() { coloured } else { plain };
            // A reader that went away is no error.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Refusal::Usage(line)) if is_helper => {
            eprintln!("mount.koofs: {line}");
            ExitCode::from(MISUSED)
        }
        Err(Refusal::Usage(line)) => {
            eprintln!("koofs: {line}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> ExitCode {
    let done = match command {
        // SAFETY: this is still the only thread: `parse` starts none.
        Command::Mount(config) => unsafe { mount::mount(&config) }.map_err(Failure::from),
        Command::Helper(command) => return help_mount(command),
        Command::Status(config) => status(&config),
        Command::Refresh { path } => mount::refresh(&path).map_err(Failure::from),
        Command::Warm(command) => return warm(&command),
        Command::Unmount { mountpoint } => mount::unmount(&mountpoint).map_err(Failure::from).map(|how| {
            if how == Unmounted::Detached {
                eprintln!(
                    "koofs: {} was busy: detached; it goes away when the last user closes it",
                    mountpoint.display()
                );
            }
        }),
        Command::List(config) => list(&config),
        Command::Doctor(config) => doctor(&config),
        Command::Spaces(config) => spaces(&config),
        Command::Cache(command) => match cache(&command) {
            Ok(report) => return say(&report),
            Err(failure) => Err(failure),
        },
        Command::Report(report) => return say(&report),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { line, exit_code }) => {
            eprintln!("koofs: {line}");
            exit_code
        }
    }
}

/// What mount(8) asks for: its exit codes, and lines that name the helper.
fn help_mount(command: HelperCommand) -> ExitCode {
    let done = match &command {
        HelperCommand::Fake => Ok(()),
        HelperCommand::Remount { mountpoint, wants_writing } => mount::remount(mountpoint, *wants_writing).map(|()| {
            let shown = mountpoint.display();
            eprintln!("mount.koofs: {shown} stays as it is: options count when it is mounted again");
        }),
        HelperCommand::Mount { config, wants_writing } => mount_as_helper(config, *wants_writing),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("mount.koofs: {}", one_line(&error));
    ExitCode::from(if matches!(error, MountError::System(..)) { SYSTEM_ERROR } else { MOUNT_FAILED })
}

fn mount_as_helper(config: &MountConfig, wants_writing: bool) -> Result<(), MountError> {
    let (source, shown) = (&config.name, config.mountpoint.display());
    if mount::is_mounted(config)? {
        eprintln!("mount.koofs: {source} is mounted at {shown} already");
        return Ok(());
    }
    // SAFETY: this is still the only thread: neither `parse` nor `is_mounted` starts one.
    unsafe { mount::mount(config) }?;
    if wants_writing {
        eprintln!("mount.koofs: {shown}: WARNING: source write-protected, mounted read-only");
    }
    Ok(())
}

/// Why a command failed, in one line, and its exit code.
struct Failure {
    line: String,
    exit_code: ExitCode,
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Failure {
        Failure { line: one_line(&error), exit_code: ExitCode::from(error.exit_code()) }
    }
}

impl From<ListError> for Failure {
    fn from(error: ListError) -> Failure {
        Failure { line: one_line(&error), exit_code: ExitCode::FAILURE }
    }
}

fn list(config: &ListConfig) -> Result<(), Failure> {
    mount::logging::start(config.verbosity, None)?;
    let remote = mount::open_source(&config.source)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let is_terminal = io::stdout().is_terminal();
    match listing::list(remote.as_ref(), config, &SystemClock, is_terminal, &mut out) {
        // `koofs ls … | head` has seen enough.
        Err(ListError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn status(config: &StatusConfig) -> Result<(), Failure> {
    match status::run(config, &SystemClock, io::stdout().is_terminal(), &mut io::stdout().lock()) {
        // `koofs status --watch | head` has seen enough.
        Err(StatusError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Failure { line: one_line(&error), exit_code: ExitCode::FAILURE }),
    }
}

fn doctor(config: &DoctorConfig) -> Result<(), Failure> {
    mount::logging::start(config.verbosity, None)?;
    match doctor::run(config, &(Arc::new(SystemClock) as _), &mut io::stdout().lock()) {
        Err(doctor::Failed::Opening(error)) => Err(MountError::Open(error).into()),
        // `koofs doctor … | head` has seen enough.
        Err(doctor::Failed::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Failure { line: one_line(&error), exit_code: ExitCode::FAILURE }),
    }
}

fn spaces(config: &SpacesConfig) -> Result<(), Failure> {
    mount::logging::start(config.verbosity, None)?;
    let seen = koodrive::visible_spaces(&config.connection, &config.login, Arc::new(SystemClock));
    let spaces = seen.map_err(MountError::Open)?;
    let is_terminal = io::stdout().is_terminal();
    match spaces::print(&spaces, config.is_json, is_terminal, &mut io::BufWriter::new(io::stdout().lock())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure { line: format!("cannot write the spaces: {error}"), exit_code: ExitCode::FAILURE })
        }
        _ => Ok(()),
    }
}

fn cache(command: &CacheCommand) -> Result<Report, Failure> {
    mount::logging::start(0, None)?;
    stored::run(command).map_err(|error| Failure { line: one_line(&error), exit_code: ExitCode::FAILURE })
}

fn warm(command: &WarmCommand) -> ExitCode {
    let warmed = warm::warm(command);
    for line in &warmed.complaints {
        eprintln!("koofs: {line}");
    }
    say(&Report { lines: vec![warmed.summary], is_well: warmed.complaints.is_empty() })
}

fn say(report: &Report) -> ExitCode {
    let mut out = io::stdout().lock();
    for line in &report.lines {
        // A reader that went away is no error.
        let _ = writeln!(out, "{line}");
    }
    if report.is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
