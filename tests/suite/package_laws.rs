//! Laws of what a package holds: manual pages and completions that say what `--help` says, and a package that its own tools accept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::layers::below_the_crate;
use crate::mount_bench::{Said, run, tool};
use crate::mounted::koofs;

#[path = "../package/manual.rs"]
mod manual;

/// Whether this machine has `program`; says so if not.
fn has(program: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null());
    let is_there = command.status().unwrap().success();
    if !is_there {
        eprintln!("left out: {program} is not installed");
    }
    is_there
}

fn generated() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    manual::generate(directory.path()).unwrap();
    directory
}

fn page(directory: &Path, path: &str) -> String {
    fs::read_to_string(directory.join(path)).unwrap().replace("\\-", "-")
}

#[test]
fn manual_has_a_page_for_each_command_an_entry_for_each_option_and_a_key_for_each_setting() {
    let directory = generated();
    let [koofs, helper] = koofs::cli::definitions();
    for command in koofs.get_subcommands() {
        let text = page(directory.path(), &format!("man1/koofs-{}.1", command.get_name()));
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(text.contains(&format!("--{option}")), "{}: --{option}", command.get_name());
        }
    }
    let text = page(directory.path(), "man8/mount.koofs.8");
    assert!(helper.get_opts().filter_map(clap::Arg::get_short).all(|short| text.contains(&format!("-{short}"))));
    assert!(text.contains("/etc/fstab") && page(directory.path(), "man1/koofs.1").contains("EXIT CODES"));
    let keys = page(directory.path(), "man5/koofs.toml.5");
    let mount = koofs.find_subcommand("mount").unwrap();
    for arg in mount.get_arguments().filter(|arg| arg.get_help_heading().is_some() && arg.get_id() != "config") {
        assert!(keys.contains(&format!("\\fB{}\\fR = ", arg.get_id())), "{}", arg.get_id());
    }
    assert!(keys.contains("[remotes.work]"));
}

#[test]
fn manual_is_shown_without_a_warning() {
    if !has("man") {
        return;
    }
    let directory = generated();
    let mut shown = 0;
    for section in ["man1", "man5", "man8"] {
        for file in fs::read_dir(directory.path().join(section)).unwrap() {
            let file = file.unwrap().path();
            let mut man = Command::new("man");
            man.args(["-l", "--warnings=all"]).arg(&file).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
            let text = run(man).well();
            assert!(text.contains("NAME") && text.contains("SEE ALSO"), "{}: {text}", file.display());
            assert!(text.lines().all(|line| line.chars().count() <= 90), "{}: {text}", file.display());
            shown += 1;
        }
    }
    assert!(shown >= 14, "{shown}");
}

#[test]
fn completions_are_scripts_of_their_shells_and_complete() {
    let directory = generated();
    let scripts = directory.path().join("completions");
    let path = |name: &str| scripts.join(name).to_str().unwrap().to_owned();
    for (shell, script) in [("bash", "koofs"), ("zsh", "_koofs"), ("fish", "koofs.fish")] {
        if has(shell) {
            assert_eq!(tool(shell, ["-n", &path(script)]).well(), "", "{shell}");
        }
    }
    fs::create_dir_all(directory.path().join("koofs")).unwrap();
    fs::write(directory.path().join("koofs/config.toml"), "[remotes.work]\nsource = \"space:\"\n[remotes.photos]\n")
        .unwrap();
    let complete = |words: &str, word: &str| {
        let script = format!(
            ". '{}'; COMP_WORDS=({words} {word}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p koofs | sed 's/.*-F \\([^ ]*\\).*/\\1/') koofs '{word}' '' 2>/dev/null; echo ${{COMPREPLY[*]}}",
            path("koofs")
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env("XDG_CONFIG_HOME", directory.path()).env_remove("KOOFS_CONFIG");
        run(bash).well()
    };
    assert_eq!(complete("koofs", "stat").trim(), "status");
    assert_eq!(complete("koofs mount", "--endp").trim(), "--endpoint");
    assert_eq!(complete("koofs mount", "wo").trim(), "work:");
}

#[test]
fn example_of_the_configuration_passes_the_check() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    fs::copy(below_the_crate("scripts/systemd/config.toml"), &file).unwrap();
    let password = home.path().join("work.password");
    fs::write(&password, "s3cret").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    run(koofs(&["config", "check", "--config", file.to_str().unwrap()])).well();
}

/// `scripts/package` with what is built already.
fn package(directory: &Path) -> Said {
    let generated = directory.join("generated");
    manual::generate(&generated).unwrap();
    let mut script = Command::new(below_the_crate("scripts/package"));
    script.arg("--binary").arg(env!("CARGO_BIN_EXE_koofs")).arg("--generated").arg(&generated);
    script.arg("--out").arg(directory.join("out")).arg("--fast");
    run(script)
}

#[test]
fn package_holds_what_is_needed_where_it_belongs_and_lintian_finds_no_error() {
    if !has("dpkg-deb") || !has("strip") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let said = package(directory.path());
    assert_eq!(said.code, Some(0), "{said:?}");
    let out = said.out.trim().lines().last().unwrap_or_default().to_owned();
    assert!(out.ends_with(".deb"), "{said:?}");
    let listed = tool("dpkg-deb", ["-c", &out]).well();
    for path in [
        "./usr/bin/koofs\n",
        "./usr/sbin/mount.koofs -> ../bin/koofs\n",
        "./usr/share/man/man1/koofs-mount.1.gz\n",
        "./usr/share/man/man5/koofs.toml.5.gz\n",
        "./usr/share/man/man8/mount.koofs.8.gz\n",
        "./usr/share/bash-completion/completions/koofs\n",
        "./usr/share/zsh/vendor-completions/_koofs\n",
        "./usr/share/fish/vendor_completions.d/koofs.fish\n",
        "systemd/system/koofs@.service\n",
        "systemd/user/koofs@.service\n",
        "./usr/share/doc/koofs/examples/config.toml\n",
        "./usr/share/doc/koofs/copyright\n",
    ] {
        assert!(listed.contains(path), "no {path:?} in\n{listed}");
    }
    assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");
    let control = tool("dpkg-deb", ["-f", &out]).well();
    assert!(control.contains("Package: koofs\n") && control.contains("fuse3"), "{control}");
    if has("lintian") {
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error", &out]).env("LC_ALL", "C.UTF-8");
        let said = run(lintian);
        assert_eq!(said.code, Some(0), "{}", said.out);
    }
    // What is installed runs.
    let root = directory.path().join("root");
    tool("dpkg-deb", ["-x", &out, root.to_str().unwrap()]).well();
    let version = tool(root.join("usr/bin/koofs").to_str().unwrap(), ["--version"]).well();
    assert!(version.starts_with("koofs "), "{version}");
    let said = tool(root.join("usr/sbin/mount.koofs").to_str().unwrap(), ["--version"]);
    assert!(said.well().starts_with("mount.koofs "));
}
