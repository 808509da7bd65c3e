//! One value at a time: from the text that the user typed to the value that it means. Errors are one line, without "error".

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::settings::SecretSetting;
use crate::config::{MetricsAt, Secret, TeamKind};
use crate::policy::shell::shell_word;

/// The known services by name: the only mainland and the only international region that are documented
/// (src/koodrive/API.md, section 1). Carriers run their own.
pub(crate) const PRESETS: [(&str, &str); 2] =
    [("cn", "https://cn.myhuaweicloud-koodrive.com"), ("intl", "https://intl.myhuaweicloud-koodrive.com")];

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
pub(super) fn split_origin(url: &str) -> Result<(String, &str), String> {
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

pub(super) fn is_host_and_port(authority: &str) -> bool {
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

/// Whether requests to `endpoint`, which passed [`Endpoint`] or is a link's origin, may be sent: https always, http to this machine only.
pub(crate) fn is_safe_transport(endpoint: &str) -> bool {
    let Some(authority) = endpoint.strip_prefix("http://") else {
        return true;
    };
    let host = split_port(authority).0.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where metrics are served: `9500`, `127.0.0.1:9500`, `localhost:9500`, `[::1]:9500`, `/run/koofs.sock` or `unix:/run/koofs.sock`; on an
/// address of this machine alone unless it `may_be_remote`.
pub(crate) fn metrics_at(text: &str, may_be_remote: bool) -> Result<MetricsAt, String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') {
        return Ok(MetricsAt::Socket(PathBuf::from(path)));
    }
    let port = ["localhost:", ":", ""].into_iter().find_map(|prefix| text.strip_prefix(prefix)?.parse::<u16>().ok());
    let address = match port {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        None => {
            text.parse().map_err(|_| "write a port, an IP address and a port, or the path of a socket".to_owned())?
        }
    };
    match (address.port(), address.ip().is_loopback() || may_be_remote) {
        (0, _) => Err("the port is missing".to_owned()),
        (_, true) => Ok(MetricsAt::Tcp(address)),
        (_, false) => Err("other machines reach this address: give --allow-remote-metrics if they may ask".to_owned()),
    }
}

/// The names of a path inside the share, from the top; empty for the top itself.
pub(crate) fn share_path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> =
        text.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect();
    if names.iter().any(|name| name == "..") {
        return Err("`..` has no meaning inside a share or space".to_owned());
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

/// Yes or no.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The number of a user or group. The last one means "none" to Linux (chown(2)).
pub(crate) fn user_or_group(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(u32::MAX) | Err(_) => Err("must be a number, as id(1) prints it".to_owned()),
        Ok(id) => Ok(id),
    }
}

/// Rights of a file or a directory, in octal digits: those that a read-only mount can give.
pub(crate) fn mode(text: &str) -> Result<u16, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u16::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "must be octal digits, 0 to 777".to_owned())
}

/// How much to log: 0 to 3. More `-v` than that are no more.
pub(crate) fn verbosity(text: &str) -> Result<u8, String> {
    text.parse().map(|count: u8| count.min(3)).map_err(|_| "must be a number from 0 to 3".to_owned())
}

/// The edition of a share: whether it is the enterprise's, which takes a login.
pub(crate) fn is_enterprise(text: &str) -> Result<bool, String> {
    match text {
        "carrier" => Ok(false),
        "enterprise" => Ok(true),
        _ => Err("must be carrier or enterprise".to_owned()),
    }
}

/// What kind of team a team space belongs to.
pub(crate) fn team_kind(text: &str) -> Result<TeamKind, String> {
    match text {
        "department" => Ok(TeamKind::Department),
        "group" => Ok(TeamKind::Group),
        _ => Err("must be department or group".to_owned()),
    }
}

/// An id that goes into a header.
pub(crate) fn header_id(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be visible ASCII without blanks".to_owned());
    }
    Ok(text.to_owned())
}

/// An account's name.
pub(crate) fn account(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must be an account name or a mobile number".to_owned());
    }
    Ok(text.to_owned())
}

/// A shell command.
pub(crate) fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err("must be a shell command that prints a token".to_owned());
    }
    Ok(text.to_owned())
}

/// `path` from the root directory, as the daemon changes there; without a trailing slash, with its symbolic links and `..`.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, String> {
    if path.as_os_str().is_empty() {
        return Err("is empty; name a path".to_owned());
    }
    if let Some(whole) = unexpanded_home(path) {
        let word = shell_word(path);
        return Err(format!("{word} is no path: no shell expands `~` in quotes or behind a `=`; write {whole}"));
    }
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.components().collect())
}

/// What to write for a path with a `~` that the shell has left as it was; `None` for any other, and where there is such a file.
fn unexpanded_home(path: &Path) -> Option<String> {
    let rest = path.as_os_str().as_bytes().strip_prefix(b"~")?;
    let first = path.components().next()?;
    if std::fs::symlink_metadata(first).is_ok() {
        return None;
    }
    match rest {
        [] => Some("\"$HOME\"".to_owned()),
        [b'/', ..] => Some(format!("\"$HOME\"{}", shell_word(OsStr::from_bytes(rest)))),
        _ => Some("the whole path".to_owned()),
    }
}

/// Whether `file` can be opened for reading.
pub(crate) fn readable_file(file: &Path) -> Result<(), String> {
    let opened = File::open(file).map_err(|error| unreadable(&error))?;
    let metadata = opened.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() { Err("is a directory; name the file in it".to_owned()) } else { Ok(()) }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read ({error}); correct its path or its rights")
}

/// Whether `file` is fit to hold `secret`: others cannot read or write it, and it is neither empty nor too large. It is not
/// read: the secret is taken from it when it is needed.
pub(crate) fn private_file(file: &Path, secret: &SecretSetting) -> Result<(), String> {
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(&error))?;
    is_private(file, &metadata)?;
    // A pipe has no size yet, and opening it would wait for its writer.
    if !metadata.is_file() {
        return Ok(());
    }
    readable_file(file)?;
    if metadata.len() == 0 {
        return Err("is empty; write the secret into it".to_owned());
    }
    // A line's end is not counted.
    if metadata.len() > secret.max_bytes + 2 {
        return Err(too_long(secret));
    }
    Ok(())
}

fn is_private(file: &Path, metadata: &std::fs::Metadata) -> Result<(), String> {
    if metadata.is_dir() {
        return Err("is a directory; name the file in it".to_owned());
    }
    let rights = metadata.permissions().mode();
    for (others, verb) in [(0o044, "read"), (0o022, "write")] {
        if rights & others != 0 {
            return Err(format!("other users can {verb} it; run: chmod 600 {}", shell_word(file)));
        }
    }
    Ok(())
}

/// The secret in `file`, without its trailing newline. A file that others can read is refused.
pub(crate) fn read_private_file(file: &Path, secret: &SecretSetting) -> Result<Secret, String> {
    let opened = File::open(file).map_err(|error| unreadable(&error))?;
    is_private(file, &opened.metadata().map_err(|error| unreadable(&error))?)?;
    let mut bytes = Vec::new();
    opened.take(secret.max_bytes + 3).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| "is not text; write the secret into it as one line".to_owned())?;
    secret_text(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)), secret)
}

/// `text` as a secret.
pub(crate) fn secret_text(text: &str, secret: &SecretSetting) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("is empty; write the secret into it".to_owned());
    }
    if text.len() as u64 > secret.max_bytes {
        return Err(too_long(secret));
    }
    if text.contains(char::is_control) {
        return Err("holds more than one line, or control characters; leave only the secret".to_owned());
    }
    Ok(Secret::new(text))
}

fn too_long(secret: &SecretSetting) -> String {
    format!("is too long: more than {} bytes; is that the right one?", secret.max_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::settings::ACCESS_CODE;

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
    fn rights_are_octal_and_ids_are_numbers() {
        for (text, want) in [("644", Some(0o644)), ("0755", Some(0o755)), ("0", Some(0)), ("1777", None), ("8", None)] {
            assert_eq!(mode(text).ok(), want, "{text}");
        }
        assert!(["", "+7", "u=r", "-1", "99999999"].iter().all(|text| mode(text).is_err()));
        assert_eq!(user_or_group("65534"), Ok(65_534));
        assert!(["", "nobody", "-1", "4294967295"].iter().all(|text| user_or_group(text).is_err()));
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
    fn share_path_is_names_from_the_top() {
        for (text, want) in [("", vec![]), ("/", vec![]), ("a/b", vec!["a", "b"]), ("//a/./b c//", vec!["a", "b c"])] {
            assert_eq!(share_path(text).unwrap(), want, "{text}");
        }
        assert!(share_path("a/../b").is_err());
    }

    #[test]
    fn secret_file_must_be_private_short_and_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("code");
        let long = "x".repeat(2000);
        for (content, mode, want, is_seen_from_outside) in [
            ("a1B2c3D4\n", 0o600, Ok("a1B2c3D4"), true),
            ("a1B2c3D4\r\n", 0o400, Ok("a1B2c3D4"), true),
            (" a ", 0o600, Ok(" a "), true),
            ("a1B2c3D4", 0o640, Err("chmod 600"), true),
            ("a1B2c3D4", 0o604, Err("chmod 600"), true),
            ("a1B2c3D4", 0o620, Err("write it; run: chmod 600"), true),
            ("", 0o600, Err("empty"), true),
            ("\n", 0o600, Err("empty"), false),
            ("a\nb\n", 0o600, Err("more than one line"), false),
            (&long, 0o600, Err("too long"), true),
        ] {
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            match (read_private_file(&file, &ACCESS_CODE), want) {
                (Ok(code), Ok(want)) => assert_eq!(code.expose(), want),
                (Err(error), Err(want)) => assert!(error.contains(want) && !error.contains("a1B2"), "{error}"),
                (got, want) => panic!("{content:?} {mode:o}: {got:?}, not {want:?}"),
            }
            let checked = private_file(&file, &ACCESS_CODE);
            assert_eq!(checked.is_err(), want.is_err() && is_seen_from_outside, "{content:?} {mode:o}: {checked:?}");
            std::fs::remove_file(&file).unwrap();
        }
        for (path, want) in [(file.as_path(), "No such file"), (directory.path(), "is a directory")] {
            for error in [private_file(path, &ACCESS_CODE).err(), read_private_file(path, &ACCESS_CODE).err()] {
                assert!(error.as_ref().unwrap().contains(want), "{error:?}");
            }
        }
    }
}
