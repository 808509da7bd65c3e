//! Compressed answers of the API, as gateways give them to whoever asks.
//!
//! Owns: who gets one, and what is wrong with one on demand. The object store compresses nothing: `objects.rs` has its own way with
//! those who allow it.

use super::body::Body;
use super::faults::FaultKind;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Response;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};
use std::io::{self, Write as _};
use std::sync::OnceLock;

/// Shorter answers are not worth it.
pub const MIN_GZIP: usize = 1000;
/// What the answer of the fault `gzip_bomb` holds: a thousand times as much as it sends.
const BOMB_BYTES: usize = 256 << 20;

/// Whether a request allows gzip: `gzip`, `x-gzip` or `*` with a weight that is not zero.
pub fn allowed(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING);
    let mut codings = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight: f64 = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(0.0);
        ["gzip", "x-gzip", "*"].contains(&name.trim().to_ascii_lowercase().as_str()) && weight > 0.0
    })
}

/// An answer that says `text`, compressed unless it is short; or what the fault makes of it.
///
/// # Errors
/// Never in practice: memory is written to.
pub fn compress(mut response: Response<Body>, text: &[u8], fault: Option<FaultKind>) -> io::Result<Response<Body>> {
    let bytes = match fault {
        Some(FaultKind::GzipBomb) => bomb()?.to_vec(),
        Some(FaultKind::BrokenGzip) => {
            let mut bytes = gzip(text)?;
            // The check value at the end is of something else.
            if let Some(byte) = bytes.iter_mut().nth_back(7) {
                *byte ^= 0xff;
            }
            bytes
        }
        _ if text.len() < MIN_GZIP => return Ok(response),
        _ => gzip(text)?,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok(response.map(|_| Body::full(bytes)))
}

fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    // Gateways compress on the fly: the fastest level. A page of 113 KB of listing becomes about 20 KB.
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(text)?;
    to.finish()
}

/// A quarter of a gibibyte of spaces, made once.
fn bomb() -> io::Result<&'static [u8]> {
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    if BOMB.get().is_none() {
        let mut to = GzEncoder::new(Vec::new(), Compression::best());
        let spaces = vec![b' '; 1 << 20];
        for _ in 0..BOMB_BYTES >> 20 {
            to.write_all(&spaces)?;
        }
        // Whoever was first: both are the same.
        let _ = BOMB.set(to.finish()?);
    }
    Ok(BOMB.get().map_or(&[], Vec::as_slice))
}
