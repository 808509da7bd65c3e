//! In which of its known shapes an answer came (src/koodrive/API.md, section 12), in words of ours: for who settles which one it is. What the shapes
//! mean is read elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::{Envelope, Scalar};

/// The shapes of a page of a listing. Words of ours only: nothing in here is a text of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes {
    /// Of `code`: `number`, `text`, or `none`, which is also that of a null.
    pub code: &'static str,
    /// The payload lies under `data`.
    pub is_under_data: bool,
    /// Of `nextCursor`: `absent`, `null`, `empty text`, `text`, …
    pub next_cursor: &'static str,
    /// Of each entry's `size`.
    pub size: BTreeSet<&'static str>,
    /// Of each entry's `fileType`.
    pub file_type: BTreeSet<&'static str>,
    /// Of each entry's `editedTime`: `milliseconds` and `seconds` are texts.
    pub time: BTreeSet<&'static str>,
    /// Of each entry's `downloadLinks`: `list`, `map of objects`, `map of texts`, …
    pub links: BTreeSet<&'static str>,
}

impl Shapes {
    /// Those of `envelope`, the answer to a listing.
    pub(in crate::koodrive) fn of(envelope: &Envelope) -> Shapes {
        let code = match envelope.code {
            Scalar::Integer(_) => "number",
            Scalar::Absent => "none",
            _ => "text",
        };
        let files = envelope.raw("files").and_then(|files| serde_json::from_str(files).ok());
        let entries: Vec<BTreeMap<String, Box<RawValue>>> = files.unwrap_or_default();
        let of_all = |key: &str, word: fn(Option<&str>) -> &'static str| {
            entries.iter().map(|entry| word(entry.get(key).map(|raw| raw.get()))).collect()
        };
        Shapes {
            code,
            is_under_data: envelope.is_under_data,
            next_cursor: word(envelope.raw("nextCursor")),
            size: of_all("size", word),
            file_type: of_all("fileType", word),
            time: of_all("editedTime", time_word),
            links: of_all("downloadLinks", links_word),
        }
    }
}

fn word(json: Option<&str>) -> &'static str {
    match json {
        None => "absent",
        Some("null") => "null",
        Some("\"\"") => "empty text",
        Some(json) => match json.as_bytes().first() {
            Some(b'"') => "text",
            Some(b'[') => "list",
            Some(b'{') => "map",
            Some(b't' | b'f') => "flag",
            _ => "number",
        },
    }
}

fn time_word(json: Option<&str>) -> &'static str {
    match (word(json), json) {
        ("text", Some(json)) if json.contains('.') => "milliseconds",
        ("text", _) => "seconds",
        (other, _) => other,
    }
}

fn links_word(json: Option<&str>) -> &'static str {
    match (word(json), json) {
        ("map", Some(json)) => {
            let by_usage: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap_or_default();
            if by_usage.values().any(|link| link.get().starts_with('{')) { "map of objects" } else { "map of texts" }
        }
        (other, _) => other,
    }
}
