//! The cache on the disk: opened if it can be, and what is kept there called by what it is of.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timer;
use crate::config::{CacheConfig, Credentials, LoginConfig, Source};
use crate::policy::printable::one_line;
use crate::store::{self, Store, identity};

/// How long the disk is waited for: a request to the service takes about as long, and a disk that turns for many readers less.
const PATIENCE: Duration = Duration::from_millis(250);

/// What outlives the mount.
pub(super) struct Cache {
    pub(super) store: Arc<Store>,
    /// What blocks of files are kept under.
    pub(super) blocks: identity::Source,
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
        let blocks = identity::Source::new(endpoint, &exact_name(source), &source.name());
        Some(Cache { store: Arc::new(store), blocks })
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
