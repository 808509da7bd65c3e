//! Laws of what a user other than root sees of a mount. The suite runs as root, who becomes that user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::emulator::Emulator;
use crate::mount_bench::{AGENT, Said, run, tool};
use crate::mounted::mounts_are_allowed;

/// One line of a failed command, which `refused` of the prologue has printed.
#[track_caller]
fn holds(line: &str, wants: &[&str]) {
    assert!(line.starts_with("1 koofs: ") && !line.contains("\\n"), "{line}");
    for want in wants {
        assert!(line.contains(want), "no {want}: {line}");
    }
}

/// In a mount namespace of its own, `/dev/fuse` gets the rights that distributions give it, and root becomes nobody.
const AS_NOBODY: &str = r#"
    mknod -m 666 "$DIR/fuse" c 10 229
    mount --bind "$DIR/fuse" /dev/fuse
    eval "$AS_ROOT"
    exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -eu -c "$SCRIPT"
"#;

/// What every script of the laws begins with: `koofs`, and `mount_here`, which mounts the share on a directory that is this
/// user's own; `refused` prints the exit code and the line of a command. There are files `folder/file` and `folder/script` in it, and a directory `$DIR/own` to write to.
const PROLOGUE: &str = r#"
    koofs() { "$DIR/koofs" "$@"; }
    mount_here() {
        trap 'koofs unmount "$DIR/mnt"' EXIT
        koofs mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/mnt" "$@"
    }
    refused() { error=$("$@" 2>&1) && code=0 || code=$?; echo "$code $error"; }
    unmount_here() {
        trap - EXIT
        koofs unmount "$DIR/mnt"
    }
"#;

/// What nobody's `script` said, after `as_root` was done by root; nothing where the suite itself is run by an ordinary user, for whom every other law holds.
fn as_nobody(as_root: &str, script: &str) -> Option<Said> {
    // SAFETY: cannot fail and touches no memory.
    if !mounts_are_allowed() || unsafe { libc::getuid() } != 0 {
        return None;
    }
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("folder")).unwrap();
    fs::write(source.path().join("folder/file"), "hello world").unwrap();
    fs::write(source.path().join("folder/script"), "#!/bin/sh\necho it runs\n").unwrap();
    let emulator = Emulator::serving(source.path());

    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // By another process: a descriptor of this one that is open for writing may be in a child of another law when it is run.
    tool("cp", [env!("CARGO_BIN_EXE_koofs"), directory.path().join("koofs").to_str().unwrap()]).well();
    for name in ["mnt", "own"] {
        let path = directory.path().join(name);
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    }

    // All its processes end with `unshare`, and all its mounts with them.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-eu", "-c", AS_NOBODY]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("KOOFS_NO_CACHE", "true");
    command.env("DIR", directory.path()).env("ENDPOINT", emulator.url()).env("AGENT", AGENT);
    command.env("AS_ROOT", as_root);
    command.env("SOURCE", format!("share:{}", emulator.share_code())).env("SCRIPT", format!("{PROLOGUE}{script}"));
    Some(run(command))
}

#[test]
fn user_other_than_root_mounts_reads_refreshes_and_unmounts() {
    let said = as_nobody(
        "",
        r#"
        mount_here
        id -u; stat -c "%u %a %s" "$DIR/mnt/folder/file"
        head -c 5 "$DIR/mnt/folder/file"; echo
        koofs refresh "$DIR/mnt"
        unmount_here
        ls "$DIR/mnt"
        "#,
    );
    if let Some(said) = said {
        assert_eq!(said.well(), "65534\n65534 644 11\nhello\n");
    }
}

#[test]
fn copy_of_a_directory_can_be_changed_and_deleted_by_its_owner() {
    let said = as_nobody(
        "",
        r#"
        mount_here
        cd "$DIR/own"
        cp -r "$DIR/mnt/folder" copy
        cp -a "$DIR/mnt/folder" archive
        unmount_here
        for copy in copy archive; do
            stat -c %a "$copy" "$copy/file"
            echo more >> "$copy/file"
            rm -rf "$copy"
        done
        ls
        "#,
    );
    if let Some(said) = said {
        assert_eq!(said.well(), "755\n644\n755\n644\n");
    }
}

#[test]
fn mountpoint_that_is_not_the_users_own_is_refused_with_the_remedy() {
    let said = as_nobody(
        r#"mkdir "$DIR/two words" "$DIR/sticky"; chmod 1777 "$DIR/sticky""#,
        r#"
        try() { refused koofs mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$1"; }
        try "$DIR/two words"
        try "$DIR/sticky"
        "#,
    );
    let Some(said) = said else { return };
    let out = said.well();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    holds(lines[0], &["must belong to you", "as root run: chown 65534 '/", "two words'"]);
    holds(lines[1], &["must belong to you", "/sticky"]);
}

#[test]
fn another_users_mount_is_told_by_its_owner() {
    let said = as_nobody(
        r#"
        mkdir "$DIR/a" "$DIR/b"
        for options in "a" "b --allow-other"; do
            "$DIR/koofs" mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/"$options
        done
        "#,
        r#"
        for name in a b; do
            refused koofs unmount "$DIR/$name"
            refused koofs refresh "$DIR/$name"
            refused koofs refresh "$DIR/$name/folder/file"
            refused koofs mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/$name"
            refused koofs status "$DIR/$name"
        done
        "#,
    );
    let Some(said) = said else { return };
    let out = said.well();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 10, "{out}");
    let (status, lines): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.contains("may ask"));
    for line in &status {
        holds(line, &["mounted by user 0: only its owner may ask"]);
    }
    assert_eq!(status.len(), 2);
    for (index, line) in lines.iter().enumerate() {
        let verb = ["unmount", "refresh", "refresh", "replace"][index % 4];
        holds(line, &["mounted by user 0: only its owner and root may ", verb]);
    }
}

#[test]
fn owner_and_rights_are_as_they_were_asked_for() {
    let said = as_nobody(
        "",
        r#"
        show() {
            mount_here "$@"
            stat -c "%u %g %a" "$DIR/mnt" "$DIR/mnt/folder/file" | paste -s -d " "
            koofs refresh "$DIR/mnt"
            unmount_here
        }
        show
        show --umask 027
        show --uid 1234 --gid 100 --dir-mode 555 --file-mode 444
        "#,
    );
    if let Some(said) = said {
        assert_eq!(
            said.well(),
            "65534 65534 755 65534 65534 644\n65534 65534 750 65534 65534 640\n1234 100 555 1234 100 444\n"
        );
    }
}

/// Runs the script of the mount, and says why it cannot be.
const RUN: &str = r#"
    run_it() {
        mount_here "$@"
        "$DIR/mnt/folder/script" 2>&1 | sed "s/.*: //"
        unmount_here
    }
    run_it
    run_it --file-mode 755
    run_it --file-mode 755 --noexec
"#;

#[test]
fn script_is_run_if_its_mode_says_so() {
    for said in [as_nobody("", RUN), as_nobody(&format!("{PROLOGUE}{RUN}"), "true")].into_iter().flatten() {
        let out = said.well();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines, ["Permission denied", "it runs", "Permission denied"]);
    }
}

#[test]
fn others_see_a_mount_of_root_if_asked_for_and_as_far_as_its_rights_go() {
    let said = as_nobody(
        r#"
        for options in "a" "b --allow-other" "c --allow-other --umask 077" "d --allow-other --umask 077 --uid 65534"; do
            mkdir "$DIR/${options%% *}"
            "$DIR/koofs" mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/"$options
        done
        "#,
        r#"for name in a b c d; do cat "$DIR/$name/folder/file" 2>&1 | sed "s/.*: //"; echo; done"#,
    );
    if let Some(said) = said {
        let out = said.well();
        let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["Permission denied", "hello world", "Permission denied", "hello world"]);
    }
}

#[test]
fn user_other_than_root_lets_others_in_if_the_machine_allows_it() {
    // As if the package fuse3 had just been installed.
    let with_conf = |line: &str| {
        format!(
            r#"
            printf '%s' "{line}" > "$DIR/fuse.conf"
            [ -e /etc/fuse.conf ] || : > /etc/fuse.conf
            mount --bind "$DIR/fuse.conf" /etc/fuse.conf
            "#
        )
    };
    let try_it = r#"
        refused koofs mount --endpoint "$ENDPOINT" --agent "$AGENT" "$SOURCE" "$DIR/mnt" --allow-other
        findmnt -n -o OPTIONS "$DIR/mnt" | grep -o allow_other || true
        koofs unmount "$DIR/mnt" 2>/dev/null || true
    "#;
    if let Some(said) = as_nobody(&with_conf(""), try_it) {
        let out = said.well();
        holds(out.trim_end(), &["/etc/fuse.conf", "user_allow_other", "--allow-other"]);
    }
    if let Some(said) = as_nobody(&with_conf("user_allow_other\n"), try_it) {
        assert_eq!(said.well(), "0 \nallow_other\n");
    }
}
