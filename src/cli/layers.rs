//! Precedence: flag, environment, the remote's table, `[defaults]`; the first that has a value counts. Complaints
//! name the place that the value came from, and never the value.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::Section;
use super::settings::{Flags, SecretSetting, Setting};
use super::values;
use crate::config::{Secret, SecretSource};

/// Where a value came from; smaller values take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Flag,
    Environment,
    Remote,
    Defaults,
}

/// All of them, the strongest first.
pub(super) const RANKS: [Rank; 4] = [Rank::Flag, Rank::Environment, Rank::Remote, Rank::Defaults];

/// The values of four places, and the complaints about them.
pub(super) struct Layers<'a> {
    pub(super) flags: &'a Flags,
    pub(super) environment: &'a Environment,
    pub(super) remote: Option<&'a Section>,
    pub(super) defaults: Option<&'a Section>,
    /// One line each, with the remedy; none holds a secret.
    pub(super) complaints: Vec<String>,
}

impl<'a> Layers<'a> {
    /// The value of `setting` in one place.
    pub(super) fn at(&self, rank: Rank, setting: &Setting) -> Option<&'a OsStr> {
        match rank {
            Rank::Flag => self.flags.get(setting.key).map(|value| value.as_os_str()),
            Rank::Environment => self.environment.setting(setting),
            Rank::Remote => self.remote?.value(setting.key),
            Rank::Defaults => self.defaults?.value(setting.key),
        }
    }

    /// The value of `setting` in the first place, by precedence, that has one.
    pub(super) fn find(&self, setting: &Setting) -> Option<(Rank, &'a OsStr)> {
        RANKS.into_iter().find_map(|rank| Some((rank, self.at(rank, setting)?)))
    }

    /// How to call the place of `setting` in a complaint.
    pub(super) fn label(&self, rank: Rank, setting: &Setting) -> String {
        let section = match rank {
            Rank::Flag => return setting.flag(),
            Rank::Environment => return setting.variable(),
            Rank::Remote => self.remote,
            Rank::Defaults => self.defaults,
        };
        section.map_or_else(|| setting.key.to_owned(), |section| section.label(setting.key))
    }

    pub(super) fn complain(&mut self, line: impl Into<String>) {
        self.complaints.push(line.into());
    }

    /// The value of `setting`, understood by `parse`; `None` if there is none or, with a complaint, no valid one.
    pub(super) fn value<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (rank, value) = self.find(setting)?;
        let parsed = value.to_str().ok_or_else(|| "is not valid UTF-8".to_owned()).and_then(parse);
        parsed.map_err(|why| self.complain(format!("{}: {why}", self.label(rank, setting)))).ok()
    }

    /// Whether a switch is on; off by default.
    pub(super) fn switch(&mut self, setting: &Setting) -> bool {
        self.value(setting, values::switch).unwrap_or(false)
    }

    /// The absolute path in `setting`.
    pub(super) fn path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let (rank, value) = self.find(setting)?;
        let path = values::absolute(Path::new(value));
        path.map_err(|why| self.complain(format!("{}: {why}", self.label(rank, setting)))).ok()
    }

    /// The absolute path in `setting` of a file that passes `check`.
    pub(super) fn file(&mut self, setting: &Setting, check: impl Fn(&Path) -> Result<(), String>) -> Option<PathBuf> {
        let path = self.path(setting)?;
        let rank = self.find(setting)?.0;
        match check(&path) {
            Ok(()) => Some(path),
            Err(why) => {
                self.complain(format!("{}: {}: {why}", self.label(rank, setting), path.display()));
                None
            }
        }
    }

    /// Where `secret` is to be had: from the environment, or from a file that is looked at but not read.
    pub(super) fn secret(&mut self, secret: &SecretSetting) -> Option<SecretSource> {
        let file = self.find(secret.file).map(|(rank, _)| rank);
        let Some(given) = self.environment.secret(secret).filter(|_| file != Some(Rank::Flag)) else {
            return self.file(secret.file, |path| values::private_file(path, secret)).map(SecretSource::File);
        };
        let variable = secret.variable();
        if file == Some(Rank::Environment) {
            let both = format!("{} and {variable} are both set: unset one of them", secret.file.variable());
            self.complain(both);
            return None;
        }
        let checked = given.to_str().map(Cow::Borrowed).ok_or_else(|| "is not valid UTF-8".to_owned());
        match checked.and_then(|text| values::secret_text(&text, secret)) {
            Ok(text) => Some(SecretSource::Given(text)),
            Err(why) => {
                self.complain(format!("{variable}: {why}"));
                None
            }
        }
    }

    /// `secret` itself: a file is read now.
    pub(super) fn read_secret(&mut self, secret: &SecretSetting) -> Option<Secret> {
        match self.secret(secret)? {
            SecretSource::Given(text) => Some(text),
            SecretSource::File(path) => match values::read_private_file(&path, secret) {
                Ok(text) => Some(text),
                Err(why) => {
                    let rank = self.find(secret.file)?.0;
                    self.complain(format!("{}: {}: {why}", self.label(rank, secret.file), path.display()));
                    None
                }
            },
        }
    }
}
