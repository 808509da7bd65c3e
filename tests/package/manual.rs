//! Manual pages and completions, from the definition of the command line: what `--help` says, they say.
//!
//! clap_mangen writes names, synopsis and options. The texts behind them are ours, and so is koofs.toml(5), whose keys are the
//! options of `koofs mount`.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use clap::{ArgAction, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// What a page says where it says nothing else.
const SEE_ALSO: &str = ".SH \"SEE ALSO\"\n.BR koofs (1),\n.BR koofs.toml (5),\n.BR mount.koofs (8),\n.BR mount (8),\n.BR fusermount3 (1)\n";

/// Writes `man1`, `man5`, `man8` and `completions` into `directory`.
pub(crate) fn generate(directory: &Path) -> io::Result<()> {
    let [koofs, helper] = koofs::cli::definitions();
    write_page(&directory.join("man8"), helper, "mount.koofs", "8")?;
    let man5 = directory.join("man5");
    fs::create_dir_all(&man5)?;
    fs::write(man5.join("koofs.toml.5"), configuration(&koofs))?;
    write_completions(&directory.join("completions"), koofs.clone())?;
    write_pages(&directory.join("man1"), koofs, "koofs")
}

/// A page for `command` and for each command below it.
fn write_pages(directory: &Path, command: Command, name: &str) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        write_pages(directory, below.clone(), &format!("{name}-{}", below.get_name()))?;
    }
    write_page(directory, command, name, "1")
}

fn write_page(directory: &Path, command: Command, name: &str, section: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let texts = command.get_after_help().map(|text| text.ansi().to_string()).unwrap_or_default();
    // The help writes as a shell does what the page is called by its dashes. `help` has no page.
    let shown = name.replace('-', " ");
    let command = command.disable_help_subcommand(true).after_help("").name(name.to_owned()).bin_name(shown);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let man = Man::new(command).section(section).manual("KooFS").date("");
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut page = String::from_utf8(page).map_err(io::Error::other)?;
    for name in ["VERSION", "EXTRA"] {
        page = without_section(&page, name);
    }
    // Each option, with its value, stands below: the synopsis is that of `--help`.
    let (before, after) = page.split_once(".SH DESCRIPTION").unwrap_or((&page, ""));
    let synopsis = format!(".SH SYNOPSIS\n{}\n.SH DESCRIPTION", escaped(&usage));
    page = format!("{}{synopsis}{after}{}{SEE_ALSO}", without_section(before, "SYNOPSIS"), sections(&texts));
    fs::write(directory.join(format!("{name}.{section}")), page)
}

/// The page without what stands from the heading `name` to the next one.
fn without_section(page: &str, name: &str) -> String {
    let mut is_in = false;
    let lines = page.lines().filter(|line| {
        if let Some(heading) = line.strip_prefix(".SH ") {
            is_in = heading.trim_matches('"') == name;
        }
        !is_in
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The texts behind the options, under their headings, as they are laid out.
fn sections(texts: &str) -> String {
    let mut page = String::new();
    for text in texts.split("\x1b[1m").filter(|text| !text.trim().is_empty()) {
        let (heading, body) = text.split_once("\x1b[0m").unwrap_or(("Notes", text));
        let heading = heading.trim_end_matches(':');
        // An option is another one in capitals.
        let heading = if heading.contains(" -") { heading.to_owned() } else { heading.to_uppercase() };
        // A String takes what it is given.
        let _ = write!(page, ".SH \"{}\"\n.nf\n{}.fi\n", escaped(&heading), lines(body));
    }
    page
}

/// Lines as they are, none of which is taken for a request.
fn lines(text: &str) -> String {
    let text = text.trim_matches('\n');
    text.lines().map(|line| format!("{}\n", escaped(line))).collect()
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// koofs.toml(5).
fn configuration(koofs: &Command) -> String {
    let below = |name: &str| koofs.find_subcommand(name).unwrap_or(koofs);
    let mount = below("mount");
    let example = below("config").get_after_help().map(|text| text.to_string()).unwrap_or_default();
    let version = koofs.get_version().unwrap_or_default();
    let mut page = format!(
        ".TH koofs.toml 5 \"\" \"koofs {}\" KooFS\n.SH NAME\nkoofs.toml \\- the configuration file of KooFS\n.SH SYNOPSIS\n.nf\n\
         $XDG_CONFIG_HOME/koofs/config.toml\n~/.config/koofs/config.toml\n/etc/koofs/config.toml\n.fi\n.SH DESCRIPTION\n",
        escaped(version)
    );
    page += "The first of these files that is there, or the one that\n.B \\-\\-config\nor\n.B KOOFS_CONFIG\nnames, is read. As root,\n\
             .BR mount.koofs (8)\nreads the last one only.\n.PP\nThe file is TOML. A table\n.BI [remotes. NAME ]\n\
             is what is mounted by\n.BI \"koofs mount \" NAME :\nand has the key\n.BR source .\nThe table\n.B [defaults]\n\
             is for what the remotes do not say. What the command line or the environment says is right before both.\n.PP\n\
             No secret is taken from it, and no file that others can write. Relative paths start at its directory.\n\
             .B ~/\nis the home directory.\n.SH \"KEYS OF A REMOTE\"\n.TP\n\\fBsource\\fR = \"\\fISOURCE\\fR\"\n\
             What to mount: whatever\n.B koofs mount\ntakes.\n";
    let mut heading = String::new();
    for arg in mount.get_arguments().filter(|arg| arg.get_help_heading().is_some() && arg.get_id() != "config") {
        let of = arg.get_help_heading().unwrap_or_default();
        if of != heading {
            heading = of.to_owned();
            // A String takes what it is given.
            let _ = writeln!(page, ".SH \"KEYS: {}\"", escaped(&heading.to_uppercase()));
        }
        let value = match (arg.get_action(), arg.get_value_names().and_then(|names| names.first())) {
            (ArgAction::Count, _) => "\\fI0\\fR to \\fI3\\fR".to_owned(),
            (_, Some(name)) if *name == "BOOL" => "\\fBtrue\\fR or \\fBfalse\\fR".to_owned(),
            (_, name) => format!("\"\\fI{}\\fR\"", escaped(name.map_or("TEXT", |name| name.as_str()))),
        };
        let help = arg.get_help().map(|help| help.to_string()).unwrap_or_default();
        let help = help.rsplit_once(" [env:").map_or(help.as_str(), |(help, _)| help);
        let _ = writeln!(page, ".TP\n\\fB{}\\fR = {value}\n{}", escaped(arg.get_id().as_str()), escaped(help));
    }
    let example = example.split_once('\n').map_or("", |(_, rest)| rest);
    let _ = write!(page, ".SH EXAMPLE\n.nf\n{}.fi\n", lines(example));
    page + SEE_ALSO
}

/// The script with what clap cannot know: remotes for a source, and mountpoints.
fn with_places(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}{}", include_str!("places.bash")),
        Shell::Fish => format!("{script}{}", include_str!("places.fish")),
        _ => {
            let line = |line: &str| {
                let line = line.trim_start();
                let is = |names: &[&str]| names.iter().any(|name| line.starts_with(&format!("':{name} -- ")));
                if is(&["source", ":remote"]) {
                    line.replace(":_default'", ":_koofs_sources'")
                } else if is(&[":mountpoint", "path"]) || line.starts_with("':mountpoint -- Where it is mounted") {
                    line.replace(":_files'", ":_koofs_mountpoints'")
                } else {
                    line.to_owned()
                }
            };
            let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
            let rest: String = rest.lines().flat_map(|text| [line(text), "\n".to_owned()]).collect();
            format!("{first}\n{}{rest}", include_str!("places.zsh"))
        }
    }
}

fn write_completions(directory: &Path, mut koofs: Command) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (shell, name) in [(Shell::Bash, "koofs"), (Shell::Zsh, "_koofs"), (Shell::Fish, "koofs.fish")] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut koofs, "koofs", &mut script);
        let script = String::from_utf8(script).map_err(io::Error::other)?;
        fs::write(directory.join(name), with_places(shell, &script))?;
    }
    Ok(())
}
