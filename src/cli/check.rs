//! `koofs config check`: what a mount of each remote would refuse, and what is unsafe although it would be accepted. No network.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::environment::Environment;
use super::file::{self, ConfigFile, Place, Section};
use super::layers::Layers;
use super::mount_values::MountValues;
use super::remotes::{no_config_file, remote_source};
use super::settings::{ALLOW_HTTP, Flags, SECRETS};
use super::{resolve, source, values};
use crate::config::{Credentials, Report, Source};

/// The findings about the file at `place`: about the remote `name`, or all of them.
pub(super) fn check(place: &Place, environment: &Environment, name: Option<&str>) -> Report {
    let file = match ConfigFile::read(place, environment) {
        Ok(Some(file)) => file,
        Err(why) => return Report { lines: vec![why], is_well: false },
        Ok(None) => return Report { lines: vec![no_config_file(place)], is_well: false },
    };
    let chosen: Vec<(&String, &Section)> =
        file.remotes.iter().filter(|(remote, _)| name.is_none_or(|name| name == *remote)).collect();
    let mut findings = Findings::default();
    findings.lines.extend(about_directory(&file.path));
    findings.lines.extend(file.complaints.iter().cloned());
    findings.lines.extend(file.defaults.complaints.iter().cloned());
    if let Some(why) = name.and_then(|name| file.remote(name).err()) {
        findings.lines.push(why);
    }
    if chosen.is_empty() && name.is_none() {
        // Nothing falls back to the defaults: look at their values alone.
        let flags = Flags::new();
        let mut layers = layers(&flags, environment, &file, None);
        MountValues::of(&mut layers);
        findings.lines.append(&mut layers.complaints);
    }
    let mut well = Vec::new();
    for (name, section) in chosen {
        match about_remote(name, section, &file, environment) {
            Ok(line) => well.push(line),
            Err(lines) => findings.lines.extend(lines),
        }
    }
    findings.report(&file, well)
}

#[derive(Default)]
struct Findings {
    lines: Vec<String>,
}

impl Findings {
    /// Each finding once, in the order found; then the remotes without one.
    fn report(self, file: &ConfigFile, well: Vec<String>) -> Report {
        let is_well = self.lines.is_empty();
        let mut seen = BTreeSet::new();
        let mut lines: Vec<String> = self.lines.into_iter().filter(|line| seen.insert(line.clone())).collect();
        lines.extend(well);
        if lines.is_empty() {
            lines.push(format!("{}: all is well; it has no [remotes.NAME]", file.path.display()));
        }
        Report { lines, is_well }
    }
}

fn layers<'a>(
    flags: &'a Flags,
    environment: &'a Environment,
    file: &'a ConfigFile,
    remote: Option<&'a Section>,
) -> Layers<'a> {
    Layers { flags, environment, remote, defaults: Some(&file.defaults), complaints: Vec::new() }
}

/// One line if all is well, else every finding.
fn about_remote(
    name: &str,
    section: &Section,
    file: &ConfigFile,
    environment: &Environment,
) -> Result<String, Vec<String>> {
    let flags = Flags::new();
    let mut layers = layers(&flags, environment, file, Some(section));
    layers.complaints.extend(section.complaints.iter().cloned());
    let typed = remote_source(section).map_err(|why| layers.complain(why)).ok().map(|typed| typed.source);
    let source = typed.as_ref().and_then(|typed| resolve::source(&mut layers, typed));
    MountValues::of(&mut layers);
    let endpoint = typed.as_ref().and_then(|typed| resolve::endpoint(&mut layers, source::origin(typed)));
    let is_clear = endpoint.filter(|endpoint| !values::is_safe_transport(&endpoint.0));
    if let Some(endpoint) = is_clear.filter(|_| layers.switch(&ALLOW_HTTP)) {
        layers.complain(format!("{} sends secrets and content in the clear: use https", endpoint.0));
    }
    let mut lines: Vec<String> = layers.complaints.iter().map(|line| of_remote(name, line, &file.path)).collect();
    lines.extend(about_secret_files(&layers));
    match source {
        Some(source) if lines.is_empty() => Ok(well(name, &source)),
        _ => Err(lines),
    }
}

/// A complaint that names no place is about the remote.
fn of_remote(name: &str, line: &str, file: &Path) -> String {
    if line.starts_with(&*file.to_string_lossy()) { line.to_owned() } else { format!("{name}: {line}") }
}

/// Every secret file that the remote names, whether it is used or not, and its directory.
fn about_secret_files(layers: &Layers<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for secret in SECRETS {
        let Some((rank, path)) = layers.find(secret.file) else { continue };
        let Ok(path) = values::absolute(Path::new(path)) else { continue };
        let label = layers.label(rank, secret.file);
        let about_file =
            values::private_file(&path, secret).err().map(|why| format!("{label}: {}: {why}", path.display()));
        let about_file = about_file.filter(|line| !layers.complaints.contains(line));
        lines.extend(about_file.into_iter().chain(about_directory(&path)));
    }
    lines
}

/// Whoever can write a directory can put another file in the place of `path`.
fn about_directory(path: &Path) -> Option<String> {
    let directory = path.parent()?;
    let metadata = std::fs::metadata(directory).ok()?;
    // Sticky, like /tmp: others cannot touch what is not theirs.
    let is_sticky = metadata.mode() & 0o1000 != 0;
    let why = file::writers(directory, &metadata).filter(|_| !is_sticky)?;
    Some(format!("{}: could be replaced: {}: {why}", path.display(), directory.display()))
}

fn well(name: &str, source: &Source) -> String {
    let login = match source.login().map(|login| &login.credentials) {
        None => "public, no login",
        Some(Credentials::TokenFile(_)) => "token from a file",
        Some(Credentials::Token(_)) => "token from the environment",
        Some(Credentials::TokenCommand(_)) => "token from a command",
        Some(Credentials::Password { .. }) => "login with a password",
        Some(Credentials::App { .. }) => "signed by an app",
    };
    format!("{name}: all is well: {} at {}, {login}", source.name(), source.connection().endpoint)
}
