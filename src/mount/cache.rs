//! The cache on the disk: opened if it can be, and what is kept there called by what it is of.

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
        let listings = identity::Source::new(endpoint, &format!("{exact} listings"), &format!("{label} (listings)"));
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

/// What tells `source`, as it is seen by its login, from all others. No secret: it is known before anything is asked.
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
