//! Opens a drive as the configuration says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::kept_alive::{KeptAlive, UPKEEP_INTERVAL};
use super::open_error::{OpenError, SpaceNames};
use super::service::{Account, Service};
use super::share::ShareClient;
use super::space::SpaceClient;
use crate::clock::Clock;
use crate::config::{Connection, Edition, LoginConfig, ShareConfig, Source, SpaceConfig};
use crate::http::HttpConfig;
use crate::remote::Remote;

/// Opens `source`: logs in where that is needed, finds the share or the space, and lists its top level once, to see that the
/// service permits it. Throttling, interruptions and 5xx are tried again until the time limit of one operation is over, which
/// is the most that all of it takes. With a login, a thread is started that ends with the drive.
///
/// `http` notes where the endpoint has answered from, for whoever reads through the drive's links.
///
/// # Errors
/// [`OpenError`], whose text is for the user. A refused password or access code is sent only once.
pub fn open(source: &Source, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Arc<dyn Remote>, OpenError> {
    let op_timeout = source.connection().op_timeout;
    match open_drive(source, http, Arc::clone(&clock))? {
        Drive::Public(share) => Ok(Arc::new(share)),
        Drive::WithLogin(share) => {
            kept_alive(KeptAlive::start(Arc::new(share), clock, op_timeout, UPKEEP_INTERVAL, ShareClient::touch))
        }
        Drive::Space(space) => {
            let first = if space.lacks_figures() { Duration::ZERO } else { UPKEEP_INTERVAL };
            kept_alive(KeptAlive::start(Arc::new(space), clock, op_timeout, first, SpaceClient::refresh_figures))
        }
    }
}

/// A drive that was opened, and that nothing keeps alive.
pub(super) enum Drive {
    /// A share without a login.
    Public(ShareClient),
    /// A share with a login.
    WithLogin(ShareClient),
    Space(SpaceClient),
}

/// Opens `source` as [`open`] does, but starts no thread.
///
/// # Errors
/// As [`open`].
pub(super) fn open_drive(source: &Source, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Drive, OpenError> {
    match source {
        Source::Share(config) => open_share(config, http, clock),
        Source::Space(config) => open_space(config, http, clock),
    }
}

fn open_share(config: &ShareConfig, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Drive, OpenError> {
    let deadline = clock.now() + config.connection.op_timeout;
    let open = |service| ShareClient::open(service, &config.code, config.access_code.as_ref(), deadline);
    match &config.edition {
        Edition::Carrier { agent } => {
            let caller = Box::new(caller(&config.connection, http, clock)?);
            Ok(Drive::Public(open(Service::Public { caller, agent: agent.clone() })?))
        }
        Edition::Enterprise(login) => {
            let account = log_in(&config.connection, login, http, clock, deadline)?;
            Ok(Drive::WithLogin(open(Service::Account(account))?))
        }
    }
}

fn open_space(config: &SpaceConfig, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Drive, OpenError> {
    let deadline = clock.now() + config.connection.op_timeout;
    let account = log_in(&config.connection, &config.login, http, clock, deadline)?;
    Ok(Drive::Space(SpaceClient::open(&config.source, account, &config.login, deadline)?))
}

fn kept_alive(started: std::io::Result<KeptAlive>) -> Result<Arc<dyn Remote>, OpenError> {
    let drive = started.map_err(|source| OpenError::NoThread { source })?;
    Ok(Arc::new(drive))
}

fn caller(connection: &Connection, http: &HttpConfig, clock: Arc<dyn Clock>) -> Result<Caller, OpenError> {
    Caller::new(&connection.endpoint, http.clone(), clock)
        .map_err(|error| OpenError::of_setup(error, &connection.endpoint))
}

/// Logs in.
pub(super) fn log_in(
    connection: &Connection,
    login: &LoginConfig,
    http: &HttpConfig,
    clock: Arc<dyn Clock>,
    deadline: Instant,
) -> Result<Arc<Account>, OpenError> {
    let caller = caller(connection, http, clock)?;
    let endpoint = caller.origin().to_owned();
    let account = Account::open(caller, login, deadline)
        .map_err(|error| OpenError::of_space_call(error, SpaceNames::new(&endpoint, login, "the login")))?;
    // Mandatory since 2024-09 (API.md, section 2).
    account.map(Arc::new).ok_or(OpenError::UserIdMissing)
}
