//! The limit that benchmarks compare with: a plain parallel downloader without any filesystem.
//!
//! Resolves one file's link through the same client as the mount, then reads it with ranged GETs over plain sockets, as many
//! connections as told, each taking the next part when it has one. The bytes are thrown away. A part that is refused with 503 is
//! asked for again after a pause.
//!
//! `downloader ENDPOINT AGENT SHARE_CODE PATH CONNECTIONS PART_BYTES` prints the seconds it took, without the resolving.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use koofs::clock::SystemClock;
use koofs::config::{Connection, Edition, ShareConfig, Source};
use koofs::http::HttpConfig;
use koofs::koodrive;
use koofs::remote::Node;

/// Pause of a connection that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, agent, code, path, connections, part] = &arguments[..] else {
        eprintln!("usage: downloader ENDPOINT AGENT SHARE_CODE PATH CONNECTIONS PART_BYTES");
        std::process::exit(2);
    };
    let (url, size) = resolve(endpoint, agent, code, path);
    let connections: u64 = connections.parse().unwrap();
    let started = Instant::now();
    let received = download(&url, size, connections, part.parse().unwrap());
    assert_eq!(received, size);
    println!("{:.6}", started.elapsed().as_secs_f64());
}

/// A link to the file and its length.
fn resolve(endpoint: &str, agent: &str, code: &str, path: &str) -> (String, u64) {
    let op_timeout = Duration::from_secs(30);
    let connection = Connection {
        endpoint: endpoint.to_owned(),
        allow_http: true,
        allow_private_links: true,
        ca_file: None,
        op_timeout,
    };
    let share = ShareConfig {
        connection,
        code: code.to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: agent.to_owned() },
    };
    let http = HttpConfig::of(&share.connection);
    let remote = koodrive::open(&Source::Share(share), &http, Arc::new(SystemClock)).unwrap();
    let mut dir = remote.root();
    let mut found: Option<Node> = None;
    for name in path.split('/') {
        if let Some(node) = found.take() {
            dir = node.id;
        }
        let page = remote.list_page(&dir, None, Instant::now() + op_timeout).unwrap();
        found = page.nodes.into_iter().find(|node| node.name == name);
    }
    let node = found.expect("the file is on the first page of its directory");
    let link = remote.resolve_links(&[node.id], Instant::now() + op_timeout).unwrap().remove(0).unwrap();
    (link.secret_url().to_owned(), node.version.size_bytes)
}

/// Reads `size` bytes of `url`; returns how many came.
fn download(url: &str, size: u64, connections: u64, part: u64) -> u64 {
    let next = AtomicU64::new(0);
    let received = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
                let connect = || {
                    let stream = TcpStream::connect(host).unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream
                };
                let mut stream = connect();
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    let start = next.fetch_add(part, Ordering::Relaxed);
                    if start >= size {
                        return;
                    }
                    let end = (start + part).min(size);
                    let request = format!(
                        "GET /{target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nRange: bytes={start}-{}\r\n\r\n",
                        end - 1
                    );
                    loop {
                        stream.write_all(request.as_bytes()).unwrap();
                        if let Some(len) = read_answer(&mut stream, end - start, &mut buffer) {
                            received.fetch_add(len, Ordering::Relaxed);
                            break;
                        }
                        std::thread::sleep(REFUSED_PAUSE);
                        stream = connect();
                    }
                }
            });
        }
    });
    received.into_inner()
}

/// Reads one answer of `len` bytes, which must be a 206; `None` if it is a 503, whose rest is left unread.
fn read_answer(stream: &mut TcpStream, len: u64, buffer: &mut [u8]) -> Option<u64> {
    let mut reader = BufReader::with_capacity(4096, &mut *stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    if line.starts_with("HTTP/1.1 503") {
        return None;
    }
    assert!(line.starts_with("HTTP/1.1 206"), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut left = len - reader.buffer().len() as u64;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = stream.read(&mut buffer[..want]).unwrap();
        assert!(count > 0, "the answer ended {left} bytes too soon");
        left -= count as u64;
    }
    Some(len)
}
