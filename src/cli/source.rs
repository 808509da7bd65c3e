//! What to open, as the user named it: a share's code or link, a space, or a remote of the configuration file; and a path in it.

use std::str::FromStr;

use super::values::{self, Endpoint};

/// The words that a source may start with. No remote may be called like one of them.
pub(super) const SCHEMES: [&str; 6] = ["share", "space", "team", "sharedfolder", "http", "https"];

/// The most bytes an id may have: share codes are 19 digits or a UUID today, the ids of spaces have up to 64
/// (src/koodrive/API.md, section 6.1).
const MAX_ID_BYTES: usize = 256;

/// The most bytes the name of a remote may have.
const MAX_NAME_BYTES: usize = 64;

/// A source as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TypedSource {
    /// `share:CODE`, or a share link.
    Share {
        /// The opaque short code.
        code: String,
        /// `scheme://host[:port]` of the link, if it was one.
        origin: Option<String>,
    },
    /// `space:` or `space:CONTAINER_ID`.
    Space(Option<String>),
    /// `team:GROUP_ID`.
    Team(String),
    /// `sharedfolder:ID`.
    SharedFolder(String),
    /// `NAME:`, a table `[remotes.NAME]`.
    Remote(String),
}

/// A source, and the folder or file in it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypedPath {
    pub(super) source: TypedSource,
    /// The names below the root of the source; none for the root itself.
    pub(super) names: Vec<String>,
}

impl TypedSource {
    /// The source for a complaint: as it can be typed, but a share without its code, as complaints end up in logs.
    pub(super) fn shown(&self) -> String {
        match self {
            TypedSource::Share { .. } => "share:…".to_owned(),
            TypedSource::Space(id) => format!("space:{}", id.as_deref().unwrap_or_default()),
            TypedSource::Team(id) => format!("team:{id}"),
            TypedSource::SharedFolder(id) => format!("sharedfolder:{id}"),
            TypedSource::Remote(name) => format!("{name}:"),
        }
    }

    /// How others see a mount of it, if it is a remote: the name shows nothing of the source.
    pub(super) fn remote_name(&self) -> Option<String> {
        match self {
            TypedSource::Remote(name) => Some(format!("koofs:{name}")),
            _ => None,
        }
    }
}

/// `KIND:[ID][/PATH]`, `NAME:[PATH]` or a share link, which has no path. An id holds no `/`, so the first one begins the path.
impl FromStr for TypedPath {
    type Err = String;

    fn from_str(text: &str) -> Result<TypedPath, String> {
        if text.contains("://") {
            return Ok(TypedPath { source: share_link(text)?, names: Vec::new() });
        }
        if let Some(host) = host_of_bare_link(text) {
            return Err(format!("a share link begins with https://, which is missing before {host}"));
        }
        let Some((kind, rest)) = text.split_once(':') else {
            return Err("write share:CODE, space:, team:ID, sharedfolder:ID, a share link \
                        (https://…/#/sharelink/i/CODE), or NAME: for a remote of the configuration file"
                .to_owned());
        };
        let (id, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (source, path) = match kind {
            "share" => (TypedSource::Share { code: checked_id(id, "share code")?, origin: None }, path),
            "space" if id.is_empty() => (TypedSource::Space(None), path),
            "space" => (TypedSource::Space(Some(checked_id(id, "space id")?)), path),
            "team" => (TypedSource::Team(checked_id(id, "group id")?), path),
            "sharedfolder" => (TypedSource::SharedFolder(checked_id(id, "shared folder id")?), path),
            name => {
                check_remote_name(name)?;
                (TypedSource::Remote(name.to_owned()), rest)
            }
        };
        Ok(TypedPath { source, names: values::share_path(path)? })
    }
}

/// The host of `text`, if that looks like a share link whose `https://` was left out.
fn host_of_bare_link(text: &str) -> Option<&str> {
    let host = text.split(['/', '?', '#']).next()?;
    let is_host = host.contains(['.', ':']) && values::is_host_and_port(host);
    (is_host && text.contains("#/")).then_some(host)
}

/// A share link: its code is the last segment of its fragment (src/koodrive/API.md, section 5.7).
fn share_link(text: &str) -> Result<TypedSource, String> {
    let (origin, rest) = values::split_origin(text)?;
    let Some((_, fragment)) = rest.split_once('#') else {
        return Err("the link has no #/sharelink/… part: quote the whole link for the shell".to_owned());
    };
    let path = fragment.split('?').next().unwrap_or_default();
    let code = path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    Ok(TypedSource::Share { code: checked_id(code, "share code")?, origin: Some(origin) })
}

fn checked_id(id: &str, what: &str) -> Result<String, String> {
    if id.is_empty() {
        return Err(format!("the {what} is missing"));
    }
    if id.len() > MAX_ID_BYTES || id.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(format!("that is no {what}: it has blanks, or is too long"));
    }
    Ok(id.to_owned())
}

/// Whether a remote may be called `name`.
pub(super) fn check_remote_name(name: &str) -> Result<(), String> {
    if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}:` is a kind of source, in small letters, and no remote may be called so"));
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_name) {
        return Err("a remote's name has letters, digits, `-`, `_` and `.`, 64 at most".to_owned());
    }
    Ok(())
}

/// The service that `source` itself names.
pub(super) fn origin(source: &TypedSource) -> Option<Endpoint> {
    match source {
        TypedSource::Share { origin, .. } => origin.clone().map(Endpoint),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn spaces_and_remotes_are_told_by_their_first_word() {
        let text = |text: &str| Some(text.to_owned());
        let remote = |name: &str| TypedSource::Remote(name.to_owned());
        let share = TypedSource::Share { code: "180001".to_owned(), origin: None };
        let team = TypedSource::Team("42".to_owned());
        for (typed, source, names) in [
            ("space:", TypedSource::Space(None), ""),
            ("space:/", TypedSource::Space(None), ""),
            ("space:/Reports/2025", TypedSource::Space(None), "Reports|2025"),
            ("space:IAAE1", TypedSource::Space(text("IAAE1")), ""),
            ("space:IAAE1//a b/", TypedSource::Space(text("IAAE1")), "a b"),
            ("share:180001/Reports", share, "Reports"),
            ("team:42", team.clone(), ""),
            ("team:42/a:b", team, "a:b"),
            ("sharedfolder:S:1", TypedSource::SharedFolder("S:1".to_owned()), ""),
            ("sharedfolder:S:1/x", TypedSource::SharedFolder("S:1".to_owned()), "x"),
            ("work:", remote("work"), ""),
            ("work:/", remote("work"), ""),
            ("work:/a//b/", remote("work"), "a|b"),
            ("work:/#/a", remote("work"), "#|a"),
            ("my-2.büro:a", remote("my-2.büro"), "a"),
        ] {
            let TypedPath { source: got, names: below } = typed.parse().unwrap();
            assert_eq!((got, below.join("|").as_str()), (source, names), "{typed}");
        }
    }

    #[test]
    fn share_names_a_code_and_perhaps_an_origin() {
        let uuid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        for (text, code, origin) in [
            ("share:1800000000000000001", "1800000000000000001", None),
            ("share:007", "007", None),
            ("https://h.example/cloudfile/#/sharelink/i/42", "42", Some("https://h.example")),
            ("https://H.Example:8443/cloudfile/#/sharelink/i/AbC/", "AbC", Some("https://h.example:8443")),
            ("https://h/cloudfile/?lang=en#/sharelink/i/42?from=a/b", "42", Some("https://h")),
            ("http://127.0.0.1:80/#/sharelink/i//42//", "42", Some("http://127.0.0.1:80")),
            ("https://[::1]:8/#/i/42", "42", Some("https://[::1]:8")),
            (&format!("https://h/cloudfile/#/sharelink/i/{uuid}"), uuid, Some("https://h")),
        ] {
            let want = TypedSource::Share { code: code.to_owned(), origin: origin.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(TypedPath { source: want, names: Vec::new() }), "{text}");
        }
    }

    #[test]
    fn source_that_names_no_share_is_refused() {
        for (text, why) in [
            ("", "write share:CODE"),
            ("42", "write share:CODE"),
            ("/some/folder", "write share:CODE"),
            ("share:", "missing"),
            ("share:a b", "no share code"),
            ("share:/b", "missing"),
            ("team:/b", "missing"),
            ("share:a/../b", "no meaning"),
            ("drive.example/cloudfile/#/sharelink/i/42", "https://, which is missing before drive.example"),
            ("127.0.0.1:8080/cloudfile/#/sharelink/i/42", "https://, which is missing before 127.0.0.1:8080"),
            ("https://h/cloudfile/", "no #/sharelink"),
            ("https://h/#", "missing"),
            ("https://h/#/", "missing"),
            ("https:///#/i/42", "no valid host"),
            ("https://user:pw@h/#/i/42", "user name"),
            ("ftp://h/#/i/42", "https://"),
            ("team:", "group id is missing"),
            ("sharedfolder:", "id is missing"),
            ("Share:1", "kind of source"),
            ("HTTPS:1", "kind of source"),
            (":", "a remote's name"),
            ("a b:", "a remote's name"),
            ("work:/../x", "no meaning"),
        ] {
            let error = text.parse::<TypedPath>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
