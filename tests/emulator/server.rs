//! The two listeners: connections, what happens to them, and who answers what.
//!
//! Owns: the accept loops, connection-level faults (RST, silence, limits), dispatch, the clock on the wire. Business
//! rules are `share_api.rs`'s, the store's are `objects.rs`'s. Everything here is async; nothing blocks a worker.

use super::auth::Sessions;
use super::body::Body;
use super::counters::{GaugeGuard, LiveCounters};
use super::faults::{Call, Fault, FaultKind, Faults};
use super::given_out::GivenOut;
use super::knobs::{Knobs, WalkFile};
use super::listing::Listings;
use super::pace::{Line, Pacer};
use super::sign::Keys;
use super::spaces::Spaces;
use super::tree::{LONE_SURROGATE, Object, Tree};
use super::{api as calls, control, dav, gzip, lock, objects, share_api};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, LOCATION, RETRY_AFTER, SERVER,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The largest request body anybody may send.
const REQUEST_LIMIT: usize = 1 << 20;

/// Which of the two listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The KooDrive API, and `/emulator` for control.
    Api,
    /// The object store.
    Objects,
    /// The object store without TLS, where the others have it: what no client may ever follow a redirect to.
    PlainObjects,
}

/// How the listeners are reached.
#[derive(Debug)]
pub struct Hosts {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `host:port` of the API.
    pub api: String,
    /// `host:port` of the object store.
    pub objects: String,
    /// `host:port` of the object store without TLS.
    pub plain_objects: String,
}

/// Everything the answering code shares.
#[derive(Debug)]
pub struct Shared {
    /// What is served.
    pub tree: Tree,
    /// What goes wrong.
    pub faults: Faults,
    /// What happened.
    pub counters: Arc<LiveCounters>,
    /// Signing keys of links.
    pub keys: Keys,
    /// What clients were told that nobody else may see.
    pub given_out: GivenOut,
    /// State of the share: tokens, attempts.
    pub share: share_api::Share,
    /// What is behind the login.
    pub spaces: Spaces,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Listings under way.
    pub listings: Listings,
    /// What the WebDAV view knows.
    pub dav: dav::Paths,
    /// `host:port` of the API.
    pub api_host: String,
    /// `host:port` of the object store, as signed into links.
    pub object_host: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Scheme and host of the object store.
    pub object_origin: String,
    /// `host:port` of the object store without TLS; [`Self::object_host`] if there is no TLS at all.
    pub plain_object_host: String,
    /// When the emulator started, on its own clock's zero offset.
    pub started: Timestamp,
    /// The line all object bodies share.
    pub line: Arc<Pacer>,
    knobs: RwLock<Arc<Knobs>>,
    allowance: Mutex<Option<(Instant, f64)>>,
    requests: AtomicU64,
    object_connections: AtomicU64,
    turned: watch::Sender<()>,
}

impl Shared {
    /// State for one emulator.
    pub fn new(tree: Tree, spaces: Spaces, knobs: Knobs, share: share_api::Share, hosts: Hosts) -> Self {
        let Hosts { scheme, api: api_host, objects: object_host, plain_objects: plain_object_host } = hosts;
        Self {
            tree,
            spaces,
            faults: Faults::default(),
            counters: Arc::default(),
            keys: Keys::default(),
            given_out: GivenOut::default(),
            share,
            sessions: Sessions::default(),
            listings: Listings::default(),
            dav: dav::Paths::default(),
            api_host,
            scheme,
            object_origin: format!("{scheme}://{object_host}"),
            plain_object_host,
            object_host,
            started: Timestamp::now(),
            line: Arc::default(),
            knobs: RwLock::new(Arc::new(knobs)),
            allowance: Mutex::new(None),
            requests: AtomicU64::new(0),
            object_connections: AtomicU64::new(0),
            turned: watch::Sender::new(()),
        }
    }

    /// The object with this key, of the share or of any space.
    pub fn object(&self, key: &str) -> Option<Arc<Object>> {
        let spaces = self.spaces.all.iter().map(|space| &space.tree).filter(|tree| tree.owns_key(key));
        // The share's keys have no prefix: it is asked last, and only for what no space has.
        spaces.chain([&self.tree]).find_map(|tree| tree.object(key))
    }

    /// The knobs as they are now.
    pub fn knobs(&self) -> Arc<Knobs> {
        Arc::clone(&self.knobs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the knobs for all requests that begin from now on.
    ///
    /// # Errors
    /// The new values cannot work; nothing was changed.
    pub fn turn(&self, change: impl FnOnce(&Knobs) -> Result<Knobs, String>) -> Result<(), String> {
        let mut knobs = self.knobs.write().unwrap_or_else(PoisonError::into_inner);
        let new = change(&knobs)?;
        new.check()?;
        *knobs = Arc::new(new);
        drop(knobs);
        self.turned.send_replace(());
        Ok(())
    }

    /// Waits while calls of this endpoint are held.
    pub async fn held(&self, endpoint: &str) {
        let mut turned = self.turned.subscribe();
        while self.knobs().hold.iter().any(|name| name == endpoint) {
            // The sender lives as long as this; an error would only mean that nobody can release us any more.
            if turned.changed().await.is_err() {
                return;
            }
        }
    }

    /// A number no other request has.
    pub fn request_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the gateway has an API call to spare, at `rate` calls per second (0: always) with one second's burst.
    fn allow(&self, rate: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let mut allowance = lock(&self.allowance);
        let now = Instant::now();
        let (then, left) = allowance.unwrap_or((now, f64::from(rate)));
        let left = (left + now.duration_since(then).as_secs_f64() * f64::from(rate)).min(f64::from(rate));
        let allowed = left >= 1.0;
        *allowance = Some((now, if allowed { left - 1.0 } else { left }));
        allowed
    }
}

/// The service's time: ours, off by the knob.
pub fn now(knobs: &Knobs) -> Timestamp {
    Timestamp::now().saturating_add(SignedDuration::from_secs(knobs.clock_offset_seconds)).unwrap_or(Timestamp::MAX)
}

/// RFC 9110 date.
pub fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// One connection, as those who answer on it see it.
#[derive(Debug)]
pub struct Conn {
    /// Set: the socket is reset, not closed, when it is dropped.
    pub reset: AtomicBool,
    /// Bytes the socket took so far.
    pub written: AtomicU64,
    /// The line of this connection.
    pub line: Line,
    served: AtomicU32,
}

impl Conn {
    /// The connection with this number.
    pub fn new(number: u64) -> Self {
        Self {
            reset: AtomicBool::new(false),
            written: AtomicU64::new(0),
            line: Line::new(number),
            served: AtomicU32::new(0),
        }
    }
}

/// The connection ends without an answer.
#[derive(Debug)]
pub struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("fault: the connection ends without an answer")
    }
}

impl std::error::Error for Abort {}

/// A socket that counts what it took and may be dropped with a reset.
struct Io {
    stream: TcpStream,
    conn: Arc<Conn>,
    _open: GaugeGuard,
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.conn.reset.load(Ordering::SeqCst) {
            // Without it the client merely sees an orderly end; nothing else to be done about it.
            if let Err(error) = self.stream.set_zero_linger() {
                log::warn!("a connection cannot be reset: {error}");
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Io {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(len)) = &written {
            self.conn.written.fetch_add(*len as u64, Ordering::SeqCst);
        }
        written
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts for ever, with TLS if there is an acceptor.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>, role: Role, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&shared), role, tls.clone()));
            }
            Err(error) => {
                // Mostly "too many open files": wait for some to be closed.
                log::error!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, shared: Arc<Shared>, role: Role, tls: Option<TlsAcceptor>) {
    let open = shared.counters.connections.enter();
    shared.counters.update(|all| match role {
        Role::Api => all.api_connections += 1,
        Role::Objects | Role::PlainObjects => all.object_connections += 1,
    });
    let number = match role {
        Role::Api => 0,
        Role::Objects | Role::PlainObjects => shared.object_connections.fetch_add(1, Ordering::Relaxed),
    };
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("TCP_NODELAY: {error}");
    }
    let knobs = shared.knobs();
    if !knobs.connect_latency.is_zero() {
        tokio::time::sleep(knobs.connect_latency).await;
    }
    let conn = Arc::new(Conn::new(number));
    let io = Io { stream, conn: Arc::clone(&conn), _open: open };
    let Some(tls) = tls else {
        return http(io, shared, conn, role, &knobs).await;
    };
    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(io)).await {
        Ok(Ok(stream)) => http(stream, shared, conn, role, &knobs).await,
        Ok(Err(error)) => {
            log::info!("TLS: {error}");
            shared.counters.update(|all| all.tls_failures += 1);
        }
        Err(_) => shared.counters.update(|all| all.tls_failures += 1),
    }
}

/// Serves HTTP on one connection to its end.
async fn http<S>(stream: S, shared: Arc<Shared>, conn: Arc<Conn>, role: Role, knobs: &Knobs)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(Arc::clone(&shared), Arc::clone(&conn), role, request));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.auto_date_header(false);
    if !knobs.idle_timeout.is_zero() {
        builder.timer(TokioTimer::new()).header_read_timeout(knobs.idle_timeout);
    }
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        log::debug!("connection: {error}");
    }
}

/// Counts a call when it ends, whichever way.
struct Counted {
    counters: Arc<LiveCounters>,
    endpoint: &'static str,
    status: u16,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.call(self.endpoint, self.status);
    }
}

/// Answers one request.
async fn answer(
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    role: Role,
    request: Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let knobs = shared.knobs();
    let is_control = role == Role::Api && control::is_control(request.uri().path());
    let mut response = if is_control {
        control(&shared, request).await
    } else {
        let endpoint = match role {
            Role::Api => calls::route(request.uri().path()).map_or("unknown", |route| route.endpoint.name),
            Role::Objects if dav::is_dav(request.uri().path()) => dav::endpoint(request.method().as_str()),
            Role::Objects | Role::PlainObjects => "object",
        };
        let mut counted = Counted { counters: Arc::clone(&shared.counters), endpoint, status: 0 };
        let response = match role {
            Role::Api => api(&shared, &conn, &knobs, request).await?,
            Role::Objects if dav::is_dav(request.uri().path()) => dav::answer(&shared, &conn, &knobs, request).await,
            Role::Objects => objects::answer(&shared, &conn, &knobs, request).await?,
            Role::PlainObjects => {
                shared.counters.update(|all| all.plain_requests += 1);
                shared.counters.complain("object: a request without TLS".to_owned());
                objects::answer(&shared, &conn, &knobs, request).await?
            }
        };
        counted.status = response.status().as_u16();
        response
    };
    let headers = response.headers_mut();
    if let Ok(date) = HeaderValue::from_str(&http_date(now(&knobs))) {
        headers.insert(DATE, date);
    }
    headers.entry(SERVER).or_insert(HeaderValue::from_static(match role {
        Role::Api => "api-gateway",
        Role::Objects | Role::PlainObjects => "OBS",
    }));
    let served = conn.served.fetch_add(1, Ordering::SeqCst) + 1;
    if knobs.requests_per_connection > 0 && served >= knobs.requests_per_connection {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Time before an answer: the latency, and some of the jitter.
pub async fn delay(latency: Duration, jitter: Duration) {
    let wait = latency + jitter.mul_f64(fastrand::f64());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// The request's body, if it is not too large.
pub async fn read_body(request: Request<Incoming>) -> Option<Bytes> {
    Limited::new(request.into_body(), REQUEST_LIMIT).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

/// Answers an API call: delays, limits, faults, then the rules.
async fn api(
    shared: &Arc<Shared>,
    conn: &Conn,
    knobs: &Arc<Knobs>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let guard = shared.counters.api.enter();
    let Some(route) = calls::route(request.uri().path()) else {
        shared.counters.complain(format!("there is no API {} {}", request.method(), request.uri().path()));
        let body = gateway(shared, "APIGW.0101", "The API does not exist or has not been published in the environment");
        return Ok(json_response(404, body).map(|body| body.guarded(guard)));
    };
    let endpoint = route.endpoint;
    let _in_flight = match endpoint.name {
        "login" => Some(shared.counters.logins.enter()),
        "refreshToken" => Some(shared.counters.refreshes.enter()),
        _ => None,
    };
    delay(knobs.api_latency, knobs.jitter).await;
    shared.held(endpoint.name).await;
    let crowded = knobs.api_parallel_limit > 0 && shared.counters.api.current() > u64::from(knobs.api_parallel_limit);
    if crowded || !shared.allow(knobs.api_rate_limit) {
        return Ok(throttled(shared, Some(Duration::from_secs(1))).map(|body| body.guarded(guard)));
    }
    if endpoint.name == "walkFile" && knobs.walk_file == WalkFile::Missing {
        shared.counters.update(|all| *all.not_offered.entry("walkFile".to_owned()).or_default() += 1);
        let body = gateway(shared, "APIGW.0101", "The API does not exist or has not been published in the environment");
        return Ok(json_response(404, body).map(|body| body.guarded(guard)));
    }
    let fault = shared.faults.fire(Call::Api(endpoint.name));
    if let Some(fault) = &fault {
        shared.counters.update(|all| *all.faults.entry(fault.kind.name().to_owned()).or_default() += 1);
        log::info!("fault {fault} on {}", endpoint.name);
        if let Some(response) = api_fault(shared, conn, fault).await? {
            return Ok(response.map(|body| body.guarded(guard)));
        }
    }
    let (parts, body) = request.into_parts();
    let Some(body) = read_body(Request::from_parts(parts.clone(), body)).await else {
        shared.counters.complain(format!("{}: the request body is too large or broken", endpoint.name));
        return Ok(json_response(413, gateway(shared, "APIGW.0201", "Request entity too large")));
    };
    let kind = fault.map(|fault| fault.kind);
    let compresses = knobs.gzip && gzip::allowed(&parts.headers);
    let task_shared = Arc::clone(shared);
    let task_knobs = Arc::clone(knobs);
    // Listings read directories: not on a worker thread.
    let answer =
        tokio::task::spawn_blocking(move || calls::answer(&task_shared, &task_knobs, &route, &parts, &body, kind))
            .await
            .map_err(|error| {
                log::error!("{}: {error}", endpoint.name);
                Abort
            })?;
    let mut text = answer.body.to_string().replace(LONE_SURROGATE, "\\ud800");
    let mut content_type = "application/json;charset=UTF-8";
    match kind {
        Some(FaultKind::TruncatedJson) => {
            let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(half);
        }
        Some(FaultKind::Garbage) => text = format!("\u{1F4A5}this is not JSON: {text}"),
        Some(FaultKind::Html) => {
            content_type = "text/html;charset=UTF-8";
            text = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\" method=\"post\">\
                    <input name=\"user\"><input name=\"password\" type=\"password\"></form></body></html>\n"
                .to_owned();
        }
        _ => {}
    }
    let mut response = text_response(answer.status, content_type, text.clone());
    if compresses {
        response = gzip::compress(response, text.as_bytes(), kind).map_err(|error| {
            log::error!("{}: {error}", endpoint.name);
            Abort
        })?;
    }
    shared.counters.update(|all| {
        all.api_bytes_sent += response.body().size_hint().lower();
        all.api_compressed += u64::from(response.headers().contains_key(CONTENT_ENCODING));
    });
    Ok(response.map(|body| body.guarded(guard)))
}

/// What an API fault answers; `None` if it only changes the regular answer.
async fn api_fault(shared: &Shared, conn: &Conn, fault: &Fault) -> Result<Option<Response<Body>>, Abort> {
    Ok(Some(match fault.kind {
        FaultKind::Throttle => throttled(shared, fault.retry_after),
        FaultKind::Internal => json_response(500, json!({"code": 13_000_201, "msg": "INNER_INVOKE_FAILURE"})),
        FaultKind::Unavailable => with_retry_after(
            json_response(503, gateway(shared, "APIGW.0204", "Backend unavailable")),
            fault.retry_after,
        ),
        FaultKind::BadGateway => json_response(502, gateway(shared, "APIGW.0202", "Backend unavailable")),
        FaultKind::GatewayTimeout => json_response(504, gateway(shared, "APIGW.0203", "Backend timeout")),
        FaultKind::Unauthorized => {
            json_response(401, gateway(shared, "APIGW.0303", "Incorrect app authentication information"))
        }
        FaultKind::Reset => {
            conn.reset.store(true, Ordering::SeqCst);
            return Err(Abort);
        }
        FaultKind::Hang => std::future::pending().await,
        _ => return Ok(None),
    }))
}

/// 429 of the gateway.
fn throttled(shared: &Shared, retry_after: Option<Duration>) -> Response<Body> {
    let body = gateway(
        shared,
        "APIGW.0308",
        "The throttling threshold has been reached: policy api over ratelimit,limit:10,time:1 second",
    );
    with_retry_after(json_response(429, body), retry_after)
}

/// The gateway's own error body.
pub fn gateway(shared: &Shared, code: &str, message: &str) -> serde_json::Value {
    json!({"error_msg": message, "error_code": code, "request_id": format!("{:032x}", shared.request_id())})
}

/// Adds `Retry-After` in whole seconds, rounded up.
pub fn with_retry_after(mut response: Response<Body>, after: Option<Duration>) -> Response<Body> {
    if let Some(after) = after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer with a JSON body.
pub fn json_response(status: u16, body: serde_json::Value) -> Response<Body> {
    text_response(status, "application/json;charset=UTF-8", body.to_string())
}

/// An answer with any text.
pub fn text_response(status: u16, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    *response.body_mut() = Body::full(text);
    response
}

/// A redirection.
pub fn redirect(to: &str) -> Response<Body> {
    let mut response = text_response(307, "application/xml", String::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// Answers a call of the control interface.
async fn control(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some(body) = read_body(Request::from_parts(parts.clone(), body)).await else {
        return text_response(413, "text/plain", "too large\n".to_owned());
    };
    let shared = Arc::clone(shared);
    let answer = tokio::task::spawn_blocking(move || control::answer(&shared, &parts, &body)).await;
    match answer {
        Ok(answer) => {
            let len = answer.body.len();
            let mut response = text_response(answer.status, answer.content_type, String::new());
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
            response.map(|_| Body::full(answer.body))
        }
        Err(error) => text_response(500, "text/plain", format!("{error}\n")),
    }
}
