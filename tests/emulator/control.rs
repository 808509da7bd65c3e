//! The control interface under `/emulator`: knobs, faults, counters and expected bytes for scripts and people.
//!
//! Owns: its little HTTP grammar. It is on the API's listener, but counts as no API call and knows no delay or fault.

use super::server::Shared;
use super::sign::decode;
use super::spaces::{Space, SpaceState};
use super::tree::{Node, Tree};
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
POST   /emulator/auth/mint        a new enterprise token, as it stands in Authorization
POST   /emulator/auth/revoke      every access token is refused from now on (or the one in the body)
POST   /emulator/auth/revoke_refresh  every refresh token is refused from now on
POST   /emulator/auth/unlock      forgets wrong passwords
GET    /emulator/spaces           ids of the spaces and shared folders
POST   /emulator/spaces?container=ID&state=active|not_active|missing|forbidden&capacity=GB&used=N   changes one
GET    /emulator/node?path=a/b    what is served at a path: id, size, object key
GET    /emulator/expected?path=a/b&offset=0&len=100    the bytes that are right
       both take &container=ID for a path in a space
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
        ("POST", "/emulator/auth/mint") => {
            Ok(Answer::text(200, shared.sessions.mint(super::server::now(&shared.knobs()))))
        }
        ("POST", "/emulator/auth/revoke") => match std::str::from_utf8(body).map(str::trim) {
            Ok("") => {
                shared.sessions.revoke();
                Ok(Answer::text(200, "access tokens revoked"))
            }
            Ok(token) if shared.sessions.revoke_one(token) => Ok(Answer::text(200, "access token revoked")),
            _ => Err("this token is not known".to_owned()),
        },
        ("POST", "/emulator/auth/revoke_refresh") => {
            shared.sessions.revoke_refreshes();
            Ok(Answer::text(200, "refresh tokens revoked"))
        }
        ("POST", "/emulator/auth/unlock") => {
            shared.sessions.unlock();
            Ok(Answer::text(200, "account unlocked"))
        }
        ("GET", "/emulator/spaces") => Ok(Answer::json(&spaces(shared))),
        ("POST", "/emulator/spaces") => change_space(shared, query).map(|()| Answer::json(&spaces(shared))),
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

/// The tree a query is about: the share's, or the one of the space it names.
fn tree<'a>(shared: &'a Shared, query: &str) -> Result<&'a Tree, String> {
    match parameter(query, "container") {
        None => Ok(&shared.tree),
        Some(container) => Ok(&space(shared, &container)?.tree),
    }
}

fn space<'a>(shared: &'a Shared, container: &str) -> Result<&'a Space, String> {
    shared.spaces.get(container).ok_or_else(|| format!("there is no space {container:?}"))
}

fn spaces(shared: &Shared) -> Value {
    let spaces: Vec<Value> = shared
        .spaces
        .all
        .iter()
        .map(|space| {
            let settings = space.settings();
            json!({
                "kind": format!("{:?}", space.kind), "container": space.container, "owner": space.owner,
                "name": space.name, "state": format!("{:?}", settings.state), "capacity": settings.capacity_gb,
                "used": settings.used,
            })
        })
        .collect();
    let folders: Vec<Value> = shared
        .spaces
        .shared_folders
        .iter()
        .map(|folder| json!({"id": folder.id, "name": folder.name, "container": folder.container, "path": folder.path}))
        .collect();
    json!({"spaces": spaces, "sharedFolders": folders})
}

fn change_space(shared: &Shared, query: &str) -> Result<(), String> {
    let space = space(shared, &parameter(query, "container").ok_or("container=… is missing")?)?;
    let state = match parameter(query, "state").as_deref() {
        None => None,
        Some("active") => Some(SpaceState::Active),
        Some("not_active") => Some(SpaceState::NotActive),
        Some("missing") => Some(SpaceState::Missing),
        Some("forbidden") => Some(SpaceState::Forbidden),
        Some(other) => return Err(format!("state {other:?} is none of active, not_active, missing, forbidden")),
    };
    let number = |name: &str| parameter(query, name).map(|text| text.parse::<u64>()).transpose();
    let capacity = number("capacity").map_err(|error| format!("capacity: {error}"))?;
    let used = number("used").map_err(|error| format!("used: {error}"))?;
    space.change(|settings| {
        settings.state = state.unwrap_or(settings.state);
        settings.capacity_gb = capacity.unwrap_or(settings.capacity_gb);
        settings.used = used.unwrap_or(settings.used);
    });
    Ok(())
}

fn node(shared: &Shared, query: &str) -> Result<Arc<Node>, String> {
    let path = parameter(query, "path").ok_or("path=… is missing")?;
    tree(shared, query)?.find(&path).ok_or_else(|| format!("nothing is served at {path:?}"))
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
    let bytes =
        tree(shared, query)?.expected(&node.id, offset, usize::try_from(len).map_err(|error| error.to_string())?);
    Ok(Answer { status: 200, content_type: "application/octet-stream", body: Bytes::from(bytes) })
}
