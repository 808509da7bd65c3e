//! The socket that is scraped, and its thread: one question after the other.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::MetricsAt;

/// The most that one question may take, its answer included. A scrape waits for ten seconds by default.
const MAX_QUESTION_TIME: Duration = Duration::from_secs(3);

/// How long one read or write may take: so the time of the question is looked at often enough.
const MAX_IO_TIME: Duration = Duration::from_secs(1);

/// The most bytes of a question's head: Prometheus sends some hundreds.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// After a failure to accept, such as no free file descriptors: the next try would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Rights of a socket: for who has mounted.
const SOCKET_MODE: u32 = 0o600;

/// What says how the mount is, in the text format.
type Tell = Box<dyn Fn() -> String + Send>;

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that is bound, and waits to be served.
pub struct Endpoint {
    listener: Listener,
    /// Only names of this machine are taken for it.
    is_local: bool,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Endpoint {
    /// Binds `at`. A socket that nobody listens on is replaced.
    ///
    /// # Errors
    /// As the system says: the address is in use, or not of this machine; the path is taken, or not to be written.
    pub fn bind(at: &MetricsAt) -> io::Result<Endpoint> {
        match at {
            MetricsAt::Tcp(address) => {
                let is_local = address.ip().is_loopback();
                Ok(Endpoint { listener: Listener::Tcp(TcpListener::bind(address)?), is_local })
            }
            MetricsAt::Socket(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
                Ok(Endpoint { listener: Listener::Unix(listener), is_local: false })
            }
        }
    }

    /// Answers on a thread of its own until the process ends.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, clock: Arc<dyn Clock>, tell: Box<dyn Fn() -> String + Send>) -> io::Result<()> {
        let serve = move || {
            loop {
                if let Err(error) = self.answer_one(clock.as_ref(), &tell) {
                    log::debug!("metrics: {error}");
                }
            }
        };
        std::thread::Builder::new().name("koofs-metrics".to_owned()).spawn(serve).map(|_| ())
    }

    fn answer_one(&self, clock: &dyn Clock, tell: &Tell) -> io::Result<()> {
        let accepted: io::Result<Box<dyn Stream>> = match &self.listener {
            Listener::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_read_timeout(Some(MAX_IO_TIME))?;
                stream.set_write_timeout(Some(MAX_IO_TIME))?;
                Ok(Box::new(stream) as _)
            }),
            Listener::Unix(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_read_timeout(Some(MAX_IO_TIME))?;
                stream.set_write_timeout(Some(MAX_IO_TIME))?;
                Ok(Box::new(stream) as _)
            }),
        };
        let mut stream = accepted.inspect_err(|_| clock.sleep(ACCEPT_PAUSE))?;
        let end = clock.now() + MAX_QUESTION_TIME;
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        while !ends(&head) {
            if clock.now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                len => head.extend_from_slice(&piece[..len]),
            }
            if head.len() > MAX_HEAD_BYTES {
                return Err(io::Error::other("the question is too long"));
            }
        }
        let answer = answer(&String::from_utf8_lossy(&head), self.is_local, tell);
        let mut rest = answer.as_bytes();
        while !rest.is_empty() && clock.now() < end {
            match stream.write(rest)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                len => rest = &rest[len..],
            }
        }
        Ok(())
    }
}

/// Whether the head has come to its end.
fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|window| window == b"\r\n\r\n")
}

/// Removes a socket at `path` that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    match is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        true => fs::remove_file(path),
        false => Ok(()),
    }
}

/// The whole answer to a question with this head.
fn answer(head: &str, is_local: bool, tell: &Tell) -> String {
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        // A name of somebody else's may lead here: a page in a browser would be let in by it.
        _ if is_local && !is_for_this_machine(head) => {
            ("403 Forbidden", "ask for this machine by its address\n".to_owned())
        }
        ("GET" | "HEAD", "/metrics") => ("200 OK", tell()),
        ("GET" | "HEAD", _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "see /metrics\n".to_owned()),
    };
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let (kind, len) = ("text/plain; version=0.0.4; charset=utf-8", body.len());
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{shown}")
}

/// Whether `Host` is an address or localhost, or not there.
fn is_for_this_machine(head: &str) -> bool {
    let mut hosts =
        head.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    hosts.all(|(_, host)| {
        let host = host.trim();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> String {
        let tell: Tell = Box::new(|| "figures\n".to_owned());
        answer(head, true, &tell)
    }

    #[test]
    fn only_metrics_are_answered_and_only_to_who_asks_for_this_machine() {
        for (head, want) in [
            ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9500\r\n\r\n", "200 OK"),
            ("GET /metrics?x=1 HTTP/1.1\r\nhost: localhost\r\n\r\n", "200 OK"),
            ("GET /metrics HTTP/1.1\r\nHost: [::1]:9500\r\n\r\n", "200 OK"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example:9500\r\n\r\n", "403 Forbidden"),
            ("\r\n\r\n", "405 Method Not Allowed"),
        ] {
            let got = asked(head);
            assert!(got.starts_with(&format!("HTTP/1.1 {want}\r\n")), "{head}: {got}");
            assert_eq!(got.ends_with("\r\n\r\nfigures\n"), want == "200 OK", "{head}: {got}");
        }
        let head = asked("HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: 8\r\n"), "{head}");
    }
}
