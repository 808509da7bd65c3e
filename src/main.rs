//! The command: from arguments to an exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use koofs::cli::{self, Environment, Refusal};
use koofs::clock::SystemClock;
use koofs::config::{Command, ListConfig, Report, SpacesConfig};
use koofs::kernel::unmount::Unmounted;
use koofs::koodrive;
use koofs::listing::{self, ListError};
use koofs::mount;
use koofs::policy::printable::{one_line, printable};
use koofs::secrets;
use koofs::spaces;

fn main() -> ExitCode {
    if let Err(error) = secrets::protect_process() {
        eprintln!("koofs: cannot keep secrets out of core dumps: {error}");
        return ExitCode::FAILURE;
    }
    // SAFETY: this is the only thread: nothing has started one.
    let environment = unsafe { Environment::take() };
    match cli::parse(std::env::args_os(), &environment) {
        Ok(command) => run(command),
        Err(Refusal::Help { coloured, plain }) => {
            let text = if io::stdout().is_terminal() { coloured } else { plain };
            // A reader that went away is no error.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
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
        Command::Mount(config) => unsafe { mount::mount(&config) }.map_err(|error| one_line(&error)),
        Command::Refresh { path } => mount::refresh(&path).map_err(|error| one_line(&error)),
        Command::Unmount { mountpoint } => mount::unmount(&mountpoint).map_err(|error| one_line(&error)).map(|how| {
            if how == Unmounted::Detached {
                eprintln!(
                    "koofs: {} was busy: detached; it goes away when the last user closes it",
                    mountpoint.display()
                );
            }
        }),
        Command::List(config) => list(&config),
        Command::Spaces(config) => spaces(&config),
        Command::Report(report) => return say(&report),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("koofs: {line}");
            ExitCode::FAILURE
        }
    }
}

fn list(config: &ListConfig) -> Result<(), String> {
    mount::logging::start(config.verbosity, None).map_err(|error| one_line(&error))?;
    let remote = mount::open_source(&config.source).map_err(|error| one_line(&error))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let is_terminal = io::stdout().is_terminal();
    match listing::list(remote.as_ref(), config, &SystemClock, is_terminal, &mut out) {
        // `koofs ls … | head` has seen enough.
        Err(ListError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| one_line(&error)),
    }
}

fn spaces(config: &SpacesConfig) -> Result<(), String> {
    mount::logging::start(config.verbosity, None).map_err(|error| one_line(&error))?;
    let seen = koodrive::visible_spaces(&config.connection, &config.login, Arc::new(SystemClock));
    // Its text is the whole line, with the causes that help; see MountError::Open.
    let spaces = seen.map_err(|error| printable(&error.to_string()).into_owned())?;
    let is_terminal = io::stdout().is_terminal();
    match spaces::print(&spaces, config.is_json, is_terminal, &mut io::BufWriter::new(io::stdout().lock())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write the spaces: {error}")),
        _ => Ok(()),
    }
}

fn say(report: &Report) -> ExitCode {
    let mut out = io::stdout().lock();
    for line in &report.lines {
        // A reader that went away is no error.
        let _ = writeln!(out, "{line}");
    }
    if report.is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
