//! The knobs: everything about the service that may differ between deployments, or that a test wants to be different.
//!
//! Owns: the settings, their defaults, their JSON form and how people write durations and sizes. Plain values; whoever
//! answers a request takes one snapshot at its start.

use super::sign::LinkStyle;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::time::Duration;

/// The shape of `downloadLinks` in a listing (src/koodrive/API.md, section 12, row 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadLinks {
    /// `[{usage, downloadLink}]`, as in the sample; the thumbnail comes first.
    Array,
    /// `{usage: {usage, downloadLink}}`, as in the table.
    MapOfObjects,
    /// `{usage: "url"}`.
    MapOfStrings,
    /// `"url"`, the content link alone.
    String,
    /// `null`.
    Null,
    /// No such key.
    Absent,
}

/// What the last page says about a next cursor (section 12, row 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastCursor {
    /// No such key.
    Absent,
    /// `null`.
    Null,
    /// `""`.
    Empty,
    /// The three in turn, from one last page to the next.
    Cycle,
}

/// What later pages of a listing are cut from while the directory changes (section 14: unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// From the directory as it was on page one.
    Snapshot,
    /// From the directory as it is now, by position: entries may come twice or never, the listing ends all the same.
    Live,
}

/// How a number or a time is written (section 12, rows 2, 5, 6, 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberShape {
    /// `5`.
    Number,
    /// `"5"`.
    String,
    /// `null`.
    Null,
    /// No such key.
    Absent,
}

/// How times are written (section 12, row 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeShape {
    /// `2025-05-01T08:00:00.123Z`.
    Milliseconds,
    /// `2025-05-01T08:00:00Z`.
    Seconds,
    /// One entry so, the next so.
    Mixed,
    /// `""`: unparsable.
    Empty,
}

/// How an authentication that is not passed looks (section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthRefusalBody {
    /// `{error_code: "APIGW.…", error_msg, request_id}`.
    Gateway,
    /// `{code, msg}`.
    Business,
}

/// Where a refresh answers the session (section 12, row 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshNesting {
    /// `data`, as the table has it.
    Data,
    /// `data.sessionInfo`, as the sample has it.
    SessionInfo,
    /// The two in turn.
    Alternate,
}

/// How a batch of links is answered of which one file has none (section 10.1 tells of `batchCode`, but not when it comes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchRefusal {
    /// File by file, the others with their links.
    Entries,
    /// The whole call is refused with the code of the first such file: 13000302, 13000306, 13000406, 13000411.
    Code,
    /// The whole call is refused with 13000102, parameter check failed.
    Parameter,
}

/// What `fileName` of a listing does (sections 5.4 and 6.1: not documented).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameFilter {
    /// Only entries of exactly this name.
    Exact,
    /// Entries whose name has this in it.
    Contains,
    /// The same without regard to case, in the directory and everything below it, as a search does.
    Below,
    /// All entries, as without it.
    Ignored,
    /// 13000102.
    Refused,
}

/// What `sortType` and `sortDirection` of a listing do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sorting {
    /// What the documentation says.
    Honoured,
    /// The direction is always the documented default, descending.
    DirectionIgnored,
    /// The order is the store's own: none that a client could know.
    Ignored,
    /// Descending, which is the default, is refused with 13000102.
    DescendingRefused,
}

/// How names are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameOrder {
    /// By their bytes; descending is the exact reverse.
    Bytes,
    /// Without regard to case. Names that differ in nothing else are in the order of their ids in both directions, as in
    /// `ORDER BY name DESC, id`.
    AnyCase,
}

/// What `pageSize` above 100 does in listings of spaces (section 6.1: no maximum is stated).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LargePages {
    /// Pages are as large as asked, up to 1000.
    Honoured,
    /// Pages have 100 entries.
    Clamped,
    /// 13000102.
    Refused,
}

/// What `file/walkFile` does (section 6.5: its answers are not documented in whole).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalkFile {
    /// Everything below the directory, directories too, each with its parent.
    Works,
    /// The same, and the directory itself.
    WithRoot,
    /// There is no such call, as in the carrier edition: 404 of the gateway.
    Missing,
    /// Entries do not say what they are in.
    NoParents,
    /// Directories are left out.
    NoFolders,
    /// It does not recurse.
    ChildrenOnly,
    /// Every second directory is left out; what is in it is not.
    Orphans,
    /// All pages but the first are answered with 500.
    Breaks,
}

/// The settings. `Default` is a well-behaved service of the documented shape, without delays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// The carrier name every API call must carry in `X-Hw-Agentname`; `None` takes any, but there must be one.
    pub agent: Option<String>,
    /// The share's access code; `None` means that the share is open.
    pub access_code: Option<String>,
    /// How many wrong access codes lock the share (`verify` then refuses the right one too).
    pub wrong_code_limit: u32,
    /// How long a `kdstoken` is good for.
    #[serde(with = "seconds")]
    pub kdstoken_lifetime: Duration,
    /// `status` of the share: 0 decide by `expire_time`, 1 file deleted, 2 no longer valid (section 5.6).
    pub share_status: u8,
    /// When the share ends: `+SECONDS` or `-SECONDS` from the emulator's start, an RFC 3339 time, `absent` or `null`.
    pub expire_time: String,
    /// Whether `userInfo` of a share that is over or deleted still answers (with its `status` and `expireTime`).
    pub ended_share_info: bool,
    /// `permission` of the share: `Some(false)` says and enforces that nothing may be downloaded; `None` leaves it out.
    pub permission_download: Option<bool>,

    /// The user's id: `userId` of the login, `X-User-Id` of all calls, owner of the individual spaces.
    pub user_id: String,
    /// The account that can log in.
    pub account: String,
    /// Its password.
    pub password: String,
    /// How many wrong passwords lock the account (a login then refuses the right one too).
    pub wrong_password_limit: u32,
    /// How long a token of a login is good for; `expiresIn` says it in whole seconds, rounded down, at least 1.
    #[serde(with = "seconds")]
    pub token_lifetime: Duration,
    /// How long a refresh token is good for.
    #[serde(with = "seconds")]
    pub refresh_lifetime: Duration,
    /// A refresh token is good for one refresh, whose answer holds the next.
    pub refresh_rotates: bool,
    /// A refresh ends the token it replaces at once.
    pub refresh_ends_old_token: bool,
    /// Where a refresh answers the session.
    pub refresh_nesting: RefreshNesting,
    /// How long an enterprise token lives without being used.
    #[serde(with = "seconds")]
    pub sliding_lifetime: Duration,
    /// The application that may sign calls.
    pub app_id: String,
    /// The key it signs with.
    pub app_secret: String,
    /// HTTP status of an authentication that is not passed: 401 or 400 (section 4.1).
    pub auth_refusal_status: u16,
    /// Its body.
    pub auth_refusal_body: AuthRefusalBody,
    /// `space/{ownerId}` wants a `containerId` if the user has several individual spaces; if not, it means the first.
    pub space_needs_container: bool,
    /// The user may list all groups of the tenant.
    pub tenant_admin: bool,
    /// Numbers of spaces, teams and statistics as numbers (samples) or strings (tables).
    pub space_shape: NumberShape,
    /// Listings of spaces show recycled entries too, marked `recycled`.
    pub recycled_in_listings: bool,
    /// `detail` answers `code` and `msg` besides the file.
    pub detail_code: bool,
    /// A batch of links is answered in another order than asked.
    pub shuffle_downloads: bool,
    /// How a batch of links is answered of which one file has none.
    pub batch_refusal: BatchRefusal,

    /// Time before an API call is answered.
    #[serde(with = "seconds")]
    pub api_latency: Duration,
    /// Time before the first byte of an object's answer.
    #[serde(with = "seconds")]
    pub object_latency: Duration,
    /// Added to either latency, at random between zero and this.
    #[serde(with = "seconds")]
    pub jitter: Duration,
    /// Time before a new connection is served, as a handshake over a long line would take.
    #[serde(with = "seconds")]
    pub connect_latency: Duration,
    /// Bytes per second of object bodies on one connection; 0 is unlimited.
    #[serde(deserialize_with = "bytes")]
    pub bandwidth: u64,
    /// Bytes per second of object bodies over all connections together; 0 is unlimited.
    #[serde(deserialize_with = "bytes")]
    pub total_bandwidth: u64,
    /// Bodies come in bursts: so many bytes of a connection pass at once, the next as many no sooner than `bandwidth` allows, as
    /// behind nginx's `limit_rate`. 0 is smooth.
    #[serde(deserialize_with = "bytes")]
    pub burst: u64,
    /// Connections differ: in turn they have the whole `bandwidth`, and less by degrees down to this part of it. 1 is all alike.
    pub bandwidth_spread: u32,
    /// The store slows down: with n requests being answered, more than this, each connection has (this / n)² of its bandwidth, so
    /// that more of them bring less. 0 is never.
    pub slow_beyond: u32,
    /// A connection stops after so many bytes of bodies, on average; 0 is never.
    #[serde(deserialize_with = "bytes")]
    pub stop_every: u64,
    /// How long it then stands still, as after a packet that was lost.
    #[serde(with = "seconds")]
    pub stop_time: Duration,
    /// API calls per second before the gateway answers 429; 0 is unlimited.
    pub api_rate_limit: u32,
    /// API calls at once before the gateway answers 429; 0 is unlimited.
    pub api_parallel_limit: u32,
    /// Object requests at once before the store answers 503 SlowDown; 0 is unlimited.
    pub object_parallel_limit: u32,
    /// Requests after which a connection is closed, announced by `Connection: close`; 0 is never.
    pub requests_per_connection: u32,
    /// How long a new connection may stay idle before it is closed unannounced; 0 is for ever. Read when it is accepted.
    #[serde(with = "seconds")]
    pub idle_timeout: Duration,

    /// The API compresses answers of [`super::gzip::MIN_GZIP`] bytes and more for who allows gzip, as gateways do.
    pub gzip: bool,

    /// Endpoints (any name that the counters show: `files`, `login`, `spaceDownload`, `object`, …) whose calls wait, unanswered, until the
    /// name is taken off this list: what a test needs to have calls in flight for exactly as long as it wants.
    pub hold: Vec<String>,

    /// HTTP status of business errors: 200 or 400 (section 12, row 20).
    pub business_status: u16,
    /// The most entries of one page, whatever `pageSize` asks for.
    pub page_cap: u32,
    /// Every n-th page is empty and has a next cursor; 0 never, 1 is no choice (a listing would not end).
    pub empty_pages: u32,
    /// A full last page still has a next cursor, and an empty page follows.
    pub trailing_empty_page: bool,
    /// What the last page says about a next cursor.
    pub last_cursor: LastCursor,
    /// How long a cursor is good for.
    #[serde(with = "seconds")]
    pub cursor_lifetime: Duration,
    /// What later pages are cut from while the directory changes.
    pub paging: Paging,
    /// What `fileName` of a listing does.
    pub name_filter: NameFilter,
    /// What `sortType` and `sortDirection` do.
    pub sorting: Sorting,
    /// How names are sorted.
    pub name_order: NameOrder,
    /// What page sizes above 100 do in listings of spaces.
    pub large_pages: LargePages,
    /// What `file/walkFile` does.
    pub walk_file: WalkFile,
    /// The largest page size that `file/walkFile` takes; above it 13000102.
    pub walk_page_max: u32,

    /// How long a link is good for; rounded up to whole seconds by all styles but `opaque`.
    #[serde(with = "seconds")]
    pub link_lifetime: Duration,
    /// How links are signed.
    pub link_style: LinkStyle,
    /// Whether listings carry links to the content (thumbnails they carry anyway).
    pub listing_links: bool,
    /// Shape of `downloadLinks` in listings.
    pub download_links: DownloadLinks,
    /// Folders come with a size and links, as if they were files.
    pub odd_folders: bool,
    /// `code` as a number, a string or not at all.
    pub code_shape: NumberShape,
    /// `size` as a number, a string, null or not at all.
    pub size_shape: NumberShape,
    /// `fileType` as a number, a string, null or not at all (a folder always says what it is).
    pub file_type_shape: NumberShape,
    /// How times are written.
    pub time_shape: TimeShape,
    /// The payload stands under `data`.
    pub payload_under_data: bool,
    /// Unknown fields everywhere, some of them nested.
    pub extra_fields: bool,

    /// A range whose end is not greater than its start is ignored, as OBS's reference says: one byte yields everything.
    pub strict_one_byte_ranges: bool,
    /// The store redirects every link once (307) to where the object really is.
    pub redirect_objects: bool,
    /// Seconds by which the service's clock is ahead of ours (negative: behind).
    pub clock_offset_seconds: i64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            agent: None,
            access_code: None,
            wrong_code_limit: 5,
            kdstoken_lifetime: Duration::from_secs(1800),
            share_status: 0,
            expire_time: "+2592000".to_owned(),
            ended_share_info: true,
            permission_download: None,
            user_id: super::spaces::USER_ID.to_owned(),
            account: "someone".to_owned(),
            password: "correct horse battery staple".to_owned(),
            wrong_password_limit: 5,
            token_lifetime: Duration::from_secs(1800),
            refresh_lifetime: Duration::from_secs(7 * 86_400),
            refresh_rotates: true,
            refresh_ends_old_token: true,
            refresh_nesting: RefreshNesting::SessionInfo,
            sliding_lifetime: Duration::from_secs(20 * 60),
            app_id: "emulator-app".to_owned(),
            app_secret: "emulator-app-secret-0123456789".to_owned(),
            auth_refusal_status: 401,
            auth_refusal_body: AuthRefusalBody::Gateway,
            space_needs_container: false,
            tenant_admin: false,
            space_shape: NumberShape::Number,
            recycled_in_listings: false,
            detail_code: false,
            shuffle_downloads: true,
            batch_refusal: BatchRefusal::Entries,
            api_latency: Duration::ZERO,
            object_latency: Duration::ZERO,
            jitter: Duration::ZERO,
            connect_latency: Duration::ZERO,
            bandwidth: 0,
            total_bandwidth: 0,
            burst: 0,
            bandwidth_spread: 1,
            slow_beyond: 0,
            stop_every: 0,
            stop_time: Duration::from_millis(200),
            api_rate_limit: 0,
            api_parallel_limit: 0,
            object_parallel_limit: 0,
            requests_per_connection: 0,
            idle_timeout: Duration::ZERO,
            gzip: true,
            hold: Vec::new(),
            business_status: 200,
            page_cap: 1000,
            empty_pages: 0,
            trailing_empty_page: false,
            last_cursor: LastCursor::Absent,
            cursor_lifetime: Duration::from_secs(600),
            paging: Paging::Snapshot,
            name_filter: NameFilter::Contains,
            sorting: Sorting::Honoured,
            name_order: NameOrder::Bytes,
            large_pages: LargePages::Refused,
            walk_file: WalkFile::Works,
            walk_page_max: 1000,
            link_lifetime: Duration::from_secs(3600),
            link_style: LinkStyle::V4,
            listing_links: true,
            download_links: DownloadLinks::Array,
            odd_folders: false,
            code_shape: NumberShape::Number,
            size_shape: NumberShape::Number,
            file_type_shape: NumberShape::String,
            time_shape: TimeShape::Milliseconds,
            payload_under_data: false,
            extra_fields: false,
            strict_one_byte_ranges: true,
            redirect_objects: false,
            clock_offset_seconds: 0,
        }
    }
}

/// Every knob that JSON and `--set` know, with a line of help; a test keeps it complete.
pub const KNOB_HELP: &[(&str, &str)] = &[
    ("agent", "carrier name that X-Hw-Agentname must carry (null: any, but one)"),
    ("access_code", "access code of the share (null: open)"),
    ("wrong_code_limit", "wrong access codes that lock the share"),
    ("kdstoken_lifetime", "life of a kdstoken"),
    ("share_status", "0 valid, 1 deleted, 2 no longer valid"),
    ("expire_time", "end of the share: +SECONDS, -SECONDS, RFC 3339, absent, null"),
    ("ended_share_info", "userInfo of an ended share still answers"),
    ("permission_download", "false: nothing may be downloaded (null: not mentioned)"),
    ("user_id", "the user's id, X-User-Id of all calls"),
    ("account", "the account that can log in"),
    ("password", "its password"),
    ("wrong_password_limit", "wrong passwords that lock the account"),
    ("token_lifetime", "life of a token of a login"),
    ("refresh_lifetime", "life of a refresh token"),
    ("refresh_rotates", "a refresh token is good for one refresh"),
    ("refresh_ends_old_token", "a refresh ends the token it replaces at once"),
    ("refresh_nesting", "data, session_info or alternate"),
    ("sliding_lifetime", "life of an enterprise token without use"),
    ("app_id", "the application that may sign calls"),
    ("app_secret", "the key it signs with"),
    ("auth_refusal_status", "HTTP status of a refused token, date or signature, 401 or 400"),
    ("auth_refusal_body", "its body: gateway or business"),
    ("space_needs_container", "space/{ownerId} wants containerId if there are several"),
    ("tenant_admin", "the user may list all groups"),
    ("space_shape", "numbers of spaces as number or string"),
    ("recycled_in_listings", "listings of spaces show recycled entries, marked"),
    ("detail_code", "detail answers code and msg besides the file"),
    ("shuffle_downloads", "links of a batch come in another order than asked"),
    ("batch_refusal", "a batch of links with a file that has none: entries, code or parameter (all refused)"),
    ("api_latency", "time before an API answer"),
    ("object_latency", "time before the first byte of an object"),
    ("jitter", "added to either latency, at random up to this"),
    ("connect_latency", "time before a new connection is served"),
    ("bandwidth", "object bytes per second on one connection (0: unlimited)"),
    ("total_bandwidth", "object bytes per second in all (0: unlimited)"),
    ("burst", "object bytes that pass at once, then the line waits for bandwidth (0: smooth)"),
    ("bandwidth_spread", "connections have bandwidth, in turn down to this part of it (1: all alike)"),
    ("slow_beyond", "object requests at once from which more bring less (0: never)"),
    ("stop_every", "object bytes after which a connection stops, on average (0: never)"),
    ("stop_time", "how long it stops"),
    ("api_rate_limit", "API calls per second before 429 (0: unlimited)"),
    ("api_parallel_limit", "API calls at once before 429 (0: unlimited)"),
    ("object_parallel_limit", "object requests at once before 503 (0: unlimited)"),
    ("requests_per_connection", "requests before a connection is closed (0: never)"),
    ("idle_timeout", "idle time before a connection is closed (0: never)"),
    ("gzip", "the API compresses for who allows it"),
    ("hold", "endpoints whose calls wait until they are taken off this list"),
    ("business_status", "HTTP status of business errors, 200 or 400"),
    ("page_cap", "most entries of a page, whatever is asked"),
    ("empty_pages", "every n-th page is empty (0: never)"),
    ("trailing_empty_page", "an empty page follows a full last one"),
    ("last_cursor", "absent, null, empty or cycle"),
    ("cursor_lifetime", "life of a cursor"),
    ("paging", "snapshot or live"),
    ("name_filter", "fileName of listings: exact, contains, below, ignored or refused"),
    ("sorting", "honoured, direction_ignored, ignored or descending_refused"),
    ("name_order", "bytes or any_case"),
    ("large_pages", "pageSize above 100 in spaces: honoured, clamped or refused"),
    ("walk_file", "works, with_root, missing, no_parents, no_folders, children_only, orphans or breaks"),
    ("walk_page_max", "largest pageSize of walkFile"),
    ("link_lifetime", "life of a download link"),
    ("link_style", "v4, obs_v2, s3_v2 or opaque"),
    ("listing_links", "listings carry links to the content"),
    ("download_links", "array, map_of_objects, map_of_strings, string, null or absent"),
    ("odd_folders", "folders with a size and links"),
    ("code_shape", "number, string, null or absent"),
    ("size_shape", "number, string, null or absent"),
    ("file_type_shape", "number, string, null or absent"),
    ("time_shape", "milliseconds, seconds, mixed or empty"),
    ("payload_under_data", "the payload stands under data"),
    ("extra_fields", "unknown fields everywhere"),
    ("strict_one_byte_ranges", "bytes=5-5 yields the whole object, as OBS's reference says"),
    ("redirect_objects", "every link is redirected once"),
    ("clock_offset_seconds", "the service's clock is ahead by this"),
];

impl Knobs {
    /// These knobs with the fields of the JSON object `changes` replaced.
    ///
    /// # Errors
    /// Says which field is unknown or has a bad value.
    pub fn with_json(&self, changes: &Value) -> Result<Self, String> {
        let Value::Object(changes) = changes else {
            return Err("knobs are set by a JSON object of knob: value".to_owned());
        };
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, value) in changes {
            if all.get(name).is_none() {
                return Err(format!("there is no knob {name:?}"));
            }
            all[name] = value.clone();
            // One by one, so that the error can name the knob: serde's names the value only.
            serde_json::from_value::<Self>(all.clone()).map_err(|error| format!("{name}: {error}"))?;
        }
        let knobs: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        knobs.check()?;
        Ok(knobs)
    }

    /// Values that cannot work together or at all.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.empty_pages == 1 {
            return Err("empty_pages: with every page empty no listing would end".to_owned());
        }
        if self.bandwidth_spread == 0 {
            return Err("bandwidth_spread: must be at least 1".to_owned());
        }
        if self.bandwidth == 0 && (self.burst > 0 || self.bandwidth_spread > 1 || self.slow_beyond > 0) {
            return Err("burst, bandwidth_spread and slow_beyond need a bandwidth".to_owned());
        }
        if self.page_cap == 0 {
            return Err("page_cap: must be at least 1".to_owned());
        }
        let mut names: Vec<&str> = super::api::endpoint_names().collect();
        names.extend(["object", "davList", "davGet"]);
        if let Some(name) = self.hold.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(format!("hold: there is no endpoint {name:?}; there are: {}", names.join(", ")));
        }
        if ![400, 401].contains(&self.auth_refusal_status) {
            return Err("auth_refusal_status: must be 400 or 401".to_owned());
        }
        if ![200, 400].contains(&self.business_status) {
            return Err("business_status: must be 200 or 400".to_owned());
        }
        if self.share_status > 2 {
            return Err("share_status: must be 0, 1 or 2".to_owned());
        }
        self.expiry(jiff::Timestamp::UNIX_EPOCH).map(|_| ())
    }

    /// When the share ends, counted from `start`.
    ///
    /// # Errors
    /// `expire_time` is none of its forms.
    pub fn expiry(&self, start: jiff::Timestamp) -> Result<Expiry, String> {
        let text = self.expire_time.as_str();
        match text {
            "absent" => return Ok(Expiry::Absent),
            "null" => return Ok(Expiry::Null),
            _ => {}
        }
        if text.starts_with(['+', '-']) {
            let seconds: f64 = text.parse().map_err(|_| format!("expire_time: {text:?} is no number of seconds"))?;
            let span =
                jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|error| format!("expire_time: {error}"))?;
            return Ok(Expiry::At(start.saturating_add(span).map_err(|error| error.to_string())?));
        }
        text.parse().map(Expiry::At).map_err(|error| format!("expire_time: {error}"))
    }
}

/// End of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The field is missing: unlimited.
    Absent,
    /// The field is null: unlimited.
    Null,
    /// At this moment.
    At(jiff::Timestamp),
}

/// Reads `250ms`, `1.5s`, `2m`, `1h`, or a plain number of seconds.
///
/// # Errors
/// Says what was not understood.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => {
            return Err(format!("{text:?}: write a duration like 20ms, 1.5s, 2m or 1h"));
        }
    };
    number
        .trim()
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * factor).ok())
        .ok_or_else(|| format!("{text:?}: write a duration like 20ms, 1.5s, 2m or 1h"))
}

/// Reads `4096`, `64K`, `20M`, `8GiB`; K, M, G, T count by 1024.
///
/// # Errors
/// Says what was not understood.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?}: write a size like 4096, 64K, 20M or 8GiB");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// What JSON may hold for a duration or a size.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Whole(u64),
    Number(f64),
    Text(String),
}

/// Durations in JSON: seconds as a number; text with a unit is read as well.
mod seconds {
    use super::{Deserialize, Deserializer, Duration, NumberOrText, Serializer, parse_duration};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        use serde::de::Error as _;
        match NumberOrText::deserialize(from)? {
            NumberOrText::Whole(seconds) => Ok(Duration::from_secs(seconds)),
            NumberOrText::Number(seconds) => Duration::try_from_secs_f64(seconds).map_err(D::Error::custom),
            NumberOrText::Text(text) => parse_duration(&text).map_err(D::Error::custom),
        }
    }
}

/// Sizes in JSON: a whole number, or text with a unit.
fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    use serde::de::Error as _;
    match NumberOrText::deserialize(from)? {
        NumberOrText::Whole(number) => Ok(number),
        NumberOrText::Number(number) => Err(D::Error::custom(format!("{number}: must be a whole number of bytes"))),
        NumberOrText::Text(text) => parse_bytes(&text).map_err(D::Error::custom),
    }
}
