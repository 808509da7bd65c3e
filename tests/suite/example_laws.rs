//! Every example that `--help` and the README print runs as it is printed. Only the service is another: the emulator.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use koofs::kernel::mountinfo;

use crate::emulator::spaces::{GROUP, GROUP_ID, USER_ID};
use crate::emulator::{Emulator, Entry, Knobs};
use crate::mount_bench::{run, tool};
use crate::mounted::{c_path, koofs, mounts_are_allowed};
use crate::readme_laws::{fenced, readme};

/// The commands that have examples in their help.
const HELPS: [&str; 5] = ["mount", "ls", "spaces", "refresh", "status"];

/// A home directory with what the examples name, an emulator for the service, and a shell.
struct Stage {
    home: tempfile::TempDir,
    emulator: Emulator,
}

impl Stage {
    fn new() -> Stage {
        let emulator = Emulator::synthetic();
        for tree in [emulator.tree(), &emulator.own().tree, &emulator.space(GROUP).tree] {
            tree.add("", Entry::bytes("hello.txt", "hello\n"));
            for name in ["Reports", "reports"] {
                let reports = tree.add("", Entry::folder(name));
                let year = tree.add(&reports, Entry::folder("2025"));
                tree.add(&year, Entry::bytes("May.txt", "may\n"));
            }
        }
        let stage = Stage { home: tempfile::tempdir().unwrap(), emulator };
        for name in ["share", "drive", "team", "reports", "mnt", "media", "srv/koodrive"] {
            std::fs::create_dir_all(stage.path(name)).unwrap();
        }
        let readme = readme();
        let config = fenced(&readme, "toml").next().unwrap();
        let config = config.replace("0010000000000", &Knobs::default().account);
        for (name, text, mode) in [
            (".config/koofs/config.toml", stage.played(&config).as_str(), 0o600),
            (".config/koofs/work.password", &Knobs::default().password, 0o600),
            (".photos", "a1B2c3D4", 0o600),
            (".token", &stage.emulator.mint_token(), 0o600),
            // What `--token-command 'pass kd'` runs.
            ("bin/pass", "#!/bin/sh\ncat ~/.token\n", 0o700),
        ] {
            let path = stage.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_koofs"), stage.path("bin/koofs")).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(name)
    }

    /// An example with the emulator in the service's place, and places below the home directory.
    fn played(&self, example: &str) -> String {
        let home = self.path("");
        let home = home.to_str().unwrap().trim_end_matches('/');
        let url = self.emulator.url();
        [
            ("https://HOST/cloudfile/#/sharelink/i/180001", self.emulator.share_link().as_str()),
            ("share:180001", &format!("share:{}", self.emulator.share_code())),
            ("--endpoint intl", &format!("--endpoint {url}")),
            ("--endpoint cn", &format!("--endpoint {url}")),
            ("\"intl\"", &format!("\"{url}\"")),
            ("http://127.0.0.1:8420", &url),
            ("--user-id 17", &format!("--user-id {USER_ID}")),
            ("team:42", &format!("team:{GROUP_ID}")),
            (" /mnt/share", &format!(" {home}/media")),
            (" /mnt", &format!(" {home}/mnt")),
            ("/srv/koodrive", &format!("{home}/srv/koodrive")),
            ("runuser -u koodrive -- env HOME=/var/lib/koodrive ", ""),
            ("/usr/local/bin/koofs", "koofs"),
        ]
        .iter()
        .fold(example.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Runs an example, which must end well and print no error; what it printed.
    fn run(&self, example: &str) -> String {
        // A machine without jq has the rest of its example run.
        let script = format!("set -eu; command -v jq >/dev/null || jq() {{ cat; }}; {}", self.played(example));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(self.home.path());
        command.env_clear().env("HOME", self.path("")).env("PATH", path).env("KOOFS_NO_CACHE", "true");
        let said = run(command);
        assert!(said.code == Some(0) && said.error.is_empty(), "{example}\n{script}\n{said:?}");
        said.out
    }

    /// What is mounted below the home directory.
    fn mounted(&self) -> Vec<PathBuf> {
        let mounts = mountinfo::mounts().unwrap().into_iter().map(|mount| mount.mountpoint);
        mounts.filter(|mountpoint| mountpoint.starts_with(self.path(""))).collect()
    }

    /// Runs an example of `koofs mount`, looks at what it mounts, and unmounts that.
    fn run_mount(&self, example: &str) {
        self.run(example);
        let [mountpoint] = &self.mounted()[..] else { panic!("{example}: {:?}", self.mounted()) };
        let listed = tool("find", [mountpoint.to_str().unwrap(), "-name", "May.txt"]).well();
        assert!(!listed.is_empty(), "{example}");
        run(koofs(&["unmount", mountpoint.to_str().unwrap()])).well();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for mountpoint in self.mounted() {
            // SAFETY: the path outlives the call. Detaching below our own temporary directory harms nobody.
            unsafe { libc::umount2(c_path(&mountpoint).as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// The lines of a text that call koofs.
fn examples(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| line.starts_with("koofs ")).collect()
}

#[test]
fn every_example_of_the_help_runs_as_printed() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    let mut ran = Vec::new();
    for command in HELPS {
        let help = run(koofs(&[command, "--help"])).well();
        for example in examples(&help) {
            match command {
                "mount" => stage.run_mount(example),
                "refresh" => {
                    stage.run("koofs mount work: ~/share");
                    assert_eq!(stage.run(example), "", "{example}");
                    stage.run("koofs unmount ~/share");
                }
                "status" => {
                    stage.run("koofs mount work: ~/share");
                    assert_ne!(stage.run(example), "", "{example} prints something");
                    stage.run("koofs unmount ~/share");
                }
                _ => assert_ne!(stage.run(example), "", "{example} prints something"),
            }
            ran.push(example.to_owned());
        }
    }
    assert_eq!(stage.mounted(), Vec::<PathBuf>::new());
    assert!(ran.len() >= 12, "{ran:#?}");
}

#[test]
fn no_help_has_an_example_that_no_law_runs() {
    let commands = ["", "mount", "refresh", "unmount", "ls", "spaces", "config", "config check", "config path"];
    for command in commands.iter().filter(|command| !HELPS.contains(command)) {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        assert_eq!(examples(&run(koofs(&arguments)).well()), [""; 0], "{command}");
    }
}

#[test]
fn every_example_of_the_readme_runs_as_printed() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    let readme = readme();
    let calls_koofs = |block: &&str| block.lines().any(|line| line.split(' ').any(|word| word == "koofs"));
    let blocks: Vec<&str> = fenced(&readme, "sh").filter(calls_koofs).collect();
    assert_eq!(blocks.len(), 3, "{blocks:#?}");
    for block in blocks {
        let script: Vec<&str> = block.lines().filter(|line| !line.starts_with("cargo ")).collect();
        assert_ne!(stage.run(&script.join("\n")), "", "{block}");
        assert_eq!(stage.mounted(), Vec::<PathBuf>::new(), "{block}");
    }
    // The unit, whose lines of the service are commands without a shell: ours need none.
    let unit = fenced(&readme, "ini").next().unwrap();
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let (start, reload) = (line("ExecStart="), line("ExecReload="));
    stage.run(&format!(
        "{start} & export MAINPID=$!; until mountpoint -q /srv/koodrive; do kill -0 $MAINPID; sleep 0.1; done
         find /srv/koodrive -name May.txt | grep -q .; {reload}; kill $MAINPID; wait $MAINPID"
    ));
    // What comes behind a `#` in the configuration.
    let config = fenced(&readme, "toml").next().unwrap();
    let comment = config.lines().find_map(|line| line.split_once("# koofs ")).unwrap().1;
    stage.run_mount(&format!("koofs {comment}"));
}
