//! Laws of `mount.koofs`, the helper that mount(8) calls, and of what service managers are told: with the real mount(8), a socket
//! of the law's own, and the units of `scripts/systemd`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::emulator::Emulator;
use crate::layers::below_the_crate;
use crate::mount_bench::{AGENT, LIMIT, Said, mount_command, run, tool};
use crate::mounted::{Mountpoint, Watched, koofs, mounts_are_allowed};

/// Where mount(8) looks for the helper.
const HELPER: &str = "/sbin/mount.koofs";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A share with one file, a mountpoint, and beside it the program under the helper's name and a configuration file with the remote
/// `work`. The mountpoint is the first to be dropped.
struct Stage {
    mountpoint: Mountpoint,
    emulator: Emulator,
    _source: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("file"), "hello\n").unwrap();
        let stage =
            Stage { mountpoint: Mountpoint::new(), emulator: Emulator::serving(source.path()), _source: source };
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_koofs"), stage.helper()).unwrap();
        let config = format!(
            "[remotes.work]\nsource = \"{}\"\nendpoint = \"{}\"\nagent = \"{AGENT}\"\nno_cache = true\n",
            stage.share(),
            stage.emulator.url()
        );
        fs::write(stage.config(), config).unwrap();
        stage
    }

    fn helper(&self) -> PathBuf {
        self.mountpoint.beside("mount.koofs")
    }

    fn config(&self) -> PathBuf {
        self.mountpoint.beside("config.toml")
    }

    fn share(&self) -> String {
        format!("share:{}", self.emulator.share_code())
    }

    fn mnt(&self) -> &str {
        text(self.mountpoint.path())
    }

    /// The options that name the service, for a share without a remote.
    fn service(&self) -> String {
        format!("endpoint={},agent={AGENT},no-cache", self.emulator.url())
    }

    /// The option that names the configuration file; its path has a blank.
    fn config_option(&self) -> String {
        format!("config={}", text(&self.config()))
    }

    /// The helper, called as mount(8) does.
    fn help<const N: usize>(&self, arguments: [&str; N]) -> Said {
        let mut command = Command::new(self.helper());
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        run(command)
    }

    fn sources(&self) -> Vec<String> {
        self.mountpoint.mounts().into_iter().map(|mount| mount.source).collect()
    }

    fn umount(&self) {
        tool("umount", [self.mnt()]).well();
        self.mountpoint.await_types(&[]);
    }
}

/// A command that failed with `code`; its one line.
#[track_caller]
fn refused(code: i32, said: Said) -> String {
    assert!(said.code == Some(code) && said.out.is_empty(), "{said:?}");
    let line = said.error.strip_suffix('\n').and_then(|line| line.strip_prefix("mount.koofs: ")).unwrap_or_default();
    assert!(!line.is_empty() && !line.contains('\n'), "{said:?}");
    line.to_owned()
}

#[test]
fn helper_mounts_what_its_options_say_and_warns_that_nothing_can_be_written() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    let options = format!("rw,noexec,nosuid,nodev,{},_netdev,nofail,x-systemd.automount,user=bob", stage.service());
    let said = stage.help([&stage.share(), stage.mnt(), "-n", "-o", &options, "-t", "koofs.sub"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    let want = format!("mount.koofs: {}: WARNING: source write-protected, mounted read-only\n", stage.mnt());
    assert_eq!(said.error, want);
    assert_eq!(tool("cat", [&format!("{}/file", stage.mnt())]).well(), "hello\n");
    let flags = tool("findmnt", ["-n", "-o", "FSTYPE,VFS-OPTIONS", stage.mnt()]).well();
    assert_eq!(flags.trim(), "fuse.koofs ro,nosuid,nodev,noexec,noatime");
    // The code of a share is not for the mount table, so mount(8) cannot see that it is there already.
    let share = stage.share();
    assert!(stage.sources()[0].starts_with("koofs:share-"), "{:?}", stage.sources());
    let again = stage.help([&share, stage.mnt(), "-o", &options]);
    assert!(
        again.code == Some(0) && again.error.contains("is mounted at") && again.error.contains("already"),
        "{again:?}"
    );
    assert_eq!(stage.mountpoint.types(), ["fuse.koofs"]);
    stage.umount();
    // Whoever says ro is not warned.
    stage.help([&share, stage.mnt(), "-o", &format!("ro,{}", stage.service())]).well();
    stage.umount();
}

#[test]
fn helper_called_by_the_helper_of_fuse_mounts_the_same() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    // What mount.fuse3 runs for `mount -t fuse.koofs`, or for the type fuse.koofs in fstab.
    let options = format!("ro,{},dev,suid", stage.config_option());
    run(koofs(&["work:", stage.mnt(), "-o", &options])).well();
    assert_eq!(stage.sources(), ["work:"]);
    stage.umount();
}

#[test]
fn helper_fails_with_the_exit_codes_of_mount_and_names_what_is_wrong() {
    let stage = Stage::new();
    let (share, service) = (stage.share(), stage.service());
    let line = refused(1, stage.help([&share, stage.mnt(), "-o", &format!("{service},alow_other")]));
    assert!(line.contains("alow_other") && line.contains("did you mean allow_other"), "{line}");
    let line = refused(1, stage.help([&share, stage.mnt(), "-o", &format!("{service},access_code=s3cret")]));
    assert!(line.contains("access_code_file") && !line.contains("s3cret"), "{line}");
    assert!(refused(1, stage.help([&share, stage.mnt(), "-o", "no_cache"])).contains("--endpoint"));
    assert!(refused(1, stage.help([&share])).contains("MOUNTPOINT"));
    assert!(refused(1, stage.help(["work:", stage.mnt(), "-o", "config=/nonexistent"])).contains("/nonexistent"));
    if !Path::new("/etc/koofs/config.toml").exists() {
        // Without a user there is only the machine's.
        assert!(refused(1, stage.help(["work:", stage.mnt()])).contains("/etc/koofs/config.toml"));
    }
    // Faked: all but the mount.
    assert_eq!(stage.help([&share, stage.mnt(), "-f", "-s", "-o", &format!("{service},alow_other")]).well(), "");
    assert!(refused(1, stage.help(["nonsense", stage.mnt(), "-f"])).contains("SOURCE"));
    assert_eq!(stage.mountpoint.types(), [""; 0]);
    assert_eq!(stage.emulator.counters().calls, Default::default(), "nobody was asked");
    let nowhere = stage.mountpoint.beside("nowhere");
    assert!(refused(32, stage.help([&share, text(&nowhere), "-o", &service])).contains("does not exist"));
    assert!(refused(32, stage.help(["work:", stage.mnt(), "-o", "remount"])).contains("nothing is mounted"));
}

#[test]
fn remount_is_answered_and_changes_nothing() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    stage.help(["work:", stage.mnt(), "-o", &format!("ro,{}", stage.config_option())]).well();
    let said = stage.help(["work:", stage.mnt(), "-o", "ro,remount,user_id=0,group_id=0"]);
    assert!(said.code == Some(0) && said.error.contains("options count when it is mounted again"), "{said:?}");
    assert!(refused(32, stage.help(["work:", stage.mnt(), "-o", "rw,remount"])).contains("read-write"));
    assert_eq!(stage.mountpoint.types(), ["fuse.koofs"]);
    stage.umount();
    assert!(refused(32, stage.help(["none", "/proc", "-o", "remount,ro"])).contains("not a KooFS mount"));
}

/// The helper where mount(8) looks for it, for every user; taken away again at the end. `None` if there is another one.
struct Installed {
    _directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Option<Installed> {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("koofs");
        // By another process: a descriptor of this one that is open for writing may be in a child of another law when it is run.
        tool("cp", [env!("CARGO_BIN_EXE_koofs"), text(&program)]).well();
        std::os::unix::fs::symlink(&program, HELPER).ok()?;
        Some(Installed { _directory: directory })
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        fs::remove_file(HELPER).unwrap();
    }
}

/// In a mount namespace of its own, with `$FSTAB` for the machine's and `/dev/fuse` as distributions have it, nobody mounts, reads
/// and unmounts what a line with `user` says.
const AS_NOBODY: &str = r#"
    mknod -m 666 "$DIR/fuse" c 10 229
    mount --bind "$DIR/fuse" /dev/fuse
    mount --bind "$FSTAB" /etc/fstab
    exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -euc '
        mount "$MNT"; cat "$MNT/file"; findmnt -n -o OPTIONS "$MNT"; umount "$MNT"; ls "$MNT"
    '
"#;

#[test]
fn line_of_fstab_is_mounted_found_and_unmounted_by_the_tools_of_the_system() {
    // SAFETY: cannot fail and touches no memory.
    if !mounts_are_allowed() || unsafe { libc::getuid() } != 0 {
        return;
    }
    let Some(_installed) = Installed::new() else {
        eprintln!("left out: there is another {HELPER} on this machine");
        return;
    };
    let stage = Stage::new();
    let escaped = |text: &str| text.replace(' ', "\\040");
    let fstab = stage.mountpoint.beside("fstab");
    let line = |source: &str, options: &str| {
        format!("{source} {} koofs {},nofail 0 0\n", escaped(stage.mnt()), escaped(options))
    };
    let mount_all = || tool("mount", ["-a", "-T", text(&fstab)]);
    fs::write(&fstab, line("work:", &format!("ro,{}", stage.config_option()))).unwrap();
    mount_all().well();
    assert_eq!(tool("cat", [&format!("{}/file", stage.mnt())]).well(), "hello\n");
    // It sees that it is there, and asks nobody.
    stage.emulator.reset_counters();
    mount_all().well();
    assert_eq!(stage.emulator.counters().calls, Default::default());
    assert_eq!(stage.mountpoint.types(), ["fuse.koofs"]);
    let found = tool("findmnt", ["-n", "-o", "SOURCE,FSTYPE", "--source", "work:", "--mountpoint", stage.mnt()]);
    assert_eq!(found.well().split_whitespace().collect::<Vec<_>>(), ["work:", "fuse.koofs"]);
    let remount = |options: &str| tool("mount", ["-T", text(&fstab), "-o", options, stage.mnt()]);
    let said = remount("remount,ro");
    assert!(said.code == Some(0) && said.error.contains("stays as it is"), "{said:?}");
    assert_eq!(remount("remount,rw").code, Some(32));
    stage.umount();
    // A share, which the mount table does not show.
    fs::write(&fstab, line(&stage.share(), &format!("ro,{}", stage.service()))).unwrap();
    mount_all().well();
    let again = mount_all();
    assert!(again.code == Some(0) && again.error.contains("already"), "{again:?}");
    assert_eq!(stage.mountpoint.types(), ["fuse.koofs"]);
    stage.umount();
    // A user other than root, whom the line permits it.
    fs::write(&fstab, line(&stage.share(), &format!("ro,user,noauto,{}", stage.service()))).unwrap();
    let directory = stage.mountpoint.path().parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(stage.mountpoint.path(), Some(65_534), Some(65_534)).unwrap();
    let mut nobody = Command::new("unshare");
    nobody.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    nobody.args(["sh", "-euc", AS_NOBODY]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    nobody.env("DIR", directory).env("FSTAB", &fstab).env("MNT", stage.mountpoint.path());
    let out = run(nobody).well();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "hello", "{out}");
    assert!(lines[1].contains("noexec") && lines[1].contains("user_id=65534"), "{out}");

    let said = tool("mount", ["-t", "koofs", &stage.share(), stage.mnt(), "-o", "ro,alow_other"]);
    assert!(said.code == Some(1) && said.error.contains("alow_other"), "{said:?}");
}

/// What a service manager is told.
struct Manager(UnixDatagram);

impl Manager {
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let len = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no message: {error}"));
        String::from_utf8(buffer[..len].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn service_manager_is_told_when_the_mount_is_ready_reloads_and_ends() {
    if !mounts_are_allowed() {
        return;
    }
    for is_abstract in [false, true] {
        let stage = Stage::new();
        let path = stage.mountpoint.beside("notify");
        let socket = if is_abstract {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(text(&path)).unwrap();
            UnixDatagram::bind_addr(&address).unwrap()
        } else {
            UnixDatagram::bind(&path).unwrap()
        };
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let manager = Manager(socket);
        let name = format!("{}{}", if is_abstract { "@" } else { "" }, text(&path));
        let mut command = mount_command(&stage.emulator, stage.mountpoint.path(), &["-f"]);
        command.env("NOTIFY_SOCKET", name).stderr(Stdio::null());
        let mut daemon = Watched::start(command, LIMIT);
        assert!(manager.next()[0].starts_with("STATUS=opening koofs:share-"));
        let ready = manager.next();
        assert_eq!(ready[..2], ["READY=1".to_owned(), format!("MAINPID={}", daemon.pid())]);
        assert!(ready[2].starts_with("STATUS=koofs:share-") && ready[2].ends_with(stage.mnt()), "{ready:?}");
        // Ready is ready: it answers.
        assert_eq!(tool("cat", [&format!("{}/file", stage.mnt())]).well(), "hello\n");
        daemon.signal(libc::SIGHUP);
        let reloading = manager.next();
        assert_eq!(reloading[0], "RELOADING=1");
        let at = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(at.parse::<u64>().unwrap() > 0);
        assert_eq!(manager.next(), ["READY=1"]);
        daemon.signal(libc::SIGTERM);
        assert_eq!(manager.next()[0], "STOPPING=1");
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn service_manager_is_told_why_there_is_no_mount() {
    if !mounts_are_allowed() {
        return;
    }
    let stage = Stage::new();
    let path = stage.mountpoint.beside("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let manager = Manager(socket);
    let nowhere = stage.mountpoint.beside("nowhere");
    let mut command = mount_command(&stage.emulator, &nowhere, &["-f"]);
    command.env("NOTIFY_SOCKET", &path);
    assert_eq!(run(command).code, Some(1));
    let said = [manager.next(), manager.next()].concat();
    assert!(
        said.iter().any(|line| line.starts_with("STATUS=mountpoint") && line.contains("does not exist")),
        "{said:?}"
    );
}

#[test]
fn units_pass_the_check_of_systemd() {
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("left out: systemd-analyze is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (below, manager, units) in [
        ("scripts/systemd", "--system", &["koofs@.service", "srv-koodrive.mount", "srv-koodrive.automount"][..]),
        ("scripts/systemd/user", "--user", &["koofs@.service"]),
    ] {
        let copies = directory.path().join(manager);
        fs::create_dir(&copies).unwrap();
        for unit in units {
            let source = fs::read_to_string(below_the_crate(below).join(unit)).unwrap();
            // As on a machine where it is installed.
            let source = source.replace("/usr/bin/koofs", env!("CARGO_BIN_EXE_koofs"));
            fs::write(copies.join(unit), source).unwrap();
        }
        for unit in units {
            let instance = unit.replace('@', "@work");
            let mut command = Command::new("systemd-analyze");
            command.args(["verify", "--man=no", manager]).arg(copies.join(&instance));
            command.env("XDG_RUNTIME_DIR", directory.path());
            let said = run(command);
            let ours: Vec<&str> =
                said.error.lines().filter(|line| line.contains("koo") || line.contains("cycle")).collect();
            assert!(said.code == Some(0) && ours.is_empty(), "{unit}: {said:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}
