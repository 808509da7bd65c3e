//! Range requests through signed links, against a server that behaves and one that does not.

use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{Clock, SystemClock};
use koofs::http::{ApiClient, ApiRequest, HttpConfig, HttpError, HttpErrorKind, ObjectAnswer, ObjectClient};
use koofs::policy::range::ByteRange;
use koofs::remote::Link;

use crate::fakes::ManualClock;
use crate::mount_bench::run;
use crate::mounted::{mounts_are_allowed, this_binary};
use crate::scripted_server::{Answer, BUSY, ScriptedServer};

/// Path and query of the sample of the service's pages (seeds/obtaining-download-links.txt): its file name is encoded twice.
const SAMPLE: &str = "/5e3fc0c5d4fa45338f44db7177579c2c087?response-content-disposition=attachment%3B%20filename%3D%22%25E5%258F%2591%25E7%25A5%25A81.pdf%22&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20231227T072939Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Credential=MKRISPBZAJWFHNBJ5WLB%2F20231227%2Fcidc-rp-2006%2Fs3%2Faws4_request&X-Amz-Signature=9d06798af17e2f1082b720f43af29a32b3154da4ddeee4f10025a758b599728a";

const SECRET: &str = "9d06798af17e2f10";

fn link(url: &str) -> Link {
    Link::new(url, SystemTime::now() + Duration::from_secs(3600), Duration::from_secs(3600))
}

fn client_with(stall_limit: Duration) -> ObjectClient {
    let config = HttpConfig { stall_limit, allow_private_links: true, ..HttpConfig::new(false, stall_limit) };
    ObjectClient::new(config, Arc::new(SystemClock)).unwrap()
}

fn client() -> ObjectClient {
    client_with(Duration::from_secs(10))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Bytes 10 to 20.
fn get(client: &ObjectClient, url: &str) -> Result<ObjectAnswer, HttpError> {
    client.get_range(&link(url), ByteRange::new(10, 20), None, soon())
}

fn part() -> Answer {
    Answer::new(206, "0123456789").header("Content-Range", "bytes 10-19/100").header("ETag", "\"v1\"")
}

pub(crate) fn read_all(answer: &mut ObjectAnswer) -> Result<Vec<u8>, HttpError> {
    let mut whole = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match answer.body.read_some(&mut buffer)? {
            0 => return Ok(whole),
            len => whole.extend_from_slice(&buffer[..len]),
        }
    }
}

/// The error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" / {error} {error:?}");
        cause = error.source();
    }
    text
}

#[test]
fn answer_carries_what_is_needed_to_judge_it() {
    let server = ScriptedServer::new();
    server.push(part().header("Date", "Thu, 01 May 2025 08:00:00 GMT").header("Retry-After", "7"));
    let mut answer =
        get(&client(), &server.url().replace("127.0.0.1", "localhost").replace("http", "HTTP")).map_err(|e| e.kind());
    assert_eq!(answer.as_ref().err(), Some(&HttpErrorKind::UnsendableUrl), "no path at all");
    answer = get(&client(), &format!("{}/o?sig=1", server.url())).map_err(|e| e.kind());
    let mut answer = answer.unwrap();
    assert_eq!(answer.status, 206);
    assert_eq!(answer.content_range.as_deref(), Some("bytes 10-19/100"));
    assert_eq!((answer.content_length, answer.etag.as_deref()), (Some(10), Some("\"v1\"")));
    assert_eq!((answer.retry_after, answer.error_code.as_deref()), (Some(Duration::from_secs(7)), None));
    assert_eq!(read_all(&mut answer).unwrap(), b"0123456789");
}

#[test]
fn object_request_carries_none_of_our_headers() {
    let server = ScriptedServer::new();
    server.push(part());
    let url = format!("{}{SAMPLE}", server.url());
    client().get_range(&link(&url), ByteRange::new(10, 20), Some("\"v1\""), soon()).unwrap();
    let request = &server.requests()[0];
    let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "if-match", "range"]);
    assert_eq!(request.method, "GET");
    assert_eq!(request.header("range"), Some("bytes=10-19"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("if-match"), Some("\"v1\""));
    assert_eq!(request.header("accept"), Some("*/*"));
}

#[test]
fn link_goes_out_byte_for_byte() {
    let server = ScriptedServer::with_handler(|_| part());
    let client = client();
    for target in [
        SAMPLE,
        "/a%2Fb//c/;d=1,2/%e5%E5?x=%2f%2F+%20&&y==&z",
        "/?",
        "/x?a=1?b=/../&c=.",
        "/x?a=[1]|^`{2}\\",
        "/@:!$()*~",
    ] {
        get(&client, &format!("{}{target}", server.url())).unwrap();
        assert_eq!(server.requests().last().unwrap().target, target);
    }
    // A fragment is for browsers, a user of http never sends it.
    get(&client, &format!("{}/x?y#z", server.url())).unwrap();
    assert_eq!(server.requests().last().unwrap().target, "/x?y");
}

#[test]
fn link_that_would_be_altered_is_refused_with_exactly_these_characters() {
    let server = ScriptedServer::with_handler(|_| part());
    let client = client();
    let altered = |make: &dyn Fn(char) -> String| -> String {
        let is_altered = |c: &char| match get(&client, &format!("{}{}", server.url(), make(*c))) {
            Ok(_) => {
                assert_eq!(server.requests().last().unwrap().target, make(*c), "{c:?}");
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), HttpErrorKind::UnsendableUrl, "{c:?}");
                true
            }
        };
        (0..=0xa0_u8).map(char::from).filter(|c| *c != '#').filter(is_altered).collect()
    };
    let controls: String = (0..=0x20).chain(0x7f..=0xa0_u8).map(char::from).collect();
    let sorted = |text: String| {
        let mut chars: Vec<char> = text.chars().collect();
        chars.sort_unstable();
        chars.into_iter().collect::<String>()
    };
    assert_eq!(altered(&|c| format!("/o{c}p?q=1")), sorted(format!("{controls}\"<>\\`{{}}")), "path");
    assert_eq!(altered(&|c| format!("/o?q={c}1")), sorted(format!("{controls}\"'<>")), "query");
    for target in ["/a/../b", "/./a", "/a/%2e%2E/b", "/a/.", "/a/%2e", "?q=1", ""] {
        let error = get(&client, &format!("{}{target}", server.url())).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::UnsendableUrl, "{target}");
    }
}

#[test]
fn link_that_is_no_web_link_is_refused_without_being_shown() {
    let long = format!("http://127.0.0.1/{SECRET}{}", "x".repeat(70_000));
    for url in [
        SECRET,
        &format!("file:///{SECRET}"),
        &format!("ftp://127.0.0.1/{SECRET}"),
        &format!("http://user:{SECRET}@127.0.0.1/x?y"),
        &format!("http://{SECRET}@127.0.0.1/x?y"),
        &format!("https:{SECRET}"),
        &format!("https:\\\\127.0.0.1\\{SECRET}"),
        &format!("http:///{SECRET}"),
        &format!("http://[::1/{SECRET}"),
        &long,
    ] {
        let error = get(&client(), url).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::UnsendableUrl, "{url}");
        assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
    }
}

#[test]
fn plain_http_goes_to_this_machine_only_unless_allowed() {
    // 127.1 is 127.0.0.1; the others only look like this machine.
    for url in [
        "http://example.invalid/o?s",
        "http://127.0.0.1.example.invalid/o?s",
        "http://10.0.0.1/o?s",
        "http://localhost.example.invalid/o?s",
    ] {
        assert_eq!(get(&client(), url).unwrap_err().kind(), HttpErrorKind::InsecureUrl, "{url}");
    }
    let server = ScriptedServer::with_handler(|_| part());
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost", "127.1", "LOCALHOST"] {
        assert_eq!(get(&client(), &format!("http://{host}:{port}/o?s")).map(|a| a.status).unwrap(), 206, "{host}");
    }
}

#[test]
fn empty_range_is_never_sent() {
    let server = ScriptedServer::with_handler(|_| part());
    let url = link(&format!("{}/o?s", server.url()));
    let error = client().get_range(&url, ByteRange::new(5, 5), None, soon()).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Other);
    assert!(server.requests().is_empty());
}

#[test]
fn error_status_is_an_answer_with_its_code() {
    let xml =
        |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{SECRET}</Message></Error>");
    let long = format!("{}<Code>Late</Code>", "x".repeat(9000));
    for (status, body, code) in [
        (403, xml("AccessDenied"), Some("AccessDenied")),
        (503, xml("SlowDown"), Some("SlowDown")),
        (404, xml("<b>"), None),
        (404, xml(&"A".repeat(65)), None),
        (500, "<Code>".to_owned(), None),
        (400, String::new(), None),
        (416, long, None),
    ] {
        let server = ScriptedServer::new();
        server.push(Answer::new(status, body));
        let answer = get(&client(), &format!("{}/o?s", server.url())).unwrap();
        assert_eq!((answer.status, answer.error_code.as_deref()), (status, code));
    }
    // A body that breaks off takes nothing from the status.
    let server = ScriptedServer::new();
    server.push(Answer::new(403, xml("AccessDenied")).cut_at(60));
    let answer = get(&client(), &format!("{}/o?s", server.url())).unwrap();
    assert_eq!((answer.status, answer.error_code.as_deref()), (403, Some("AccessDenied")));
}

#[test]
fn three_redirects_are_followed_with_range_and_without_referer_and_no_fourth() {
    let server = ScriptedServer::new();
    let other = ScriptedServer::new();
    server.push(Answer::redirect(307, &format!("{}/b?s=%252F", server.url())));
    server.push(Answer::redirect(302, "c?t=1"));
    server.push(Answer::redirect(301, &format!("{}/d?u", other.url())));
    other.push(part());
    assert_eq!(get(&client(), &format!("{}/a?s", server.url())).unwrap().status, 206);
    let targets: Vec<String> = server.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/a?s", "/b?s=%252F", "/c?t=1"]);
    assert_eq!(other.requests()[0].header("range"), Some("bytes=10-19"));
    assert_eq!(other.requests()[0].header("referer"), None);

    let turning = ScriptedServer::with_handler(|_| Answer::redirect(302, "/again"));
    let error = get(&client(), &format!("{}/a?s", turning.url())).unwrap_err();
    assert_eq!((error.kind(), turning.requests().len()), (HttpErrorKind::RedirectRefused, 4));
}

#[test]
fn redirect_to_an_insecure_or_odd_target_is_refused() {
    for target in
        ["http://example.invalid/x?sig=1", "ftp://127.0.0.1/x", "http://127.0.0.1/a b", "http://u:p@127.0.0.1/"]
    {
        let server = ScriptedServer::new();
        server.push(Answer::redirect(302, target));
        let error = get(&client(), &format!("{}/a?s", server.url())).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::RedirectRefused, "{target}");
        assert!(!chain(&error).contains("sig=1"));
    }
    let server = ScriptedServer::new();
    server.push(Answer::new(302, "nowhere"));
    assert_eq!(get(&client(), &format!("{}/a?s", server.url())).unwrap().status, 302);
}

#[test]
fn deadlines_are_those_of_the_clock_that_the_clients_are_given() {
    let server = ScriptedServer::with_handler(|_| part());
    let clock = Arc::new(ManualClock::default());
    let minute = Duration::from_secs(60);
    let near = HttpConfig { allow_private_links: true, ..HttpConfig::new(false, minute) };
    let objects = ObjectClient::new(near.clone(), clock.clone()).unwrap();
    let api = ApiClient::new(&server.url(), near, clock.clone()).unwrap();
    let deadline = clock.now() + minute;
    let get = || objects.get_range(&link(&format!("{}/o", server.url())), ByteRange::new(10, 20), None, deadline);
    let call = || api.call(ApiRequest { path: "/x", query: &[], headers: &[], body: None }, deadline);
    let mut answer = get().unwrap();
    assert_eq!(answer.body.read_some(&mut [0; 4]).unwrap(), 4);
    call().unwrap();
    clock.advance(minute);
    assert_eq!(answer.body.read_some(&mut [0; 4]).unwrap_err().kind(), HttpErrorKind::Timeout);
    assert_eq!(get().unwrap_err().kind(), HttpErrorKind::Timeout);
    assert_eq!(call().err().unwrap().kind(), HttpErrorKind::Timeout);
    assert_eq!(server.requests().len(), 2, "nothing is sent after the deadline");
}

#[test]
fn redirect_goes_through_the_same_checks_whatever_its_form() {
    let server = ScriptedServer::new();
    let authority = server.url().replace("http://", "");
    // A network-path reference names a host of its own; `\` counts as `/` in URLs of the web.
    for target in [
        "//example.invalid/x?sig=1",
        "//example.invalid:80/x?sig=1",
        "/\\example.invalid/x?sig=1",
        "\\\\example.invalid\\x?sig=1",
        "///example.invalid/x?sig=1",
        &format!("//user:{SECRET}@{authority}/x?sig=1"),
        &format!("//{SECRET}@{authority}/x?sig=1"),
        &format!("/\\{SECRET}@{authority}/x?sig=1"),
        "data:text/plain,sig=1",
        &format!("/{SECRET}{}", "x".repeat(70_000)),
    ] {
        server.push(Answer::redirect(302, target));
        let error = get(&client(), &format!("{}/a?s", server.url())).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::RedirectRefused, "{target}: {}", chain(&error));
        assert!(!chain(&error).contains("sig=1") && !chain(&error).contains(SECRET), "{}", chain(&error));
    }
    assert_eq!(server.requests().len(), 10, "nothing went to a target");
    // These stay where they are, whatever their query names.
    for (target, want) in [
        ("/b?u=https://example.invalid/", "/b?u=https://example.invalid/"),
        ("c?u=//example.invalid/", "/c?u=//example.invalid/"),
        ("?d", "/a?d"),
        (&format!("//{authority}/e?f"), "/e?f"),
    ] {
        server.push(Answer::redirect(302, target)).push(part());
        assert_eq!(get(&client(), &format!("{}/a?s", server.url())).unwrap().status, 206, "{target}");
        assert_eq!(server.requests().last().unwrap().target, want);
    }
}

/// Hosts that are this machine, a private network, or nobody: each as a link may write it.
const PRIVATE_HOSTS: [&str; 16] = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "localhost",
    "LocalHost",
    "a.localhost",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "[::1]",
    "[::ffff:10.0.0.1]",
    "[fd00::1]",
    "[fe80::1]",
];

#[test]
fn link_to_a_private_address_is_refused_and_nothing_sent() {
    let elsewhere = ObjectClient::new(HttpConfig::new(true, Duration::from_secs(10)), Arc::new(SystemClock)).unwrap();
    let server = ScriptedServer::new();
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    for host in PRIVATE_HOSTS.into_iter().chain(["224.0.0.1", "255.255.255.255", "[ff02::1]"]) {
        let error = get(&elsewhere, &format!("http://{host}:{port}/o?{SECRET}")).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::PrivateAddress, "{host}: {}", chain(&error));
        assert!(chain(&error).contains("--allow-private-links") || host.contains(['2', 'f']), "{}", chain(&error));
        assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn link_to_this_machine_is_followed_where_the_endpoint_is_on_it_or_the_user_allows_it() {
    let store = ScriptedServer::with_handler(|_| part());
    let drive = ScriptedServer::with_handler(|_| Answer::new(404, "{}"));
    let url = format!("{}/o?s", store.url());
    let near = HttpConfig::new(false, Duration::from_secs(10));
    let objects = ObjectClient::new(near.clone(), Arc::new(SystemClock)).unwrap();
    let api = ApiClient::new(&drive.url(), near, Arc::new(SystemClock)).unwrap();
    assert_eq!(get(&objects, &url).unwrap_err().kind(), HttpErrorKind::PrivateAddress, "nothing has answered yet");
    api.call(ApiRequest { path: "/x", query: &[], headers: &[], body: None }, soon()).unwrap();
    assert_eq!(get(&objects, &url).unwrap().status, 206);
    // This machine is one kind of place, a private network another.
    let error = get(&objects, "https://10.0.0.1/o?s").unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::PrivateAddress, "{}", chain(&error));
    assert!(chain(&error).contains("10.0.0.1 (a private network)"), "{}", chain(&error));

    let allowing = HttpConfig { allow_private_links: true, ..HttpConfig::new(false, Duration::from_secs(10)) };
    let objects = ObjectClient::new(allowing, Arc::new(SystemClock)).unwrap();
    assert_eq!(get(&objects, &url).unwrap().status, 206);
    let error = get(&objects, "https://224.0.0.1/o?s").unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::PrivateAddress, "no store is there: {}", chain(&error));
}

#[test]
fn redirect_to_a_private_address_is_refused() {
    // Where the endpoint is, the store may be; and from there it must not lead into the network.
    let server = ScriptedServer::new();
    let near = HttpConfig::new(true, Duration::from_secs(10));
    let api = ApiClient::new(&server.url(), near.clone(), Arc::new(SystemClock)).unwrap();
    server.push(Answer::new(404, "{}"));
    api.call(ApiRequest { path: "/x", query: &[], headers: &[], body: None }, soon()).unwrap();
    let objects = ObjectClient::new(near, Arc::new(SystemClock)).unwrap();
    for target in ["http://169.254.169.254/latest/meta-data?sig=1", "//10.0.0.1/x?sig=1", "//[fd00::1]:80/x?sig=1"] {
        server.push(Answer::redirect(307, target));
        let error = get(&objects, &format!("{}/a?s", server.url())).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::RedirectRefused, "{target}: {}", chain(&error));
        assert!(chain(&error).contains("--allow-private-links"), "{}", chain(&error));
        assert!(!chain(&error).contains("sig=1"), "{}", chain(&error));
    }
}

/// What a child does in a mount namespace of its own, where names are what a file says.
const WITH_HOSTS: &str = r#"mount --bind "$HOSTS" /etc/hosts; exec "$0" "$@""#;

#[test]
fn link_to_a_name_is_refused_if_that_resolves_to_private_addresses_only() {
    // SAFETY: cannot fail and touches no memory.
    if !mounts_are_allowed() || unsafe { libc::getuid() } != 0 {
        // Takes a mount namespace.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 here.example\n10.0.0.1 inside.example\n::1 here6.example\n").unwrap();
    let child = this_binary("object_client::child_follows_links_to_names", &[("KOOFS_TEST_NAMES", "1")]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-eu", "-c", WITH_HOSTS]);
    command.arg(child.get_program()).args(child.get_args()).env("HOSTS", &hosts).env("KOOFS_TEST_NAMES", "1");
    let said = run(command);
    assert!(said.code == Some(0) && said.out.contains("1 passed"), "{said:?}");
}

/// Not a law: what the child runs. Does nothing in the suite itself.
#[test]
fn child_follows_links_to_names() {
    if std::env::var_os("KOOFS_TEST_NAMES").is_none() {
        return;
    }
    let server = ScriptedServer::with_handler(|_| part());
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    let config = HttpConfig::new(true, Duration::from_secs(10));
    let elsewhere = ObjectClient::new(config.clone(), Arc::new(SystemClock)).unwrap();
    for name in ["here.example", "inside.example", "here6.example"] {
        let error = get(&elsewhere, &format!("http://{name}:{port}/o?{SECRET}")).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::PrivateAddress, "{name}: {}", chain(&error));
        assert!(
            chain(&error).contains(&format!("http://{name}:{port}: a download link leads to")),
            "{}",
            chain(&error)
        );
        assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
    }
    assert_eq!(server.connections(), 0);

    // An endpoint that answers by name from here.
    let api = ApiClient::new(&format!("http://here.example:{port}"), config.clone(), Arc::new(SystemClock)).unwrap();
    api.call(ApiRequest { path: "/x", query: &[], headers: &[], body: None }, soon()).unwrap();
    assert_eq!(get(&elsewhere, &format!("http://here.example:{port}/o?s")).unwrap().status, 206);
    let error = get(&elsewhere, &format!("http://inside.example:{port}/o?s")).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::PrivateAddress, "{}", chain(&error));
}

#[test]
fn server_that_hangs_up_or_ends_early_is_an_interruption() {
    let server = ScriptedServer::new();
    let url = format!("{}/o?{SECRET}", server.url());
    server.push(Answer::hang_up());
    let error = get(&client(), &url).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Interrupted);
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));

    server.push(part().cut_at(4));
    let mut answer = get(&client(), &url).unwrap();
    let error = read_all(&mut answer).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Interrupted);
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
}

#[test]
fn nobody_listening_is_a_connect_failure_and_no_name_a_dns_failure() {
    let address = ScriptedServer::new().url();
    let error = get(&client(), &format!("{address}/o?{SECRET}")).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Connect);
    assert!(chain(&error).contains(&address) && !chain(&error).contains(SECRET), "{}", chain(&error));

    // A label of 64 characters does not exist, and needs no name server to say so.
    let permissive = ObjectClient::new(HttpConfig::new(true, Duration::from_secs(15)), Arc::new(SystemClock)).unwrap();
    let error = get(&permissive, &format!("http://{}.invalid/o?{SECRET}", "a".repeat(64))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Dns, "{}", chain(&error));
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
}

#[test]
fn server_without_tls_behind_an_https_link_is_a_tls_failure() {
    let server = ScriptedServer::with_handler(|_| part());
    let error = get(&client(), &format!("{}/o?{SECRET}", server.url().replace("http", "https"))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Tls, "{}", chain(&error));
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
}

/// Fails unless `what` took `least`, and not much more.
fn timed<T>(least: Duration, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    let took = start.elapsed();
    assert!(took >= least && took < least + BUSY, "took {took:?}, not about {least:?}");
    result
}

#[test]
fn silent_server_is_left_after_the_stall_limit_or_at_the_deadline() {
    let server = ScriptedServer::with_handler(|_| Answer::silence());
    let url = format!("{}/o?{SECRET}", server.url());
    let stall = Duration::from_millis(300);
    let error = timed(stall, || get(&client_with(stall), &url)).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Timeout);
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));

    let deadline = Instant::now() + stall;
    let get = || client().get_range(&link(&url), ByteRange::new(0, 9), None, deadline);
    assert_eq!(timed(stall - Duration::from_millis(20), get).unwrap_err().kind(), HttpErrorKind::Timeout);
}

#[test]
fn stalled_body_is_cut_at_the_stall_limit() {
    let server = ScriptedServer::with_handler(|_| part().stall_at(3));
    let stall = Duration::from_millis(300);
    let mut answer = get(&client_with(stall), &format!("{}/o?{SECRET}", server.url())).unwrap();
    let error = timed(stall, || read_all(&mut answer)).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Timeout);
    assert!(!chain(&error).contains(SECRET), "{}", chain(&error));
}

#[test]
fn trickling_body_outlives_the_stall_limit_and_is_cut_at_the_deadline() {
    // 10 bytes, 100 ms apart: never silent for the limit of 400 ms, and complete after a second.
    let server = ScriptedServer::with_handler(|_| part().trickle(Duration::from_millis(100)));
    let url = link(&format!("{}/o?s", server.url()));
    let client = client_with(Duration::from_millis(400));
    let get = |within: Duration| {
        let mut answer = client.get_range(&url, ByteRange::new(10, 20), None, Instant::now() + within).unwrap();
        read_all(&mut answer)
    };
    assert_eq!(get(Duration::from_secs(20)).unwrap(), b"0123456789");
    // With more time than the stall limit, and with less.
    for within in [Duration::from_millis(600), Duration::from_millis(350)] {
        let error = timed(within - Duration::from_millis(150), || get(within)).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
    }
}

#[test]
fn deadline_that_has_passed_sends_nothing() {
    let server = ScriptedServer::with_handler(|_| part());
    let url = link(&format!("{}/o?s", server.url()));
    let error = client().get_range(&url, ByteRange::new(10, 20), None, Instant::now()).unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (HttpErrorKind::Timeout, 0));
}

#[test]
fn connection_is_reused_and_one_closed_meanwhile_costs_at_most_one_interruption() {
    let server = ScriptedServer::new();
    let url = format!("{}/o?s", server.url());
    let client = client();
    for _ in 0..6 {
        server.push(part());
        read_all(&mut get(&client, &url).unwrap()).unwrap();
    }
    assert!(server.connections() <= 2, "{} connections for two underlying clients", server.connections());
    server.push(part().close_after()).push(part().close_after());
    for _ in 0..2 {
        read_all(&mut get(&client, &url).unwrap()).unwrap();
    }
    for _ in 0..2 {
        server.push(part());
        match get(&client, &url) {
            Ok(answer) => assert_eq!(answer.status, 206),
            Err(error) => assert_eq!(error.kind(), HttpErrorKind::Interrupted),
        }
    }
}
