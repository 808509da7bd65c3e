//! One value at a time: from the text that the user typed to the value that it means. Errors are one line, without "error".

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{self, Secret};

/// The known services by name: the only mainland and the only international region that are documented (koodrive-api
/// section 1). Carriers run their own.
pub(crate) const PRESETS: [(&str, &str); 2] =
    [("cn", "https://cn.myhuaweicloud-koodrive.com"), ("intl", "https://intl.myhuaweicloud-koodrive.com")];

/// The most bytes a share code may have. They are 19 digits or a UUID today.
const CODE_MAX_BYTES: usize = 256;

/// The most bytes an access code may have. They are 8 characters today.
const ACCESS_CODE_MAX_BYTES: u64 = 1024;

/// A share as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedSource {
    /// The opaque short code.
    pub(crate) code: String,
    /// `scheme://host[:port]` of the link, if it was one.
    pub(crate) origin: Option<String>,
}

/// `share:CODE`, or a share link: its code is the last segment of its fragment (koodrive-api 5.7).
impl FromStr for TypedSource {
    type Err = String;

    fn from_str(text: &str) -> Result<TypedSource, String> {
        if let Some(code) = text.strip_prefix("share:") {
            return Ok(TypedSource { code: checked_code(code)?, origin: None });
        }
        if !text.contains("://") {
            return Err("write share:CODE, or the whole share link (https://…/#/sharelink/i/CODE)".to_owned());
        }
        let (origin, rest) = split_origin(text)?;
        let Some((_, fragment)) = rest.split_once('#') else {
            return Err("the link has no #/sharelink/… part: quote the whole link for the shell".to_owned());
        };
        let path = fragment.split('?').next().unwrap_or_default();
        let code = path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
        Ok(TypedSource { code: checked_code(code)?, origin: Some(origin) })
    }
}

fn checked_code(code: &str) -> Result<String, String> {
    if code.is_empty() {
        return Err("the share code is missing".to_owned());
    }
    if code.len() > CODE_MAX_BYTES || code.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err("that is no share code".to_owned());
    }
    Ok(code.to_owned())
}

/// The address of a KooDrive service: a preset's name or `http[s]://host[:port]`, lower case, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        if let Some((_, url)) = PRESETS.iter().find(|(name, _)| *name == text) {
            return Ok(Endpoint((*url).to_owned()));
        }
        let (origin, rest) = split_origin(text).map_err(|why| format!("{why}; or use a preset: {}", presets()))?;
        if !matches!(rest, "" | "/") {
            return Err("an endpoint is https://HOST[:PORT], without a path".to_owned());
        }
        Ok(Endpoint(origin))
    }
}

/// ``cn (https://…), intl (https://…)``.
pub(crate) fn presets() -> String {
    PRESETS.map(|(name, url)| format!("{name} ({url})")).join(", ")
}

/// `scheme://host[:port]` in lower case, and what follows it.
fn split_origin(url: &str) -> Result<(String, &str), String> {
    let (scheme, rest) = url.split_once("://").ok_or("an address starts with https://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return Err("an address starts with https://".to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return Err("an address must not hold a user name or password".to_owned());
    }
    if !is_host_and_port(authority) {
        return Err("the address has no valid host".to_owned());
    }
    Ok((format!("{scheme}://{}", authority.to_ascii_lowercase()), rest))
}

fn is_host_and_port(authority: &str) -> bool {
    let (host, port) = split_port(authority);
    let host_is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_')
        }
    };
    host_is_valid && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// `host` and `port` of `host[:port]`; the colons inside `[…]` belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether requests to `endpoint`, which passed [`Endpoint`] or [`TypedSource`], may be sent: https always, http to this machine only.
pub(crate) fn is_safe_transport(endpoint: &str) -> bool {
    let Some(authority) = endpoint.strip_prefix("http://") else {
        return true;
    };
    let host = split_port(authority).0.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Bytes of `64M`, `1G`, `512KiB` or `1048576`: powers of 1024, within the bounds of [`config`].
pub(crate) fn memory_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("write bytes, or a number with K, M, G or T".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write bytes, or a number with K, M, G or T".to_owned())?;
    let bytes = number.saturating_mul(1 << shift);
    if !(config::MIN_MEMORY_BYTES..=config::MAX_MEMORY_BYTES).contains(&bytes) {
        let (min, max) = (config::MIN_MEMORY_BYTES >> 20, config::MAX_MEMORY_BYTES >> 40);
        return Err(format!("must be between {min}M and {max}T"));
    }
    Ok(bytes)
}

/// Whole seconds within the bounds of `--ttl`.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    seconds(text, config::MIN_TTL, config::MAX_TTL)
}

/// Whole seconds within the bounds of `--op-timeout`.
pub(crate) fn op_timeout(text: &str) -> Result<Duration, String> {
    seconds(text, config::MIN_OP_TIMEOUT, config::MAX_OP_TIMEOUT)
}

fn seconds(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let out_of_bounds = || format!("must be {} to {} seconds", min.as_secs(), max.as_secs());
    let duration = Duration::from_secs(text.parse().map_err(|_| out_of_bounds())?);
    if (min..=max).contains(&duration) { Ok(duration) } else { Err(out_of_bounds()) }
}

/// The names of a path inside the share, from the top; empty for the top itself.
pub(crate) fn share_path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> =
        text.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect();
    if names.iter().any(|name| name == "..") {
        return Err("`..` has no meaning inside a share".to_owned());
    }
    Ok(names)
}

/// The carrier's name; goes into a header, so it is visible ASCII.
pub(crate) fn agent(text: &str) -> Result<String, String> {
    if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || text.trim() != text {
        return Err("a carrier's name is visible ASCII".to_owned());
    }
    Ok(text.to_owned())
}

/// The access code in `file`, without its trailing newline. A file that others can read is refused: the code is a password.
pub(crate) fn access_code_file(file: &Path) -> Result<Secret, String> {
    let fail = |what: &str| format!("access code file {}: {what}", file.display());
    let opened = File::open(file).map_err(|error| fail(&error.to_string()))?;
    let metadata = opened.metadata().map_err(|error| fail(&error.to_string()))?;
    if metadata.is_dir() {
        return Err(fail("is a directory"));
    }
    if metadata.permissions().mode() & 0o044 != 0 {
        return Err(fail(&format!("other users can read it; run: chmod 600 {}", file.display())));
    }
    let mut bytes = Vec::new();
    opened.take(ACCESS_CODE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(&error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("is not text"))?;
    access_code(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)))
        .map_err(|why| fail(&why))
}

/// `text` as an access code.
pub(crate) fn access_code(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() as u64 > ACCESS_CODE_MAX_BYTES {
        return Err("is too long for an access code".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("holds more than one line, or control characters".to_owned());
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn source_names_a_code_and_perhaps_an_origin() {
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
            let want = TypedSource { code: code.to_owned(), origin: origin.map(str::to_owned) };
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
        ] {
            let error = text.parse::<TypedSource>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn endpoint_is_a_preset_or_an_origin() {
        for (text, want) in [
            ("cn", "https://cn.myhuaweicloud-koodrive.com"),
            ("intl", "https://intl.myhuaweicloud-koodrive.com"),
            ("https://Drive.Carrier.example", "https://drive.carrier.example"),
            ("https://h:8443/", "https://h:8443"),
            ("http://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse(), Ok(Endpoint(want.to_owned())), "{text}");
        }
        for text in [
            "us",
            "",
            "h",
            "https://",
            "https://h/path",
            "https://h?x",
            "https://h:0",
            "https://h:99999",
            "https://h:",
            "ftp://h",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn http_is_safe_on_this_machine_only() {
        for (endpoint, safe) in [
            ("https://h", true),
            ("http://localhost:80", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:8", true),
            ("http://h", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://192.168.0.1", false),
            ("http://[::2]", false),
        ] {
            assert_eq!(is_safe_transport(endpoint), safe, "{endpoint}");
        }
    }

    #[test]
    fn memory_size_understands_units_and_keeps_its_bounds() {
        for (text, want) in
            [("64M", 64 << 20), ("1G", 1 << 30), ("1gib", 1 << 30), ("16777216", 16 << 20), ("32768K", 32 << 20)]
        {
            assert_eq!(memory_size(text), Ok(want), "{text}");
        }
        for text in ["", "M", "15M", "2T", "-1", "1.5G", "64 M", "64X", "99999999999999999999", "18446744073709551615T"]
        {
            assert!(memory_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_keep_their_bounds() {
        assert_eq!(ttl("300"), Ok(Duration::from_secs(300)));
        for text in ["0", "-1", "1.5", "604801", "x", ""] {
            assert!(ttl(text).is_err(), "{text}");
        }
        assert!(op_timeout("0").is_err());
        assert!(op_timeout("3601").is_err());
    }

    #[test]
    fn share_path_is_names_from_the_top() {
        for (text, want) in [("", vec![]), ("/", vec![]), ("a/b", vec!["a", "b"]), ("//a/./b c//", vec!["a", "b c"])] {
            assert_eq!(share_path(text).unwrap(), want, "{text}");
        }
        assert!(share_path("a/../b").is_err());
    }

    #[test]
    fn access_code_file_must_be_private_short_and_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("code");
        for (content, mode, want) in [
            ("a1B2c3D4\n", 0o600, Ok("a1B2c3D4")),
            ("a1B2c3D4\r\n", 0o400, Ok("a1B2c3D4")),
            (" a ", 0o600, Ok(" a ")),
            ("a1B2c3D4", 0o640, Err("chmod 600")),
            ("a1B2c3D4", 0o604, Err("chmod 600")),
            ("", 0o600, Err("empty")),
            ("\n", 0o600, Err("empty")),
            ("a\nb\n", 0o600, Err("more than one line")),
            (&"x".repeat(2000), 0o600, Err("too long")),
        ] {
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            match (access_code_file(&file), want) {
                (Ok(code), Ok(want)) => assert_eq!(code.expose(), want),
                (Err(error), Err(want)) => assert!(error.contains(want) && !error.contains("a1B2"), "{error}"),
                (got, want) => panic!("{content:?} {mode:o}: {got:?}, not {want:?}"),
            }
            std::fs::remove_file(&file).unwrap();
        }
        assert!(access_code_file(&file).unwrap_err().contains("No such file"));
        assert!(access_code_file(directory.path()).unwrap_err().contains("is a directory"));
    }
}
