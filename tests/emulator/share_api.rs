//! The public share: the five calls under `/koodrive/ose/v1/share/public/`, as strict as their documentation.
//!
//! Owns: what a call must look like, what it answers, tokens, attempts, cursors. Knows nothing of sockets, faults (but
//! the looping cursor) or object bytes. Runs on blocking threads; one short lock for tokens, one for listings.
//!
//! Made up, because the documentation does not say (koodrive-api.md section 14): the codes from 13009001 on; that five
//! wrong access codes lock a share; that an ended share still answers `userInfo`.

use super::knobs::{DownloadLinks, Expiry, Knobs, LastCursor, NumberShape, Paging, TimeShape};
use super::lock;
use super::server::{Shared, now};
use super::sign::{Grant, Signer, decode, disposition, hex, hmac_sha256};
use super::tree::{ListError, Lookup, Node, Tree};
use hyper::http::request::Parts;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Parameter check failed (documented).
pub const BAD_PARAMETER: u32 = 13_000_102;
/// File not in the given space (documented).
pub const NO_FILE: u32 = 13_000_302;
/// Target directory abnormal (documented); answered for a file named as a directory.
pub const NOT_A_FOLDER: u32 = 13_000_304;
/// Target directory is in the recycle bin (documented).
pub const FOLDER_RECYCLED: u32 = 13_000_305;
/// File is in the recycle bin (documented).
pub const FILE_RECYCLED: u32 = 13_000_306;
/// Resource does not exist (documented).
pub const NO_RESOURCE: u32 = 13_000_309;
/// Operation not allowed on a folder (documented).
pub const IS_A_FOLDER: u32 = 13_000_406;
/// Wrong access code (made up).
pub const WRONG_CODE: u32 = 13_009_001;
/// kdstoken missing, wrong or too old (made up).
pub const BAD_TOKEN: u32 = 13_009_002;
/// Too many wrong access codes (made up).
pub const LOCKED: u32 = 13_009_003;
/// The share is over (made up).
pub const EXPIRED: u32 = 13_009_004;
/// The shared file was deleted (made up).
pub const DELETED: u32 = 13_009_005;
/// The share forbids downloads (made up).
pub const NO_DOWNLOAD: u32 = 13_009_006;

/// What every path begins with.
const PREFIX: &str = "/koodrive/ose/v1/share/public/";
/// How many sorted listings are kept for their later pages.
const SNAPSHOTS: usize = 256;
/// Characters that a client must carry through JSON unharmed; every cursor begins with them.
const CURSOR_PREFIX: &str = "{\"c\":\"\\\u{e9}\u{1F4C4}\t&+%2F=/\u{1}<";

/// A call of the API.
#[derive(Debug)]
pub struct Endpoint {
    /// Last element of its path; its name in faults and counters.
    pub name: &'static str,
    method: &'static str,
}

const ENDPOINTS: [Endpoint; 5] = [
    Endpoint { name: "visit", method: "GET" },
    Endpoint { name: "userInfo", method: "GET" },
    Endpoint { name: "verify", method: "POST" },
    Endpoint { name: "files", method: "POST" },
    Endpoint { name: "download", method: "POST" },
];

/// The call with this path.
pub fn endpoint(path: &str) -> Option<&'static Endpoint> {
    let name = path.strip_prefix(PREFIX)?;
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
}

/// An answer: HTTP status and JSON.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// A call that is refused.
#[derive(Debug)]
struct Refusal {
    /// HTTP status if it is not the one of business errors.
    status: Option<u16>,
    code: u32,
    message: String,
    /// Whether a careful client would not have made this call.
    complaint: bool,
}

impl Refusal {
    /// The client's own mistake.
    fn parameter(message: impl Into<String>) -> Self {
        Self { status: None, code: BAD_PARAMETER, message: message.into(), complaint: true }
    }

    /// A mistake in a header: the gateway's layer, always 400.
    fn header(message: impl Into<String>) -> Self {
        Self { status: Some(400), ..Self::parameter(message) }
    }

    /// Something that can happen to anybody.
    fn business(code: u32, message: impl Into<String>) -> Self {
        Self { status: None, code, message: message.into(), complaint: false }
    }
}

/// The share and its state.
#[derive(Debug)]
pub struct Share {
    /// Short code, the last element of the link.
    pub short_code: String,
    /// The id that `download` wants.
    pub share_id: String,
    tokens: Mutex<Tokens>,
    listings: Mutex<Listings>,
    last_pages: AtomicU64,
}

#[derive(Debug, Default)]
struct Tokens {
    /// End of each token that is still good.
    ends: HashMap<String, Timestamp>,
    wrong_codes: u32,
}

/// Sorted listings that later pages are cut from.
#[derive(Debug, Default)]
struct Listings {
    next: u64,
    recent: VecDeque<Snapshot>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    number: u64,
    bound: String,
    version: Option<u64>,
    entries: Arc<Vec<Arc<Node>>>,
}

impl Share {
    /// A share with these numbers.
    pub fn new(short_code: String, share_id: String) -> Self {
        Self {
            short_code,
            share_id,
            tokens: Mutex::default(),
            listings: Mutex::default(),
            last_pages: AtomicU64::new(0),
        }
    }

    /// Makes every token useless.
    pub fn revoke_tokens(&self) {
        lock(&self.tokens).ends.clear();
    }

    /// The tokens that have been given out and not revoked.
    pub fn tokens(&self) -> Vec<String> {
        lock(&self.tokens).ends.keys().cloned().collect()
    }

    /// Forgets wrong attempts: a locked share is open to codes again.
    pub fn unlock(&self) {
        lock(&self.tokens).wrong_codes = 0;
    }
}

/// Answers a call.
pub fn answer(
    shared: &Shared,
    knobs: &Knobs,
    endpoint: &Endpoint,
    parts: &Parts,
    body: &[u8],
    cursor_loop: bool,
) -> Answer {
    let call = Call { shared, knobs, now: now(knobs), cursor_loop };
    let payload = check_headers(knobs, endpoint, parts).and_then(|()| match endpoint.name {
        "visit" => call.visit(parts),
        "userInfo" => call.user_info(parts),
        "verify" => call.verify(&json_object(body)?),
        "files" => call.files(&json_object(body)?),
        _ => call.download(&json_object(body)?),
    });
    match payload {
        Ok(payload) => Answer { status: 200, body: envelope(knobs, 0, "Success.", payload) },
        Err(refusal) => {
            let text = format!("{}: {} ({})", endpoint.name, refusal.message, refusal.code);
            if refusal.complaint {
                shared.counters.complain(text);
            } else {
                log::info!("{text}");
            }
            Answer {
                status: refusal.status.unwrap_or(knobs.business_status),
                body: envelope(knobs, refusal.code, &refusal.message, Map::new()),
            }
        }
    }
}

/// `code`, `msg` and the payload, in the shape the knobs ask for.
fn envelope(knobs: &Knobs, code: u32, message: &str, payload: Map<String, Value>) -> Value {
    let mut body = if knobs.payload_under_data && code == 0 {
        Map::from_iter([("data".to_owned(), Value::Object(payload))])
    } else {
        payload
    };
    // A missing code can only mean success.
    match (knobs.code_shape, code) {
        (NumberShape::Absent, 0) => {}
        (NumberShape::Null, 0) => {
            body.insert("code".to_owned(), Value::Null);
        }
        (NumberShape::String, _) => {
            body.insert("code".to_owned(), json!(code.to_string()));
        }
        _ => {
            body.insert("code".to_owned(), json!(code));
        }
    }
    body.insert("msg".to_owned(), json!(message));
    if knobs.extra_fields {
        body.insert("traceInfo".to_owned(), json!({"span": [1, 2.5, null, {"deep": ["er"]}], "sampled": false}));
        body.insert("1234".to_owned(), json!("a key that is no identifier"));
    }
    Value::Object(body)
}

/// Method and headers.
fn check_headers(knobs: &Knobs, endpoint: &Endpoint, parts: &Parts) -> Result<(), Refusal> {
    if parts.method.as_str() != endpoint.method {
        return Err(Refusal {
            status: Some(405),
            ..Refusal::parameter(format!("{} is called by {}, not {}", endpoint.name, endpoint.method, parts.method))
        });
    }
    let header = |name: &str| -> Result<Option<&str>, Refusal> {
        let mut values = parts.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Refusal::header(format!("{name} came twice")));
        }
        value.to_str().map(Some).map_err(|_| Refusal::header(format!("{name} is not printable ASCII")))
    };
    match (header("x-hw-agentname")?, &knobs.agent) {
        (None | Some(""), _) => return Err(Refusal::header("X-Hw-Agentname is mandatory")),
        (Some(agent), Some(wanted)) if agent != wanted => {
            return Err(Refusal::header(format!("X-Hw-Agentname {agent:?} is not known")));
        }
        _ => {}
    }
    if let Some(trace) = header("x-traceid")? {
        let fits = trace.len() == 58 && trace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !fits {
            return Err(Refusal::header("X-Traceid must be 58 letters, digits or underscores"));
        }
    }
    if let Some(language) = header("language")?
        && !["en-US", "en_us", "en_US", "zh-CN", "zh_cn", "zh_CN"].contains(&language)
    {
        return Err(Refusal::header(format!("language {language:?} is not known")));
    }
    if let Some(content_type) = header("content-type")? {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::header(format!("Content-Type {content_type:?} is not application/json")));
        }
    }
    for secret in ["authorization", "cookie"] {
        if header(secret)?.is_some() {
            return Err(Refusal::header(format!("{secret} has no place in a public call")));
        }
    }
    if endpoint.method == "POST" && parts.uri.query().is_some() {
        return Err(Refusal::parameter("this call has no query"));
    }
    Ok(())
}

/// The body as a JSON object.
fn json_object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::parameter("the body is not a JSON object")),
        Err(error) => Err(Refusal::parameter(format!("the body is not JSON: {error}"))),
    }
}

/// Refuses fields nobody knows.
fn check_fields(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::parameter(format!("there is no field {key:?}"))),
        None => Ok(()),
    }
}

/// An optional text.
fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Refusal::parameter(format!("{name}: {other} is not a string"))),
    }
}

/// A mandatory text.
fn mandatory<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match text(body, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::parameter(format!("{name} is mandatory"))),
    }
}

/// An optional truth value.
fn truth(body: &Map<String, Value>, name: &str) -> Result<bool, Refusal> {
    match body.get(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Refusal::parameter(format!("{name}: {other} is not a boolean"))),
    }
}

/// An optional integer, which may be written as a string (section 12, row 4).
fn integer(body: &Map<String, Value>, name: &str, default: u64, allowed: impl Fn(u64) -> bool) -> Result<u64, Refusal> {
    let number = match body.get(name) {
        None => Some(default),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
    };
    number
        .filter(|number| allowed(*number))
        .ok_or_else(|| Refusal::parameter(format!("{name}: {} is not allowed", body.get(name).unwrap_or(&Value::Null))))
}

/// One call and what it needs.
struct Call<'a> {
    shared: &'a Shared,
    knobs: &'a Knobs,
    now: Timestamp,
    cursor_loop: bool,
}

impl Call<'_> {
    fn visit(&self, parts: &Parts) -> Result<Map<String, Value>, Refusal> {
        self.check_code(&short_url(parts)?)?;
        self.check_valid()?;
        self.shared.counters.update(|all| all.visits += 1);
        Ok(Map::new())
    }

    fn user_info(&self, parts: &Parts) -> Result<Map<String, Value>, Refusal> {
        self.check_code(&short_url(parts)?)?;
        if !self.knobs.ended_share_info {
            self.check_valid()?;
        }
        Ok(Map::from_iter([("link".to_owned(), self.link())]))
    }

    fn verify(&self, body: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
        check_fields(body, &["shortUrl", "extractCode"])?;
        let code = mandatory(body, "extractCode")?;
        self.check_code(mandatory(body, "shortUrl")?)?;
        self.check_valid()?;
        let mut tokens = lock(&self.shared.share.tokens);
        if tokens.wrong_codes >= self.knobs.wrong_code_limit {
            return Err(Refusal::business(LOCKED, "the share is locked after too many wrong access codes"));
        }
        if self.knobs.access_code.as_deref() != Some(code) {
            tokens.wrong_codes += 1;
            self.shared.counters.update(|all| all.wrong_codes += 1);
            return Err(Refusal::business(WRONG_CODE, "the access code is wrong"));
        }
        tokens.wrong_codes = 0;
        let token = format!("{:032x}", fastrand::u128(..));
        let lifetime = i64::try_from(self.knobs.kdstoken_lifetime.as_millis()).unwrap_or(i64::MAX);
        let ends = self.now.as_millisecond().saturating_add(lifetime);
        let now = self.now;
        tokens.ends.retain(|_, ends| *ends > now);
        tokens.ends.insert(token.clone(), Timestamp::from_millisecond(ends).unwrap_or(Timestamp::MAX));
        Ok(Map::from_iter([("kdstoken".to_owned(), json!(token))]))
    }

    fn files(&self, body: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
        check_fields(
            body,
            &[
                "shortUrl",
                "parentFolder",
                "pageSize",
                "pageCursor",
                "sortType",
                "sortDirection",
                "kdstoken",
                "refreshCount",
                "fileName",
                "imageProcess",
                "usage",
            ],
        )?;
        let short_url = mandatory(body, "shortUrl")?;
        let parent = text(body, "parentFolder")?.unwrap_or_default();
        let page_size = integer(body, "pageSize", 100, |size| (1..=100).contains(&size))?;
        let cursor = text(body, "pageCursor")?.filter(|cursor| !cursor.is_empty());
        let sort = integer(body, "sortType", 4, |sort| [1, 2, 4].contains(&sort))?;
        let direction = integer(body, "sortDirection", 2, |direction| [1, 2].contains(&direction))?;
        let token = text(body, "kdstoken")?.unwrap_or_default();
        let refresh = truth(body, "refreshCount")?;
        let filter = text(body, "fileName")?.unwrap_or_default();
        if text(body, "imageProcess")?.is_some_and(|spec| spec.split(';').count() > 5) {
            return Err(Refusal::parameter("imageProcess: five groups at most"));
        }
        if text(body, "usage")?.is_some_and(|usage| usage.chars().count() > 100) {
            return Err(Refusal::parameter("usage: 100 characters at most"));
        }
        self.check_code(short_url)?;
        self.check_valid()?;
        self.check_token(token)?;
        if refresh {
            self.shared.counters.update(|all| all.views += 1);
        }
        let bound = Bound { parent, sort, descending: direction == 2, filter };
        let page_size = usize::try_from(page_size.min(u64::from(self.knobs.page_cap))).unwrap_or(100);
        self.page(&bound, cursor, page_size)
    }

    /// Cuts one page.
    fn page(&self, bound: &Bound<'_>, cursor: Option<&str>, page_size: usize) -> Result<Map<String, Value>, Refusal> {
        let tag = bound.tag();
        let place = match cursor {
            None => Place { index: 0, page: 1, issued_ms: self.now.as_millisecond(), snapshot: u64::MAX },
            Some(text) => self.read_cursor(text, &tag)?,
        };
        let snapshot = self.listing(bound, &tag, &place)?;
        let entries = snapshot.entries.as_slice();
        let index = place.index.min(entries.len());
        let empty = self.knobs.empty_pages > 0 && place.page.is_multiple_of(u64::from(self.knobs.empty_pages));
        let end = if empty { index } else { (index + page_size).min(entries.len()) };
        let full_last = self.knobs.trailing_empty_page && end == entries.len() && end - index == page_size;
        let next =
            Place { index: end, page: place.page + 1, issued_ms: self.now.as_millisecond(), snapshot: snapshot.number };

        let signer = self.shared.keys.signer(self.now);
        let files: Vec<Value> =
            entries[index..end].iter().enumerate().map(|(nth, node)| self.entry(node, &signer, nth)).collect();
        let mut payload = Map::from_iter([("link".to_owned(), self.link()), ("files".to_owned(), Value::Array(files))]);
        let next_cursor = if self.cursor_loop {
            Some(json!(
                cursor.map_or_else(|| write_cursor(&tag, &Place { snapshot: snapshot.number, ..place }), str::to_owned)
            ))
        } else if end < entries.len() || full_last {
            Some(json!(write_cursor(&tag, &next)))
        } else {
            self.last_cursor()
        };
        if let Some(next_cursor) = next_cursor {
            payload.insert("nextCursor".to_owned(), next_cursor);
        }
        Ok(payload)
    }

    /// What stands for "no more pages".
    fn last_cursor(&self) -> Option<Value> {
        let shape = match self.knobs.last_cursor {
            LastCursor::Cycle => match self.shared.share.last_pages.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => LastCursor::Absent,
                1 => LastCursor::Null,
                _ => LastCursor::Empty,
            },
            fixed => fixed,
        };
        match shape {
            LastCursor::Null => Some(Value::Null),
            LastCursor::Empty => Some(json!("")),
            LastCursor::Absent | LastCursor::Cycle => None,
        }
    }

    /// The sorted listing a page is cut from.
    fn listing(&self, bound: &Bound<'_>, tag: &str, place: &Place) -> Result<Snapshot, Refusal> {
        let version = self.shared.tree.version();
        {
            let listings = lock(&self.shared.share.listings);
            let kept = listings.recent.iter().find(|kept| {
                let same = kept.bound == tag;
                let current = version.is_some() && kept.version == version;
                same && (current || (self.knobs.paging == Paging::Snapshot && kept.number == place.snapshot))
            });
            if let Some(kept) = kept {
                return Ok(kept.clone());
            }
        }
        let mut entries = self.shared.tree.list(bound.parent).map_err(|error| match error {
            ListError::Unknown => Refusal::business(NO_RESOURCE, "the directory does not exist"),
            ListError::Recycled => Refusal::business(FOLDER_RECYCLED, "the directory is in the recycle bin"),
            ListError::NotAFolder => Refusal::business(NOT_A_FOLDER, "this is not a directory"),
            ListError::Io(error) => Refusal { status: Some(500), ..Refusal::business(13_000_201, error.to_string()) },
        })?;
        if !bound.filter.is_empty() {
            entries.retain(|node| node.name.contains(bound.filter));
        }
        match bound.sort {
            1 => entries.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id))),
            2 => entries.sort_by(|a, b| (a.size, &a.id).cmp(&(b.size, &b.id))),
            _ => entries.sort_by(|a, b| (a.edited, &a.id).cmp(&(b.edited, &b.id))),
        }
        if bound.descending {
            entries.reverse();
        }
        let mut listings = lock(&self.shared.share.listings);
        listings.next += 1;
        let snapshot = Snapshot { number: listings.next, bound: tag.to_owned(), version, entries: Arc::new(entries) };
        listings.recent.push_back(snapshot.clone());
        if listings.recent.len() > SNAPSHOTS {
            listings.recent.pop_front();
        }
        Ok(snapshot)
    }

    /// Reads a cursor that must be ours, of this listing, and young enough.
    fn read_cursor(&self, text: &str, tag: &str) -> Result<Place, Refusal> {
        let wrong = || Refusal::parameter("pageCursor: not a cursor of this listing");
        let inner = text.strip_prefix(CURSOR_PREFIX).ok_or_else(wrong)?;
        let numbers: Vec<&str> = inner.split('.').collect();
        let [_, index, page, issued_ms, snapshot, _] = numbers.as_slice() else {
            return Err(wrong());
        };
        let place = Place {
            index: index.parse().map_err(|_| wrong())?,
            page: page.parse().map_err(|_| wrong())?,
            issued_ms: issued_ms.parse().map_err(|_| wrong())?,
            snapshot: snapshot.parse().map_err(|_| wrong())?,
        };
        if write_cursor(tag, &place) != text {
            return Err(wrong());
        }
        let lifetime = i64::try_from(self.knobs.cursor_lifetime.as_millis()).unwrap_or(i64::MAX);
        if place.issued_ms.saturating_add(lifetime) <= self.now.as_millisecond() {
            return Err(Refusal { complaint: false, ..Refusal::parameter("pageCursor: expired") });
        }
        Ok(place)
    }

    fn download(&self, body: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
        check_fields(body, &["shareId", "fileId", "kdstoken"])?;
        let share_id = mandatory(body, "shareId")?;
        let file_id = mandatory(body, "fileId")?;
        let token = text(body, "kdstoken")?.unwrap_or_default();
        if share_id == self.shared.share.short_code {
            return Err(Refusal::parameter("shareId: this is the short code, not the share's id"));
        }
        if share_id != self.shared.share.share_id {
            return Err(Refusal::business(NO_RESOURCE, "the share does not exist"));
        }
        self.check_valid()?;
        self.check_token(token)?;
        if self.knobs.permission_download == Some(false) {
            return Err(Refusal::business(NO_DOWNLOAD, "the share forbids downloads"));
        }
        let node = match self.shared.tree.lookup(file_id) {
            Lookup::Found(node) if node.folder => {
                return Err(Refusal::business(IS_A_FOLDER, "a folder cannot be downloaded"));
            }
            Lookup::Found(node) => node,
            Lookup::Recycled => {
                return Err(Refusal::business(FILE_RECYCLED, "the file is in the recycle bin"));
            }
            Lookup::Unknown => return Err(Refusal::business(NO_FILE, "the file does not exist")),
        };
        self.shared.counters.file(&node.id, &node.name, |file| file.links += 1);
        let url = self.content_link(&node, &self.shared.keys.signer(self.now));
        Ok(Map::from_iter([("downloadUrl".to_owned(), json!(url))]))
    }

    /// A link to a file's content.
    fn content_link(&self, node: &Node, signer: &Signer) -> String {
        self.sign(&node.object, &node.name, signer)
    }

    fn sign(&self, key: &str, name: &str, signer: &Signer) -> String {
        let disposition = disposition(name);
        let grant = Grant { host: &self.shared.object_host, key, disposition: Some(&disposition) };
        let target = signer.issue(self.knobs.link_style, &grant, self.knobs.link_lifetime);
        format!("http://{}{target}", self.shared.object_host)
    }

    /// One element of `files`.
    fn entry(&self, node: &Node, signer: &Signer, nth: usize) -> Value {
        let knobs = self.knobs;
        let suffix = match node.name.rsplit_once('.') {
            Some((_, suffix)) if !node.folder => suffix,
            _ => "",
        };
        let mut entry = Map::from_iter([
            ("id".to_owned(), json!(node.id)),
            ("fileName".to_owned(), json!(node.name)),
            ("fileSuffix".to_owned(), json!(suffix)),
            ("parentFolder".to_owned(), json!([node.parent])),
            ("containers".to_owned(), json!(["IAAEDBemulatorContainer0add2fea594e4e75b24240415488"])),
            ("editedTime".to_owned(), json!(self.time(node.edited, nth))),
        ]);
        let file_type = match &node.file_type {
            Some(file_type) => file_type.as_str(),
            None if node.folder => "10",
            None => file_type(suffix),
        };
        // What is a folder is known by nothing else, so a folder's type is always there.
        let type_shape = match knobs.file_type_shape {
            NumberShape::Null | NumberShape::Absent if node.folder => NumberShape::String,
            shape => shape,
        };
        put(&mut entry, "fileType", type_shape, file_type.parse().ok(), file_type);
        let size = if node.folder && knobs.odd_folders { 4096 } else { node.size };
        put(&mut entry, "size", knobs.size_shape, Some(size), &size.to_string());
        if !node.folder || knobs.odd_folders {
            self.put_links(&mut entry, node, signer);
        }
        if knobs.extra_fields {
            entry.insert("labels".to_owned(), json!([{"id": "F0", "fileName": "not this one", "size": -1}]));
            entry.insert("recycled".to_owned(), json!(false));
        }
        Value::Object(entry)
    }

    /// `downloadLinks` in the shape the knobs ask for.
    fn put_links(&self, entry: &mut Map<String, Value>, node: &Node, signer: &Signer) {
        let shape = self.knobs.download_links;
        match shape {
            DownloadLinks::Absent => return,
            DownloadLinks::Null => {
                entry.insert("downloadLinks".to_owned(), Value::Null);
                return;
            }
            _ => {}
        }
        // A folder that has links has links to nothing.
        let key = if node.folder { "0000000000000000000000000000000000f" } else { node.object.as_str() };
        let thumbnail = self.sign(&Tree::thumbnail_key(key), &node.name, signer);
        let granted = self.knobs.listing_links && self.knobs.permission_download != Some(false);
        let content = granted.then(|| self.sign(key, &node.name, signer));
        // The thumbnail comes first: who takes the first link reads the wrong bytes.
        let links = [("thumbnail", Some(thumbnail)), ("content", content)];
        let links = links.into_iter().filter_map(|(usage, url)| url.map(|url| (usage, url)));
        let value = match shape {
            DownloadLinks::MapOfObjects => Value::Object(
                links.map(|(usage, url)| (usage.to_owned(), json!({"usage": usage, "downloadLink": url}))).collect(),
            ),
            DownloadLinks::MapOfStrings => {
                Value::Object(links.map(|(usage, url)| (usage.to_owned(), json!(url))).collect())
            }
            DownloadLinks::String => {
                links.filter(|(usage, _)| *usage == "content").map(|(_, url)| json!(url)).next().unwrap_or(json!(""))
            }
            _ => links.map(|(usage, url)| json!({"usage": usage, "downloadLink": url})).collect(),
        };
        entry.insert("downloadLinks".to_owned(), value);
    }

    /// A time in the shape the knobs ask for.
    fn time(&self, at: Timestamp, nth: usize) -> String {
        match self.knobs.time_shape {
            TimeShape::Empty => String::new(),
            TimeShape::Milliseconds => format!("{at:.3}"),
            TimeShape::Seconds => format!("{at:.0}"),
            TimeShape::Mixed if nth.is_multiple_of(2) => format!("{at:.0}"),
            TimeShape::Mixed => format!("{at:.3}"),
        }
    }

    /// `CommonShareLink` (section 5.6).
    fn link(&self) -> Value {
        let share = &self.shared.share;
        let mut link = json!({
            "shareId": share.share_id,
            "shortUrl": share.short_code,
            "shareTime": format!("{:.3}", self.shared.started),
            "ownerId": "1592000000000054689",
            "ownerName": "",
            "expireDate": "30",
            "status": self.knobs.share_status,
        });
        match self.knobs.expiry(self.shared.started) {
            Ok(Expiry::At(at)) => link["expireTime"] = json!(format!("{at:.3}")),
            Ok(Expiry::Null) => link["expireTime"] = Value::Null,
            Ok(Expiry::Absent) | Err(_) => {}
        }
        if let Some(download) = self.knobs.permission_download {
            link["permission"] = json!({"preview": true, "edit": false, "download": download});
        }
        link
    }

    fn check_code(&self, short_url: &str) -> Result<(), Refusal> {
        if short_url == self.shared.share.short_code {
            Ok(())
        } else {
            Err(Refusal::business(NO_RESOURCE, "the share does not exist"))
        }
    }

    fn check_valid(&self) -> Result<(), Refusal> {
        let past = match self.knobs.expiry(self.shared.started) {
            Ok(Expiry::At(at)) => self.now >= at,
            _ => false,
        };
        match self.knobs.share_status {
            1 => Err(Refusal::business(DELETED, "the shared file was deleted")),
            2 => Err(Refusal::business(EXPIRED, "the share is no longer valid")),
            _ if past => Err(Refusal::business(EXPIRED, "the share has expired")),
            _ => Ok(()),
        }
    }

    fn check_token(&self, token: &str) -> Result<(), Refusal> {
        if self.knobs.access_code.is_none() {
            return Ok(());
        }
        let good = lock(&self.shared.share.tokens).ends.get(token).is_some_and(|ends| *ends > self.now);
        if good { Ok(()) } else { Err(Refusal::business(BAD_TOKEN, "the share wants a valid kdstoken")) }
    }
}

/// What a listing is of; a cursor is good for nothing else.
struct Bound<'a> {
    parent: &'a str,
    sort: u64,
    descending: bool,
    filter: &'a str,
}

impl Bound<'_> {
    fn tag(&self) -> String {
        let text = format!("{:?}/{}/{}/{:?}", self.parent, self.sort, self.descending, self.filter);
        hex(&hmac_sha256(b"listing", text.as_bytes())[..12])
    }
}

/// A place in a listing.
struct Place {
    index: usize,
    page: u64,
    issued_ms: i64,
    snapshot: u64,
}

fn write_cursor(tag: &str, place: &Place) -> String {
    let text = format!("{tag}.{}.{}.{}.{}", place.index, place.page, place.issued_ms, place.snapshot);
    let mac = hex(&hmac_sha256(b"cursor", text.as_bytes())[..8]);
    format!("{CURSOR_PREFIX}{text}.{mac}")
}

/// Writes a number in a shape.
fn put(entry: &mut Map<String, Value>, name: &str, shape: NumberShape, number: Option<u64>, text: &str) {
    let value = match shape {
        NumberShape::Absent => return,
        NumberShape::Null => Value::Null,
        NumberShape::String => json!(text),
        NumberShape::Number => number.map_or_else(|| json!(text), |number| json!(number)),
    };
    entry.insert(name.to_owned(), value);
}

/// `fileType` by file name extension (section 6.2).
fn file_type(suffix: &str) -> &'static str {
    match suffix.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" | "gif" | "jfif" | "webp" | "bmp" => "15",
        "mp4" | "mkv" | "mov" | "avi" | "webm" => "20",
        "doc" | "docx" => "26",
        "xls" | "xlsx" => "27",
        "ppt" | "pptx" => "28",
        "mp3" | "flac" | "ogg" | "wav" | "m4a" => "30",
        "zip" | "gz" | "xz" | "zst" | "tar" | "7z" | "rar" => "35",
        "exe" | "apk" | "deb" | "rpm" | "msi" => "40",
        _ => "45",
    }
}

/// The one query parameter of GET calls.
fn short_url(parts: &Parts) -> Result<String, Refusal> {
    let mut found = None;
    for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "shortUrl" || found.is_some() {
            return Err(Refusal::parameter(format!("query parameter {name:?} is unknown or came twice")));
        }
        found = Some(decode(value).ok_or_else(|| Refusal::parameter("shortUrl: broken percent-encoding"))?);
    }
    found.filter(|code| !code.is_empty()).ok_or_else(|| Refusal::parameter("shortUrl is mandatory"))
}
