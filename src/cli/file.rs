//! The configuration file: where it is, who may have written it, and its tables as texts by key. What is wrong with it is a
//! complaint of the table that it stands in, so that a mount need not care about other remotes' faults.
//!
//! Reading by others is allowed: secrets are refused in it, and what `token_command` says is in the process list while it runs.
//! Writing by others is not: they could have commands run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::settings::{ALL, CONFIG, Flags, Kind, SECRETS, Setting};
use super::source;
use super::values;
use crate::policy::shell::shell_word;

/// The most bytes the file may have: thousands of remotes.
const MAX_BYTES: u64 = 1 << 20;

/// The key that only a remote has: what to open.
pub(super) const SOURCE: &str = "source";

/// The table that all remotes and all other sources fall back to.
const DEFAULTS: &str = "defaults";

/// The table of the remotes.
const REMOTES: &str = "remotes";

/// The file of the whole machine, for users who have none of their own, and for `mount.koofs` as root.
const SYSTEM_FILE: &str = "/etc/koofs/config.toml";

/// Where the file is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The flag or variable that names it: it must exist.
    pub(super) named_by: Option<String>,
}

impl Place {
    /// The file that the flag, the variable, or the convention names: the user's own, or that of the machine if only that is there,
    /// or the user has no home directory.
    pub(super) fn of(flags: &Flags, environment: &Environment) -> Result<Place, String> {
        let flag = flags.get(CONFIG.key).map(|path| (path.as_os_str(), CONFIG.flag()));
        let variable = || environment.setting(&CONFIG).map(|path| (path, CONFIG.variable()));
        if let Some((path, named_by)) = flag.or_else(variable) {
            let path = values::absolute(Path::new(path)).map_err(|why| format!("{named_by}: {why}"))?;
            return Ok(Place { path, named_by: Some(named_by) });
        }
        // XDG Base Directory Specification: a relative path is to be ignored.
        let xdg = environment.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let directory = xdg.or_else(|| Some(home(environment)?.join(".config")));
        let system = PathBuf::from(SYSTEM_FILE);
        let own = directory.map(|directory| directory.join("koofs/config.toml"));
        let own = own.filter(|own| own.exists() || !system.exists());
        Ok(Place { path: own.unwrap_or(system), named_by: None })
    }
}

pub(super) fn home(environment: &Environment) -> Option<PathBuf> {
    environment.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// One table of settings.
#[derive(Clone, Debug)]
pub(super) struct Section {
    name: String,
    values: BTreeMap<&'static str, OsString>,
    /// What is wrong with the table: one line each, with the remedy.
    pub(super) complaints: Vec<String>,
}

impl Section {
    /// The text of `key`; paths are absolute.
    pub(super) fn value(&self, key: &str) -> Option<&OsStr> {
        self.values.get(key).map(OsString::as_os_str)
    }

    /// How to call `key` in a complaint.
    pub(super) fn label(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

/// The file, read.
#[derive(Clone, Debug)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) defaults: Section,
    pub(super) remotes: BTreeMap<String, Section>,
    /// What is wrong outside the tables of settings.
    pub(super) complaints: Vec<String>,
}

impl ConfigFile {
    /// The file at `place`; `None` if nobody named it and it does not exist.
    ///
    /// # Errors
    /// One line: it cannot be read, others can write it, or it is no TOML.
    pub(super) fn read(place: &Place, environment: &Environment) -> Result<Option<ConfigFile>, String> {
        let shown = place.path.display();
        let fail = |why: String| match &place.named_by {
            Some(named_by) => format!("{named_by}: {shown}: {why}"),
            None => format!("{shown}: {why}"),
        };
        let opened = match File::open(&place.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.named_by.is_none() => return Ok(None),
            opened => {
                opened.map_err(|error| fail(format!("cannot be read ({error}); correct its path or its rights")))?
            }
        };
        let metadata = opened.metadata().map_err(|error| fail(error.to_string()))?;
        if metadata.is_dir() {
            return Err(fail("is a directory; name the file in it".to_owned()));
        }
        // /dev/null is writable by all, and a good way to say "no file".
        if !metadata.file_type().is_char_device()
            && let Some(why) = writers(&place.path, &metadata)
        {
            return Err(fail(why));
        }
        let mut bytes = Vec::new();
        opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(fail(format!("has more than {} KiB; is that the right file?", MAX_BYTES >> 10)));
        }
        let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text; save it as UTF-8".to_owned()))?;
        ConfigFile::parse(&text, &place.path, environment).map(Some)
    }

    /// The file at `path`, an absolute one, that holds `text`.
    ///
    /// # Errors
    /// One line: it is no TOML.
    pub(super) fn parse(text: &str, path: &Path, environment: &Environment) -> Result<ConfigFile, String> {
        let document = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            format!("{}: line {line}: {}; see https://toml.io", path.display(), error.message())
        })?;
        let reader = Reader { path, home: home(environment) };
        Ok(reader.file(document.get_ref()))
    }

    /// The remote called `name`.
    ///
    /// # Errors
    /// One line that names those there are.
    pub(super) fn remote(&self, name: &str) -> Result<&Section, String> {
        self.remotes.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.remotes.keys().map(String::as_str).collect();
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            format!("there is no [remotes.{name}] in {}: {known}", self.path.display())
        })
    }
}

/// Why `path` may have been written by somebody else, with the remedy.
pub(super) fn writers(path: &Path, metadata: &std::fs::Metadata) -> Option<String> {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    let me = unsafe { libc::geteuid() };
    if metadata.mode() & 0o022 != 0 {
        return Some(format!("other users can write it; run: chmod go-w {}", shell_word(path)));
    }
    if metadata.uid() != me && metadata.uid() != 0 {
        return Some(format!("belongs to another user; run: chown {me} {}", shell_word(path)));
    }
    None
}

/// From TOML to tables of texts.
struct Reader<'a> {
    path: &'a Path,
    home: Option<PathBuf>,
}

impl Reader<'_> {
    fn file(&self, document: &DeTable<'_>) -> ConfigFile {
        let mut file = ConfigFile {
            path: self.path.to_owned(),
            defaults: self.empty(DEFAULTS),
            remotes: BTreeMap::new(),
            complaints: Vec::new(),
        };
        for (key, value) in document {
            match (key.get_ref().as_ref(), value.get_ref()) {
                (DEFAULTS, DeValue::Table(table)) => file.defaults = self.section(DEFAULTS, table, false),
                (REMOTES, DeValue::Table(table)) => self.remotes(table, &mut file),
                (name @ (DEFAULTS | REMOTES), _) => {
                    file.complaints.push(format!("{}: {name}: is no table; write [{name}…]", self.path.display()));
                }
                (key, _) => {
                    let why = refused_secret(key).unwrap_or_else(|| {
                        let is_setting = ALL.iter().any(|setting| setting.key == key) || key == SOURCE;
                        let hint = if is_setting { "; write it below one of them" } else { "" };
                        format!("unknown; the file has [{DEFAULTS}] and [{REMOTES}.NAME]{hint}")
                    });
                    file.complaints.push(format!("{}: {key}: {why}", self.path.display()));
                }
            }
        }
        file
    }

    fn remotes(&self, table: &DeTable<'_>, file: &mut ConfigFile) {
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            let full = format!("{REMOTES}.{name}");
            let DeValue::Table(table) = value.get_ref() else {
                file.complaints.push(format!("{}: {full}: is no table; write [{full}]", self.path.display()));
                continue;
            };
            let mut section = self.section(&full, table, true);
            if let Err(why) = source::check_remote_name(name) {
                section.complaints.push(format!("{}: {why}", section.name));
            }
            file.remotes.insert(name.to_owned(), section);
        }
    }

    fn empty(&self, name: &str) -> Section {
        let name = format!("{}: {name}", self.path.display());
        Section { name, values: BTreeMap::new(), complaints: Vec::new() }
    }

    fn section(&self, name: &str, table: &DeTable<'_>, is_remote: bool) -> Section {
        let mut section = self.empty(name);
        for (key, value) in table {
            let key = key.get_ref().as_ref();
            let setting = ALL.iter().find(|setting| setting.key == key && setting.is_in_file());
            let text = match setting {
                Some(setting) => self.text(setting, value.get_ref()).map(|text| (setting.key, text)),
                None if key == SOURCE && is_remote => quoted(value.get_ref()).map(|text| (SOURCE, text.into())),
                None => Err(refused_secret(key).unwrap_or_else(|| unknown_setting(key, is_remote.then_some(SOURCE)))),
            };
            match text {
                Ok((key, text)) => drop(section.values.insert(key, text)),
                Err(why) => section.complaints.push(format!("{}: {why}", section.label(key))),
            }
        }
        section
    }

    fn text(&self, setting: &Setting, value: &DeValue<'_>) -> Result<OsString, String> {
        match (setting.kind, value) {
            (Kind::Path, value) => self.path(quoted(value)?),
            (Kind::Switch, DeValue::Boolean(is_on)) => Ok(is_on.to_string().into()),
            (Kind::Switch, _) => Err("write true or false, without quotes".to_owned()),
            (Kind::Number | Kind::Count, DeValue::Integer(number)) if number.radix() == 10 => {
                Ok(number.as_str().into())
            }
            (Kind::Count, _) => Err("write a number, without quotes".to_owned()),
            (Kind::Number, DeValue::String(text)) => Ok(text.as_ref().into()),
            (Kind::Number, _) => Err("write a whole number, or one with its unit in quotes".to_owned()),
            (Kind::Text, value) => quoted(value).map(OsString::from),
        }
    }

    /// `~/…` is below the home directory; a relative path starts at the file's directory.
    fn path(&self, text: &str) -> Result<OsString, String> {
        if text.is_empty() {
            return Err("is empty; name a file or remove the line".to_owned());
        }
        let below_home = if text == "~" { Some("") } else { text.strip_prefix("~/") };
        if let Some(rest) = below_home {
            let home = self.home.as_ref().ok_or("`~` needs HOME to be set; write the whole path")?;
            return Ok(home.join(rest).into());
        }
        if text.starts_with('~') {
            return Err("only your own `~/` is understood; write the whole path".to_owned());
        }
        Ok(self.path.parent().unwrap_or(Path::new("/")).join(text).into())
    }
}

fn quoted<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err("must be text: put it in quotes".to_owned()),
    }
}

/// Why a secret may not stand in the file, if `key` is one.
fn refused_secret(key: &str) -> Option<String> {
    let secret = SECRETS.into_iter().find(|secret| secret.key == key.replace('-', "_"))?;
    let (file, variable) = (secret.file.key, secret.variable());
    Some(format!(
        "no secret belongs in this file; put it in a file of its own and write {file} = \"PATH\", or set {variable}"
    ))
}

/// That `key` is no setting, nor `further`, and what it may be meant for.
pub(super) fn unknown_setting(key: &str, further: Option<&'static str>) -> String {
    let settings = ALL.iter().filter(|setting| setting.is_in_file()).map(|setting| setting.key);
    let known: Vec<&str> = settings.chain(further).collect();
    let closeness = |known: &&str| strsim::jaro(known, &key.replace('-', "_"));
    let nearest = known.iter().max_by(|a, b| closeness(a).total_cmp(&closeness(b)));
    match nearest {
        // What clap asks of its own suggestions.
        Some(nearest) if closeness(nearest) > 0.7 => format!("unknown; did you mean {nearest}?"),
        _ => format!("unknown; known are {}", known.join(", ")),
    }
}
