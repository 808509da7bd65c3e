//! The share: the five calls under `share/public/` and their twins under `share/` that want a login (section 5.8), as
//! strict as their documentation.
//!
//! Owns: what a call's body must look like, what it answers, tokens, attempts. Knows nothing of sockets, faults or object
//! bytes. Runs on blocking threads; one short lock for tokens.
//!
//! Made up, because the documentation does not say (src/koodrive/API.md, sections 4.2 and 14): the codes from 13009001 on; that five
//! wrong access codes lock a share; that an ended share still answers `userInfo`.

use super::api::{
    BAD_TOKEN, Call, DELETED, EXPIRED, FILE_RECYCLED, Family, IS_A_FOLDER, LOCKED, NO_DOWNLOAD, NO_FILE, NO_RESOURCE,
    Payload, Refusal, WRONG_CODE, integer, mandatory, put_type_and_size, text, truth,
};
use super::knobs::{DownloadLinks, Expiry};
use super::listing::{Bound, View};
use super::lock;
use super::sign::Signer;
use super::tree::{Lookup, Node, Tree};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Mutex;

/// The share and its state.
#[derive(Debug)]
pub struct Share {
    /// Short code, the last element of the link.
    pub short_code: String,
    /// The id that `download` wants.
    pub share_id: String,
    tokens: Mutex<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    /// End of each token that is still good.
    ends: HashMap<String, Timestamp>,
    wrong_codes: u32,
}

impl Share {
    /// A share with these numbers.
    pub fn new(short_code: String, share_id: String) -> Self {
        Self { short_code, share_id, tokens: Mutex::default() }
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

/// Answers a call, named as in its public form.
///
/// # Errors
/// [`Refusal`].
pub fn answer(call: &Call<'_>, name: &str) -> Result<Payload, Refusal> {
    let call = ShareCall(call);
    match name {
        "visit" => call.visit(),
        "userInfo" => call.user_info(),
        "verify" => call.verify(),
        "files" => call.files(),
        _ => call.download(),
    }
}

/// A call about the share.
struct ShareCall<'a>(&'a Call<'a>);

impl<'a> Deref for ShareCall<'a> {
    type Target = Call<'a>;

    fn deref(&self) -> &Call<'a> {
        self.0
    }
}

impl ShareCall<'_> {
    fn visit(&self) -> Result<Payload, Refusal> {
        self.check_code(&self.short_url()?)?;
        self.check_valid()?;
        self.shared.counters.update(|all| all.visits += 1);
        Ok(Payload::none())
    }

    fn user_info(&self) -> Result<Payload, Refusal> {
        self.check_code(&self.short_url()?)?;
        if !self.knobs.ended_share_info {
            self.check_valid()?;
        }
        Ok(Payload::field("link", self.link()))
    }

    fn verify(&self) -> Result<Payload, Refusal> {
        let body = &self.fields(&["shortUrl", "extractCode"])?;
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
        self.shared.given_out.note(&token);
        let lifetime = i64::try_from(self.knobs.kdstoken_lifetime.as_millis()).unwrap_or(i64::MAX);
        let ends = self.now.as_millisecond().saturating_add(lifetime);
        let now = self.now;
        tokens.ends.retain(|_, ends| *ends > now);
        tokens.ends.insert(token.clone(), Timestamp::from_millisecond(ends).unwrap_or(Timestamp::MAX));
        Ok(Payload::field("kdstoken", json!(token)))
    }

    fn files(&self) -> Result<Payload, Refusal> {
        let known = [
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
        ];
        // The twin with a login knows no `usage` (section 5.8).
        let known = if self.route.endpoint.family == Family::Public { &known[..] } else { &known[..10] };
        let body = &self.fields(known)?;
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
        let bound = Bound {
            place: short_url,
            parent,
            sort,
            descending: direction == 2,
            filter,
            file_type: "",
            view: View::Plain,
        };
        let page = self.page(&self.shared.tree, &bound, cursor, page_size)?;
        let signer = self.shared.keys.signer(self.now);
        let files: Vec<Value> =
            page.nodes.iter().enumerate().map(|(nth, node)| self.entry(node, &signer, nth)).collect();
        let mut payload = Map::from_iter([("link".to_owned(), self.link()), ("files".to_owned(), Value::Array(files))]);
        if let Some(next) = page.next {
            payload.insert("nextCursor".to_owned(), next);
        }
        Ok(Payload::Top(payload))
    }

    fn download(&self) -> Result<Payload, Refusal> {
        let body = &self.fields(&["shareId", "fileId", "kdstoken"])?;
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
        Ok(Payload::field("downloadUrl", json!(url)))
    }

    /// One element of `files`.
    fn entry(&self, node: &Node, signer: &Signer, nth: usize) -> Value {
        let knobs = self.knobs;
        let mut entry = Map::from_iter([
            ("id".to_owned(), json!(node.id)),
            ("fileName".to_owned(), json!(node.name)),
            ("fileSuffix".to_owned(), json!(node.suffix())),
            ("parentFolder".to_owned(), json!([node.parent])),
            ("containers".to_owned(), json!(["IAAEDBemulatorContainer0add2fea594e4e75b24240415488"])),
            ("editedTime".to_owned(), json!(self.time(node.edited, nth))),
        ]);
        put_type_and_size(knobs, &mut entry, node);
        if !node.folder || knobs.odd_folders {
            self.put_links(&mut entry, node, signer);
        }
        if knobs.extra_fields {
            entry.insert("labels".to_owned(), json!([{"id": "F0", "fileName": "not this one", "size": -1}]));
            entry.insert("recycled".to_owned(), json!(false));
        }
        node.put_described(&mut entry);
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

    /// The one query parameter of GET calls.
    fn short_url(&self) -> Result<String, Refusal> {
        mandatory(&self.query(&["shortUrl"])?, "shortUrl").map(str::to_owned)
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
