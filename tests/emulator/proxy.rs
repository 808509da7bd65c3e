//! A proxy for tests of proxies: CONNECT, and plain requests in absolute form; it counts what passed through it.
//!
//! Owns: its listener, its names, its counters. Knows nothing of the emulator. Its own small runtime; it asks no DNS, so
//! no test leaves this machine: a host is an address, `localhost`, or a name that [`TestProxy::route`] was told.

use super::lock;
use base64::Engine as _;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The largest head of a request.
const HEAD_LIMIT: usize = 64 * 1024;
/// How many targets are remembered.
const TARGETS: usize = 1000;
/// Headers that a client must not show to a proxy when it asks for a tunnel.
const SECRETS: [&str; 6] = ["authorization", "cookie", "x-user-id", "x-date", "x-hw-agentname", "x-hw-share-folder-id"];

/// What passed through a proxy.
#[derive(Clone, Debug, Default)]
pub struct ProxyCounters {
    /// Tunnels asked for, refused ones included.
    pub connects: u64,
    /// Requests in absolute form, refused ones included.
    pub forwards: u64,
    /// Requests that were refused: no credentials, an unknown host, no such target, or no sense.
    pub refused: u64,
    /// Bytes from clients to targets, behind the head.
    pub bytes_up: u64,
    /// Bytes from targets to clients.
    pub bytes_down: u64,
    /// `host:port` of each request, the first thousand.
    pub targets: Vec<String>,
    /// Tunnels whose request carried what only the target may see.
    pub secret_leaks: u64,
}

#[derive(Debug, Default)]
struct State {
    counters: Mutex<ProxyCounters>,
    names: Mutex<HashMap<String, IpAddr>>,
    /// What `Proxy-Authorization` must be.
    credentials: Mutex<Option<String>>,
}

/// A running proxy; dropping it stops it and cuts its tunnels.
#[derive(Debug)]
pub struct TestProxy {
    state: Arc<State>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl TestProxy {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// It cannot listen or have a thread.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("test proxy")
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("the proxy cannot start: {error}"));
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap_or_else(|error| panic!("the proxy cannot listen: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("the proxy has no address: {error}"));
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        tokio::spawn(serve(client, Arc::clone(&shared)));
                    }
                    Err(error) => {
                        log::error!("proxy: accept: {error}");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        });
        Self { state, address, runtime: Some(runtime) }
    }

    /// What `HTTPS_PROXY` holds.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What `HTTPS_PROXY` holds if the proxy wants a user and a password.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.address)
    }

    /// From now on `host`, whatever its port, is at `address`.
    pub fn route(&self, host: &str, address: IpAddr) {
        lock(&self.state.names).insert(host.to_owned(), address);
    }

    /// From now on the proxy wants this user and password (Basic).
    pub fn require(&self, user: &str, password: &str) {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        *lock(&self.state.credentials) = Some(format!("Basic {text}"));
    }

    /// What passed so far; bytes are counted when a tunnel ends.
    pub fn counters(&self) -> ProxyCounters {
        lock(&self.state.counters).clone()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request's head, as far as a proxy cares.
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// What came behind the head already.
    rest: Vec<u8>,
}

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    let answer = match pass(&mut client, &state).await {
        Ok(()) => return,
        Err(answer) => answer,
    };
    lock(&state.counters).refused += 1;
    let text = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    if let Err(error) = client.write_all(text.as_bytes()).await {
        log::debug!("proxy: {error}");
    }
}

/// Serves one request; an error is the status line (and more headers) of the refusal.
async fn pass(client: &mut TcpStream, state: &State) -> Result<(), String> {
    let head = read_head(client).await.ok_or("400 Bad Request")?;
    let tunnel = head.method == "CONNECT";
    let (authority, path) = if tunnel {
        (head.target.as_str(), "")
    } else {
        let rest = head.target.strip_prefix("http://").ok_or("400 Bad Request")?;
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| "400 Bad Request")?),
        None if tunnel => return Err("400 Bad Request".to_owned()),
        None => (authority, 80),
    };
    {
        let mut counters = lock(&state.counters);
        if tunnel {
            counters.connects += 1;
            counters.secret_leaks += u64::from(SECRETS.iter().any(|name| head.header(name).is_some()));
        } else {
            counters.forwards += 1;
        }
        if counters.targets.len() < TARGETS {
            counters.targets.push(format!("{host}:{port}"));
        }
    }
    if let Some(wanted) = lock(&state.credentials).as_deref()
        && head.header("proxy-authorization") != Some(wanted)
    {
        return Err("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"".to_owned());
    }
    let known = lock(&state.names).get(host).copied();
    let address = match known {
        Some(address) => address,
        None if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => host.trim_matches(['[', ']']).parse().map_err(|_| "502 Bad Gateway")?,
    };
    let mut target = TcpStream::connect((address, port)).await.map_err(|_| "502 Bad Gateway")?;
    if tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.map_err(|_| "502 Bad Gateway")?;
    } else {
        let path = if path.is_empty() { "/" } else { path };
        let mut text = format!("{} {path} HTTP/1.1\r\n", head.method);
        for (name, value) in &head.headers {
            let hop = name.to_ascii_lowercase();
            if !hop.starts_with("proxy-") && hop != "connection" {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        // One request per connection: the next may be for another host.
        text.push_str("Connection: close\r\n\r\n");
        target.write_all(text.as_bytes()).await.map_err(|_| "502 Bad Gateway")?;
    }
    target.write_all(&head.rest).await.map_err(|_| "502 Bad Gateway")?;
    // Whoever hangs up first ends both; that is no error of ours.
    if let Ok((up, down)) = tokio::io::copy_bidirectional(client, &mut target).await {
        let mut counters = lock(&state.counters);
        counters.bytes_up += up + head.rest.len() as u64;
        counters.bytes_down += down;
    }
    Ok(())
}

async fn read_head(client: &mut TcpStream) -> Option<Head> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > HEAD_LIMIT || client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
        .collect::<Option<_>>()?;
    Some(Head { method, target, headers, rest: bytes[end + 4..].to_vec() })
}
