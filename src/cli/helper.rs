//! `mount.koofs`: the command line that mount(8) gives to the helper of a filesystem type (mount(8), "External helpers"), and
//! what stands behind `-o`: any setting of the one table, and the words that every filesystem takes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser};

use super::file::unknown_setting;
use super::settings::{ALL, Flags, Kind, NOEXEC, SECRETS, VERBOSE};

/// Mount a Huawei Cloud KooDrive share or space: the helper of mount(8) for the type koofs.
#[derive(Parser)]
#[command(name = "mount.koofs", version = super::help::VERSION, after_help = super::help::HELPER)]
pub(super) struct TypedHelper {
    /// As for `koofs mount`.
    pub(super) source: String,
    /// The directory to mount on.
    pub(super) mountpoint: PathBuf,
    /// Options, with commas between them: those of `koofs mount`, and those that every filesystem takes.
    #[arg(short, value_name = "OPTIONS", action = ArgAction::Append)]
    options: Vec<String>,
    /// Tolerate options that are not known.
    #[arg(short)]
    sloppy: bool,
    /// Fake: check everything that needs no network, and mount nothing.
    #[arg(short)]
    pub(super) fake: bool,
    /// Taken and ignored: no table of mounts is written.
    #[arg(short)]
    no_mtab: bool,
    /// Log more, up to the moment when the mount is in the background.
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,
    /// Taken and ignored: koofs, or koofs.SUBTYPE.
    #[arg(short = 't', value_name = "TYPE")]
    fstype: Option<String>,
    /// Refused: enter the mount namespace by nsenter(1).
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Words that say what holds for a mount of ours anyway, or what is the business of mount(8) and of systemd.
const WITHOUT_EFFECT: &[&str] = &[
    "_netdev",
    "async",
    "atime",
    "auto",
    "default_permissions",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "group",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "noauto",
    "nodev",
    "nodiratime",
    "nofail",
    "nogroup",
    "noiversion",
    "nolazytime",
    "nomand",
    "noowner",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "nouser",
    "nousers",
    "owner",
    "relatime",
    "silent",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "user",
    "users",
];

/// What such words begin with: notes for people, mount(8) and systemd.
const NOTES: &[&str] = &["x-", "X-", "comment=", "user=", "uhelper=", "helper="];

/// What stands behind `-o`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) flags: Flags,
    /// `rw` without a later `ro`. mount(8) itself puts `rw` before the options where there is no `ro`.
    pub(super) wants_writing: bool,
    /// The mount is there and is to be changed.
    pub(super) is_remount: bool,
}

impl TypedHelper {
    /// # Errors
    /// One line that names the first option that is not known, has no value, or would show a secret.
    pub(super) fn options(&self) -> Result<Options, String> {
        if self.namespace.is_some() {
            return Err("-N is not taken: enter the mount namespace by nsenter --mount=NAMESPACE".to_owned());
        }
        let mut options = Options::default();
        let words: Vec<String> = self.options.iter().flat_map(|text| split(text)).collect();
        // What the kernel says of a mount comes back with it, and nothing of it is to be changed.
        let is_remount = words.iter().any(|word| word == "remount");
        for word in &words {
            options.take(word, self.sloppy || is_remount)?;
        }
        if self.verbose > 0 && !options.flags.contains_key(VERBOSE.key) {
            options.flags.insert(VERBOSE.key, self.verbose.to_string().into());
        }
        Ok(options)
    }
}

impl Options {
    fn take(&mut self, word: &str, is_sloppy: bool) -> Result<(), String> {
        match word {
            "ro" => self.wants_writing = false,
            "rw" => self.wants_writing = true,
            "remount" => self.is_remount = true,
            "exec" | "noexec" => {
                self.flags.insert(NOEXEC.key, (word == "noexec").to_string().into());
            }
            word if WITHOUT_EFFECT.contains(&word) || NOTES.iter().any(|note| word.starts_with(note)) => {}
            word => return self.take_setting(word, is_sloppy),
        }
        Ok(())
    }

    fn take_setting(&mut self, word: &str, is_sloppy: bool) -> Result<(), String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let key = name.replace('-', "_");
        if let Some(secret) = SECRETS.into_iter().find(|secret| secret.key == key) {
            let (file, variable) = (secret.file.key, secret.variable());
            return Err(format!(
                "-o {name} is not taken: every user can read it; use -o {file}=FILE or {variable}, or a remote of the \
                 configuration file"
            ));
        }
        let Some(setting) = ALL.iter().find(|setting| setting.key == key) else {
            if is_sloppy {
                return Ok(());
            }
            return Err(format!("-o {name}: {}; -s tolerates what is not known", unknown_setting(&key, None)));
        };
        let value = match (setting.kind, value) {
            (_, Some(value)) => value,
            (Kind::Switch, None) => "true",
            (Kind::Count, None) => "1",
            (Kind::Text | Kind::Path | Kind::Number, None) => {
                return Err(format!("-o {name} needs a value: {name}=…"));
            }
        };
        self.flags.insert(setting.key, value.into());
        Ok(())
    }
}

/// The options of a list with commas between them. A comma between double quotes, or behind a backslash, belongs to its option
/// (mount(8), "options"; libfuse).
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => words.push(std::mem::take(&mut word)),
            '\\' if matches!(rest.peek(), Some(',' | '"' | '\\')) => word.extend(rest.next()),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Whether mount(8), or the helper of FUSE for `fuse.koofs`, has called this program: by its name, which begins with `mount.`, or
/// with a source where the name of a command stands else, which has no colon.
pub(super) fn is_meant(arguments: &[OsString]) -> bool {
    let name = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    let is_source = |word: &OsString| word.to_str().is_some_and(|word| word.contains(':') && !word.starts_with('-'));
    name.is_some_and(|name| name.starts_with("mount.")) || arguments.get(1).is_some_and(is_source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(arguments: &str) -> Result<Options, String> {
        let words = ["mount.koofs", "work:", "/mnt"].into_iter().chain(arguments.split_whitespace());
        TypedHelper::try_parse_from(words).unwrap().options()
    }

    fn flag(options: &Options, key: &str) -> Option<String> {
        options.flags.get(key).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_setting_may_stand_behind_o_with_dashes_or_underscores() {
        for setting in ALL {
            for name in [setting.key.to_owned(), setting.key.replace('_', "-")] {
                let got = options(&format!("-o {name}=3")).unwrap();
                assert_eq!(flag(&got, setting.key).as_deref(), Some("3"), "{name}");
            }
        }
        let got = options("-o allow-other,verbose -o endpoint=intl -v").unwrap();
        for (key, want) in [("allow_other", "true"), ("verbose", "1"), ("endpoint", "intl")] {
            assert_eq!(flag(&got, key).as_deref(), Some(want));
        }
        assert!(options("-o endpoint").unwrap_err().contains("endpoint=…"));
    }

    #[test]
    fn what_every_filesystem_takes_is_tolerated_and_what_none_knows_is_named() {
        let words = "rw,noexec,nosuid,nodev,x-systemd.automount,x-gvfs-name=a=b,_netdev,nofail,comment=c,user=bob,ro";
        let got = options(&format!("-n -t koofs -o {words}")).unwrap();
        assert_eq!((got.wants_writing, got.is_remount, flag(&got, "noexec").as_deref()), (false, false, Some("true")));
        assert_eq!(got.flags.len(), 1);
        assert_eq!(flag(&options("-o noexec,exec").unwrap(), "noexec").as_deref(), Some("false"));
        let line = options("-o rw,alow_other").unwrap_err();
        assert!(
            line.contains("alow_other") && line.contains("did you mean allow_other") && line.contains("-s"),
            "{line}"
        );
        assert!(options("-s -o rw,alow_other").unwrap().wants_writing);
        assert!(options("-o remount,user_id=0,group_id=0,ro").unwrap().is_remount);
        assert!(options("-N 1").unwrap_err().contains("nsenter"));
    }

    #[test]
    fn secret_behind_o_is_refused_by_a_line_without_it() {
        for secret in SECRETS {
            let line = options(&format!("-s -o {}=s3cret", secret.key.replace('_', "-"))).unwrap_err();
            assert!(line.contains(secret.file.key) && !line.contains("s3cret"), "{line}");
        }
    }

    #[test]
    fn comma_may_be_quoted_or_escaped() {
        for (text, want) in [
            ("a,b=c", &["a", "b=c"][..]),
            ("", &[]),
            (",a,,", &["a"]),
            ("a=\"b,c\",d", &["a=b,c", "d"]),
            ("a=b\\,c,d", &["a=b,c", "d"]),
            ("a=b\\\\,c\\d", &["a=b\\", "c\\d"]),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
    }

    #[test]
    fn helper_is_meant_by_its_name_or_by_a_source_in_a_commands_place() {
        for (line, want) in [
            ("/sbin/mount.koofs x", true),
            ("mount.fuse.koofs x", true),
            ("koofs mount work: /mnt", false),
            ("koofs work: /mnt -o rw,dev,suid", true),
            ("koofs --version", false),
            ("koofs", false),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_meant(&arguments), want, "{line}");
        }
    }
}
