//! A campaign for secrets: mounts of every way to log in, at `-vvv`, under faults that have everything said that can be said. Nothing
//! that the emulator gave out, and nothing that was given to it, stands where somebody could read it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::emulator::sign::LinkStyle;
use crate::emulator::spaces::{self, USER_ID};
use crate::emulator::{Emulator, EmulatorConfig, Entry, Fault, FaultKind, Tree};
use crate::mount_bench::{AGENT, LIMIT, Said, act, run, tool};
use crate::mounted::{Mountpoint, Watched, environment_of, koofs, mounts_are_allowed};

const ACCESS_CODE: &str = "q7Zx-s3cr3t";
const PASSWORD: &str = "pw-5up3r-s3cr3t";
const APP_SECRET: &str = "app-s3cr3t-9fe81b";

/// What is said of a call that fails in any of these ways is in the log in the end.
const FAULTS_OF_CALLS: [FaultKind; 7] = [
    FaultKind::Unauthorized,
    FaultKind::Garbage,
    FaultKind::TruncatedJson,
    FaultKind::Html,
    FaultKind::Internal,
    FaultKind::Throttle,
    FaultKind::Reset,
];
const FAULTS_OF_OBJECTS: [FaultKind; 7] = [
    FaultKind::Forbidden,
    FaultKind::NotFound,
    FaultKind::SlowDown,
    FaultKind::Reset,
    FaultKind::WrongRange,
    FaultKind::Redirect,
    FaultKind::RedirectPlain,
];

/// What somebody could read, each with the name of its place. All that is looked for is ASCII.
struct Places(Vec<(String, String)>);

impl Places {
    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), String::from_utf8_lossy(&bytes.into()).into_owned()));
    }

    fn add_said(&mut self, name: &str, said: Said) {
        self.add(name, [said.out, said.error].join("\n"));
    }

    /// Every file below `directory`.
    fn add_files(&mut self, name: &str, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                self.add_files(name, &path);
            } else if let Ok(bytes) = fs::read(&path) {
                self.add(format!("{name} {}", path.display()), bytes);
            }
        }
    }

    /// The places where `secret` stands.
    fn with(&self, secret: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, text)| text.contains(secret)).map(|(name, _)| name.as_str()).collect()
    }
}

/// A way to log in: what the command line says, and what is in the environment.
struct Login {
    name: &'static str,
    source: String,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    style: LinkStyle,
}

/// A file with a secret, which only its owner can read.
fn secret_file(path: &Path, secret: &str) -> String {
    fs::write(path, secret).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

fn fill(tree: &Tree) {
    let folder = tree.add("", Entry::folder("folder"));
    tree.add(&folder, Entry::file("long", 5 << 20));
    tree.add_many("", (0..60).map(|number| Entry::file(format!("f{number}"), 3000)));
}

fn logins(emulator: &Emulator, mountpoint: &Mountpoint) -> Vec<Login> {
    let knobs = emulator.current_knobs();
    let space = format!("space:{}", spaces::OWN);
    let password = secret_file(&mountpoint.beside("password"), PASSWORD);
    let token = secret_file(&mountpoint.beside("token"), &emulator.mint_token());
    vec![
        Login {
            name: "access code",
            source: format!("share:{}", emulator.share_code()),
            arguments: words(&["--agent", AGENT]),
            variables: vec![("KOOFS_ACCESS_CODE", ACCESS_CODE.to_owned())],
            style: LinkStyle::V4,
        },
        Login {
            name: "password",
            source: space.clone(),
            arguments: words(&["--agent", AGENT, "--account", &knobs.account, "--password-file", &password]),
            variables: Vec::new(),
            style: LinkStyle::ObsV2,
        },
        Login {
            name: "token command",
            source: space.clone(),
            arguments: words(&["--user-id", USER_ID, "--token-command", &format!("cat '{token}'")]),
            variables: Vec::new(),
            style: LinkStyle::S3V2,
        },
        Login {
            name: "app",
            source: space,
            arguments: words(&["--user-id", USER_ID, "--app-id", &knobs.app_id]),
            variables: vec![("KOOFS_APP_SECRET", APP_SECRET.to_owned())],
            style: LinkStyle::Opaque,
        },
    ]
}

impl Login {
    fn command(&self, emulator: &Emulator, what: &str) -> Command {
        let mut command = koofs(&[what, "-vvv", "--op-timeout", "3", "--endpoint", &emulator.url(), &self.source]);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Everything in the mount is listed, `files` are read, some are asked for their attributes; failures are wanted.
fn use_all(mountpoint: &Path, files: &str, places: &mut Places) {
    let script = format!("cd \"$0\" && ls -lR; cat {files} | wc -c; cat missing");
    places.add_said("what programs say", tool("sh", ["-c", &script, mountpoint.to_str().unwrap()]));
    for name in ["", "f1", "folder/long"] {
        let child = Watched::start(act("attributes", &mountpoint.join(name), &[]), LIMIT);
        let (_, out, error) = child.output();
        places.add("attributes", out + &error);
    }
}

fn metrics(socket: &Path) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// One mount, from its begin to its end.
fn campaign(login: &Login, emulator: &Emulator, mountpoint: &Mountpoint, places: &mut Places) {
    emulator.clear_faults();
    emulator.knobs(|knobs| knobs.link_style = login.style);
    let (log, said, socket) = (mountpoint.beside("log"), mountpoint.beside("said"), mountpoint.beside("metrics"));
    let mut command = login.command(emulator, "mount");
    command.arg(mountpoint.path()).args(["-f", "--xattr", "--ttl", "1", "--metrics"]).arg(&socket);
    command.arg("--log-file").arg(&log).stderr(File::create(&said).unwrap());
    command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", mountpoint.beside("cache"));
    let mut daemon = Watched::start(command, LIMIT);
    mountpoint.await_types(&["fuse.koofs"]);
    use_all(mountpoint.path(), "f1", places);
    // What was good is refused, and what comes instead is broken.
    emulator.revoke_tokens();
    emulator.revoke_access_tokens();
    emulator.revoke_links();
    let new_token = emulator.mint_token();
    fs::write(mountpoint.beside("token"), &new_token).unwrap();
    for kind in FAULTS_OF_CALLS {
        emulator.fault(Fault::any_api(kind).every(2).limit(2));
    }
    for kind in FAULTS_OF_OBJECTS {
        emulator.fault(Fault::object(kind).every(2).limit(2));
    }
    for files in ["f2* folder/long", "f3* f4*", "f5* f*"] {
        places.add_said("refresh", run(koofs(&["refresh", mountpoint.path().to_str().unwrap()])));
        use_all(mountpoint.path(), files, places);
    }
    let fired = emulator.totals().faults;
    assert!(fired.len() >= 8, "{} kinds of faults: {fired:?}", fired.len());
    // While it lives.
    let pid = daemon.pid();
    for file in ["cmdline", "mountinfo", "status", "comm"] {
        places.add(format!("/proc/PID/{file}"), fs::read(format!("/proc/{pid}/{file}")).unwrap());
    }
    places.add("/proc/PID/environ", environment_of(pid).unwrap_or_default());
    for arguments in [&["status"][..], &["status", "--json"]] {
        let mut command = koofs(arguments);
        command.arg(mountpoint.path());
        places.add_said("status", run(command));
    }
    places.add("metrics", metrics(&socket));
    places.add_said("cache", {
        let mut command = koofs(&["cache"]);
        command.env("KOOFS_NO_CACHE", "false").env("KOOFS_CACHE_DIR", mountpoint.beside("cache"));
        run(command)
    });
    // The other commands, under the same faults and without.
    places.add_said("ls", run(login.command(emulator, "ls")));
    emulator.clear_faults();
    places.add_said("doctor", run(login.command(emulator, "doctor")));
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "the daemon's end");
    // What is left.
    places.add_files("cache directory", &mountpoint.beside("cache"));
    places.add("log", fs::read(log).unwrap());
    places.add("standard error", fs::read(said).unwrap());
    // A refusal is said in words, too.
    if let Some(file) = login.arguments.iter().position(|word| word == "--password-file") {
        let wrong = "wrong-pw-s3cr3t";
        secret_file(&PathBuf::from(&login.arguments[file + 1]), wrong);
        let refused = run(login.command(emulator, "ls"));
        assert_eq!(refused.code, Some(3), "{refused:?}");
        places.add_said("refusal", refused);
        assert_eq!(places.with(wrong), [""; 0], "the password that was refused");
    }
}

#[test]
fn nothing_that_was_secret_stands_anywhere_after_a_campaign_of_faults() {
    if !mounts_are_allowed() {
        return;
    }
    for number in 0..4 {
        let emulator = Emulator::start(EmulatorConfig::default());
        emulator.knobs(|knobs| {
            knobs.access_code = Some(ACCESS_CODE.to_owned());
            knobs.password = PASSWORD.to_owned();
            knobs.app_secret = APP_SECRET.to_owned();
            knobs.link_lifetime = Duration::from_secs(3);
            knobs.token_lifetime = Duration::from_secs(3);
            knobs.kdstoken_lifetime = Duration::from_secs(3);
        });
        fill(emulator.tree());
        fill(&emulator.own().tree);
        let mountpoint = Mountpoint::new();
        let login = &logins(&emulator, &mountpoint)[number];
        let mut places = Places(Vec::new());
        campaign(login, &emulator, &mountpoint, &mut places);
        let given_out = emulator.given_out();
        let looked_through: usize = places.0.iter().map(|(_, text)| text.len()).sum();
        println!("{}: {} secrets, {} places, {looked_through} bytes", login.name, given_out.len(), places.0.len());
        assert!(given_out.len() > 20, "{}: {}", login.name, given_out.len());
        let given = [ACCESS_CODE, PASSWORD, APP_SECRET];
        // In every link, whatever its style; the second stands in each signature's neighbourhood.
        let of_links = ["EMULATORKEY", "X-Amz-Credential", "Signature=", "auth_key="];
        let code = emulator.share_code();
        for secret in given_out.iter().map(String::as_str).chain(given).chain(of_links) {
            assert_eq!(places.with(secret), [""; 0], "{secret} of {}", login.name);
        }
        // The command line of a share has its code, as README says: nothing else has.
        let with_code = places.with(code);
        assert!(with_code.iter().all(|place| *place == "/proc/PID/cmdline"), "{}: {with_code:?}", login.name);
        // The search finds what is there.
        assert!(places.with("folder").len() > 3, "{}", login.name);
        assert_eq!(emulator.totals().secret_leaks, 0, "{}", login.name);
    }
}
