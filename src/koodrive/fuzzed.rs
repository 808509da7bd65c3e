//! What must hold of every answer of the service, whatever is in it. For tests and for `scripts/fuzz` only.

use std::time::{Duration, UNIX_EPOCH};

use super::convert::{Moment, fresh_link, links, rows, session, share, text};
use super::envelope::judge;
use super::wire::{Answer, DownloadAnswer, FilesAnswer, LinksAnswer, UserInfoAnswer, VerifyAnswer};
use crate::http::ApiAnswer;
use crate::policy::link_expiry::LONGEST_LIFETIME;
use crate::policy::name::MAX_NAME_BYTES;
use crate::policy::server_time::ServerOffset;
use crate::remote::{Link, Pages};

/// A token that a refusal may repeat: no text that is shown has it.
const SECRET: &str = "0f1e2d3c4b5a";

/// 2023-12-27, the day of the service's own samples.
const NOW_SECONDS: u64 = 1_703_662_000;

fn moment() -> Moment {
    Moment { received_at: UNIX_EPOCH + Duration::from_secs(NOW_SECONDS), server: ServerOffset::default() }
}

/// The payload of `body` for each status that a service may send with it.
fn payloads<T: Answer>(body: &[u8], keys: &[&str], mut each: impl FnMut(T)) {
    for status in [200, 400, 403, 429, 503] {
        let answer = ApiAnswer { status, date: None, retry_after: None, body: body.to_vec() };
        match judge(&answer, keys, &[SECRET]) {
            Ok(envelope) => {
                if let Some(payload) = envelope.payload() {
                    each(payload);
                }
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
                assert!(shown.len() < 2000, "{} bytes are shown", shown.len());
                let _ = error.kind();
            }
        }
    }
}

fn check_link(link: &Link) {
    assert!(link.lifetime <= LONGEST_LIFETIME);
    assert!(link.expires_at <= moment().received_at + LONGEST_LIFETIME);
}

/// The body of a listing: each entry has an id, a size that a file can have, and a name that Linux can hold.
pub fn listing(data: &[u8]) {
    payloads(data, &["files"], |answer: FilesAnswer| {
        let Ok(rows) = rows(answer, moment()) else { return };
        let page = rows.into_page();
        for node in &page.nodes {
            assert!(!node.id.as_str().is_empty());
            assert!(i64::try_from(node.version.size_bytes).is_ok(), "{}", node.version.size_bytes);
            node.link.iter().for_each(check_link);
        }
        // An entry takes `{}` and a comma at least.
        assert!(page.nodes.len() <= data.len() / 2, "{} entries of {} bytes", page.nodes.len(), data.len());
        for (name, _) in Pages::default().name(page.nodes, |_| false) {
            let name = name.as_str();
            assert!((1..=MAX_NAME_BYTES).contains(&name.len()), "{} bytes", name.len());
            assert!(!name.contains(['/', '\0']) && name != "." && name != "..", "{name:?}");
        }
    });
}

/// The body of an answer with links, one or many: each has a bounded life.
pub fn link(data: &[u8]) {
    payloads(data, &["downloadUrl"], |answer: DownloadAnswer| {
        fresh_link(answer, moment()).iter().for_each(check_link);
    });
    payloads(data, &["downloads"], |answer: LinksAnswer| {
        let Ok(links) = links(answer, moment()) else { return };
        links.values().flatten().for_each(check_link);
    });
}

/// The body of an answer that opens a share or a login: no panic, and no secret in what is said of it.
pub fn opening(data: &[u8]) {
    payloads(data, &["link"], |answer: UserInfoAnswer| {
        let _ = answer.link.map(share);
    });
    payloads(data, &["kdstoken"], |answer: VerifyAnswer| {
        let _ = text(answer.kdstoken, "kdstoken");
    });
    payloads(data, &["sessionInfo", "accessToken"], |answer| {
        let _ = session(answer);
    });
}

#[cfg(test)]
mod tests {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/inputs.rs"));

    #[test]
    fn listing_holds_only_what_a_directory_can_hold() {
        try_inputs("listing", super::listing);
    }

    #[test]
    fn links_of_an_answer_have_a_bounded_life() {
        try_inputs("link", super::link);
    }

    #[test]
    fn answers_that_open_never_panic_and_show_no_secret() {
        try_inputs("opening", super::opening);
    }
}
