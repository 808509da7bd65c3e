//! The proxies that the environment names.

use std::fmt;

use reqwest::blocking::ClientBuilder;
use reqwest::{NoProxy, Proxy, Url};

use super::address::is_loopback;
use super::error::{HttpError, HttpErrorKind};

/// What is never asked of a proxy, in the notation of `NO_PROXY`: this machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the environment names. Their URLs may hold passwords, which nothing here shows.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<NamedProxy>,
    https: Option<NamedProxy>,
    no_proxy: String,
}

/// A proxy, and the variable that names it.
#[derive(Clone)]
struct NamedProxy {
    variable: &'static str,
    url: String,
}

impl Proxies {
    /// As this process's environment has them.
    pub fn of_environment() -> Proxies {
        Proxies::of_variables(|name| std::env::var(name).ok())
    }

    /// As the variables have them, by curl's rules: lower case goes first; `http_proxy` counts in lower case only, as a CGI
    /// program's caller can set `HTTP_PROXY` by a header; `all_proxy` is for what has no variable of its own; an empty one is
    /// none.
    pub fn of_variables(get: impl Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, get(name).filter(|value| !value.trim().is_empty())?)))
        };
        let proxy = |names: &[&'static str]| {
            first(names).map(|(variable, url)| NamedProxy { variable, url: url.trim().to_owned() })
        };
        Proxies {
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: first(&["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, hosts)| hosts),
        }
    }

    /// The hosts of the proxies.
    pub(super) fn hosts(&self) -> Vec<String> {
        let urls = [&self.http, &self.https].into_iter().flatten().filter_map(|proxy| proxy_url(&proxy.url));
        urls.filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The variable whose proxy may be in the way of `url`; for messages only: `NO_PROXY` is not looked at.
    pub(super) fn variable_for(&self, url: &str) -> Option<&'static str> {
        let url = Url::parse(url).ok().filter(|url| !is_loopback(url))?;
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().map(|proxy| proxy.variable)
    }

    pub(super) fn add_to(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, HttpError> {
        for (proxy, make) in [(&self.http, Proxy::http::<Url> as fn(Url) -> _), (&self.https, Proxy::https::<Url>)] {
            if let Some(NamedProxy { variable, url }) = proxy {
                let bad = || {
                    let context = format!("{variable} does not name a proxy: set it to http://host:port");
                    HttpError::new(HttpErrorKind::BadSetting, context)
                };
                let made = proxy_url(url).and_then(|url| make(url).ok()).ok_or_else(bad)?;
                let direct = NoProxy::from_string(&format!("{LOOPBACK},{}", self.no_proxy));
                builder = builder.proxy(made.no_proxy(direct));
            }
        }
        Ok(builder)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = |proxy: &Option<NamedProxy>| proxy.as_ref().map(|proxy| proxy.variable);
        write!(f, "Proxies(http: {:?}, https: {:?})", variable(&self.http), variable(&self.https))
    }
}

/// A proxy's URL, with `http://` before it if it has no scheme, as curl has it; none of another scheme.
fn proxy_url(text: &str) -> Option<Url> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
