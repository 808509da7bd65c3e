//! What a wrong or unfinished command line is answered with, in one line.

use std::ffi::OsString;

/// The commands to choose from in `command`, the whole program's, after those that were typed.
pub(super) fn what_there_is_to_do(mut command: clap::Command, arguments: &[OsString]) -> String {
    let mut typed = "koofs".to_owned();
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
pub(super) fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let lines = paragraphs.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    format!("{} (see --help)", line.trim_start_matches("error: "))
}
