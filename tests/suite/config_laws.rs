//! Laws of the configuration: precedence, what the file may hold, and what `koofs config check` finds in it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use koofs::cli::{self, Environment, Refusal};
use koofs::config::{Command, Credentials, Edition, ListConfig, MountConfig, Report, Secret, ShareConfig, Source};

use crate::emulator::Emulator;
use crate::emulator::tree::Entry;
use crate::mounted::{Watched, koofs};

const LIMIT: Duration = Duration::from_secs(20);

/// A home directory with a configuration file.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new(text: &str) -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap() };
        home.write(".config/koofs/config.toml", text, 0o600);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path(".config/koofs/config.toml")
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        chmod(&path, mode);
        path
    }

    fn parse(&self, arguments: &str, variables: &[(&str, &str)]) -> Result<Command, Refusal> {
        let home = ("HOME", self.directory.path().to_str().unwrap());
        let environment = Environment::of(variables.iter().copied().chain([home]));
        cli::parse(std::iter::once("koofs").chain(arguments.split_whitespace()), &environment)
    }

    fn mount(&self, arguments: &str, variables: &[(&str, &str)]) -> MountConfig {
        match self.parse(&format!("mount {arguments} /mnt"), variables) {
            Ok(Command::Mount(config)) => *config,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn refusal(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        match self.parse(&format!("mount {arguments} /mnt"), variables) {
            Err(Refusal::Usage(line)) => line,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    /// `koofs config ARGUMENTS` as a process: exit code, standard output, standard error.
    fn config(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let mut command = koofs(&["config"]);
        command.args(arguments).env("HOME", self.directory.path()).env_remove("XDG_CONFIG_HOME");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (status, out, error) = Watched::start(command, LIMIT).output();
        (status.code(), out, error)
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

const GOOD: &str = r#"
[defaults]
endpoint = "intl"
agent = "carrier"

[remotes.photos]
source = "share:180001"
access_code_file = "photos.code"

[remotes.work]
source = "space:"
account = "me"
password_file = "~/work.password"
root = "/team/reports"
ttl = 600
memory = "64M"
allow_other = true
"#;

fn good() -> Home {
    let home = Home::new(GOOD);
    home.write(".config/koofs/photos.code", "a1B2c3D4\n", 0o600);
    home.write("work.password", "s3cret\n", 0o600);
    home
}

#[test]
fn path_may_follow_every_source_and_goes_on_below_the_root() {
    let home = Home::new(
        r#"
        [defaults]
        endpoint = "intl"
        agent = "carrier"
        user_id = "17"
        [remotes.work]
        source = "space:/Reports"
        root = "2025"
        "#,
    );
    let root = |arguments: &str| home.mount(arguments, &[("KOOFS_TOKEN", "t")]).root.join("/");
    for (arguments, want) in [
        ("space:/Reports/2025", "Reports/2025"),
        ("space:IAAE1/Reports", "Reports"),
        ("team:42/a", "a"),
        ("sharedfolder:1/a/", "a"),
        ("share:180001/a", "a"),
        ("space:/a --root b", "b/a"),
        ("work:", "Reports/2025"),
        ("work:/May", "Reports/2025/May"),
        ("work:May --root b", "Reports/b/May"),
    ] {
        assert_eq!(root(arguments), want, "{arguments}");
    }
    let listed = home.parse("ls work:/May 12", &[("KOOFS_TOKEN", "t")]);
    let Ok(Command::List(ListConfig { path, .. })) = listed else { panic!("{listed:?}") };
    assert_eq!(path.join("/"), "Reports/2025/May/12");
}

#[test]
fn time_is_written_alike_in_every_place() {
    let home = Home::new("[defaults]\nendpoint = \"intl\"\nagent = \"a\"\nttl = \"1h30m\"\nop_timeout = 90\n");
    let times = |arguments: &str, variables: &[(&str, &str)]| {
        let config = home.mount(&format!("share:1 {arguments}"), variables);
        (config.ttl.as_secs(), config.source.connection().op_timeout.as_secs())
    };
    assert_eq!(times("", &[]), (5400, 90));
    assert_eq!(times("", &[("KOOFS_TTL", "5m"), ("KOOFS_OP_TIMEOUT", "45")]), (300, 45));
    assert_eq!(times("--ttl 2h --op-timeout 1m30s", &[("KOOFS_TTL", "5m")]), (7200, 90));
    let line = home.refusal("share:1 --ttl soon", &[]);
    assert_eq!(line, "--ttl: is no time; write seconds, or like 90s, 5m, 2h or 1h30m");
}

#[test]
fn remote_is_mounted_with_its_table_and_the_defaults() {
    let home = good();
    let work = home.mount("work:/2025", &[]);
    assert_eq!(work.root, ["team", "reports", "2025"]);
    assert_eq!((work.ttl, work.memory_bytes, work.allow_other), (Duration::from_secs(600), 64 << 20, true));
    let Source::Space(space) = &work.source else { panic!("{work:?}") };
    assert_eq!(space.connection.endpoint, "https://intl.myhuaweicloud-koodrive.com");
    assert_eq!(space.login.agent.as_deref(), Some("carrier"));
    let Credentials::Password { account, password } = &space.login.credentials else { panic!("{space:?}") };
    assert_eq!(account, "me");
    assert!(format!("{password:?}").contains(home.path("work.password").to_str().unwrap()), "{password:?}");

    let photos = home.mount("photos:", &[]);
    let Source::Share(share) = &photos.source else { panic!("{photos:?}") };
    assert_eq!(share.code, "180001");
    assert_eq!(share.access_code.as_ref().map(Secret::expose), Some("a1B2c3D4"));
    assert!(photos.root.is_empty() && !photos.allow_other);

    match home.parse("ls work:/2025 q1/", &[]) {
        Ok(Command::List(ListConfig { path, .. })) => assert_eq!(path, ["team", "reports", "2025", "q1"]),
        other => panic!("{other:?}"),
    }
}

/// How a setting is said in each of the four places, and how to see it.
type Shown = fn(&MountConfig) -> String;

#[test]
fn flag_beats_environment_beats_remote_beats_defaults() {
    let seconds = |config: &MountConfig| config.ttl.as_secs().to_string();
    let table: [(&str, [&str; 4], Shown); 8] = [
        ("ttl", ["11", "12", "13", "14"], seconds),
        ("memory", ["17M", "18M", "19M", "20M"], |config| format!("{}M", config.memory_bytes >> 20)),
        ("op_timeout", ["11", "12", "13", "14"], |config| config.source.connection().op_timeout.as_secs().to_string()),
        ("endpoint", ["https://a", "https://b", "https://c", "https://d"], |c| c.source.connection().endpoint.clone()),
        ("agent", ["a", "b", "c", "d"], |config| match &config.source {
            Source::Share(ShareConfig { edition: Edition::Carrier { agent }, .. }) => agent.clone(),
            _ => String::new(),
        }),
        ("root", ["a", "b", "c", "d"], |config| config.root.join("/")),
        ("log_file", ["/a", "/b", "/c", "/d"], |config| config.log_file.as_ref().unwrap().display().to_string()),
        ("allow_other", ["true", "false", "true", "false"], |config| config.allow_other.to_string()),
    ];
    for (key, said, shown) in table {
        let quoted = |value: &str| match value {
            "true" | "false" => value.to_owned(),
            text => format!("{text:?}"),
        };
        let base = |key: &str| if key == "agent" { "" } else { "agent = \"x\"\n" };
        for strongest in 0..4 {
            // Every place below the strongest one speaks too.
            let speaks = |place: usize| place >= strongest;
            let mut text = format!("[defaults]\n{}", base(key));
            if speaks(3) {
                let _ = writeln!(text, "{key} = {}", quoted(said[3]));
            }
            text.push_str("[remotes.r]\nsource = \"share:1\"\n");
            if key != "endpoint" {
                text.push_str("endpoint = \"intl\"\n");
            }
            if speaks(2) {
                let _ = writeln!(text, "{key} = {}", quoted(said[2]));
            }
            let variable = format!("KOOFS_{}", key.to_uppercase());
            let variables = if speaks(1) { vec![(variable.as_str(), said[1])] } else { vec![] };
            let flag = format!("--{}={}", key.replace('_', "-"), said[0]);
            let home = Home::new(&text);
            let config = home.mount(&format!("r: {}", if speaks(0) { &flag } else { "" }), &variables);
            assert_eq!(shown(&config), said[strongest], "{key}, place {strongest}\n{text}");
        }
    }
}

#[test]
fn login_of_a_stronger_place_replaces_that_of_a_weaker() {
    let home = Home::new(
        "[defaults]\nendpoint = \"intl\"\ntoken_command = \"of-defaults\"\n[remotes.a]\nsource = \"space:1\"\n\
         token_file = \"t\"\n[remotes.b]\nsource = \"space:1\"\n",
    );
    home.write(".config/koofs/t", "t", 0o600);
    let way = |arguments: &str, variables: &[(&str, &str)]| match home.mount(arguments, variables).source {
        Source::Space(space) => format!("{:?}", space.login.credentials),
        other => panic!("{other:?}"),
    };
    let of_file = format!("TokenFile({:?})", home.path(".config/koofs/t"));
    assert_eq!(way("b:", &[]), "TokenCommand(\"of-defaults\")");
    assert_eq!(way("a:", &[]), of_file);
    assert_eq!(way("a:", &[("KOOFS_TOKEN", "s3cret")]), "Token(Secret(…))");
    assert_eq!(way("a: --token-command x", &[("KOOFS_TOKEN", "s3cret")]), "TokenCommand(\"x\")");
    // Meant for another remote.
    assert_eq!(way("a:", &[("KOOFS_PASSWORD", "s3cret")]), of_file);
}

#[test]
fn link_knows_its_service_better_than_the_defaults() {
    let home = Home::new("[defaults]\nendpoint = \"intl\"\nagent = \"a\"\n");
    let endpoint = |arguments: &str, variables: &[(&str, &str)]| {
        home.mount(arguments, variables).source.connection().endpoint.clone()
    };
    let link = "https://drive.example/#/sharelink/i/42";
    assert_eq!(endpoint(link, &[]), "https://drive.example");
    assert_eq!(endpoint("share:42", &[]), "https://intl.myhuaweicloud-koodrive.com");
    assert_eq!(endpoint(link, &[("KOOFS_ENDPOINT", "https://e")]), "https://e");
}

#[test]
fn bad_value_names_its_place() {
    let text = "[defaults]\nendpoint = \"intl\"\nagent = \"a\"\n[remotes.work]\nsource = \"share:1\"\n";
    for (more, arguments, variables, want) in [
        ("ttl = 0", "work:", vec![], "config.toml: remotes.work.ttl: must be 1s to 7d"),
        ("ttl = 9", "work:", vec![("KOOFS_TTL", "x")], "KOOFS_TTL: is no time"),
        ("ttl = 9", "work: --ttl x", vec![("KOOFS_TTL", "x")], "--ttl: is no time"),
        ("memory = \"1\"", "work:", vec![], "config.toml: remotes.work.memory: must be between 16M and 1T"),
        ("endpoint = \"ftp://x\"", "work:", vec![], "config.toml: remotes.work.endpoint: "),
        ("ca_file = \"ca.pem\"", "work:", vec![], "config.toml: remotes.work.ca_file: "),
        ("access_code_file = \"c\"", "work:", vec![], "config.toml: remotes.work.access_code_file: "),
        ("", "work: --config /nonexistent", vec![], "--config: /nonexistent: cannot be read"),
        ("", "work:", vec![("KOOFS_CONFIG", "/nonexistent")], "KOOFS_CONFIG: /nonexistent: cannot be read"),
        ("", "wrok:", vec![], "there is no [remotes.wrok]"),
    ] {
        let line = Home::new(&format!("{text}{more}\n")).refusal(arguments, &variables);
        assert!(line.contains(want) && !line.contains('\n'), "{more} {arguments}: {line}");
    }
}

/// A fault of a file, and what its complaint must say: where, and the remedy.
const FAULTS: &[(&str, &[&str])] = &[
    ("[remotes.r]\nsource = \"space:\"\ntoken = \"s3cret\"", &["remotes.r.token", "token_file", "KOOFS_TOKEN"]),
    ("[remotes.r]\nsource = \"space:\"\npassword = \"s3cret\"", &["remotes.r.password", "password_file"]),
    ("[remotes.r]\nsource = \"space:\"\napp_secret = \"s3cret\"", &["remotes.r.app_secret", "app_secret_file"]),
    ("[defaults]\naccess_code = \"s3cret\"", &["defaults.access_code", "access_code_file"]),
    ("[defaults]\nacess_code_file = \"x\"", &["defaults.acess_code_file", "did you mean access_code_file?"]),
    ("[defaults]\nop-timeout = 3", &["defaults.op-timeout", "did you mean op_timeout?"]),
    ("[defaults]\nsource = \"space:\"", &["defaults.source", "unknown"]),
    ("[defaults]\nzzzzzzzz = 3", &["unknown; known are endpoint"]),
    ("[defaults]\nttl = 3.5", &["defaults.ttl", "whole number"]),
    ("[defaults]\nallow_http = \"true\"", &["defaults.allow_http", "without quotes"]),
    ("[defaults]\nuser_id = 17", &["defaults.user_id", "quotes"]),
    ("[defaults]\nca_file = \"~bob/x\"", &["defaults.ca_file", "whole path"]),
    ("[defaults]\nca_file = \"\"", &["defaults.ca_file", "is empty"]),
    ("[remotes.r]\nttl = 3", &["remotes.r.source", "missing", "source = "]),
    ("[remotes.r]\nsource = \"other:\"\n[remotes.other]\nsource = \"space:\"", &["remotes.r.source", "koofs mount"]),
    ("[remotes.space]\nsource = \"space:\"", &["remotes.space", "no remote may be called"]),
    ("[remotes.Team]\nsource = \"space:\"", &["remotes.Team", "no remote may be called"]),
    ("[remotes.\"a b\"]\nsource = \"space:\"", &["remotes.a b", "letters"]),
    ("ttl = 3", &["ttl", "[defaults]"]),
    ("remotes = 3", &["remotes", "no table"]),
    ("[remotes]\nr = 3", &["remotes.r", "no table"]),
    ("[defaults\n", &["line 1", "toml.io"]),
    ("[defaults]\nttl = 1\n\nttl = \"s3cret\"", &["line 4"]),
    ("token = s3cret", &["line 1"]),
    ("\u{feff}[remotes.r]\nsource = \"space:\"", &["needs --endpoint"]),
    ("[remotes.r]\nsource = \"space:1\"\nendpoint = \"intl\"", &["r: ", "--token-file", "--account", "--app-id"]),
    (
        "[remotes.r]\nsource = \"space:1\"\nendpoint = \"intl\"\ntoken_command = \"x\"\npassword_file = \"p\"",
        &["remotes.r.token_command", "remotes.r.password_file", "leave one out"],
    ),
    (
        "[remotes.r]\nsource = \"space:1\"\nendpoint = \"intl\"\ntoken_command = \"x\"\naccount = \"p\"",
        &["remotes.r.token_command", "remotes.r.account", "leave one out"],
    ),
    (
        "[remotes.r]\nsource = \"share:1\"\nendpoint = \"intl\"\nagent = \"a\"\ntoken_command = \"x\"",
        &["remotes.r.token_command", "--edition enterprise"],
    ),
    ("[remotes.r]\nsource = \"share:1\"\nendpoint = \"intl\"", &["--agent"]),
    (
        "[remotes.r]\nsource = \"share:1\"\nendpoint = \"http://h\"\nagent = \"a\"\nallow_http = true",
        &["http://h", "use https"],
    ),
    ("[remotes.r]\nsource = \"share:1\"\nendpoint = \"http://h\"\nagent = \"a\"", &["http://h", "use https"]),
    ("[remotes.r]\nsource = \"http://h/#/1\"\nallow_http = true", &["--agent", "http://h", "use https"]),
];

#[test]
fn check_finds_every_fault_with_its_remedy_and_without_the_secret() {
    for (text, wants) in FAULTS {
        let home = Home::new(text);
        let (code, out, error) = home.config(&["check"], &[]);
        assert_eq!((code, error.as_str()), (Some(1), ""), "{text}\n{out}");
        for want in *wants {
            assert!(out.contains(want), "{text}\nno {want}:\n{out}");
        }
        assert!(!out.contains("s3cret") && !out.contains("all is well"), "{text}\n{out}");
    }
}

#[test]
fn check_of_a_good_file_says_so() {
    let home = good();
    let (code, out, error) = home.config(&["check"], &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.lines().all(|line| line.contains("all is well")), "{out}");
    for name in ["work", "work:"] {
        let (code, out, _) = home.config(&["check", name], &[]);
        assert!(code == Some(0) && out.starts_with("work: all is well: space: at https://"), "{out}");
    }
    let (code, out, _) = home.config(&["check", "wrok"], &[]);
    assert!(code == Some(1) && out.contains("[remotes.wrok]") && out.contains("photos, work"), "{out}");
}

#[test]
fn check_finds_all_faults_at_once() {
    let home = Home::new("[defaults]\ntll = 3\n[remotes.r]\nsource = \"space:\"\nttl = 0\nmemory = \"1\"\n");
    let (_, out, _) = home.config(&["check"], &[]);
    for want in ["defaults.tll", "remotes.r.ttl", "remotes.r.memory", "--endpoint", "--token-file"] {
        assert_eq!(out.matches(want).count(), 1, "{want}: {out}");
    }
}

#[test]
fn check_finds_unsafe_rights() {
    let home = good();
    let password = home.path("work.password");
    let finds = |want: &str| {
        let (code, out, _) = home.config(&["check"], &[]);
        assert!(code == Some(1) && out.contains(want), "no {want}: {out}");
    };
    chmod(&password, 0o644);
    finds(&format!("chmod 600 {}", password.display()));
    std::fs::remove_file(&password).unwrap();
    finds("No such file");
    home.write("work.password", "s3cret", 0o600);
    chmod(home.directory.path(), 0o777);
    finds(&format!("chmod go-w {}", home.directory.path().display()));
    // Sticky: others cannot replace the file.
    chmod(home.directory.path(), 0o1777);
    assert_eq!(home.config(&["check"], &[]).0, Some(0));
    chmod(home.file().parent().unwrap(), 0o775);
    finds("config.toml: could be replaced");
    chmod(home.file().parent().unwrap(), 0o755);
    chmod(&home.file(), 0o664);
    finds(&format!("other users can write it; run: chmod go-w {}", home.file().display()));
    assert!(home.refusal("work:", &[]).contains("chmod go-w"));
    assert!(home.refusal("share:1 --agent a --endpoint intl", &[]).contains("chmod go-w"));
    // Reading is no harm: no secret is in it.
    chmod(&home.file(), 0o644);
    assert_eq!(home.config(&["check"], &[]).0, Some(0));
}

#[test]
fn fault_of_one_remote_is_no_fault_of_another() {
    let home = Home::new(
        "[defaults]\nendpoint = \"intl\"\nagent = \"a\"\n[remotes.bad]\nsource = \"x\"\ntoken = \"s3cret\"\n\
         [remotes.good]\nsource = \"share:1\"\n",
    );
    home.mount("good:", &[]);
    home.mount("share:2", &[]);
    assert!(home.refusal("bad:", &[]).contains("token_file"));
    assert_eq!(home.config(&["check", "good"], &[]).0, Some(0));
    assert_eq!(home.config(&["check", "bad"], &[]).0, Some(1));
}

#[test]
fn path_says_where_the_file_is_looked_for() {
    let home = Home { directory: tempfile::tempdir().unwrap() };
    let path = |arguments: &[&str], variables: &[(&str, &str)]| {
        let (code, out, _) = home.config(&[&["path"], arguments].concat(), variables);
        assert_eq!(code, Some(0), "{out}");
        out.trim_end().to_owned()
    };
    assert_eq!(path(&[], &[]), home.file().to_str().unwrap());
    assert_eq!(path(&[], &[("XDG_CONFIG_HOME", "/x")]), "/x/koofs/config.toml");
    assert_eq!(path(&[], &[("XDG_CONFIG_HOME", "relative")]), home.file().to_str().unwrap());
    assert_eq!(path(&[], &[("KOOFS_CONFIG", "/y")]), "/y");
    assert_eq!(path(&["--config", "/z"], &[("KOOFS_CONFIG", "/y")]), "/z");
}

#[test]
fn missing_file_matters_only_to_who_named_it_or_needs_it() {
    let home = Home { directory: tempfile::tempdir().unwrap() };
    home.mount("share:1 --agent a --endpoint intl", &[]);
    home.mount("share:1 --agent a --endpoint intl --config /dev/null", &[]);
    let line = home.refusal("work:", &[]);
    assert!(line.contains("no configuration file") && line.contains("koofs config --help"), "{line}");
    let (code, out, _) = home.config(&["check"], &[]);
    assert!(code == Some(1) && out.contains("no configuration file"), "{out}");
}

#[test]
fn remote_is_listed_below_its_root_by_the_real_command() {
    let emulator = Emulator::synthetic();
    let mut parent = String::new();
    for entry in [Entry::folder("a"), Entry::folder("b"), Entry::file("found", 10)] {
        parent = emulator.tree().add_many(&parent, [entry]).remove(0);
    }
    let home = Home::new(&format!(
        "[defaults]\nagent = \"carrier\"\n[remotes.demo]\nsource = \"share:{}\"\nendpoint = \"{}\"\nroot = \"a\"\n",
        emulator.share_code(),
        emulator.url()
    ));
    let mut command = koofs(&["ls", "demo:/b"]);
    command.env("HOME", home.directory.path()).env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, out, error) = Watched::start(command, LIMIT).output();
    assert_eq!((status.code(), out.as_str()), (Some(0), "found\n"), "{error}");
}

#[test]
fn example_of_the_help_passes_the_check() {
    let Err(Refusal::Help { plain, .. }) = good().parse("config --help", &[]) else { panic!("no help") };
    let lines =
        plain.lines().skip_while(|line| !line.contains("[defaults]")).take_while(|line| !line.starts_with("Keys"));
    let home = Home::new(&lines.collect::<Vec<_>>().join("\n"));
    home.write(".config/koofs/work.password", "s3cret", 0o600);
    home.write(".photos", "a1B2c3D4", 0o600);
    let (code, out, _) = home.config(&["check"], &[]);
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}");
}

#[test]
fn random_files_never_panic_and_never_show_a_secret() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let keys = [
        "source",
        "ttl",
        "memory",
        "token",
        "password_file",
        "token_file",
        "token_command",
        "account",
        "agent",
        "root",
        "endpoint",
        "allow_http",
        "allow_private_links",
        "edition",
        "team_type",
        "ca_file",
        "user_id",
        "app_id",
        "verbose",
        "zz",
        "\"a.b\"",
        "é",
    ];
    let values = [
        "3",
        "-1",
        "0x10",
        "1e99",
        "true",
        "\"s3cret\"",
        "\"\"",
        "'~/x'",
        "\"~\"",
        "\"share:1\"",
        "\"space:\"",
        "[1, 2]",
        "{ a = 1 }",
        "1979-05-27",
        "\"intl\"",
        "\"http://h\"",
        "\"enterprise\"",
        "\"\\u0000\"",
        "\"\u{1b}[31m\"",
        "s3cret",
    ];
    let heads =
        ["[defaults]", "[remotes.r]", "[remotes.s]", "[remotes.\"\"]", "[[remotes]]", "[x]", "[", "remotes.t.ttl = 1"];
    let home = Home::new("");
    for _ in 0..2000 {
        let mut text = String::new();
        for _ in 0..random.usize(..12) {
            let line = match random.u8(..4) {
                0 => random.choice(heads).unwrap().to_owned(),
                _ => format!("{} = {}", random.choice(keys).unwrap(), random.choice(values).unwrap()),
            };
            text.push_str(&line);
            text.push('\n');
        }
        if random.u8(..4) == 0 && !text.is_empty() {
            let at = text.floor_char_boundary(random.usize(..text.len()));
            text.insert(at, *random.choice(['"', '\n', '[', '\0', '=', '\u{fffd}', '#']).as_ref().unwrap());
        }
        home.write(".config/koofs/config.toml", &text, 0o600);
        match home.parse("config check", &[]) {
            Ok(Command::Report(Report { lines, .. })) => {
                for line in lines {
                    assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{text}\n{line}");
                    // A key, an account or a shell command may be called so; a value of `token` is never shown.
                    assert!(!line.contains("\"s3cret\""), "{text}\n{line}");
                }
            }
            other => panic!("{other:?}\n{text}"),
        }
        for arguments in ["mount r: /mnt", "ls s:", "mount share:1 --endpoint intl --agent a /mnt", "spaces r:"] {
            if let Err(Refusal::Usage(line)) = home.parse(arguments, &[]) {
                assert!(!line.contains('\n') && !line.contains("s3cret\""), "{text}\n{line}");
            }
        }
    }
}
