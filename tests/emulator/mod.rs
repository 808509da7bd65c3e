//! The emulator: a stand-in for KooDrive, its shares, spaces and object store, for tests and for people.
//!
//! It is as strict as the real service may be, and never bent to let a test pass. Facts come from
//! src/koodrive/API.md, whose sections are cited where they are used; what is made up says so.
//!
//! ```text
//! Emulator (this file) -> server (connections, dispatch, delays) -> api (routes, headers, envelope)
//!                                                                     -> auth (login, tokens, app signatures)
//!                                                                     -> share_api, space_api -> listing, tree, sign
//!                                                                     -> gzip
//!                                                                -> objects (OBS GET)         -> tree, sign, body -> pace
//!                                                                                                tree -> disk
//!                                                                -> dav (the same files for other clients)
//!                                                                -> control (/emulator/…)
//! TestProxy (proxy): stands alone.
//! knobs, faults, counters: read or written by all of them. main.rs and cli.rs: the program, not part of the library.
//! ```
//!
//! Threads: its own tokio runtime; every wait is a timer, so thousands of hanging connections cost no thread. Test code
//! stays synchronous.
//!
//! ```no_run
//! let emulator = Emulator::start(EmulatorConfig::default());
//! let id = emulator.tree().add("", Entry::file("big.bin", 8 << 30));
//! emulator.knobs(|k| k.api_latency = Duration::from_millis(20));
//! emulator.fault(Fault::object(FaultKind::Stall).every(7).limit(3));
//! // mount emulator.share_link() …
//! assert_eq!(emulator.counters().secret_leaks, 0);
//! ```
#![allow(dead_code, unused_imports, reason = "two programs compile this, and neither uses all of it")]
#![allow(unreachable_pub, reason = "a private module of two programs: pub says what their other parts may use")]

pub mod api;
pub mod auth;
pub mod body;
pub mod control;
pub mod counters;
pub mod dav;
pub mod disk;
pub mod faults;
pub mod given_out;
pub mod gzip;
pub mod knobs;
pub mod listing;
pub mod objects;
pub mod pace;
pub mod pattern;
pub mod proxy;
pub mod server;
pub mod share_api;
pub mod sign;
pub mod space_api;
pub mod spaces;
pub mod tls;
pub mod tree;

use server::{Role, Shared};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

pub use counters::Counters;
pub use faults::{Fault, FaultKind};
pub use knobs::Knobs;
pub use proxy::{ProxyCounters, TestProxy};
pub use spaces::{Space, SpaceKind, SpaceState, Spaces};
pub use tree::{Content, Entry, Replacement, Tree};

/// How long dropping an emulator may wait for a read of a disk to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long a test waits for something that must come.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Locks, whatever happened to another holder: a panic in one answer must not stop the emulator.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an emulator is started with.
#[derive(Debug)]
pub struct EmulatorConfig {
    /// What the share serves.
    pub tree: Tree,
    /// What is behind the login.
    pub spaces: Spaces,
    /// The knobs at the start.
    pub knobs: Knobs,
    /// The faults at the start.
    pub faults: Vec<Fault>,
    /// Short code of the share, 19 digits by default.
    pub share_code: String,
    /// The id that `download` wants; another 19 digits by default.
    pub share_id: String,
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the object store listens; port 0 takes a free one.
    pub listen_objects: SocketAddr,
    /// Threads that answer.
    pub threads: usize,
    /// Both listeners speak TLS, with an authority of this run's own ([`Emulator::ca_pem`]).
    pub tls: bool,
    /// The name clients reach both listeners by, instead of their address: for proxies, which are not used for loopback.
    pub advertise: Option<String>,
}

impl Default for EmulatorConfig {
    /// An empty synthetic tree on free ports of 127.0.0.1.
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            tree: Tree::synthetic(),
            spaces: Spaces::default(),
            knobs: Knobs::default(),
            faults: Vec::new(),
            share_code: "1808628918203192832".to_owned(),
            share_id: "1808628918203191824".to_owned(),
            listen: any,
            listen_objects: any,
            threads: 2,
            tls: false,
            advertise: None,
        }
    }
}

/// A running emulator; dropping it stops it, whatever is still hanging.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    ca_pem: Option<String>,
    addresses: [SocketAddr; 2],
    runtime: Option<Runtime>,
}

impl Emulator {
    /// Starts one.
    ///
    /// # Panics
    /// It cannot listen or have threads; see [`Self::try_start`].
    pub fn start(config: EmulatorConfig) -> Self {
        Self::try_start(config).unwrap_or_else(|error| panic!("the emulator cannot start: {error}"))
    }

    /// Starts one with an empty synthetic tree.
    pub fn synthetic() -> Self {
        Self::start(EmulatorConfig::default())
    }

    /// Starts one that serves a directory.
    ///
    /// # Panics
    /// As [`Self::start`], and if the directory cannot be read.
    pub fn serving(directory: &Path) -> Self {
        let tree = Tree::directory(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        Self::start(EmulatorConfig { tree, ..EmulatorConfig::default() })
    }

    /// Starts one.
    ///
    /// # Errors
    /// It cannot listen, cannot have threads, or the knobs cannot work.
    pub fn try_start(config: EmulatorConfig) -> io::Result<Self> {
        config.knobs.check().map_err(io::Error::other)?;
        config.spaces.check().map_err(io::Error::other)?;
        raise_file_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("emulator")
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let api = listen(config.listen)?;
        let objects = listen(config.listen_objects)?;
        let tls = match config.tls {
            true => {
                let listening = [config.listen, config.listen_objects].map(|address| address.ip().to_string());
                let names: Vec<String> = listening.into_iter().chain(config.advertise.clone()).collect();
                Some(tls::Tls::new(&names)?)
            }
            false => None,
        };
        let plain = match &tls {
            Some(_) => Some(listen(SocketAddr::new(config.listen_objects.ip(), 0))?),
            None => None,
        };
        let addresses = [api.local_addr()?, objects.local_addr()?];
        let host = |address: SocketAddr| match &config.advertise {
            Some(name) => format!("{name}:{}", address.port()),
            None => address.to_string(),
        };
        let hosts = server::Hosts {
            scheme: if config.tls { "https" } else { "http" },
            api: host(addresses[0]),
            objects: host(addresses[1]),
            plain_objects: match &plain {
                Some(plain) => host(plain.local_addr()?),
                None => host(addresses[1]),
            },
        };
        let shared = Arc::new(Shared::new(
            config.tree,
            config.spaces,
            config.knobs,
            share_api::Share::new(config.share_code, config.share_id),
            hosts,
        ));
        for fault in config.faults {
            fault.check().map_err(io::Error::other)?;
            shared.faults.add(fault);
        }
        let acceptor = || tls.as_ref().map(|tls| tls.acceptor.clone());
        runtime.spawn(server::accept(api, Arc::clone(&shared), Role::Api, acceptor()));
        runtime.spawn(server::accept(objects, Arc::clone(&shared), Role::Objects, acceptor()));
        if let Some(plain) = plain {
            runtime.spawn(server::accept(plain, Arc::clone(&shared), Role::PlainObjects, None));
        }
        drop(entered);
        Ok(Self { shared, ca_pem: tls.map(|tls| tls.ca_pem), addresses, runtime: Some(runtime) })
    }

    /// `http://host:port` of the API (`https` with TLS): what a client takes as its endpoint.
    pub fn url(&self) -> String {
        format!("{}://{}", self.shared.scheme, self.shared.api_host)
    }

    /// The certificate to trust, PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Where the API really listens, whatever it is advertised as.
    pub fn api_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the object store really listens.
    pub fn object_address(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// Scheme and `host:port` of the object store.
    pub fn object_url(&self) -> &str {
        &self.shared.object_origin
    }

    /// URL of the WebDAV view of what the share serves.
    pub fn dav_url(&self) -> String {
        format!("{}/dav/", self.shared.object_origin)
    }

    /// `host:port` of the object store.
    pub fn object_host(&self) -> &str {
        &self.shared.object_host
    }

    /// The share's short code.
    pub fn share_code(&self) -> &str {
        &self.shared.share.short_code
    }

    /// The id that `download` wants.
    pub fn share_id(&self) -> &str {
        &self.shared.share.share_id
    }

    /// The link a person would be sent (section 5.7).
    pub fn share_link(&self) -> String {
        format!("{}/cloudfile/#/sharelink/i/{}", self.url(), self.share_code())
    }

    /// Turns knobs, for all requests that begin from now on.
    ///
    /// # Panics
    /// The new values cannot work (see [`Knobs::check`]).
    pub fn knobs(&self, change: impl FnOnce(&mut Knobs)) {
        let turned = self.shared.turn(|knobs| {
            let mut knobs = knobs.clone();
            change(&mut knobs);
            Ok(knobs)
        });
        if let Err(error) = turned {
            panic!("knobs: {error}");
        }
    }

    /// The knobs as they are now.
    pub fn current_knobs(&self) -> Knobs {
        (*self.shared.knobs()).clone()
    }

    /// Adds a fault.
    ///
    /// # Panics
    /// The fault is of API calls and was put on objects, or the reverse.
    pub fn fault(&self, fault: Fault) {
        if let Err(error) = fault.check() {
            panic!("fault: {error}");
        }
        self.shared.faults.add(fault);
    }

    /// Removes all faults; what already hangs goes on hanging.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.snapshot()
    }

    /// What happened so far, without the per-file part: cheap however many files were read.
    pub fn totals(&self) -> Counters {
        self.shared.counters.totals()
    }

    /// Waits until the counters satisfy a condition; `what` says which, should it never come.
    ///
    /// # Panics
    /// The condition did not come within ten seconds.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Counters) -> bool) {
        let started = Instant::now();
        while !condition(&self.counters()) {
            assert!(started.elapsed() < WAIT_LIMIT, "{what}: not within {WAIT_LIMIT:?}; {:#?}", self.totals());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Checks that the client did nothing a strict service would not have accepted, and leaked nothing.
    ///
    /// # Panics
    /// It did; the message lists what.
    pub fn assert_polite(&self) {
        let totals = self.totals();
        assert!(
            totals.complaints_total == 0 && totals.secret_leaks == 0 && totals.views == 0,
            "{} complaints, {} views: {:#?}",
            totals.complaints_total,
            totals.views,
            totals.complaints
        );
    }

    /// How many listings are kept for their later pages, and about how many bytes of memory they take.
    pub fn kept_listings(&self) -> (usize, usize) {
        self.shared.listings.kept()
    }

    /// Sets the counters to zero.
    pub fn reset_counters(&self) {
        self.shared.counters.reset();
    }

    /// The space with this container (see [`spaces`] for the ones there are).
    ///
    /// # Panics
    /// There is none.
    pub fn space(&self, container: &str) -> &Space {
        self.shared.spaces.get(container).unwrap_or_else(|| panic!("no space {container}"))
    }

    /// The user's own space.
    pub fn own(&self) -> &Space {
        self.space(spaces::OWN)
    }

    /// A new enterprise token, as it stands in `Authorization`: `Bearer ` and 64 hex digits.
    pub fn mint_token(&self) -> String {
        let token = self.shared.sessions.mint(server::now(&self.shared.knobs()));
        self.shared.given_out.note(&token);
        token
    }

    /// Every access token is refused from now on; refresh tokens stay good.
    pub fn revoke_access_tokens(&self) {
        self.shared.sessions.revoke();
    }

    /// This access token (as in `Authorization`) is refused from now on; whether it was known.
    pub fn revoke_access_token(&self, token: &str) -> bool {
        self.shared.sessions.revoke_one(token)
    }

    /// Every refresh token is refused from now on: only a login helps.
    pub fn revoke_refresh_tokens(&self) {
        self.shared.sessions.revoke_refreshes();
    }

    /// Forgets wrong passwords: a locked account takes logins again.
    pub fn unlock_account(&self) {
        self.shared.sessions.unlock();
    }

    /// What the share serves, to look at or to change.
    pub fn tree(&self) -> &Tree {
        &self.shared.tree
    }

    /// Every link issued so far is refused from now on (403 `InvalidAccessKeyId`).
    pub fn revoke_links(&self) {
        self.shared.keys.rotate();
    }

    /// Every kdstoken issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.shared.share.revoke_tokens();
    }

    /// What clients were told that nobody else may see: every token, without its scheme, and the signature of every link.
    pub fn given_out(&self) -> Vec<String> {
        self.shared.given_out.all()
    }

    /// The kdstokens that are good now.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.share.tokens()
    }

    /// Forgets wrong access codes: a locked share takes codes again.
    pub fn unlock_share(&self) {
        self.shared.share.unlock();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Tasks are dropped where they wait, sockets with them; only a read of a disk must be waited for.
            runtime.shutdown_timeout(STOP_LIMIT);
        }
    }
}

/// Listens with room for a thousand clients that come at once.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Lets this process have as many open files as it may: a thousand connections, client side included, need more than
/// the usual 1024. Failing is no error: the limit stays what it was.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that getrlimit fills and setrlimit reads, both only during the call.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max.min(65_536).max(limit.rlim_cur);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
