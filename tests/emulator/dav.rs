//! A WebDAV view of the share's tree under `/dav/` on the object listener: the same files, with the same delays, for
//! other clients (rclone) to be measured against.
//!
//! Owns: the read-only subset of RFC 4918 that a mount needs: OPTIONS, PROPFIND of depth 0 and 1, GET with ranges, HEAD.
//! PROPFIND takes the time of an API call, GET and HEAD that of an object. No links, no faults, no quirks of OBS.

use super::body::Body;
use super::knobs::Knobs;
use super::lock;
use super::objects::{self, Serving};
use super::server::{Conn, Shared, delay, http_date, read_body, text_response};
use super::sign::{decode, encode};
use super::tree::{Lookup, Node};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue};
use hyper::{Request, Response};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

/// Where it is.
const PREFIX: &str = "/dav";
/// How many paths are remembered; without them every GET would read its whole directory.
const PATHS: usize = 1_000_000;

/// Ids of paths that were listed.
#[derive(Debug, Default)]
pub struct Paths {
    known: Mutex<(Option<u64>, HashMap<String, String>)>,
}

/// Whether a path is in the view.
pub fn is_dav(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Name of a call in counters and the knob `hold`.
pub fn endpoint(method: &str) -> &'static str {
    match method {
        "PROPFIND" => "davList",
        "GET" | "HEAD" => "davGet",
        _ => "davOther",
    }
}

/// Answers a call.
pub async fn answer(
    shared: &Arc<Shared>,
    conn: &Arc<Conn>,
    knobs: &Arc<Knobs>,
    request: Request<Incoming>,
) -> Response<Body> {
    let method = request.method().as_str().to_owned();
    let listing = method == "PROPFIND";
    let guard = if listing { shared.counters.api.enter() } else { shared.counters.object.enter() };
    match method.as_str() {
        "OPTIONS" => {}
        "PROPFIND" => delay(knobs.api_latency, knobs.jitter).await,
        "GET" | "HEAD" => delay(knobs.object_latency, knobs.jitter).await,
        _ => {
            let mut response = plain(405, "read-only");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("OPTIONS, PROPFIND, GET, HEAD"));
            return response;
        }
    }
    shared.held(endpoint(&method)).await;
    if method == "OPTIONS" {
        let mut response = plain(200, "");
        response.headers_mut().insert(HeaderName::from_static("dav"), HeaderValue::from_static("1"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("OPTIONS, PROPFIND, GET, HEAD"));
        return response;
    }
    let (parts, body) = request.into_parts();
    let elements: Option<Vec<String>> =
        parts.uri.path()[PREFIX.len()..].split('/').filter(|element| !element.is_empty()).map(decode).collect();
    let Some(elements) = elements else {
        return plain(400, "broken percent-encoding");
    };
    if listing {
        let depth = parts.headers.get("depth").and_then(|depth| depth.to_str().ok());
        let children = match depth {
            Some("0") => false,
            Some("1") => true,
            _ => return plain(403, "Depth must be 0 or 1"),
        };
        // Which properties are asked for makes no difference: there are few.
        if read_body(Request::from_parts(parts, body)).await.is_none() {
            return plain(413, "too large");
        }
        let finder = Arc::clone(shared);
        let listed = tokio::task::spawn_blocking(move || multistatus(&finder, &elements, children)).await;
        return match listed {
            Ok(Some(xml)) => text_response(207, "application/xml; charset=utf-8", xml).map(|body| body.guarded(guard)),
            Ok(None) => plain(404, "no such file"),
            Err(error) => plain(500, &error.to_string()),
        };
    }
    let finder = Arc::clone(shared);
    let found = tokio::task::spawn_blocking(move || {
        let node = find(&finder, &elements)?;
        Some((finder.tree.object(&node.object), node))
    });
    let Some((object, node)) = found.await.ok().flatten() else {
        return plain(404, "no such file");
    };
    let Some(object) = object else {
        return plain(if node.folder { 405 } else { 404 }, "no content");
    };
    shared.counters.file(&node.id, &node.name, |file| {
        file.gets += 1;
        let range = parts.headers.get("range").and_then(|range| range.to_str().ok());
        file.ranges.push_back(range.unwrap_or("-").to_owned());
    });
    let serving = Serving {
        shared,
        conn,
        knobs,
        headers: &parts.headers,
        object: &object,
        disposition: None,
        fault: None,
        plain_http: true,
    };
    let response = objects::serve(&serving, &|status, _, message| plain(status, message), guard);
    // Length and version as for GET, but nothing to send.
    if method == "HEAD" { response.map(|_| Body::empty()) } else { response }
}

fn plain(status: u16, text: &str) -> Response<Body> {
    text_response(status, "text/plain;charset=UTF-8", text.to_owned())
}

/// The node at a path of names; `None` at the top, too.
fn find(shared: &Shared, elements: &[String]) -> Option<Arc<Node>> {
    let path = elements.join("/");
    let version = shared.tree.version();
    let known = {
        let known = lock(&shared.dav.known);
        if known.0 == version { known.1.get(&path).cloned() } else { None }
    };
    if let Some(id) = known
        && let Lookup::Found(node) = shared.tree.lookup(&id)
    {
        return Some(node);
    }
    shared.tree.find(&path)
}

/// The answer to PROPFIND; `None` if there is nothing at this path.
fn multistatus(shared: &Shared, elements: &[String], children: bool) -> Option<String> {
    let node = if elements.is_empty() { None } else { Some(find(shared, elements)?) };
    let mut href = PREFIX.to_owned();
    for element in elements {
        href.push('/');
        href.push_str(&encode(element));
    }
    let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">".to_owned();
    let folder = node.as_ref().is_none_or(|node| node.folder);
    put(&mut xml, &href, node.as_deref(), shared);
    if children && folder {
        let version = shared.tree.version();
        let id = node.as_ref().map_or("", |node| node.id.as_str());
        let listed = shared.tree.list(id).ok()?;
        let mut paths = Vec::with_capacity(listed.len());
        for child in listed {
            // What has no name or a slash in it has no path here.
            if child.name.is_empty() || child.name.contains('/') {
                continue;
            }
            put(&mut xml, &format!("{href}/{}", encode(&child.name)), Some(&child), shared);
            let path: Vec<&str> = elements.iter().map(String::as_str).chain([child.name.as_str()]).collect();
            // Of several with one name the first is meant, as by `Tree::find`.
            paths.push((path.join("/"), child.id.clone()));
        }
        let mut known = lock(&shared.dav.known);
        if known.0 != version || known.1.len() > PATHS {
            *known = (version, HashMap::new());
        }
        for (path, id) in paths {
            known.1.entry(path).or_insert(id);
        }
    }
    xml.push_str("\n</D:multistatus>\n");
    Some(xml)
}

/// One `response` element.
fn put(xml: &mut String, href: &str, node: Option<&Node>, shared: &Shared) {
    let folder = node.is_none_or(|node| node.folder);
    let edited = node.map_or(shared.started, |node| node.edited);
    // Writing to a String cannot fail.
    let _ = write!(
        xml,
        "\n<D:response><D:href>{href}{}</D:href><D:propstat><D:prop><D:getlastmodified>{}</D:getlastmodified>",
        if folder { "/" } else { "" },
        http_date(edited)
    );
    match node.filter(|node| !node.folder) {
        None => xml.push_str("<D:resourcetype><D:collection/></D:resourcetype>"),
        Some(node) => {
            let etag = shared.tree.etag(&node.object).unwrap_or_default();
            let _ = write!(
                xml,
                "<D:resourcetype/><D:getcontentlength>{}</D:getcontentlength><D:getetag>\"{etag}\"</D:getetag>",
                node.size
            );
        }
    }
    xml.push_str("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>");
}
