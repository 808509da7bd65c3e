//! The cache on the disk: opens it if possible, and names the sources under which blocks and listings are kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::Timer;
use crate::config::{CacheConfig, Credentials, LoginConfig, ShareConfig, Source};
use crate::fs::Remembered;
use crate::offline::Facts;
use crate::policy::glob::Shown;
use crate::policy::printable::one_line;
use crate::store::identity::Identity;
use crate::store::{self, Store, identity};

/// How long the disk is waited for: a request to the service takes about as long, and a disk that turns for many readers less.
const PATIENCE: Duration = Duration::from_millis(250);

/// How old what is known of a source may grow on the disk while the service answers: it is known for days, from then on.
const KEPT_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// What outlives the mount.
pub(super) struct Cache {
    pub(super) store: Arc<Store>,
    /// What blocks of files are kept under.
    pub(super) blocks: identity::Source,
    listings: identity::Source,
    is_share: bool,
    /// What the last opening of this source, with this access code and from this root on, has told.
    opening: Option<Identity>,
}

impl Cache {
    /// The cache for `source`, of which some entries are `shown`, in which `queue_bytes` may wait to be written; `None`, with a warning, if it cannot be used.
    pub(super) fn open(
        config: &CacheConfig,
        source: &Source,
        root: &[String],
        shown: &Shown,
        queue_bytes: u64,
        timer: &Arc<Timer>,
    ) -> Option<Cache> {
        let CacheConfig { directory, limit_bytes } = config;
        let config =
            store::Config { directory: directory.clone(), limit_bytes: *limit_bytes, queue_bytes, patience: PATIENCE };
        let store = Store::open(config, timer)
            .inspect_err(|error| log::warn!("nothing is kept on disk: {}", one_line(error)))
            .ok()?;
        let endpoint = &source.connection().endpoint;
        let (exact, label) = (exact_name(source), source.name());
        let blocks = identity::Source::new(endpoint, &exact, &label);
        let listings = identity::Source::new(
            endpoint,
            // Those that lack something are another source's.
            &format!("{exact} listings{}", shown.mark()),
            &format!("{label}{}", identity::LISTINGS_LABEL),
        );
        let is_share = matches!(source, Source::Share(_));
        let opening = Identity::opening(&blocks, &access_mark(source), &root.join("/"));
        Some(Cache { store: Arc::new(store), blocks, listings, is_share, opening })
    }

    /// What the last opening of the source has told, if that is at most `age` old at `now`. A clock that was turned back does no harm.
    pub(super) fn known(&self, age: Duration, now: SystemTime) -> Option<Facts> {
        let blob = self.store.get(self.opening.as_ref()?)?;
        let is_young = now.duration_since(blob.complete_at).unwrap_or_default() < age;
        Facts::decode(blob.data()).filter(|_| is_young)
    }

    /// Keeps what is known of the source, as it was when the service answered last; not again if that has not changed in a while.
    pub(super) fn keep(&self, facts: &Facts, answered_at: SystemTime) {
        let Some((opening, bytes)) = self.opening.as_ref().zip(facts.encode()) else { return };
        let is_kept = self.store.get(opening).is_some_and(|blob| {
            let age = answered_at.duration_since(blob.complete_at).unwrap_or_default();
            blob.data() == bytes && age < KEPT_AGAIN_AFTER
        });
        if !is_kept {
            self.store.put_listing(opening, answered_at, bytes);
        }
    }

    /// The listings that are kept.
    pub(super) fn remembered(&self) -> Remembered {
        Remembered::new(Arc::clone(&self.store), self.listings.clone(), self.blocks.clone(), self.is_share)
    }

    /// The service refuses the source: nothing of it is kept.
    pub(super) fn forget_all(&self) {
        for source in [&self.listings, &self.blocks] {
            if let Err(error) = self.store.forget(source) {
                log::warn!("what is kept on disk of it cannot be forgotten ({error}): run koofs cache clear");
            }
        }
    }
}

/// Tells one access code of a share from most others, and gives away next to nothing of it: 16 bits of a hash. A code has some 47, and
/// whoever can read this can read all that the code is for.
fn access_mark(source: &Source) -> String {
    match source {
        Source::Share(ShareConfig { code, access_code: Some(access_code), .. }) => {
            format!("{:04x}", access_code.hash_with(code) >> 48)
        }
        Source::Share(_) | Source::Space(_) => String::new(),
    }
}

/// What distinguishes `source`, as its login sees it, from all others. Contains no secret, and is known before any call is made.
fn exact_name(source: &Source) -> String {
    let what = match source {
        Source::Share(share) => format!("share:{}", share.code),
        Source::Space(space) => format!("{:?}", space.source),
    };
    match source.login() {
        None => what,
        Some(LoginConfig { credentials, user_id, .. }) => {
            let login = match credentials {
                Credentials::Password { account, .. } => format!("account {account:?}"),
                Credentials::App { id, .. } => format!("app {id:?}"),
                Credentials::TokenFile(_) | Credentials::Token(_) | Credentials::TokenCommand(_) => "token".to_owned(),
            };
            format!("{what} {login} user {user_id:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Connection, DEFAULT_OP_TIMEOUT, Edition, Secret, SecretSource, SpaceConfig, SpaceSource};

    fn connection() -> Connection {
        Connection {
            endpoint: "https://h".to_owned(),
            allow_http: false,
            allow_private_links: false,
            ca_file: None,
            op_timeout: DEFAULT_OP_TIMEOUT,
        }
    }

    fn share(code: &str, edition: Edition) -> Source {
        let access_code = Some(Secret::new("s3cret"));
        Source::Share(ShareConfig { connection: connection(), code: code.to_owned(), access_code, edition })
    }

    fn login(credentials: Credentials, user_id: Option<&str>) -> LoginConfig {
        LoginConfig { credentials, user_id: user_id.map(str::to_owned), agent: None }
    }

    fn token(user_id: &str) -> LoginConfig {
        login(Credentials::Token(Secret::new("s3cret")), Some(user_id))
    }

    fn space(source: SpaceSource, login: LoginConfig) -> Source {
        Source::Space(SpaceConfig { connection: connection(), source, login })
    }

    #[test]
    fn each_login_and_source_has_a_name_of_its_own_without_a_secret() {
        let password = |account: &str| {
            let password = SecretSource::Given(Secret::new("s3cret"));
            login(Credentials::Password { account: account.to_owned(), password }, None)
        };
        let app = |id: &str| {
            let secret = SecretSource::Given(Secret::new("s3cret"));
            login(Credentials::App { id: id.to_owned(), secret }, Some("1"))
        };
        let carrier = || Edition::Carrier { agent: "a".to_owned() };
        let sources = [
            share("1", carrier()),
            share("2", carrier()),
            share("1", Edition::Enterprise(token("1"))),
            share("1", Edition::Enterprise(token("2"))),
            space(SpaceSource::Own, token("1")),
            space(SpaceSource::Own, token("2")),
            space(SpaceSource::Own, password("1")),
            space(SpaceSource::Own, password("2")),
            space(SpaceSource::Own, app("1")),
            space(SpaceSource::Own, app("2")),
            space(SpaceSource::Container("1".to_owned()), token("1")),
            space(SpaceSource::SharedFolder("1".to_owned()), token("1")),
        ];
        let mut names: Vec<String> = sources.iter().map(exact_name).collect();
        assert!(names.iter().all(|name| !name.contains("s3cret")), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), sources.len(), "{names:?}");
    }
}
