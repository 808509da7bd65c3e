//! Presigned links: issuing and verifying, in the styles OBS knows.
//!
//! Owns: keys, canonical forms, signatures, expiry. Knows nothing of HTTP serving or of what an object holds.
//!
//! Stricter than OBS on purpose: a link is good only if the bytes that arrive are the bytes that were issued. OBS would
//! canonicalise a re-encoded query and might let it pass; here a link that was normalised, decoded, re-encoded or
//! re-ordered is refused, because the client's promise is to send it byte for byte.
//!
//! Sources: AWS "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"; OBS API reference
//! obs_04_0011 (signature in a URL, V2); src/koodrive/API.md, section 10.2.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The bucket every object lives in.
pub const BUCKET: &str = "koodrive-emulator";
/// The region named in credentials.
const REGION: &str = "cn-north-4";

/// How a link carries its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStyle {
    /// AWS V4 query presigning, as in every sample of the documentation: `X-Amz-Date`, `X-Amz-Expires`, …
    V4,
    /// Native OBS V2: `AccessKeyId`, `Expires` (unix seconds), `Signature`.
    ObsV2,
    /// S3-compatible V2: `AWSAccessKeyId`, `Expires`, `Signature`.
    S3V2,
    /// Nothing a client can read an expiry from: `auth_key=…`. Honours lifetimes to the millisecond.
    Opaque,
}

/// What a link is for.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// `host:port` that is signed, exactly as the client must send it in `Host`.
    pub host: &'a str,
    /// Key of the object in [`BUCKET`].
    pub key: &'a str,
    /// Decoded value of `response-content-disposition`, if the link carries one.
    pub disposition: Option<&'a str>,
}

/// Why a link was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// No signature at all (an anonymous request).
    Anonymous,
    /// Signed with a key that is no longer, or never was, valid.
    UnknownAccessKey,
    /// Not byte for byte what was issued, or signed for another host or verb.
    SignatureMismatch,
    /// Past its end; holds the end.
    Expired(Timestamp),
}

/// A link that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLink {
    /// Key of the object it grants.
    pub key: String,
    /// Decoded `response-content-disposition`, to be sent back as `Content-Disposition`.
    pub disposition: Option<String>,
}

/// The store's access keys: one is valid at a time; rotating it revokes every link issued so far.
#[derive(Debug, Default)]
pub struct Keys {
    epoch: AtomicU32,
}

impl Keys {
    /// Replaces the key: every link issued before is refused with `InvalidAccessKeyId`.
    pub fn rotate(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// A signer for links issued at `now`; make one per page, it keeps the derived V4 key.
    pub fn signer(&self, now: Timestamp) -> Signer {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let secret = hex(&Sha256::digest(format!("emulator secret {epoch}")));
        let stamp = basic_date(now);
        Signer {
            access_key: format!("EMULATORKEY{epoch:09}"),
            v4_key: v4_signing_key(&secret, &stamp[..8], REGION, "s3"),
            secret,
            stamp,
            now,
        }
    }
}

/// Issues links at one moment with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    access_key: String,
    secret: String,
    v4_key: [u8; 32],
    stamp: String,
    now: Timestamp,
}

impl Signer {
    /// Path and query of a link for `grant` that lives for `lifetime`.
    ///
    /// V4 counts whole seconds from the second it was issued in: the stated life is `lifetime` rounded up, at least 1,
    /// the effective one up to a second shorter, as with the real store. V2 rounds the end up to a whole second.
    pub fn issue(&self, style: LinkStyle, grant: &Grant<'_>, lifetime: Duration) -> String {
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 4);
        let ends_ms = self.now.as_millisecond().saturating_add(lifetime_ms);
        match style {
            LinkStyle::V4 => {
                let seconds = lifetime_ms.saturating_add(999).div_euclid(1000).max(1);
                self.v4(grant, seconds)
            }
            LinkStyle::ObsV2 | LinkStyle::S3V2 => {
                let ends = ends_ms.saturating_add(999).div_euclid(1000);
                self.v2(style, grant, ends)
            }
            LinkStyle::Opaque => self.opaque(grant, ends_ms),
        }
    }

    /// The V4 link, its parameters in the order of the documentation's sample.
    fn v4(&self, grant: &Grant<'_>, seconds: i64) -> String {
        let path = object_path(grant.key);
        let credential = encode(&format!("{}/{}/{REGION}/s3/aws4_request", self.access_key, &self.stamp[..8]));
        // Canonical: sorted by name, so the disposition comes after every X-Amz-*.
        let mut canonical = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
            self.stamp
        );
        let mut query = String::new();
        if let Some(disposition) = grant.disposition {
            let pair = format!("response-content-disposition={}", encode(disposition));
            canonical = format!("{canonical}&{pair}");
            query = format!("{pair}&");
        }
        let to_sign = v4_string_to_sign("GET", &path, &canonical, grant.host, &self.stamp, REGION, "s3");
        let signature = hex(&hmac_sha256(&self.v4_key, to_sign.as_bytes()));
        format!(
            "{path}?{query}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={}&X-Amz-SignedHeaders=host&X-Amz-Expires={seconds}&X-Amz-Credential={credential}&X-Amz-Signature={signature}",
            self.stamp
        )
    }

    /// The V2 link; the host is no part of what V2 signs.
    fn v2(&self, style: LinkStyle, grant: &Grant<'_>, ends_unix: i64) -> String {
        let path = object_path(grant.key);
        let (resource, query) = match grant.disposition {
            // V2 signs the sub-resource with its decoded value (obs_04_0011).
            Some(value) => (
                format!("{path}?response-content-disposition={value}"),
                format!("response-content-disposition={}&", encode(value)),
            ),
            None => (path.clone(), String::new()),
        };
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(format!("GET\n\n\n{ends_unix}\n{resource}").as_bytes());
        let signature = encode(&base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()));
        let name = if style == LinkStyle::S3V2 { "AWSAccessKeyId" } else { "AccessKeyId" };
        format!("{path}?{query}{name}={}&Expires={ends_unix}&Signature={signature}", self.access_key)
    }

    /// The link without a readable expiry.
    fn opaque(&self, grant: &Grant<'_>, ends_ms: i64) -> String {
        let path = object_path(grant.key);
        let text = format!("{path}\n{}\n{ends_ms}\n{:?}", self.access_key, grant.disposition);
        let mac = hex(&hmac_sha256(self.secret.as_bytes(), text.as_bytes()));
        let disposition = grant
            .disposition
            .map(|value| format!("response-content-disposition={}&", encode(value)))
            .unwrap_or_default();
        format!("{path}?{disposition}auth_key={ends_ms:x}-{}-{}", self.access_key, &mac[..32])
    }
}

impl Keys {
    /// Checks a GET for `target` (path and query, raw as received) addressed to `host` at `now`.
    ///
    /// # Errors
    /// A [`LinkRefusal`]; the signature is judged before the expiry.
    pub fn verify(&self, host: &str, target: &str, now: Timestamp) -> Result<VerifiedLink, LinkRefusal> {
        use LinkRefusal::{Anonymous, Expired, SignatureMismatch, UnknownAccessKey};
        let (path, query) = target.split_once('?').ok_or(Anonymous)?;
        if !["Signature=", "X-Amz-Signature=", "auth_key="].iter().any(|name| query.contains(name)) {
            return Err(Anonymous);
        }
        let key = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(BUCKET))
            .and_then(|path| path.strip_prefix('/'))
            .ok_or(SignatureMismatch)?;
        let mut pairs: Vec<(&str, &str)> =
            query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let mut disposition = None;
        if pairs.first().is_some_and(|(name, _)| *name == "response-content-disposition") {
            disposition = Some(decode(pairs.remove(0).1).ok_or(SignatureMismatch)?);
        }
        let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let grant = Grant { host, key, disposition: disposition.as_deref() };

        let (access_key, reissued, ends) = if let Some(stamp) = value("X-Amz-Date") {
            let issued = parse_basic_date(stamp).ok_or(SignatureMismatch)?;
            let seconds: i64 = value("X-Amz-Expires").and_then(|v| v.parse().ok()).ok_or(SignatureMismatch)?;
            let credential = value("X-Amz-Credential").unwrap_or_default();
            let credential = decode(credential).ok_or(SignatureMismatch)?;
            let access_key = credential.split('/').next().unwrap_or_default().to_owned();
            let signer = self.signer(issued);
            let ends = issued.as_millisecond().saturating_add(seconds.saturating_mul(1000));
            (access_key, signer.v4(&grant, seconds), ends)
        } else if let Some(text) = value("Expires") {
            let unix: i64 = text.parse().map_err(|_| SignatureMismatch)?;
            let (style, access_key) = match value("AWSAccessKeyId") {
                Some(access_key) => (LinkStyle::S3V2, access_key.to_owned()),
                None => (LinkStyle::ObsV2, value("AccessKeyId").unwrap_or_default().to_owned()),
            };
            (access_key, self.signer(now).v2(style, &grant, unix), unix.saturating_mul(1000))
        } else if let Some(text) = value("auth_key") {
            let mut parts = text.split('-');
            let ends = parts.next().and_then(|hex| i64::from_str_radix(hex, 16).ok()).ok_or(SignatureMismatch)?;
            let access_key = parts.next().unwrap_or_default().to_owned();
            (access_key, self.signer(now).opaque(&grant, ends), ends)
        } else {
            return Err(SignatureMismatch);
        };

        if access_key != self.signer(now).access_key {
            return Err(UnknownAccessKey);
        }
        if reissued != target {
            return Err(SignatureMismatch);
        }
        if now.as_millisecond() >= ends {
            return Err(Expired(Timestamp::from_millisecond(ends).unwrap_or(Timestamp::MIN)));
        }
        Ok(VerifiedLink { key: key.to_owned(), disposition })
    }
}

/// `/bucket/key`, the path of an object.
fn object_path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

/// The value a link's `response-content-disposition` carries for a file name: the name is percent-encoded inside the
/// header value, and the whole value once more in the URL (the documentation's sample shows `%25E5…`).
pub fn disposition(file_name: &str) -> String {
    format!("attachment; filename=\"{}\"", encode(file_name))
}

/// String to sign of AWS V4 for a presigned request whose only signed header is `host`.
pub fn v4_string_to_sign(
    method: &str,
    path: &str,
    canonical_query: &str,
    host: &str,
    stamp: &str,
    region: &str,
    service: &str,
) -> String {
    let request = format!("{method}\n{path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{}/{region}/{service}/aws4_request\n{}",
        &stamp[..8],
        hex(&Sha256::digest(request))
    )
}

/// The signing key AWS V4 derives from a secret for one day, region and service.
pub fn v4_signing_key(secret: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let mut key = hmac_sha256(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for part in [region, service, "aws4_request"] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    key
}

/// HMAC-SHA256 of `data` under `key`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// RFC 3986 percent-encoding of everything but unreserved characters, hex digits in upper case.
pub fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

/// Percent-decoding; `None` if an escape is broken or the result is not UTF-8. `+` stays a plus.
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'%' {
            let digits = bytes.get(index + 1..index + 3)?;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            index += 3;
        } else {
            out.push(bytes[index]);
            index += 1;
        }
    }
    String::from_utf8(out).ok()
}

/// `20250501T080000Z`.
pub fn basic_date(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads `20250501T080000Z`; `None` if it is anything else.
pub fn parse_basic_date(text: &str) -> Option<Timestamp> {
    let pattern = b"00000000T000000Z";
    let fits = text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            wanted => byte == *wanted,
        });
    if !fits {
        return None;
    }
    let iso =
        format!("{}-{}-{}T{}:{}:{}", &text[..4], &text[4..6], &text[6..8], &text[9..11], &text[11..13], &text[13..]);
    iso.parse().ok()
}
