//! Proxies and private authorities: on loopback, with names that only the proxy knows.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use koofs::clock::SystemClock;
use koofs::config::{Connection, Edition, ShareConfig, Source, SpaceSource};
use koofs::http::{ApiAnswer, ApiClient, ApiRequest, HttpConfig, HttpError, HttpErrorKind, ObjectClient, Proxies};
use koofs::policy::range::ByteRange;
use koofs::remote::Link;
use tempfile::TempDir;

use crate::emulator::{Emulator, EmulatorConfig, Entry, TestProxy};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{chain, config, names, open_on, says, soon};

/// A name that no name server knows.
const HOST: &str = "koodrive.test";

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    Proxies::of_variables(|wanted| {
        variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    })
}

fn through(proxies: Proxies) -> HttpConfig {
    HttpConfig { proxies, ..HttpConfig::new(true, Duration::from_secs(20)) }
}

fn get(endpoint: &str, config: HttpConfig) -> Result<ApiAnswer, HttpError> {
    let client = ApiClient::new(endpoint, config, Arc::new(SystemClock))?;
    let request = ApiRequest { path: "/x", query: &[], headers: &[("authorization", "AT sesame")], body: None };
    client.call(request, Instant::now() + Duration::from_secs(10))
}

fn local() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

#[test]
fn plain_http_goes_through_the_lower_case_variable_only() {
    let server = ScriptedServer::with_handler(|_| Answer::new(200, "{}"));
    let proxy = TestProxy::start();
    proxy.route(HOST, local());
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    let endpoint = format!("http://{HOST}:{port}");
    let url = proxy.url();
    for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        assert_eq!(get(&endpoint, through(proxies(&[(name, &url)]))).unwrap().status, 200, "{name}");
    }
    assert_eq!(proxy.counters().forwards, 3);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy"] {
        assert!(get(&endpoint, through(proxies(&[(name, &url)]))).is_err(), "{name}");
    }
    let empty = proxies(&[("http_proxy", ""), ("all_proxy", &url)]);
    assert_eq!(get(&endpoint, through(empty)).unwrap().status, 200);
    let without_scheme = proxies(&[("http_proxy", url.trim_start_matches("http://"))]);
    assert_eq!(get(&endpoint, through(without_scheme)).unwrap().status, 200);
}

#[test]
fn this_machine_and_no_proxy_hosts_are_asked_directly() {
    let server = ScriptedServer::with_handler(|_| Answer::new(200, "{}"));
    let proxy = TestProxy::start();
    proxy.route(HOST, local());
    let url = proxy.url();
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
        let answer = get(&format!("http://{host}:{port}"), through(proxies(&[("all_proxy", &url)])));
        assert!(answer.is_ok() || host == "127.0.0.2", "{host}");
    }
    for excepted in [HOST, "test", ".test", "*", "other.example, koodrive.test"] {
        let direct = proxies(&[("all_proxy", &url), ("no_proxy", excepted)]);
        let error = get(&format!("http://{HOST}:{port}"), through(direct)).err().unwrap();
        assert_eq!(error.kind(), HttpErrorKind::Dns, "{excepted}");
    }
    assert_eq!((proxy.counters().forwards, proxy.counters().connects), (0, 0));
    let elsewhere = proxies(&[("all_proxy", &url), ("NO_PROXY", "drive.test,10.0.0.0/8")]);
    assert_eq!(get(&format!("http://{HOST}:{port}"), through(elsewhere)).unwrap().status, 200);
}

#[test]
fn password_of_a_proxy_is_sent_to_it_and_shows_in_no_error() {
    let server = ScriptedServer::with_handler(|_| Answer::new(200, "{}"));
    let proxy = TestProxy::start();
    proxy.route(HOST, local());
    proxy.require("ada", "pass-word-1");
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    let endpoint = format!("http://{HOST}:{port}");
    let good = proxies(&[("http_proxy", &proxy.url_with("ada", "pass-word-1"))]);
    assert!(!format!("{good:?}").contains("pass-word-1"));
    assert_eq!(get(&endpoint, through(good)).unwrap().status, 200);
    let wrong = proxy.url_with("ada", "pass-word-2");
    let error = get(&format!("https://{HOST}:{port}"), through(proxies(&[("HTTPS_PROXY", &wrong)]))).err().unwrap();
    assert_eq!((error.kind(), error.proxy_variable()), (HttpErrorKind::Connect, Some("HTTPS_PROXY")));
    assert!(!chain(&error).contains("pass-word"), "{}", chain(&error));
    let gone = "http://ada:pass-word-3@127.0.0.1:1";
    let error = get(&endpoint, through(proxies(&[("http_proxy", gone)]))).err().unwrap();
    assert!(!chain(&error).contains("pass-word"), "{}", chain(&error));
    for nonsense in ["socks5://ada:pass-word-4@h:1", "http://ada:pass-word-4@", "ftp://x", "http://h:port:pass-word-4"]
    {
        let error = get(&endpoint, through(proxies(&[("https_proxy", nonsense)]))).err().unwrap();
        assert_eq!(error.kind(), HttpErrorKind::BadSetting, "{nonsense}");
        says(&error, &["https_proxy", "http://host:port"]);
        assert!(!chain(&error).contains("pass-word"), "{}", chain(&error));
    }
}

fn advertised() -> (Emulator, TestProxy) {
    let emulator =
        Emulator::start(EmulatorConfig { tls: true, advertise: Some(HOST.to_owned()), ..EmulatorConfig::default() });
    let proxy = TestProxy::start();
    proxy.route(HOST, local());
    (emulator, proxy)
}

fn ca_file(emulator: &Emulator, directory: &TempDir) -> std::path::PathBuf {
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, emulator.ca_pem().unwrap()).unwrap();
    path
}

#[test]
fn tls_goes_through_a_tunnel_that_sees_no_secret() {
    let (emulator, proxy) = advertised();
    let directory = TempDir::new().unwrap();
    let https = proxies(&[("HTTPS_PROXY", &proxy.url())]);
    let trusting = HttpConfig { ca_file: Some(ca_file(&emulator, &directory)), ..through(https.clone()) };
    let answer = get(&emulator.url(), trusting.clone()).unwrap();
    assert!(answer.status >= 400, "the emulator knows no such path");
    // Objects as well.
    let link = Link::new(
        &format!("{}/bucket/none?X-Amz-Signature=0", emulator.object_url()),
        std::time::SystemTime::now() + Duration::from_secs(60),
        Duration::from_secs(60),
    );
    let objects = ObjectClient::new(trusting, Arc::new(SystemClock)).unwrap();
    assert!(objects.get_range(&link, ByteRange::new(0, 2), None, soon()).unwrap().status >= 400);
    let counters = proxy.counters();
    assert_eq!((counters.secret_leaks, counters.forwards), (0, 0));
    assert!(counters.connects >= 2, "{counters:?}");
    // The tunnel does not make up for trust.
    let error = get(&emulator.url(), through(https)).err().unwrap();
    assert_eq!(error.kind(), HttpErrorKind::Tls, "{}", chain(&error));
}

#[test]
fn private_authority_is_trusted_only_if_its_file_says_so() {
    let emulator = Emulator::start(EmulatorConfig { tls: true, ..EmulatorConfig::default() });
    emulator.tree().add("", Entry::file("a", 1));
    emulator.own().tree.add("", Entry::file("b", 1));
    let directory = TempDir::new().unwrap();
    let ca = ca_file(&emulator, &directory);
    let share = |ca_file| ShareConfig {
        connection: Connection {
            endpoint: emulator.url(),
            allow_http: false,
            allow_private_links: false,
            ca_file,
            op_timeout: Duration::from_secs(10),
        },
        code: emulator.share_code().to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: "carrier".to_owned() },
    };
    let open = |ca_file| open_on(Source::Share(share(ca_file)), Arc::new(SystemClock));
    let client = open(Some(ca.clone())).unwrap();
    assert_eq!(names(&*client, &client.root()), ["a"]);
    let mut space = config(&emulator, SpaceSource::Own);
    space.connection.ca_file = Some(ca);
    let client = open_on(Source::Space(space), Arc::new(SystemClock)).unwrap();
    assert_eq!(names(&*client, &client.root()), ["b"]);
    says(&open(None).err().unwrap(), &["no trustworthy TLS connection", "--ca-file"]);
    let another = Emulator::start(EmulatorConfig { tls: true, ..EmulatorConfig::default() });
    let wrong = ca_file_named(&another, &directory, "other.pem");
    says(&open(Some(wrong)).err().unwrap(), &["no trustworthy TLS connection"]);
}

fn ca_file_named(emulator: &Emulator, directory: &TempDir, name: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, emulator.ca_pem().unwrap()).unwrap();
    path
}

#[test]
fn file_without_certificates_is_told_with_the_remedy() {
    let directory = TempDir::new().unwrap();
    let server = ScriptedServer::new();
    let open = |content: Option<&str>| {
        let path = directory.path().join("ca.pem");
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap_or(()),
        }
        let config = ShareConfig {
            connection: Connection {
                endpoint: server.url(),
                allow_http: false,
                allow_private_links: false,
                ca_file: Some(path),
                op_timeout: Duration::from_secs(5),
            },
            code: "1".to_owned(),
            access_code: None,
            edition: Edition::Carrier { agent: "carrier".to_owned() },
        };
        open_on(Source::Share(config), Arc::new(SystemClock)).err().unwrap()
    };
    says(&open(None), &["--ca-file", "ca.pem", "check the path"]);
    for content in ["", "nothing\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        says(&open(Some(content)), &["--ca-file", "ca.pem", "no certificates", "BEGIN CERTIFICATE"]);
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    says(&open(Some(broken)), &["--ca-file", "ca.pem"]);
}
