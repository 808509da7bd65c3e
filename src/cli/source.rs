//! What to open, as the user named it: a share's code or link, a space, or a remote of the configuration file.

use std::str::FromStr;

use super::values::{self, Endpoint};

/// The words that a source may start with. No remote may be called like one of them.
pub(super) const SCHEMES: [&str; 6] = ["share", "space", "team", "sharedfolder", "http", "https"];

/// The most bytes an id may have: share codes are 19 digits or a UUID today, the ids of spaces have up to 64 (koodrive-api 6.1).
const ID_MAX_BYTES: usize = 256;

/// The most bytes the name of a remote may have.
const NAME_MAX_BYTES: usize = 64;

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
    /// `NAME:[/PATH]`.
    Remote {
        /// Of the table `[remotes.NAME]`.
        name: String,
        /// The names below its root.
        path: Vec<String>,
    },
}

impl TypedSource {
    /// The source for a complaint: as it can be typed, but a share without its code, as complaints end up in logs.
    pub(super) fn shown(&self) -> String {
        match self {
            TypedSource::Share { .. } => "share:…".to_owned(),
            TypedSource::Space(id) => format!("space:{}", id.as_deref().unwrap_or_default()),
            TypedSource::Team(id) => format!("team:{id}"),
            TypedSource::SharedFolder(id) => format!("sharedfolder:{id}"),
            TypedSource::Remote { name, .. } => format!("{name}:"),
        }
    }

    /// How others see a mount of it, if it is a remote: its name says nothing of what is behind it.
    pub(super) fn remote_name(&self) -> Option<String> {
        match self {
            TypedSource::Remote { name, .. } => Some(format!("koofs:{name}")),
            _ => None,
        }
    }
}

impl FromStr for TypedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<TypedSource, String> {
        if text.contains("://") {
            return share_link(text);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err("write share:CODE, space:, team:ID, sharedfolder:ID, a share link \
                        (https://…/#/sharelink/i/CODE), or NAME: for a remote of the configuration file"
                .to_owned());
        };
        match scheme {
            "share" => Ok(TypedSource::Share { code: checked_id(rest, "share code")?, origin: None }),
            "space" if rest.is_empty() => Ok(TypedSource::Space(None)),
            "space" => Ok(TypedSource::Space(Some(checked_id(rest, "space id")?))),
            "team" => Ok(TypedSource::Team(checked_id(rest, "group id")?)),
            "sharedfolder" => Ok(TypedSource::SharedFolder(checked_id(rest, "shared folder id")?)),
            name => {
                check_remote_name(name)?;
                Ok(TypedSource::Remote { name: name.to_owned(), path: values::share_path(rest)? })
            }
        }
    }
}

/// A share link: its code is the last segment of its fragment (koodrive-api 5.7).
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
    if id.len() > ID_MAX_BYTES || id.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(format!("that is no {what}; for a folder inside give --root PATH"));
    }
    Ok(id.to_owned())
}

/// Whether a remote may be called `name`.
pub(super) fn check_remote_name(name: &str) -> Result<(), String> {
    if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}:` is a kind of source, in small letters, and no remote may be called so"));
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(is_name) {
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
        let remote = |name: &str, path: &[&str]| TypedSource::Remote {
            name: name.to_owned(),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (typed, want) in [
            ("space:", TypedSource::Space(None)),
            ("space:IAAE1", TypedSource::Space(text("IAAE1"))),
            ("team:42", TypedSource::Team("42".to_owned())),
            ("sharedfolder:S:1", TypedSource::SharedFolder("S:1".to_owned())),
            ("work:", remote("work", &[])),
            ("work:/", remote("work", &[])),
            ("work:/a//b/", remote("work", &["a", "b"])),
            ("my-2.büro:a", remote("my-2.büro", &["a"])),
        ] {
            assert_eq!(typed.parse(), Ok(want), "{typed}");
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
            assert_eq!(text.parse::<TypedSource>(), Ok(want), "{text}");
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
            ("share:a/b", "no share code"),
            ("https://h/cloudfile/", "no #/sharelink"),
            ("https://h/#", "missing"),
            ("https://h/#/", "missing"),
            ("https:///#/i/42", "no valid host"),
            ("https://user:pw@h/#/i/42", "user name"),
            ("ftp://h/#/i/42", "https://"),
            ("team:", "group id is missing"),
            ("sharedfolder:", "id is missing"),
            ("space:a/b", "--root"),
            ("Share:1", "kind of source"),
            ("HTTPS:1", "kind of source"),
            (":", "a remote's name"),
            ("a b:", "a remote's name"),
            ("work:/../x", "no meaning"),
        ] {
            let error = text.parse::<TypedSource>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
