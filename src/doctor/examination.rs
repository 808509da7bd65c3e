//! What the steps know of each other, and how they ask: within the limits, and with a mount's patience.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::clock::{Clock, patiently};
use crate::config::Source;
use crate::http::{HttpConfig, HttpError, Meter, ObjectAnswer, ObjectClient};
use crate::koodrive::{Answered, OpenError, Probe, ProbeError, Question};
use crate::policy::retry::FailureKind;
use crate::remote::{Link, Node, NodeId};

/// The most requests of one run: enough for each step with some tries, too few to be a burden.
pub const MAX_REQUESTS: u32 = 60;

/// The most bytes of bodies of one run: a dozen full pages of a listing.
pub const MAX_BYTES: u64 = 2_000_000;

/// The most that one run takes. A service that does not answer is not waited for at each step.
const MAX_TIME: Duration = Duration::from_secs(120);

/// Entries of a page as a mount asks for them (src/koodrive/API.md, section 5.4).
pub(super) const FULL_PAGE: u32 = 100;

/// Entries of a large page as a mount asks for them of a space (src/koodrive/API.md, sections 6.1 and 6.6).
pub(super) const LARGE_PAGE: u32 = 1000;

/// What must be left to ask for a large page, in bytes: its entries take a kilobyte each at most.
pub(super) const LARGE_PAGE_BYTES: u64 = 1_000_000;

/// Files up to this length are tried with ranges that a store may ignore, which sends all of them.
pub(super) const MAX_TRIED_FILE: u64 = 256 << 10;

/// The most of an object's answer that is read.
pub(super) const MAX_READ: u64 = 1024;

/// A directory that was looked into: its first page.
pub(super) struct Known {
    /// `None` for the top.
    pub(super) id: Option<NodeId>,
    pub(super) nodes: Vec<Node>,
    /// There are no more entries.
    pub(super) is_whole: bool,
}

/// The same directory in both orders.
pub(super) struct Orders {
    pub(super) ascending: Vec<Node>,
    pub(super) descending: Result<Vec<Node>, ProbeError>,
    /// All entries of it are in both.
    pub(super) is_whole: bool,
}

/// The file that ranges are tried with.
pub(super) struct Tried {
    pub(super) link: Link,
    /// Once the store has told it, or the listing.
    pub(super) size: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) has_ranges: bool,
}

/// One run.
pub(super) struct Examination<'a> {
    pub(super) source: &'a Source,
    pub(super) http: HttpConfig,
    pub(super) meter: Arc<Meter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) end: Instant,
    /// `None` before it was tried.
    pub(super) opened: Option<Result<Probe, OpenError>>,
    pub(super) root: Option<Answered>,
    /// The top first.
    pub(super) known: Vec<Known>,
    pub(super) orders: Option<Orders>,
    pub(super) thumbnail: Option<Link>,
    pub(super) tried: Option<Tried>,
    store: Option<ObjectClient>,
}

/// An object's answer, and the beginning of its body.
pub(super) struct Got {
    pub(super) answer: ObjectAnswer,
    pub(super) bytes: Vec<u8>,
}

/// Which part of an object is asked for.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Range(crate::policy::range::ByteRange, Option<&'a str>),
    Suffix(u64),
}

impl<'a> Examination<'a> {
    pub(super) fn new(source: &'a Source, clock: Arc<dyn Clock>) -> Examination<'a> {
        let meter = Arc::new(Meter::new(MAX_REQUESTS, MAX_BYTES));
        let http = HttpConfig { meter: Some(Arc::clone(&meter)), ..HttpConfig::of(source.connection()) };
        let end = clock.now() + MAX_TIME;
        Examination {
            source,
            http,
            meter,
            clock,
            end,
            opened: None,
            root: None,
            known: Vec::new(),
            orders: None,
            thumbnail: None,
            tried: None,
            store: None,
        }
    }

    /// Whether the source is asked for by the calls of spaces.
    pub(super) fn is_space(&self) -> bool {
        matches!(self.source, Source::Space(_))
    }

    pub(super) fn deadline(&self) -> Instant {
        (self.clock.now() + self.source.connection().op_timeout).min(self.end)
    }

    pub(super) fn probe(&self) -> Result<&Probe, Finding> {
        match &self.opened {
            Some(Ok(probe)) => Ok(probe),
            _ => Err(Finding::left_out("the source is not open")),
        }
    }

    /// A page, with a mount's patience.
    pub(super) fn ask(&self, question: Question<'_>) -> Result<Result<Answered, ProbeError>, Finding> {
        let (probe, deadline) = (self.probe()?, self.deadline());
        let judge = |error: &ProbeError| (error.kind.failure_kind(), None);
        Ok(patiently(self.clock.as_ref(), deadline, || probe.list(question, deadline), judge))
    }

    pub(super) fn root(&self) -> Result<&Answered, Finding> {
        self.root.as_ref().ok_or_else(|| Finding::left_out("there is no page of the top"))
    }

    pub(super) fn tried(&self) -> Result<&Tried, Finding> {
        self.tried.as_ref().ok_or_else(|| Finding::left_out("there is no link to a file"))
    }

    /// The file that is tried, if what ignores a range may send all of it.
    pub(super) fn small_with_ranges(&self) -> Result<(&Tried, u64), Finding> {
        let tried = self.tried()?;
        match tried.size {
            Some(size) if tried.has_ranges && size <= MAX_TRIED_FILE => Ok((tried, size)),
            _ if !tried.has_ranges => Err(Finding::left_out("ranges do not work")),
            _ => Err(Finding::left_out(format!("no file of at most {} KiB was found", MAX_TRIED_FILE >> 10))),
        }
    }

    /// A part of an object, with a mount's patience.
    pub(super) fn get(&mut self, link: &Link, part: Part<'_>) -> Result<Got, String> {
        let deadline = self.deadline();
        let store = match self.store.take() {
            Some(store) => store,
            None => ObjectClient::new(self.http.clone(), Arc::clone(&self.clock)).map_err(|error| words(&error))?,
        };
        let attempt = || {
            let answer = match part {
                Part::Range(range, etag) => store.get_range(link, range, etag, deadline),
                Part::Suffix(len) => store.get_suffix(link, len, deadline),
            };
            let mut answer = answer.map_err(|error| (error.kind().remote_kind().failure_kind(), words(&error)))?;
            match answer.status {
                429 => return Err((FailureKind::Throttled, "HTTP 429".to_owned())),
                status @ 500.. => return Err((FailureKind::Transient, format!("HTTP {status}"))),
                _ => {}
            }
            let mut bytes = Vec::new();
            let mut piece = [0; 512];
            while (bytes.len() as u64) < MAX_READ {
                match answer.body.read_some(&mut piece) {
                    Ok(0) => break,
                    Ok(len) => bytes.extend_from_slice(&piece[..len]),
                    Err(error) => return Err((error.kind().remote_kind().failure_kind(), words(&error))),
                }
            }
            Ok(Got { answer, bytes })
        };
        let got = patiently(self.clock.as_ref(), deadline, attempt, |(kind, _)| (*kind, None));
        self.store = Some(store);
        got.map_err(|(_, shown)| shown)
    }
}

/// A failure without the origin, which may be a name.
fn words(error: &HttpError) -> String {
    use crate::http::HttpErrorKind::{
        BadSetting, Connect, ConnectTimeout, Dns, InsecureUrl, Interrupted, Other, PrivateAddress, RedirectRefused,
        Spent, Timeout, Tls, TooLarge, UnsendableUrl,
    };
    match error.kind() {
        Dns => "the store's name does not resolve",
        Connect => "no connection to the store",
        Tls => "no trustworthy TLS connection to the store",
        ConnectTimeout | Timeout => "no answer of the store in time",
        Interrupted => "the connection broke",
        InsecureUrl => "the link is plain http: see --allow-http",
        PrivateAddress => "the link leads to a private address: see --allow-private-links",
        RedirectRefused => "a redirect that is not followed",
        TooLarge => "an answer that is too large",
        UnsendableUrl => "the link cannot be sent as it is",
        BadSetting => "a setting of the network is wrong",
        Spent => "the requests or bytes of this command are used up",
        Other => "the request could not be made",
    }
    .to_owned()
}
