//! How to log in: one way, chosen by the first place, in the order of precedence, that names one. Places after it are not looked
//! at. Two ways in one place are refused.

use super::layers::{Layers, RANKS, Rank};
use super::settings::{
    ACCOUNT, AGENT, APP_ID, APP_SECRET, APP_SECRET_FILE, PASSWORD, PASSWORD_FILE, SecretSetting, Setting, TOKEN,
    TOKEN_COMMAND, TOKEN_FILE,
};
use super::values;
use crate::config::{Credentials, SecretSource};

/// One way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Token,
    TokenCommand,
    Password,
    App,
}

const WAYS: [Way; 4] = [Way::Token, Way::TokenCommand, Way::Password, Way::App];

impl Way {
    /// The setting that chooses it.
    fn setting(self) -> &'static Setting {
        match self {
            Way::Token => &TOKEN_FILE,
            Way::TokenCommand => &TOKEN_COMMAND,
            Way::Password => &ACCOUNT,
            Way::App => &APP_ID,
        }
    }

    /// The secret that it needs, and where that stands in a file. A token chooses its way by itself.
    fn secret(self) -> Option<(&'static SecretSetting, &'static Setting)> {
        match self {
            Way::Token | Way::TokenCommand => None,
            Way::Password => Some((&PASSWORD, &PASSWORD_FILE)),
            Way::App => Some((&APP_SECRET, &APP_SECRET_FILE)),
        }
    }

    /// What chooses it in one place.
    fn choice(self, layers: &Layers<'_>, rank: Rank) -> Option<String> {
        let named = layers.at(rank, self.setting()).map(|_| layers.label(rank, self.setting()));
        let given = || layers.environment.secret(&TOKEN).map(|_| TOKEN.variable());
        named.or_else(|| if self == Way::Token && rank == Rank::Environment { given() } else { None })
    }

    /// Its secret in one place.
    fn trace(self, layers: &Layers<'_>, rank: Rank) -> Option<String> {
        let (secret, file) = self.secret()?;
        let named = layers.at(rank, file).map(|_| layers.label(rank, file));
        let given = || layers.environment.secret(secret).map(|_| secret.variable());
        named.or_else(|| if rank == Rank::Environment { given() } else { None })
    }
}

/// All ways, for the message that there is none.
pub(super) const POSSIBLE: &str = "give --token-file FILE (or KOOFS_TOKEN, or --token-command CMD), \
     or --account NAME with --password-file FILE (or KOOFS_PASSWORD), \
     or --app-id ID with --app-secret-file FILE (or KOOFS_APP_SECRET)";

/// The one way to log in; `None` with a complaint. `source` is what needs it.
pub(super) fn credentials(layers: &mut Layers<'_>, source: &str) -> Option<Credentials> {
    let chosen = RANKS.into_iter().find(|rank| WAYS.iter().any(|way| way.choice(layers, *rank).is_some()));
    let Some(rank) = chosen else {
        let stray = RANKS
            .into_iter()
            .find_map(|rank| WAYS.into_iter().find_map(|way| Some((way.trace(layers, rank)?, way.setting().flag()))));
        layers.complain(match stray {
            Some((secret, partner)) => format!("{secret} alone is no login: it goes with {partner}"),
            None => format!("{source} needs a login: {POSSIBLE}"),
        });
        return None;
    };
    let ways: Vec<(Way, String)> = WAYS.into_iter().filter_map(|way| Some((way, way.choice(layers, rank)?))).collect();
    let (way, label) = ways.first().cloned()?;
    // A secret in a place that does not choose the way may be meant for another remote.
    let stray = [Rank::Flag, rank]
        .into_iter()
        .find_map(|rank| WAYS.into_iter().filter(|other| *other != way).find_map(|other| other.trace(layers, rank)));
    if let Some(other) = ways.get(1).map(|(_, label)| label.clone()).or(stray) {
        layers.complain(format!("{label} and {other} are two ways to log in: leave one out"));
        return None;
    }
    match way {
        Way::Token => layers.secret(&TOKEN).map(|token| match token {
            SecretSource::File(path) => Credentials::TokenFile(path),
            SecretSource::Given(token) => Credentials::Token(token),
        }),
        Way::TokenCommand => layers.value(&TOKEN_COMMAND, values::command).map(Credentials::TokenCommand),
        Way::Password => {
            let account = layers.value(&ACCOUNT, values::account);
            if layers.find(&AGENT).is_none() {
                layers.complain(format!("{label} needs the carrier's name: give --agent NAME or set KOOFS_AGENT"));
            }
            let password = secret(layers, &PASSWORD, &label)?;
            Some(Credentials::Password { account: account?, password })
        }
        Way::App => {
            let id = layers.value(&APP_ID, values::header_id);
            let secret = secret(layers, &APP_SECRET, &label)?;
            Some(Credentials::App { id: id?, secret })
        }
    }
}

fn secret(layers: &mut Layers<'_>, secret: &SecretSetting, partner: &str) -> Option<SecretSource> {
    if layers.find(secret.file).is_none() && layers.environment.secret(secret).is_none() {
        let (flag, variable) = (secret.file.flag(), secret.variable());
        layers.complain(format!("{partner} needs its secret: give {flag} FILE or set {variable}"));
        return None;
    }
    layers.secret(secret)
}
