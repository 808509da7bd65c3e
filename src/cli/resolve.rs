//! From settings to a source with everything that is needed to open it. `mount`, `ls`, `spaces` and `config check` all use this,
//! so that a check finds what a mount would refuse.

use super::layers::{Layers, Rank};
use super::login::credentials;
use super::quantities;
use super::settings::{
    ACCESS_CODE, AGENT, ALL, ALLOW_HTTP, ALLOW_PRIVATE_LINKS, CA_FILE, EDITION, ENDPOINT, OP_TIMEOUT, Purpose,
    TEAM_TYPE, USER_ID,
};
use super::source::{self, TypedSource};
use super::values::{self, Endpoint};
use crate::config::{
    Connection, Credentials, DEFAULT_OP_TIMEOUT, Edition, LoginConfig, ShareConfig, Source, SpaceConfig, SpaceSource,
};

/// The source; `None` with at least one complaint, and complaints may come with a source.
pub(super) fn source(layers: &mut Layers<'_>, typed: &TypedSource) -> Option<Source> {
    let is_share = matches!(typed, TypedSource::Share { .. });
    let is_enterprise = is_share && layers.value(&EDITION, values::is_enterprise).unwrap_or(false);
    refuse_what_has_no_meaning(layers, typed, is_enterprise);
    let source = match typed {
        TypedSource::Share { code, .. } => return share(layers, typed, code, is_enterprise),
        TypedSource::Space(None) => SpaceSource::Own,
        TypedSource::Space(Some(id)) => SpaceSource::Container(id.clone()),
        TypedSource::Team(id) => {
            SpaceSource::Team { group_id: id.clone(), kind: layers.value(&TEAM_TYPE, values::team_kind) }
        }
        TypedSource::SharedFolder(id) => SpaceSource::SharedFolder(id.clone()),
        TypedSource::Remote(name) => {
            layers.complain(format!("a remote's source cannot be a remote ({name}:)"));
            return None;
        }
    };
    let (connection, login) = login(layers, &typed.shown(), source::origin(typed))?;
    // Its container is asked for by the user's id, which only a login by password tells.
    let is_known = login.user_id.is_some() || matches!(login.credentials, Credentials::Password { .. });
    if source == SpaceSource::Own && !is_known && layers.find(&USER_ID).is_none() {
        layers.complain(
            "space: is the user's own space, and a token does not tell whose it is: give --user-id ID or set KOOFS_USER_ID, \
             or name the space (space:CONTAINER_ID)",
        );
    }
    Some(Source::Space(SpaceConfig { connection, source, login }))
}

fn share(layers: &mut Layers<'_>, typed: &TypedSource, code: &str, is_enterprise: bool) -> Option<Source> {
    let code = code.to_owned();
    if is_enterprise {
        let access_code = layers.read_secret(&ACCESS_CODE);
        let (connection, login) = login(layers, &typed.shown(), source::origin(typed))?;
        return Some(Source::Share(ShareConfig { connection, code, access_code, edition: Edition::Enterprise(login) }));
    }
    let connection = connection(layers, &typed.shown(), source::origin(typed));
    let agent = layers.value(&AGENT, values::agent);
    if agent.as_ref().is_some_and(String::is_empty) || layers.find(&AGENT).is_none() {
        layers.complain(
            "public shares need the carrier's name: give --agent NAME or set KOOFS_AGENT (the service refuses requests \
             without it)",
        );
    }
    let access_code = layers.read_secret(&ACCESS_CODE);
    let edition = Edition::Carrier { agent: agent? };
    Some(Source::Share(ShareConfig { connection: connection?, code, access_code, edition }))
}

/// A login, and where to. `shown` is how complaints call what needs it.
pub(super) fn login(
    layers: &mut Layers<'_>,
    shown: &str,
    origin: Option<Endpoint>,
) -> Option<(Connection, LoginConfig)> {
    let connection = connection(layers, shown, origin);
    let agent = layers.value(&AGENT, values::agent).filter(|name| !name.is_empty());
    let user_id = layers.value(&USER_ID, values::header_id);
    let credentials = credentials(layers, shown);
    if matches!(credentials, Some(Credentials::App { .. })) && layers.find(&USER_ID).is_none() {
        layers.complain("--app-id signs the user's id with every request: give --user-id ID or set KOOFS_USER_ID");
    }
    Some((connection?, LoginConfig { credentials: credentials?, user_id, agent }))
}

fn connection(layers: &mut Layers<'_>, shown: &str, origin: Option<Endpoint>) -> Option<Connection> {
    let endpoint = endpoint(layers, origin);
    if endpoint.is_none() && layers.find(&ENDPOINT).is_none() {
        layers.complain(format!("{shown} needs --endpoint: {}, or your carrier's https://HOST", values::presets()));
    }
    let allow_http = layers.switch(&ALLOW_HTTP);
    if let Some(Endpoint(endpoint)) = &endpoint
        && !allow_http
        && !values::is_safe_transport(endpoint)
    {
        layers
            .complain(format!("{endpoint} would send everything in the clear: use https, or --allow-http if you must"));
    }
    let allow_private_links = layers.switch(&ALLOW_PRIVATE_LINKS);
    let ca_file = layers.file(&CA_FILE, values::readable_file);
    let op_timeout = layers.value(&OP_TIMEOUT, quantities::op_timeout).unwrap_or(DEFAULT_OP_TIMEOUT);
    Some(Connection { endpoint: endpoint?.0, allow_http, allow_private_links, ca_file, op_timeout })
}

/// The service; `None` if none was named, or with a complaint.
pub(super) fn endpoint(layers: &mut Layers<'_>, origin: Option<Endpoint>) -> Option<Endpoint> {
    // The host of a link takes precedence over `[defaults]`.
    let is_default = layers.find(&ENDPOINT).is_none_or(|(rank, _)| rank == Rank::Defaults);
    match origin {
        Some(origin) if is_default => Some(origin),
        _ => layers.value(&ENDPOINT, str::parse),
    }
}

/// Settings for just this source that can only be a mistake. The environment and `[defaults]` speak of others too.
fn refuse_what_has_no_meaning(layers: &mut Layers<'_>, typed: &TypedSource, is_enterprise: bool) {
    let is_share = matches!(typed, TypedSource::Share { .. });
    let is_team = matches!(typed, TypedSource::Team(_));
    for setting in ALL {
        let why = match setting.purpose {
            Purpose::Login if is_share && !is_enterprise => {
                "a public share takes no login: leave it out, or give --edition enterprise"
            }
            Purpose::Share if !is_share => "is for shares only: leave it out",
            Purpose::Team if !is_team => "is for team:ID only: leave it out",
            _ => continue,
        };
        for rank in [Rank::Flag, Rank::Remote] {
            if layers.at(rank, setting).is_some() {
                layers.complain(format!("{}: {why}", layers.label(rank, setting)));
            }
        }
    }
}
