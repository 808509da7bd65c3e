//! The envelope of an answer, and the single values in it, each read by itself: a value that cannot be read is an error of its own
//! field, and spoils neither its entry nor the answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

/// What an envelope may hold.
pub(in crate::koodrive) trait Answer: DeserializeOwned {}

/// The fields of an object, not looked at yet. Of two with one name the last counts.
type Fields<T> = BTreeMap<String, T>;

/// A value that is a number on some pages of the service and a string on others.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::koodrive) enum Scalar {
    /// No such key, or `null`.
    #[default]
    Absent,
    Text(String),
    Integer(i128),
    Flag(bool),
    /// An array, an object, a fraction, or a number that does not fit into 128 bits.
    Other,
}

impl Scalar {
    /// The text, or the digits of the number; `Ok(None)` where there is nothing.
    pub(in crate::koodrive) fn text(self) -> Result<Option<String>, NotAScalar> {
        match self {
            Scalar::Absent => Ok(None),
            Scalar::Text(text) => Ok(Some(text)),
            Scalar::Integer(number) => Ok(Some(number.to_string())),
            Scalar::Flag(_) | Scalar::Other => Err(NotAScalar),
        }
    }

    /// The number, also out of a text of digits; `Ok(None)` where there is nothing, or an empty text.
    pub(in crate::koodrive) fn integer(&self) -> Result<Option<i128>, NotAScalar> {
        match self {
            Scalar::Absent => Ok(None),
            Scalar::Integer(number) => Ok(Some(*number)),
            Scalar::Text(text) if text.trim().is_empty() => Ok(None),
            Scalar::Text(text) => text.trim().parse().map(Some).map_err(|_: std::num::ParseIntError| NotAScalar),
            Scalar::Flag(_) | Scalar::Other => Err(NotAScalar),
        }
    }

    /// Whether this is the flag `wanted`, as such or as a text.
    pub(in crate::koodrive) fn is_flag(&self, wanted: bool) -> bool {
        match self {
            Scalar::Flag(flag) => *flag == wanted,
            Scalar::Text(text) => text.eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
            Scalar::Absent | Scalar::Integer(_) | Scalar::Other => false,
        }
    }

    fn of(raw: &RawValue) -> Scalar {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'n') => Scalar::Absent,
            Some(b't' | b'f') => Scalar::Flag(json == "true"),
            Some(b'"') => text_of(json).map_or(Scalar::Other, Scalar::Text),
            Some(b'[' | b'{') | None => Scalar::Other,
            // A number of any length is JSON; not every one can be held.
            Some(_) => {
                serde_json::from_str(json).ok().and_then(|number| whole(&number)).map_or(Scalar::Other, Scalar::Integer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Scalar::of)
    }
}

/// The value is of a kind that its field cannot have.
#[derive(Clone, Copy, Debug)]
pub(in crate::koodrive) struct NotAScalar;

/// The integer that a JSON number is. `1.06437e5` is one too; beyond 2^53 a fraction's notation is no longer exact.
fn whole(number: &Number) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = number.as_i128() {
        return Some(number);
    }
    let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    Some(number as i128)
}

/// The text of a JSON string. Java and JavaScript hold halves of surrogate pairs in their texts and write them out; here each is
/// U+FFFD, the character for what cannot be read.
fn text_of(json: &str) -> Option<String> {
    serde_json::from_str(json).or_else(|_: serde_json::Error| serde_json::from_str(&with_whole_pairs(json))).ok()
}

/// `json`, a string with its quotes, with `\ufffd` for each escaped half of a surrogate pair that has no other half.
fn with_whole_pairs(json: &str) -> String {
    const ESCAPE_BYTES: usize = "\\uXXXX".len();
    let unit_at = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (replaced, len) = match (unit_at(escape), escape.get(ESCAPE_BYTES..).and_then(unit_at)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (false, 2 * ESCAPE_BYTES),
            (Some(0xd800..=0xdfff), _) => (true, ESCAPE_BYTES),
            (Some(_), _) => (false, ESCAPE_BYTES),
            // A backslash and one other character, which is ASCII in all JSON.
            (None, _) => (false, 2),
        };
        let Some((escape, after)) = escape.split_at_checked(len) else { break };
        whole.push_str(if replaced { "\\ufffd" } else { escape });
        rest = after;
    }
    whole.push_str(rest);
    whole
}

/// The links to the content and to a thumbnail among `downloadLinks`, of which five forms are known (12, row 1). Anything else, and every other
/// usage, is no link: a thumbnail must never pass for the file.
#[derive(Clone, Default)]
pub(in crate::koodrive) struct DownloadLinks {
    pub(in crate::koodrive) content: Option<String>,
    /// Its `usage` says that it is a small picture (10.4).
    pub(in crate::koodrive) thumbnail: Option<String>,
}

impl<'de> Deserialize<'de> for DownloadLinks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DownloadLinks, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let links = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
        Ok(DownloadLinks { content: link_for(&links, CONTENT), thumbnail: link_for(&links, THUMBNAIL) })
    }
}

/// The one usage that means the file itself.
const CONTENT: &str = "content";
/// That of a small picture.
const THUMBNAIL: &str = "thumbnail";

/// The link of `usage`. A text alone is the content's.
fn link_for(links: &Value, usage: &str) -> Option<String> {
    let link = match links {
        Value::String(link) if usage == CONTENT => Some(link.clone()),
        Value::Array(links) => {
            links.iter().find(|link| link["usage"] == usage).and_then(|link| text_at(link, "downloadLink"))
        }
        Value::Object(by_usage) => by_usage.get(usage).and_then(|link| match link {
            Value::String(link) => Some(link.clone()),
            link => text_at(link, "downloadLink"),
        }),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    link.filter(|link| !link.is_empty())
}

fn text_at(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

/// A list of objects, each of which must be one; `null` is an empty list.
pub(super) fn all_objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<&RawValue>>::deserialize(deserializer)?.unwrap_or_default();
    let not_an_object = || serde::de::Error::custom("not an object");
    list.into_iter().map(|raw| object(raw).ok_or_else(not_an_object)).collect::<Result<_, _>>().map(Some)
}

/// The objects of a list; anything else in it is left out, and told of nowhere. `None` for `null`.
pub(super) fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<&RawValue>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().filter_map(object).collect()))
}

/// An object; `None` for anything else.
pub(super) fn object_or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(object)
}

fn object<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    let fields: Fields<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    of_fields(fields.iter().map(|(name, value)| (name.as_str(), *value)))
}

/// The first value of a list, or the value where there is no list.
pub(in crate::koodrive) fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if !raw.get().starts_with('[') {
        return Ok(Scalar::of(raw));
    }
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    Ok(list.first().map_or(Scalar::Absent, |raw| Scalar::of(raw)))
}

/// The first of `names` that has a value; all of them are taken out of `fields`.
fn take(fields: &mut Fields<Box<RawValue>>, names: &[&str]) -> Scalar {
    let values: Vec<_> = names.iter().filter_map(|name| fields.remove(*name)).map(|raw| Scalar::of(&raw)).collect();
    values.into_iter().find(|value| *value != Scalar::Absent).unwrap_or_default()
}

/// The fields as `T`; `None` if they have not its form. (Serde's own message would quote what it read: links, tokens.)
fn of_fields<'a, T: DeserializeOwned>(fields: impl Iterator<Item = (&'a str, &'a RawValue)>) -> Option<T> {
    T::deserialize(MapDeserializer::new(fields)).ok()
}

/// An answer's envelope (4.1), and its payload, which may also lie under `data`.
pub(in crate::koodrive) struct Envelope {
    /// `code`, or the gateway's `error_code`.
    pub(in crate::koodrive) code: Scalar,
    /// `msg`, or the gateway's `error_msg`.
    pub(in crate::koodrive) msg: Scalar,
    /// Whether there is an object `error`, the second form of a failure. Its code and message, if it has some, are `code` and
    /// `msg`.
    pub(in crate::koodrive) has_error: bool,
    /// Whether there was an object `data` with some of the payload.
    pub(in crate::koodrive) is_under_data: bool,
    payload: Fields<Box<RawValue>>,
}

impl Envelope {
    /// Reads `body`; `None` if it is not one JSON object. Bytes that are no UTF-8 are read as U+FFFD.
    pub(in crate::koodrive) fn parse(body: &[u8]) -> Option<Envelope> {
        let mut payload: Fields<Box<RawValue>> = serde_json::from_str(&String::from_utf8_lossy(body)).ok()?;
        let mut code = take(&mut payload, &["code", "error_code"]);
        let mut msg = take(&mut payload, &["msg", "error_msg"]);
        let error = payload.get("error").and_then(|raw| serde_json::from_str::<Fields<Box<RawValue>>>(raw.get()).ok());
        let has_error = error.is_some();
        if let Some(mut error) = error.filter(|_| code == Scalar::Absent) {
            code = take(&mut error, &["code", "errorCode"]);
            msg = take(&mut error, &["msg", "message", "errorMsg"]);
        }
        let mut is_under_data = false;
        if let Some(data) = payload.remove("data") {
            if let Ok(fields) = serde_json::from_str::<Fields<Box<RawValue>>>(data.get()) {
                is_under_data = !fields.is_empty();
                for (key, value) in fields {
                    let is_free = payload.get(&key).is_none_or(|raw| raw.get() == "null");
                    if is_free {
                        payload.insert(key, value);
                    }
                }
            } else if data.get().starts_with('[') {
                payload.insert("data".to_owned(), data);
            }
        }
        Some(Envelope { code, msg, has_error, is_under_data, payload })
    }

    /// Whether the payload has `key`, be it null.
    pub(in crate::koodrive) fn has(&self, key: &str) -> bool {
        self.payload.contains_key(key)
    }

    /// The JSON text of `key`.
    pub(super) fn raw(&self, key: &str) -> Option<&str> {
        self.payload.get(key).map(|raw| raw.get())
    }

    /// The payload's keys, for a message about one that is missing.
    pub(in crate::koodrive) fn keys(&self) -> impl Iterator<Item = &str> {
        self.payload.keys().map(String::as_str)
    }

    /// Whether the answer tells of each part of a batch by itself (10.1), whatever it says of the whole.
    pub(in crate::koodrive) fn is_batch(&self) -> bool {
        let batch_code = self.payload.get("batchCode").map(|raw| Scalar::of(raw));
        let is_known = batch_code.is_some_and(|code| matches!(code.integer(), Ok(Some(0..=2))));
        let parts = self.payload.get("downloads").and_then(|raw| serde_json::from_str(raw.get()).ok());
        is_known && parts.is_some_and(|parts: Vec<IgnoredAny>| !parts.is_empty())
    }

    /// The objects that `data` lists (spaces, v2), or the one that the payload is (12, row 19).
    pub(in crate::koodrive) fn payloads<T: Answer>(mut self) -> Option<Vec<T>> {
        match self.payload.remove("data") {
            Some(list) => objects(&*list).ok().flatten(),
            None => self.payload().map(|one| vec![one]),
        }
    }

    /// The payload as `T`; `None` if it has not its form.
    pub(in crate::koodrive) fn payload<T: Answer>(self) -> Option<T> {
        of_fields(self.payload.iter().map(|(name, value)| (name.as_str(), &**value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(json: &str) -> Scalar {
        Envelope::parse(format!(r#"{{"code": {json}}}"#).as_bytes()).expect(json).code
    }

    #[test]
    fn half_of_a_surrogate_pair_is_one_unreadable_character() {
        for (json, text) in [
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""a\udfff""#, "a\u{fffd}"),
            (r#""\udc00\ud800""#, "\u{fffd}\u{fffd}"),
            (r#""\ud800\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83d\ude00\ude00""#, "\u{1f600}\u{fffd}"),
            (r#""\ud800\\ud800\n\u00e9\"é""#, "\u{fffd}\\ud800\n\u{e9}\"é"),
            (r#""\\\ud800""#, "\\\u{fffd}"),
            (r#""\uD83D\uDE00""#, "\u{1f600}"),
        ] {
            assert!(scalar(json) == Scalar::Text(text.to_owned()), "{json}");
        }
    }

    #[test]
    fn number_that_cannot_be_held_is_an_odd_value_and_spoils_no_other() {
        for json in ["1e400", "-1e99999", "1.5", &"9".repeat(4000), &format!("1{}", "0".repeat(400))] {
            assert!(scalar(json) == Scalar::Other, "{json}");
        }
        assert!(scalar("18446744073709551615") == Scalar::Integer(u64::MAX.into()));
        assert!(scalar("1.06437e5") == Scalar::Integer(106_437));
        assert!(scalar(&format!("{}1{}", "[".repeat(5000), "]".repeat(5000))) == Scalar::Other);
    }

    #[test]
    fn bytes_that_are_no_text_are_unreadable_characters_where_they_stand() {
        let envelope = Envelope::parse(b"{\"code\": \"a\xed\xa0\x80b\", \"msg\": \"good\"}").expect("an object");
        assert!(envelope.code == Scalar::Text("a\u{fffd}\u{fffd}\u{fffd}b".to_owned()));
        assert!(envelope.msg == Scalar::Text("good".to_owned()));
    }
}
