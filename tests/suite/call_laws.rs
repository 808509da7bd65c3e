//! Laws of single system calls on a mount: what ordinary programs try beside reading, and what it leaves in the log.
//!
//! SAFETY, of every block here: descriptors are open, paths are C strings, and memory that is passed outlives its call and is
//! as large as the call takes it to be.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, do_act};
use crate::mount_child::say;
use crate::mounted::{Mountpoint, c_path, mounts_are_allowed};

/// The calls that must do what they do on any filesystem; the others may be refused, but not with a warning.
const MUST_WORK: [&str; 9] = [
    "fsync file",
    "fdatasync file",
    "fsync directory",
    "fdatasync directory",
    "syncfs",
    "poll file",
    "lseek SEEK_DATA",
    "lseek SEEK_HOLE",
    "flock shared",
];

/// A user who is neither root nor the owner of anything here.
const NOBODY: &str = "65534";

/// What must be refused with EROFS and nothing else.
const PLAIN: [&str; 7] = [
    "open file O_WRONLY",
    "open missing O_WRONLY|O_CREAT",
    "truncate file",
    "unlink file",
    "rmdir dir",
    "access file W_OK",
    "access dir W_OK",
];

#[test]
fn call_that_a_read_only_filesystem_need_not_know_leaves_no_warning_in_the_log() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("file", 5000));
    emulator.tree().add("", Entry::folder("dir"));
    let bench = Bench::new(emulator);
    let said = do_act("odd calls", bench.mountpoint.path(), &[]);
    assert!(said.len() > 30, "{said:?}");
    for name in MUST_WORK {
        assert!(said.contains(&format!("{name}: 0")), "{name}: {said:?}");
    }
    let log = bench.log();
    assert_eq!(log, "", "after {said:?}");
    bench.end();
}

#[test]
fn every_write_call_is_refused_read_only() {
    if mounts_are_allowed() {
        writes_are_refused_as_on_a_tmpfs(&[], "");
    }
}

#[test]
fn every_write_call_of_another_user_is_refused_read_only() {
    // SAFETY: cannot fail and touches no memory.
    if mounts_are_allowed() && unsafe { libc::getuid() } == 0 {
        writes_are_refused_as_on_a_tmpfs(&["--allow-other"], NOBODY);
    }
}

/// Each way to write, by this user or by `uid`, is answered as Linux answers it for a filesystem of its own that is mounted
/// read-only.
fn writes_are_refused_as_on_a_tmpfs(options: &[&str], uid: &str) {
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("file", 100));
    let dir = emulator.tree().add("", Entry::folder("dir"));
    emulator.tree().add(&dir, Entry::file("inner", 1));
    let bench = Bench::with(emulator, options, &[]);
    let oracle = Mountpoint::new();
    for mountpoint in [&bench.mountpoint, &oracle] {
        fs::set_permissions(mountpoint.path().parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    }
    let path = c_path(oracle.path());
    let mount = |flags| {
        let refused =
            unsafe { libc::mount(c"none".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), flags, std::ptr::null()) };
        assert_eq!(refused, 0, "tmpfs: {}", io::Error::last_os_error());
    };
    mount(0);
    fs::write(oracle.path().join("file"), [0; 100]).unwrap();
    fs::create_dir(oracle.path().join("dir")).unwrap();
    fs::write(oracle.path().join("dir/inner"), "1").unwrap();
    for (path, mode) in [("", 0o755), ("file", 0o644), ("dir", 0o755), ("dir/inner", 0o644)] {
        fs::set_permissions(oracle.path().join(path), Permissions::from_mode(mode)).unwrap();
    }
    mount(libc::MS_REMOUNT | libc::MS_RDONLY);

    let said = do_act("writes", bench.mountpoint.path(), &[oracle.path().to_str().unwrap(), uid]);
    assert!(said.len() > 100);
    let mut wrong = Vec::new();
    let mut read_only = 0;
    for line in &said {
        let (name, answers) = line.rsplit_once(": ").unwrap();
        let (ours, theirs) = answers.split_once(' ').unwrap();
        read_only += usize::from(ours == libc::EROFS.to_string());
        if ours != theirs || ours == "0" {
            wrong.push(line.clone());
        }
        if PLAIN.contains(&name) {
            assert_eq!(ours, libc::EROFS.to_string(), "{name}");
        }
    }
    assert_eq!(wrong, [""; 0], "(call: errno here, errno of a read-only tmpfs)");
    assert!(read_only > 50, "{read_only} of {}", said.len());
    assert_eq!(bench.log(), "");
    bench.end();
}

/// A call: its name, and what makes it; the result is negative if it failed.
type Call = (String, Box<dyn Fn() -> i64>);

/// Makes each of the calls below `path`, which has `file` and `dir`, and says the errno of each, 0 if it was done.
pub(crate) fn odd_calls(path: &Path) {
    for (name, call) in calls_by_descriptor(path).into_iter().chain(calls_by_path(path)) {
        let errno = if call() < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
        say(format_args!("{name}: {errno}"));
    }
}

/// Calls on descriptors that are open for reading.
fn calls_by_descriptor(path: &Path) -> Vec<Call> {
    let (file, dir) = (Rc::new(File::open(path.join("file")).unwrap()), Rc::new(File::open(path.join("dir")).unwrap()));
    let mut calls: Vec<Call> = Vec::new();
    let mut on = |name: &str, file: &Rc<File>, call: fn(i32) -> i64| {
        let file = Rc::clone(file);
        calls.push((name.to_owned(), Box::new(move || call(file.as_raw_fd()))));
    };
    on("fsync file", &file, |fd| unsafe { libc::fsync(fd) }.into());
    on("fsync file again", &file, |fd| unsafe { libc::fsync(fd) }.into());
    on("fdatasync file", &file, |fd| unsafe { libc::fdatasync(fd) }.into());
    on("fsync directory", &dir, |fd| unsafe { libc::fsync(fd) }.into());
    on("fdatasync directory", &dir, |fd| unsafe { libc::fdatasync(fd) }.into());
    on("syncfs", &dir, |fd| unsafe { libc::syncfs(fd) }.into());
    on("sync_file_range", &file, |fd| unsafe { libc::sync_file_range(fd, 0, 0, 7) }.into());
    on("poll file", &file, |fd| {
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let ready = unsafe { libc::poll(&raw mut polled, 1, 0) };
        if ready == 1 && polled.revents == libc::POLLIN { 0 } else { -1 }
    });
    on("poll directory", &dir, |fd| {
        let mut polled = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        unsafe { libc::poll(&raw mut polled, 1, 0) }.into()
    });
    on("epoll_ctl", &file, |fd| unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        let done = libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        libc::close(epoll);
        done.into()
    });
    on("lseek SEEK_DATA", &file, |fd| unsafe { libc::lseek(fd, 10, libc::SEEK_DATA) });
    on("lseek SEEK_HOLE", &file, |fd| unsafe { libc::lseek(fd, 10, libc::SEEK_HOLE) });
    on("lseek SEEK_END", &file, |fd| unsafe { libc::lseek(fd, 0, libc::SEEK_END) });
    on("lseek SEEK_END directory", &dir, |fd| unsafe { libc::lseek(fd, 0, libc::SEEK_END) });
    on("flock shared", &file, |fd| unsafe { libc::flock(fd, libc::LOCK_SH | libc::LOCK_NB) }.into());
    on("flock exclusive", &file, |fd| unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) }.into());
    on("fcntl F_SETLK", &file, |fd| lock(fd, libc::F_SETLK, libc::F_RDLCK));
    on("fcntl F_GETLK", &file, |fd| lock(fd, libc::F_GETLK, libc::F_WRLCK));
    on("fcntl F_SETLEASE", &file, |fd| unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) }.into());
    on("fcntl F_NOTIFY", &dir, |fd| unsafe { libc::fcntl(fd, libc::F_NOTIFY, 0) }.into());
    for (kind, target) in [("file", &file), ("directory", &dir)] {
        on(&format!("ioctl FIBMAP {kind}"), target, |fd| ioctl(fd, 1));
        on(&format!("ioctl FIEMAP {kind}"), target, |fd| ioctl(fd, 0xC020_660B));
        on(&format!("ioctl FS_IOC_GETFLAGS {kind}"), target, |fd| ioctl(fd, 0x8008_6601));
        on(&format!("ioctl FS_IOC_FSGETXATTR {kind}"), target, |fd| ioctl(fd, 0x801C_581F));
        on(&format!("ioctl TCGETS {kind}"), target, |fd| ioctl(fd, 0x5401));
    }
    on("fallocate", &file, |fd| unsafe { libc::fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, 0, 10) }.into());
    on("posix_fadvise", &file, |fd| unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_WILLNEED) }.into());
    on("readahead", &file, |fd| unsafe { libc::readahead(fd, 0, 100) } as i64);
    on("fchmod to the same mode", &file, |fd| unsafe { libc::fchmod(fd, 0o644) }.into());
    on("futimens", &file, |fd| unsafe { libc::futimens(fd, std::ptr::null()) }.into());
    on("fsetxattr", &file, |fd| unsafe { libc::fsetxattr(fd, c"user.k".as_ptr(), c"v".as_ptr().cast(), 1, 0) }.into());
    on("fgetxattr", &file, |fd| unsafe { libc::fgetxattr(fd, c"user.k".as_ptr(), std::ptr::null_mut(), 0) } as i64);
    on("flistxattr", &dir, |fd| unsafe { libc::flistxattr(fd, std::ptr::null_mut(), 0) } as i64);
    on("fpathconf", &file, |fd| unsafe { libc::fpathconf(fd, libc::_PC_NAME_MAX) });
    on("fstatvfs", &dir, |fd| unsafe { libc::fstatvfs(fd, MaybeUninit::uninit().as_mut_ptr()) }.into());
    on("copy_file_range", &file, |fd| {
        let to = tempfile::tempfile().unwrap();
        unsafe { libc::copy_file_range(fd, &mut 0, to.as_raw_fd(), &mut 0, 100, 0) as i64 }
    });
    on("sendfile", &file, |fd| {
        let to = tempfile::tempfile().unwrap();
        unsafe { libc::sendfile(to.as_raw_fd(), fd, &mut 0, 100) as i64 }
    });
    calls
}

/// Calls on paths.
fn calls_by_path(path: &Path) -> Vec<Call> {
    let (file, dir) = (Rc::new(c_path(&path.join("file"))), Rc::new(c_path(&path.join("dir"))));
    let mut calls: Vec<Call> = Vec::new();
    let mut on = |name: &str, path: &Rc<CString>, call: fn(*const libc::c_char) -> i64| {
        let path = Rc::clone(path);
        calls.push((name.to_owned(), Box::new(move || call(path.as_ptr()))));
    };
    on("statx with birth time", &file, |path| statx(path, libc::STATX_BTIME));
    on("statx of everything", &file, |path| statx(path, 0x7FFF_FFFF));
    on("access R_OK", &file, |path| unsafe { libc::access(path, libc::R_OK) }.into());
    on("access W_OK", &file, |path| unsafe { libc::access(path, libc::W_OK) }.into());
    on("access X_OK", &file, |path| unsafe { libc::access(path, libc::X_OK) }.into());
    on("readlink", &file, |path| unsafe { libc::readlink(path, [0; 8].as_mut_ptr(), 8) } as i64);
    on("inotify_add_watch", &dir, |path| unsafe {
        let inotify = libc::inotify_init1(libc::IN_CLOEXEC);
        let done = libc::inotify_add_watch(inotify, path, libc::IN_ALL_EVENTS);
        libc::close(inotify);
        done.into()
    });
    on("open_by_handle_at", &file, |path| unsafe {
        // struct file_handle: u32 handle_bytes, i32 handle_type, the handle.
        let mut handle = [0_u32; 34];
        handle[0] = 128;
        let here = libc::AT_FDCWD;
        let got = libc::syscall(libc::SYS_name_to_handle_at, here, path, handle.as_mut_ptr(), &mut 0, 0);
        let anywhere = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC);
        let fd = libc::syscall(libc::SYS_open_by_handle_at, anywhere, handle.as_mut_ptr(), libc::O_CLOEXEC);
        if got < 0 { got } else { fd }
    });
    calls
}

/// A request that writes at most 1 KiB of answer.
fn ioctl(fd: i32, request: u64) -> i64 {
    let mut answer = [0_u64; 128];
    unsafe { libc::ioctl(fd, request as _, answer.as_mut_ptr()) }.into()
}

fn statx(path: *const libc::c_char, mask: libc::c_uint) -> i64 {
    let mut answer = MaybeUninit::uninit();
    unsafe { libc::statx(libc::AT_FDCWD, path, libc::AT_STATX_FORCE_SYNC, mask, answer.as_mut_ptr()) }.into()
}

/// A lock of `kind` on the first byte, taken or asked about.
fn lock(fd: i32, command: i32, kind: i32) -> i64 {
    // SAFETY: all its fields are numbers.
    let mut lock: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    (lock.l_type, lock.l_len) = (kind as libc::c_short, 1);
    unsafe { libc::fcntl(fd, command, &raw mut lock) }.into()
}
