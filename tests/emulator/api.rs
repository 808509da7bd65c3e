//! The API as a whole: which calls there are, what they have in common, and the shape of every answer.
//!
//! Owns: routes, headers all calls share, JSON fields, the envelope, refusals. What a call means is up to `share_api.rs`,
//! `space_api.rs` and `auth.rs`. Runs on blocking threads; knows no sockets and no object bytes.

use super::auth::{self, User};
use super::faults::FaultKind;
use super::knobs::{AuthRefusalBody, Knobs, NumberShape, TimeShape};
use super::server::{Shared, gateway, now};
use super::sign::{Grant, Signer, decode, disposition};
use super::tree::Node;
use super::{share_api, space_api};
use hyper::http::request::Parts;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

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

/// No permission on this space (documented).
pub const NO_PERMISSION: u32 = 13_000_410;
/// File is not in this space (documented).
pub const OTHER_SPACE: u32 = 13_000_411;
/// Space not active (documented).
pub const NOT_ACTIVE: u32 = 13_000_412;
/// Space missing or in a bad state (documented).
pub const NO_SPACE: u32 = 13_000_301;
/// Download failed (documented); answered for entries that the fault `partial_batch` fails.
pub const DOWNLOAD_FAILED: u32 = 13_000_408;
/// Authentication not passed (made up; the documentation names no code).
pub const NOT_AUTHENTICATED: u32 = 13_009_101;
/// Unknown account or wrong password (made up).
pub const WRONG_PASSWORD: u32 = 13_009_102;
/// The account is locked after too many wrong passwords (made up).
pub const ACCOUNT_LOCKED: u32 = 13_009_103;
/// The refresh token is wrong, too old, or was used and replaced (made up).
pub const BAD_REFRESH_TOKEN: u32 = 13_009_104;

/// What every path begins with.
const PREFIX: &str = "/koodrive/ose/";

/// Who may make a call, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `share/public/…`: no login, but a carrier name.
    Public,
    /// `auth/login`: neither, but a carrier name.
    Login,
    /// `auth/refreshToken`, `session/refresh`: a token that may be over; no app signature (section 3.4).
    Session,
    /// Everything that wants `Authorization`, `X-User-Id` and `X-Date`.
    Authenticated,
}

/// A call of the API.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name in faults, knobs and counters.
    pub name: &'static str,
    /// Who may make it.
    pub family: Family,
    method: &'static str,
    /// Its path below [`PREFIX`]; `{}` is any one element.
    path: &'static str,
}

const fn call(name: &'static str, family: Family, method: &'static str, path: &'static str) -> Endpoint {
    Endpoint { name, family, method, path }
}

/// Every call; of two that fit a path, the first is meant.
const ENDPOINTS: [Endpoint; 27] = [
    call("visit", Family::Public, "GET", "v1/share/public/visit"),
    call("userInfo", Family::Public, "GET", "v1/share/public/userInfo"),
    call("verify", Family::Public, "POST", "v1/share/public/verify"),
    call("files", Family::Public, "POST", "v1/share/public/files"),
    call("download", Family::Public, "POST", "v1/share/public/download"),
    call("shareVisit", Family::Authenticated, "GET", "v1/share/visit"),
    call("shareUserInfo", Family::Authenticated, "GET", "v1/share/userInfo"),
    call("shareVerify", Family::Authenticated, "POST", "v1/share/verify"),
    call("shareFiles", Family::Authenticated, "POST", "v1/share/files"),
    call("shareDownload", Family::Authenticated, "POST", "v1/share/download"),
    call("login", Family::Login, "POST", "v1/auth/login"),
    call("refreshToken", Family::Session, "POST", "v1/auth/refreshToken"),
    call("sessionRefresh", Family::Session, "POST", "v1/session/refresh"),
    call("teamList", Family::Authenticated, "GET", "v1/space/teamList"),
    call("departmentList", Family::Authenticated, "GET", "v1/space/departmentList"),
    call("groupList", Family::Authenticated, "GET", "v1/space/groupList"),
    call("space", Family::Authenticated, "GET", "v1/space/{}"),
    call("spaceV2", Family::Authenticated, "GET", "v2/space/{}"),
    call("spaceDownload", Family::Authenticated, "POST", "v1/files/download"),
    call("path", Family::Authenticated, "GET", "v1/files/path"),
    call("statsDir", Family::Authenticated, "GET", "v1/files/statsDir"),
    call("spaceFiles", Family::Authenticated, "POST", "v1/files/{}"),
    call("detail", Family::Authenticated, "POST", "v1/files/{}/detail"),
    call("teamFiles", Family::Authenticated, "POST", "v1/files/{}/{}"),
    call("walkFile", Family::Authenticated, "POST", "v1/file/walkFile"),
    call("shareFolderList", Family::Authenticated, "GET", "v1/sharefolder/list"),
    call("shareFolderMetadata", Family::Authenticated, "GET", "v1/sharefolder/metadata/{}"),
];

/// Names of all calls, as faults, counters and the knob `hold` know them.
pub fn endpoint_names() -> impl Iterator<Item = &'static str> {
    ENDPOINTS.iter().map(|endpoint| endpoint.name)
}

/// A call, and what its path says.
#[derive(Clone, Debug)]
pub struct Route {
    /// The call.
    pub endpoint: &'static Endpoint,
    /// The elements of the path that its pattern leaves open, decoded.
    pub args: Vec<String>,
}

/// The call with this path.
pub fn route(path: &str) -> Option<Route> {
    let elements: Vec<&str> = path.strip_prefix(PREFIX)?.split('/').collect();
    ENDPOINTS.iter().find_map(|endpoint| {
        let pattern: Vec<&str> = endpoint.path.split('/').collect();
        if pattern.len() != elements.len() {
            return None;
        }
        let mut args = Vec::new();
        for (wanted, element) in pattern.iter().zip(&elements) {
            match *wanted {
                "{}" => args.push(decode(element).filter(|text| !text.is_empty())?),
                wanted if wanted == *element => {}
                _ => return None,
            }
        }
        Some(Route { endpoint, args })
    })
}

/// An answer: HTTP status and JSON.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// What a good answer holds besides `code` and `msg`.
#[derive(Debug)]
pub enum Payload {
    /// At top level, or under `data` if the knob says so.
    Top(Map<String, Value>),
    /// Under `data`, as documented.
    Data(Value),
    /// At top level without `code` and `msg` (getFile, section 4.1).
    Bare(Map<String, Value>),
}

impl Payload {
    /// Nothing but `code` and `msg`.
    pub fn none() -> Self {
        Self::Top(Map::new())
    }

    /// One field at top level.
    pub fn field(name: &str, value: Value) -> Self {
        Self::Top(Map::from_iter([(name.to_owned(), value)]))
    }
}

/// A call that is refused.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status if it is not the one of business errors.
    pub status: Option<u16>,
    /// Business code.
    pub code: u32,
    /// For `msg` and the log.
    pub message: String,
    /// Whether a careful client would not have made this call.
    pub complaint: bool,
    /// Set: a gateway code; the refusal is one of authentication, in the shape the knobs ask for.
    pub auth: Option<&'static str>,
}

impl Refusal {
    /// The client's own mistake.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self { complaint: true, ..Self::business(BAD_PARAMETER, message) }
    }

    /// A mistake in a header: the gateway's layer, always 400.
    pub fn header(message: impl Into<String>) -> Self {
        Self { status: Some(400), ..Self::parameter(message) }
    }

    /// Something that can happen to anybody.
    pub fn business(code: u32, message: impl Into<String>) -> Self {
        Self { status: None, code, message: message.into(), complaint: false, auth: None }
    }

    /// Authentication that is not passed. What exactly is wrong goes to the log only.
    pub fn auth(gateway_code: &'static str, message: impl Into<String>) -> Self {
        Self { auth: Some(gateway_code), ..Self::business(NOT_AUTHENTICATED, message) }
    }

    /// The same, and a careful client would not have made this call.
    #[must_use]
    pub fn complained(self) -> Self {
        Self { complaint: true, ..self }
    }
}

/// One call and what it needs.
pub struct Call<'a> {
    /// The emulator.
    pub shared: &'a Shared,
    /// The knobs when it began.
    pub knobs: &'a Knobs,
    /// The service's time.
    pub now: Timestamp,
    /// What goes wrong, if that changes what is answered.
    pub fault: Option<FaultKind>,
    /// Which call.
    pub route: &'a Route,
    /// Its head.
    pub parts: &'a Parts,
    /// Its body.
    pub body: &'a [u8],
    /// Who calls; nobody in particular if the call needs no login.
    pub user: User,
}

/// Answers a call.
pub fn answer(
    shared: &Shared,
    knobs: &Knobs,
    route: &Route,
    parts: &Parts,
    body: &[u8],
    fault: Option<FaultKind>,
) -> Answer {
    let mut call = Call { shared, knobs, now: now(knobs), fault, route, parts, body, user: User::default() };
    match call.answer() {
        Ok(payload) => Answer { status: 200, body: envelope(knobs, 0, "Success.", payload) },
        Err(refusal) => {
            let text = format!("{}: {} ({})", route.endpoint.name, refusal.message, refusal.code);
            if refusal.complaint {
                shared.counters.complain(text);
            } else {
                log::info!("{text}");
            }
            if let Some(gateway_code) = refusal.auth {
                let body = match knobs.auth_refusal_body {
                    AuthRefusalBody::Gateway => gateway(shared, gateway_code, "Incorrect authentication information"),
                    AuthRefusalBody::Business => {
                        envelope(knobs, NOT_AUTHENTICATED, "authentication not passed", Payload::none())
                    }
                };
                return Answer { status: knobs.auth_refusal_status, body };
            }
            Answer {
                status: refusal.status.unwrap_or(knobs.business_status),
                body: envelope(knobs, refusal.code, &refusal.message, Payload::none()),
            }
        }
    }
}

impl Call<'_> {
    fn answer(&mut self) -> Result<Payload, Refusal> {
        self.check_head()?;
        let name = self.route.endpoint.name;
        match self.route.endpoint.family {
            Family::Public => share_api::answer(self, name),
            Family::Login | Family::Session => auth::answer(self, name),
            Family::Authenticated => {
                self.user = auth::authenticate(self)?;
                match name {
                    "shareVisit" => share_api::answer(self, "visit"),
                    "shareUserInfo" => share_api::answer(self, "userInfo"),
                    "shareVerify" => share_api::answer(self, "verify"),
                    "shareFiles" => share_api::answer(self, "files"),
                    "shareDownload" => share_api::answer(self, "download"),
                    name => space_api::answer(self, name),
                }
            }
        }
    }

    /// The one value of a header.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.parts.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Refusal::header(format!("{name} came twice")));
        }
        value.to_str().map(Some).map_err(|_| Refusal::header(format!("{name} is not printable ASCII")))
    }

    /// Method, and headers that all calls have in common.
    fn check_head(&self) -> Result<(), Refusal> {
        let Endpoint { name, family, method, .. } = *self.route.endpoint;
        if self.parts.method.as_str() != method {
            return Err(Refusal {
                status: Some(405),
                ..Refusal::parameter(format!("{name} is called by {method}, not {}", self.parts.method))
            });
        }
        if matches!(family, Family::Public | Family::Login) {
            match (self.header("x-hw-agentname")?, &self.knobs.agent) {
                (None | Some(""), _) => return Err(Refusal::header("X-Hw-Agentname is mandatory")),
                (Some(agent), Some(wanted)) if agent != wanted => {
                    return Err(Refusal::header(format!("X-Hw-Agentname {agent:?} is not known")));
                }
                _ => {}
            }
            if self.header("authorization")?.is_some() {
                return Err(Refusal::header("authorization has no place in this call"));
            }
        }
        if let Some(trace) = self.header("x-traceid")? {
            let fits = trace.len() == 58 && trace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !fits {
                return Err(Refusal::header("X-Traceid must be 58 letters, digits or underscores"));
            }
        }
        if let Some(language) = self.header("language")?
            && !["en-US", "en_us", "en_US", "zh-CN", "zh_cn", "zh_CN"].contains(&language)
        {
            return Err(Refusal::header(format!("language {language:?} is not known")));
        }
        if let Some(content_type) = self.header("content-type")? {
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                return Err(Refusal::header(format!("Content-Type {content_type:?} is not application/json")));
            }
        }
        if self.header("cookie")?.is_some() {
            return Err(Refusal::header("cookie has no place in a call"));
        }
        if method == "POST" && name != "teamFiles" && self.parts.uri.query().is_some() {
            return Err(Refusal::parameter("this call has no query"));
        }
        Ok(())
    }

    /// The query, none of whose parameters may be unknown or come twice.
    pub fn query(&self, known: &[&str]) -> Result<Map<String, Value>, Refusal> {
        let mut all = Map::new();
        for pair in self.parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or_else(|| Refusal::parameter(format!("{name}: broken percent-encoding")))?;
            if !known.contains(&name) || all.insert(name.to_owned(), json!(value)).is_some() {
                return Err(Refusal::parameter(format!("query parameter {name:?} is unknown or came twice")));
            }
        }
        Ok(all)
    }

    /// The body, none of whose fields may be unknown.
    pub fn fields(&self, known: &[&str]) -> Result<Map<String, Value>, Refusal> {
        let body = json_object(self.body)?;
        check_fields(&body, known)?;
        Ok(body)
    }

    /// A time in the shape the knobs ask for.
    pub fn time(&self, at: Timestamp, nth: usize) -> String {
        match self.knobs.time_shape {
            TimeShape::Empty => String::new(),
            TimeShape::Milliseconds => format!("{at:.3}"),
            TimeShape::Seconds => format!("{at:.0}"),
            TimeShape::Mixed if nth.is_multiple_of(2) => format!("{at:.0}"),
            TimeShape::Mixed => format!("{at:.3}"),
        }
    }

    /// A link to a file's content.
    pub fn content_link(&self, node: &Node, signer: &Signer) -> String {
        self.sign(&node.object, &node.name, signer)
    }

    pub fn sign(&self, key: &str, name: &str, signer: &Signer) -> String {
        let disposition = disposition(name);
        let grant = Grant { host: &self.shared.object_host, key, disposition: Some(&disposition) };
        let target = signer.issue(self.knobs.link_style, &grant, self.knobs.link_lifetime);
        self.shared.given_out.note_link(&target);
        format!("{}{target}", self.shared.object_origin)
    }
}

/// `code`, `msg` and the payload, in the shape the knobs ask for.
pub fn envelope(knobs: &Knobs, code: u32, message: &str, payload: Payload) -> Value {
    let mut body = match payload {
        Payload::Bare(payload) => return Value::Object(payload),
        Payload::Data(data) => Map::from_iter([("data".to_owned(), data)]),
        Payload::Top(payload) if knobs.payload_under_data && code == 0 => {
            Map::from_iter([("data".to_owned(), Value::Object(payload))])
        }
        Payload::Top(payload) => payload,
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

/// The body as a JSON object.
pub fn json_object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::parameter("the body is not a JSON object")),
        Err(error) => Err(Refusal::parameter(format!("the body is not JSON: {error}"))),
    }
}

/// Refuses fields nobody knows.
pub fn check_fields(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::parameter(format!("there is no field {key:?}"))),
        None => Ok(()),
    }
}

/// An optional text.
pub fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Refusal::parameter(format!("{name}: {other} is not a string"))),
    }
}

/// A mandatory text.
pub fn mandatory<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match text(body, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::parameter(format!("{name} is mandatory"))),
    }
}

/// An optional truth value.
pub fn truth(body: &Map<String, Value>, name: &str) -> Result<bool, Refusal> {
    match body.get(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Refusal::parameter(format!("{name}: {other} is not a boolean"))),
    }
}

/// An optional integer, which may be written as a string (section 12, row 4).
pub fn integer(
    body: &Map<String, Value>,
    name: &str,
    default: u64,
    allowed: impl Fn(u64) -> bool,
) -> Result<u64, Refusal> {
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

/// Writes a number in a shape.
pub fn put(entry: &mut Map<String, Value>, name: &str, shape: NumberShape, number: Option<u64>, text: &str) {
    let value = match shape {
        NumberShape::Absent => return,
        NumberShape::Null => Value::Null,
        NumberShape::String => json!(text),
        NumberShape::Number => number.map_or_else(|| json!(text), |number| json!(number)),
    };
    entry.insert(name.to_owned(), value);
}

/// `fileType` and `size` of an entry, in the shapes the knobs ask for.
pub fn put_type_and_size(knobs: &Knobs, entry: &mut Map<String, Value>, node: &Node) {
    let file_type = node.file_type();
    // What is a folder is known by nothing else, so a folder's type is always there.
    let type_shape = match knobs.file_type_shape {
        NumberShape::Null | NumberShape::Absent if node.folder => NumberShape::String,
        shape => shape,
    };
    put(entry, "fileType", type_shape, file_type.parse().ok(), file_type);
    let size = if node.folder && knobs.odd_folders { 4096 } else { node.size };
    put(entry, "size", knobs.size_shape, Some(size), &size.to_string());
}
