//! The control interface under `/emulator`: knobs, faults, counters and expected bytes for scripts and people.
//!
//! Owns: its little HTTP grammar. It is on the API's listener, but counts as no API call and knows no delay or fault.

use super::server::Shared;
use super::sign::decode;
use super::tree::Node;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use serde_json::{Value, json};
use std::sync::Arc;

/// What `GET /emulator` says.
const HELP: &str = "\
GET    /emulator/knobs            all knobs as JSON
POST   /emulator/knobs            {\"knob\": value, …}: changes these, answers all
GET    /emulator/faults           the table of faults, with how often each was seen and fired
POST   /emulator/faults           adds one per line: object:stall,every=7,limit=3
DELETE /emulator/faults           removes all
GET    /emulator/counters         what happened (?totals for all but the files)
POST   /emulator/counters/reset   sets them to zero
POST   /emulator/links/revoke     every link issued so far is refused from now on
POST   /emulator/tokens/revoke    every kdstoken is refused from now on
POST   /emulator/share/unlock     forgets wrong access codes
GET    /emulator/node?path=a/b    what is served at a path: id, size, object key
GET    /emulator/expected?path=a/b&offset=0&len=100    the bytes that are right
";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    fn json(value: &Value) -> Self {
        Self { status: 200, content_type: "application/json", body: Bytes::from(format!("{value:#}\n")) }
    }

    fn text(status: u16, text: impl std::fmt::Display) -> Self {
        Self { status, content_type: "text/plain;charset=UTF-8", body: Bytes::from(format!("{text}\n")) }
    }
}

/// Whether a path is control's.
pub fn is_control(path: &str) -> bool {
    path == "/emulator" || path.starts_with("/emulator/")
}

/// Answers a control call.
pub fn answer(shared: &Shared, parts: &Parts, body: &[u8]) -> Answer {
    let query = parts.uri.query().unwrap_or_default();
    let result = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/emulator" | "/emulator/") => Ok(Answer::text(200, HELP)),
        ("GET", "/emulator/knobs") => knobs(shared),
        ("POST", "/emulator/knobs") => serde_json::from_slice(body)
            .map_err(|error| error.to_string())
            .and_then(|changes: Value| shared.turn(|knobs| knobs.with_json(&changes)))
            .and_then(|()| knobs(shared)),
        ("GET", "/emulator/faults") => Ok(Answer::json(&json!(shared.faults.list()))),
        ("POST", "/emulator/faults") => add_faults(shared, body),
        ("DELETE", "/emulator/faults") => {
            shared.faults.clear();
            Ok(Answer::text(200, "no faults"))
        }
        ("GET", "/emulator/counters") => {
            let counters = if query == "totals" { shared.counters.totals() } else { shared.counters.snapshot() };
            Ok(Answer::json(&json!(counters)))
        }
        ("POST", "/emulator/counters/reset") => {
            shared.counters.reset();
            Ok(Answer::text(200, "counters reset"))
        }
        ("POST", "/emulator/links/revoke") => {
            shared.keys.rotate();
            Ok(Answer::text(200, "links revoked"))
        }
        ("POST", "/emulator/tokens/revoke") => {
            shared.share.revoke_tokens();
            Ok(Answer::text(200, "tokens revoked"))
        }
        ("POST", "/emulator/share/unlock") => {
            shared.share.unlock();
            Ok(Answer::text(200, "share unlocked"))
        }
        ("GET", "/emulator/node") => node(shared, query).map(|node| {
            Answer::json(&json!({
                "id": node.id, "name": node.name, "parent": node.parent, "folder": node.folder, "size": node.size,
                "editedTime": node.edited.to_string(), "object": node.object,
            }))
        }),
        ("GET", "/emulator/expected") => expected(shared, query),
        (method, path) => return Answer::text(404, format!("there is no {method} {path}\n\n{HELP}")),
    };
    result.unwrap_or_else(|error| Answer::text(400, error))
}

fn knobs(shared: &Shared) -> Result<Answer, String> {
    serde_json::to_value(&*shared.knobs()).map(|knobs| Answer::json(&knobs)).map_err(|error| error.to_string())
}

/// One fault per line, or a JSON array of strings.
fn add_faults(shared: &Shared, body: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let lines: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let faults: Vec<super::faults::Fault> = lines.iter().map(|line| line.parse()).collect::<Result<_, String>>()?;
    for fault in faults {
        shared.faults.add(fault);
    }
    Ok(Answer::json(&json!(shared.faults.list())))
}

/// The value of a query parameter.
fn parameter(query: &str, wanted: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == wanted)
        .and_then(|(_, value)| decode(value))
}

fn node(shared: &Shared, query: &str) -> Result<Arc<Node>, String> {
    let path = parameter(query, "path").ok_or("path=… is missing")?;
    shared.tree.find(&path).ok_or_else(|| format!("nothing is served at {path:?}"))
}

fn expected(shared: &Shared, query: &str) -> Result<Answer, String> {
    let node = node(shared, query)?;
    if node.folder {
        return Err(format!("{:?} is a folder", node.name));
    }
    let number = |name: &str, default: u64| match parameter(query, name) {
        None => Ok(default),
        Some(text) => super::knobs::parse_bytes(&text),
    };
    let offset = number("offset", 0)?;
    let len = number("len", node.size.saturating_sub(offset))?.min(1 << 30);
    let bytes = shared.tree.expected(&node.id, offset, usize::try_from(len).map_err(|error| error.to_string())?);
    Ok(Answer { status: 200, content_type: "application/octet-stream", body: Bytes::from(bytes) })
}
