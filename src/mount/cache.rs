//! The cache on the disk: opens it if possible, and names the sources under which blocks and listings are kept.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timer;
use crate::config::{CacheConfig, Credentials, LoginConfig, Source};
use crate::fs::Remembered;
use crate::policy::printable::one_line;
use crate::store::{self, Store, identity};

/// How long the disk is waited for: a request to the service takes about as long, and a disk that turns for many readers less.
const PATIENCE: Duration = Duration::from_millis(250);

/// What outlives the mount.
pub(super) struct Cache {
    pub(super) store: Arc<Store>,
    /// What blocks of files are kept under.
    pub(super) blocks: identity::Source,
    listings: identity::Source,
    is_share: bool,
}

impl Cache {
    /// The cache for `source`, in which `queue_bytes` may wait to be written; `None`, with a warning, if it cannot be used.
    pub(super) fn open(config: &CacheConfig, source: &Source, queue_bytes: u64, timer: &Arc<Timer>) -> Option<Cache> {
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
            &format!("{exact} listings"),
            &format!("{label}{}", identity::LISTINGS_LABEL),
        );
        let is_share = matches!(source, Source::Share(_));
        Some(Cache { store: Arc::new(store), blocks, listings, is_share })
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
    use crate::config::{
        Connection, DEFAULT_OP_TIMEOUT, Edition, Secret, SecretSource, ShareConfig, SpaceConfig, SpaceSource,
    };

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
