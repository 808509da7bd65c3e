//! What the children of `mount_laws` do to a mount: reads with every byte checked, raw directory calls, every way to write.
//!
//! Each act runs in a process of its own, named by `KOOFS_TEST_ACT`; its result is the lines that it prints behind `> `.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::emulator::pattern;
use crate::mapping::Mapping;
use crate::mounted::{await_that, c_path, joined};

/// Not a law: what the children run. Does nothing in the suite itself.
#[test]
fn child_acts_on_a_mount() {
    let Ok(act) = std::env::var("KOOFS_TEST_ACT") else { return };
    let path = PathBuf::from(std::env::var_os("KOOFS_TEST_PATH").unwrap());
    let arguments = std::env::var("KOOFS_TEST_ARGUMENTS").unwrap();
    let arguments: Vec<&str> = arguments.lines().collect();
    match act.as_str() {
        "stream" => stream(&path, arguments[0]),
        "stream until error" => stream_until_error(&path, arguments[0]),
        "preads" => preads(&path, arguments[0]),
        "map" => map(&path, arguments[0]),
        "together" => together(&path, &arguments),
        "first names" => first_names(&path),
        "cookies" => cookies(&path, arguments[0].parse().unwrap()),
        "stalled" => stalled(&path, arguments[0].parse().unwrap(), arguments[1].parse().unwrap()),
        "names" => names(&path),
        "writes" => writes(&path, Path::new(arguments[0]), arguments.get(1).copied().unwrap_or_default()),
        "odd calls" => crate::call_laws::odd_calls(&path),
        "attributes" => crate::xattr_laws::say_attributes(&path),
        "attributes without meaning" => attributes_without_meaning(&path),
        "resident" => resident(&path),
        "read, drop pages, read" => read_drop_pages_read(&path, arguments[0]),
        "read" => say(std::fs::read(&path).unwrap().len()),
        "stale" => stale(&path, Path::new(arguments[0])),
        "until it fails" => until_it_fails(&path, Path::new(arguments[0])),
        "race" => race(&path, arguments[0].parse().unwrap(), Path::new(arguments[1])),
        "read places" => read_places(&path, arguments[0], &arguments[1..]),
        "errors" => errors(&path),
        "campaign" => crate::campaign_child::campaign(&path, &arguments),
        "hold" => hold(&path, arguments[0].parse().unwrap(), Path::new(arguments[1])),
        act => panic!("no such act: {act}"),
    }
}

pub(crate) fn say(line: impl std::fmt::Display) {
    println!("\n> {line}");
}

/// Fails if `got` is not what a pattern file holds at `offset`.
#[track_caller]
fn check(got: &[u8], seed: u64, offset: u64) {
    let want = pattern::expected(seed, offset, got.len());
    if let Some(at) = got.iter().zip(&want).position(|(got, want)| got != want) {
        panic!("wrong byte at {}", offset + at as u64);
    }
}

/// Reads the file once from its start and compares every byte. Says how many there were, and the longest wait in ms.
fn stream(path: &Path, seed: &str) {
    let seed = seed.parse().unwrap();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let (mut offset, mut longest) = (0, Duration::ZERO);
    loop {
        let start = Instant::now();
        let count = file.read(&mut buffer).unwrap_or_else(|error| panic!("at {offset}: {error}"));
        longest = longest.max(start.elapsed());
        if count == 0 {
            break;
        }
        check(&buffer[..count], seed, offset);
        offset += count as u64;
    }
    say(offset);
    say(longest.as_millis());
}

/// Reads at the places where off-by-one lives, in strides, and at random; each byte compared. Says how many reads there were.
fn preads(path: &Path, seed: &str) {
    let seed = seed.parse().unwrap();
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut reads = 0;
    let mut read = |offset: u64, len: usize| {
        let mut buffer = vec![0xAA; len];
        let count = file.read_at(&mut buffer, offset).unwrap_or_else(|error| panic!("{len} at {offset}: {error}"));
        let want = size.saturating_sub(offset).min(len as u64);
        assert_eq!(count as u64, want, "{len} at {offset} of {size}");
        check(&buffer[..count], seed, offset);
        reads += 1;
    };
    for offset in [0, 1, size / 2, size - 2, size - 1, size, size + 1, size + 4096, 1 << 40, 1 << 62] {
        for len in [0, 1, 2, 4096, 100_000] {
            read(offset, len);
        }
    }
    for border in [4096, 128 << 10, 1 << 20, 4 << 20] {
        for offset in [border - 1, border, border + 1] {
            read(offset, 1);
            read(offset, 4097);
        }
    }
    for stride in [64 << 10, (1 << 20) + 1] {
        for index in 0..size / stride {
            read(index * stride, 7);
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..150 {
        read(random.u64(..size + 5000), random.usize(..300_000));
    }
    say(reads);
}

/// Maps the file and compares it, last page first.
fn map(path: &Path, seed: &str) {
    let seed = seed.parse().unwrap();
    let mapping = Mapping::of(&File::open(path).unwrap());
    let bytes = mapping.bytes();
    for start in (0..bytes.len()).step_by(64 * 1024).rev() {
        check(&bytes[start..bytes.len().min(start + 64 * 1024)], seed, start as u64);
    }
    say(bytes.len());
}

/// Eight readers, two for each of four files `file-N` with the given seeds: one from the start, one at random.
fn together(path: &Path, seeds: &[&str]) {
    let readers: Vec<_> = (0..8)
        .map(|reader: usize| {
            let file = path.join(format!("file-{}", reader % 4));
            let seed: u64 = seeds[reader % 4].parse().unwrap();
            std::thread::spawn(move || {
                let file = File::open(file).unwrap();
                let size = file.metadata().unwrap().len();
                let mut random = fastrand::Rng::with_seed(reader as u64);
                let mut buffer = vec![0; 100_000];
                let mut total = 0;
                let mut next = 0;
                while total < size {
                    let offset = if reader < 4 { next } else { random.u64(..size) };
                    let count = file.read_at(&mut buffer, offset).unwrap();
                    check(&buffer[..count], seed, offset);
                    next = offset + count as u64;
                    total += count as u64;
                }
                total
            })
        })
        .collect();
    say(readers.into_iter().map(joined).sum::<u64>());
}

/// One entry as getdents64(2) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dirent {
    ino: u64,
    next: i64,
    kind: u8,
    name: Vec<u8>,
}

/// One getdents64(2) into a buffer of `len` bytes; empty at the end of the directory.
fn getdents(directory: &File, len: usize) -> io::Result<Vec<Dirent>> {
    // In units of 8 bytes, as the kernel aligns records.
    let mut buffer = vec![0_u64; len / 8];
    // SAFETY: the kernel writes at most `len` bytes, which the vector has.
    let count = unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), len / 8 * 8) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).take(count).collect();
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    // struct linux_dirent64: u64 ino, i64 off, u16 reclen, u8 type, name with NUL.
    while !rest.is_empty() {
        let record = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        entries.push(Dirent {
            ino: u64::from_ne_bytes(rest[..8].try_into().unwrap()),
            next: i64::from_ne_bytes(rest[8..16].try_into().unwrap()),
            kind: rest[18],
            name: CStr::from_bytes_until_nul(&rest[19..record]).unwrap().to_bytes().to_vec(),
        });
        rest = &rest[record..];
    }
    Ok(entries)
}

fn seek(directory: &File, cookie: i64) {
    // SAFETY: no memory is involved.
    let at = unsafe { libc::lseek(directory.as_raw_fd(), cookie, libc::SEEK_SET) };
    assert_eq!(at, cookie, "{}", io::Error::last_os_error());
}

/// All entries, read with buffers of `len` bytes.
fn all_entries(directory: &File, len: usize) -> Vec<Dirent> {
    let mut all = Vec::new();
    loop {
        let some = getdents(directory, len).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Says the names of the first getdents64 of a directory, then the size of the first file, looked up by name.
fn first_names(path: &Path) {
    let directory = File::open(path).unwrap();
    let entries = getdents(&directory, 32 * 1024).unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| std::str::from_utf8(&entry.name).unwrap()).collect();
    say(names.join(" "));
    let first = names.iter().find(|name| !name.starts_with('.')).unwrap();
    say(std::fs::metadata(path.join(first)).unwrap().len());
}

/// The checks of xfstests' t_dir_offset2 (every cookie leads to the entry after it, in any order) and t_dir_type, with
/// buffers for many entries and for one.
fn cookies(path: &Path, seed: u64) {
    const ONE: usize = 40;
    const MANY: usize = 32 * 1024;
    let directory = File::open(path).unwrap();
    let all = all_entries(&directory, MANY);
    assert_eq!([&all[0].name[..], &all[1].name[..]], [&b"."[..], b".."]);
    let distinct: HashSet<i64> = all.iter().map(|entry| entry.next).collect();
    assert_eq!(distinct.len(), all.len(), "cookies are unique");
    let names: HashSet<&[u8]> = all.iter().map(|entry| &entry.name[..]).collect();
    assert_eq!(names.len(), all.len(), "names are unique");
    assert!(!distinct.contains(&0), "0 is the beginning");

    for entry in &all[2..] {
        let name = CString::new(entry.name.clone()).unwrap();
        let metadata = std::fs::symlink_metadata(path.join(name.to_str().unwrap())).unwrap();
        assert_eq!(entry.ino, metadata.ino(), "{name:?}");
        let kind = if metadata.is_dir() { libc::DT_DIR } else { libc::DT_REG };
        assert_eq!(entry.kind, kind, "{name:?}");
        assert_eq!(metadata.is_dir(), entry.name.starts_with(b"d"), "{name:?}");
    }
    let own = directory.metadata().unwrap();
    assert_eq!((all[0].ino, all[0].kind, all[1].kind), (own.ino(), libc::DT_DIR, libc::DT_DIR));

    seek(&directory, 0);
    assert_eq!(all_entries(&directory, ONE), all, "one entry at a time");
    let mut places: Vec<usize> = (0..all.len()).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut places);
    for place in places {
        for len in [ONE, MANY] {
            seek(&directory, all[place].next);
            let after = getdents(&directory, len).unwrap();
            assert_eq!(after.first(), all.get(place + 1), "after {place} of {}, buffer {len}", all.len());
            if len == ONE {
                assert!(after.len() <= 1);
                // And on from there.
                assert_eq!(getdents(&directory, len).unwrap().first(), all.get(place + 2));
            }
        }
    }
    seek(&directory, 0);
    assert_eq!(getdents(&directory, MANY).unwrap()[0], all[0]);
    let error = getdents(&directory, 16).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "a buffer for no entry");
    say(all.len());
}

/// So many `readers` of as many `files` called `file-N` at once; says each one's errno and how long it took in ms.
fn stalled(path: &Path, readers: usize, files: usize) {
    let readers: Vec<_> = (0..readers)
        .map(|number| {
            let path = path.join(format!("file-{}", number % files));
            std::thread::spawn(move || {
                let file = File::open(path).unwrap();
                let start = Instant::now();
                let error = file.read_at(&mut [0; 10], 0).unwrap_err();
                (error.raw_os_error().unwrap(), start.elapsed().as_millis())
            })
        })
        .collect();
    for reader in readers {
        let (errno, took_ms) = joined(reader);
        say(format_args!("{errno} {took_ms}"));
    }
}

/// Says of each entry its name in hex, its inode number, `d` or its size, and a small file's content in hex.
fn names(path: &Path) {
    let directory = File::open(path).unwrap();
    for entry in all_entries(&directory, 32 * 1024).split_off(2) {
        let path = path.join(std::ffi::OsStr::from_bytes(&entry.name));
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.ino(), entry.ino);
        let rest = if metadata.is_dir() {
            format!("d {}", std::fs::read_dir(&path).unwrap().count())
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, metadata.len());
            format!("{} {}", bytes.len(), hex(&bytes))
        };
        say(format_args!("{} {} {rest}", hex(&entry.name), entry.ino));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where writing is tried: a directory with `file`, `dir`, and nothing called `missing`.
struct Target<'a>(&'a Path);

impl Target<'_> {
    fn c(&self, name: &str) -> CString {
        c_path(&self.0.join(name))
    }

    fn open(&self, name: &str) -> File {
        File::open(self.0.join(name)).unwrap()
    }

    /// Opens `name` with `flags`, which is refused.
    fn open_with(&self, name: &str, flags: i32) -> i64 {
        // SAFETY: the path outlives the call.
        let fd = unsafe { libc::open(self.c(name).as_ptr(), flags | libc::O_CLOEXEC, 0o644) };
        if fd >= 0 {
            // SAFETY: the descriptor is ours.
            unsafe { libc::close(fd) };
        }
        i64::from(fd)
    }
}

/// A way to write: its name, and what does it; the result is -1 if it is refused.
type Write = (String, Box<dyn Fn(&Target) -> i64>);

/// Every system call that changes something, on each kind of thing.
fn ways_to_write() -> Vec<Write> {
    let mut ways: Vec<Write> = Vec::new();
    let mut add = |name: String, way: Box<dyn Fn(&Target) -> i64>| ways.push((name, way));
    // SAFETY (of all blocks below): each path outlives its call, and the calls touch no other memory of ours.
    for name in ["file", "dir", "missing", "file/below", "dir/missing"] {
        for (what, flags) in [
            ("O_WRONLY", libc::O_WRONLY),
            ("O_RDWR", libc::O_RDWR),
            ("O_RDONLY|O_CREAT|O_EXCL", libc::O_CREAT | libc::O_EXCL),
            ("O_WRONLY|O_CREAT", libc::O_WRONLY | libc::O_CREAT),
            ("O_RDONLY|O_TRUNC", libc::O_TRUNC),
            ("O_WRONLY|O_APPEND", libc::O_WRONLY | libc::O_APPEND),
            ("O_RDWR|O_TMPFILE", libc::O_RDWR | libc::O_TMPFILE),
        ] {
            add(format!("open {name} {what}"), Box::new(move |t| t.open_with(name, flags)));
        }
        // SAFETY: as above.
        add(format!("truncate {name}"), Box::new(move |t| unsafe { libc::truncate(t.c(name).as_ptr(), 1) }.into()));
        // SAFETY: as above.
        add(format!("unlink {name}"), Box::new(move |t| unsafe { libc::unlink(t.c(name).as_ptr()) }.into()));
        // SAFETY: as above.
        add(format!("rmdir {name}"), Box::new(move |t| unsafe { libc::rmdir(t.c(name).as_ptr()) }.into()));
        // SAFETY: as above.
        add(format!("mkdir {name}"), Box::new(move |t| unsafe { libc::mkdir(t.c(name).as_ptr(), 0o755) }.into()));
        add(
            format!("mknod fifo {name}"),
            // SAFETY: as above.
            Box::new(move |t| unsafe { libc::mknod(t.c(name).as_ptr(), libc::S_IFIFO | 0o644, 0) }.into()),
        );
        add(
            format!("symlink {name}"),
            // SAFETY: as above.
            Box::new(move |t| unsafe { libc::symlink(c"to".as_ptr(), t.c(name).as_ptr()) }.into()),
        );
        // SAFETY: as above.
        add(format!("chmod {name}"), Box::new(move |t| unsafe { libc::chmod(t.c(name).as_ptr(), 0o600) }.into()));
        // SAFETY: as above.
        add(format!("chown {name}"), Box::new(move |t| unsafe { libc::lchown(t.c(name).as_ptr(), 7, 7) }.into()));
        add(
            format!("utimensat {name}"),
            Box::new(move |t| {
                // SAFETY: as above; no times means now.
                unsafe { libc::utimensat(libc::AT_FDCWD, t.c(name).as_ptr(), std::ptr::null(), 0) }.into()
            }),
        );
        add(
            format!("setxattr {name}"),
            // SAFETY: as above; the value has one byte.
            Box::new(move |t| unsafe {
                libc::setxattr(t.c(name).as_ptr(), c"user.k".as_ptr(), c"v".as_ptr().cast(), 1, 0).into()
            }),
        );
        add(
            format!("removexattr {name}"),
            // SAFETY: as above.
            Box::new(move |t| unsafe { libc::removexattr(t.c(name).as_ptr(), c"user.k".as_ptr()) }.into()),
        );
        // SAFETY: as above.
        add(
            format!("access {name} W_OK"),
            Box::new(move |t| unsafe { libc::access(t.c(name).as_ptr(), libc::W_OK) }.into()),
        );
        for to in ["file", "dir", "missing"] {
            add(
                format!("rename {name} {to}"),
                // SAFETY: as above.
                Box::new(move |t| unsafe { libc::rename(t.c(name).as_ptr(), t.c(to).as_ptr()) }.into()),
            );
            add(
                format!("link {name} {to}"),
                // SAFETY: as above.
                Box::new(move |t| unsafe { libc::link(t.c(name).as_ptr(), t.c(to).as_ptr()) }.into()),
            );
        }
    }
    // By descriptor, of what can be opened for reading.
    for name in ["file", "dir"] {
        // SAFETY: no memory is involved.
        add(
            format!("fchmod {name}"),
            Box::new(move |t| unsafe { libc::fchmod(t.open(name).as_raw_fd(), 0o600) }.into()),
        );
        // SAFETY: no memory is involved.
        add(
            format!("fchown {name}"),
            Box::new(move |t| unsafe { libc::fchown(t.open(name).as_raw_fd(), 7, 7) }.into()),
        );
        add(
            format!("futimens {name}"),
            // SAFETY: no times means now.
            Box::new(move |t| unsafe { libc::futimens(t.open(name).as_raw_fd(), std::ptr::null()) }.into()),
        );
        // SAFETY: no memory is involved.
        add(
            format!("ftruncate {name}"),
            Box::new(move |t| unsafe { libc::ftruncate(t.open(name).as_raw_fd(), 1) }.into()),
        );
        add(
            format!("fallocate {name}"),
            // SAFETY: no memory is involved.
            Box::new(move |t| unsafe { libc::fallocate(t.open(name).as_raw_fd(), 0, 0, 10) }.into()),
        );
        add(
            format!("write {name}"),
            // SAFETY: the buffer has one byte.
            Box::new(move |t| unsafe { libc::write(t.open(name).as_raw_fd(), c"x".as_ptr().cast(), 1) } as i64),
        );
        add(
            format!("fsetxattr {name}"),
            // SAFETY: the value has one byte.
            Box::new(move |t| unsafe {
                libc::fsetxattr(t.open(name).as_raw_fd(), c"user.k".as_ptr(), c"v".as_ptr().cast(), 1, 0).into()
            }),
        );
    }
    add(
        "map file shared for writing".to_owned(),
        Box::new(|t| {
            let file = t.open("file");
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping, which is refused.
            unsafe { libc::mmap(std::ptr::null_mut(), 1, access, libc::MAP_SHARED, file.as_raw_fd(), 0) as i64 }
        }),
    );
    ways
}

/// Tries all ways to write below `path`, and says what each is answered there and below `oracle`, an ordinary filesystem
/// that is mounted read-only. Becomes `uid` before, if there is one.
fn writes(path: &Path, oracle: &Path, uid: &str) {
    if let Ok(uid) = uid.parse() {
        // SAFETY: no memory is involved; the C library does it to all threads.
        assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) | libc::setgid(uid) | libc::setuid(uid) }, 0);
    }
    for (name, way) in ways_to_write() {
        let answer = |root: &Path| match way(&Target(root)) {
            -1 => io::Error::last_os_error().raw_os_error().unwrap(),
            _ => 0,
        };
        say(format_args!("{name}: {} {}", answer(path), answer(oracle)));
    }
}

/// Says the errno of each call about extended attributes.
fn attributes_without_meaning(path: &Path) {
    let path = c_path(path);
    let said = |result: isize| say(if result < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 });
    // SAFETY: the paths outlive the calls; a size of 0 means that nothing is written.
    unsafe {
        said(libc::getxattr(path.as_ptr(), c"user.k".as_ptr(), std::ptr::null_mut(), 0));
        said(libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0));
        said(libc::listxattr(path.as_ptr(), std::ptr::null_mut(), 0));
    }
}

/// Reads the file, closes it, opens it again, and says how many of its pages are cached then, and how many it has.
fn resident(path: &Path) {
    io::copy(&mut File::open(path).unwrap(), &mut io::sink()).unwrap();
    let (resident, pages) = Mapping::of(&File::open(path).unwrap()).resident();
    say(resident);
    say(pages);
}

/// Reads and compares the file twice; between that, the kernel gives up its pages.
fn read_drop_pages_read(path: &Path, seed: &str) {
    stream(path, seed);
    let file = File::open(path).unwrap();
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
    let (resident, _) = Mapping::of(&file).resident();
    assert_eq!(resident, 0, "the kernel gave up its pages");
    stream(path, seed);
}

/// Reads 4 KiB at each of `places`, each with a handle of its own, and compares them. Says the errno of each, 0 for none.
fn read_places(path: &Path, seed: &str, places: &[&str]) {
    let seed = seed.parse().unwrap();
    for place in places {
        let place = place.parse().unwrap();
        let mut buffer = [0; 4096];
        match File::open(path).unwrap().read_exact_at(&mut buffer, place) {
            Ok(()) => {
                check(&buffer, seed, place);
                say(0);
            }
            Err(error) => say(error.raw_os_error().unwrap_or(-1)),
        }
    }
}

/// Reads the file from its start in steps of 64 KiB and compares every byte. Says how many were read before the first
/// error or the end, and the errno of that error, 0 for the end.
fn stream_until_error(path: &Path, seed: &str) {
    let seed = seed.parse().unwrap();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut offset = 0;
    let errno = loop {
        match file.read(&mut buffer) {
            Ok(0) => break 0,
            Ok(count) => {
                check(&buffer[..count], seed, offset);
                offset += count as u64;
            }
            Err(error) => break error.raw_os_error().unwrap_or(-1),
        }
    };
    say(offset);
    say(errno);
}

/// Says the errno of each way to get at a name that is there.
fn errors(path: &Path) {
    let errno = |error: Option<io::Error>| error.and_then(|error| error.raw_os_error()).unwrap_or(0);
    say(errno(std::fs::symlink_metadata(path).err()));
    say(errno(File::open(path).err()));
    say(errno(std::fs::read_link(path).err()));
    say(errno(std::fs::metadata(path.join("below")).err()));
    say(errno(std::fs::metadata(path).err()));
}

/// Opens the file and reads its first bytes; says that by creating `signals`.opened, and waits for `signals`.go. Opens the
/// file again and again until it is another inode. Says both inode numbers, the new first bytes in hex, and what a read at
/// `far` through the old handle is answered.
fn hold(path: &Path, far: u64, signals: &Path) {
    let old = File::open(path).unwrap();
    let mut first = [0; 16];
    old.read_exact_at(&mut first, 0).unwrap();
    std::fs::write(signals.with_extension("opened"), "").unwrap();
    await_that("leave to go on", || signals.with_extension("go").exists());
    let before = old.metadata().unwrap().ino();
    let mut new = None;
    await_that("another inode", || {
        let file = File::open(path).unwrap();
        let changed = file.metadata().unwrap().ino() != before;
        new = changed.then_some(file);
        changed
    });
    let new = new.unwrap();
    let mut bytes = [0; 16];
    new.read_exact_at(&mut bytes, 0).unwrap();
    say(before);
    say(new.metadata().unwrap().ino());
    say(hex(&bytes));
    let far = old.read_exact_at(&mut bytes, far);
    say(far.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0));
}

/// The bytes of version `version` of a file whose every word says which version it is of.
pub(crate) fn stamped(version: u64, len: usize) -> Vec<u8> {
    version.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// The versions that the words of `bytes` are of.
pub(crate) fn versions_in(bytes: &[u8]) -> BTreeSet<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

fn errno_of<T>(result: &io::Result<T>) -> i32 {
    result.as_ref().map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// Opens a stamped file and reads its start; once `signals` says that it was replaced, reads on until the handle is stale. Says what
/// becomes of opening it anew by `/proc/self/fd`, of the old handle after that, and which versions a new open by name reads.
fn stale(path: &Path, signals: &Path) {
    let old = File::open(path).unwrap();
    let len = old.metadata().unwrap().len();
    let mut buffer = vec![0; 4096];
    old.read_exact_at(&mut buffer, 0).unwrap();
    std::fs::write(signals.with_extension("opened"), "").unwrap();
    await_that("leave to go on", || signals.with_extension("go").exists());
    let mut place = len / 2;
    await_that("a stale handle", || {
        place += 1 << 20;
        assert!(place < len, "everything could be read");
        errno_of(&old.read_exact_at(&mut buffer, place)) == libc::ESTALE
    });
    let again = File::open(format!("/proc/self/fd/{}", old.as_raw_fd()));
    say(errno_of(&again));
    let anew = std::fs::read(path).unwrap();
    say(format!("{:?}", versions_in(&anew)));
    say(errno_of(&old.read_exact_at(&mut buffer, place)));
    let mut seen = BTreeSet::new();
    for place in (0..len).step_by(64 * 1024) {
        if old.read_exact_at(&mut buffer, place).is_ok() {
            seen.extend(versions_in(&buffer));
        }
    }
    say(format!("{seen:?}"));
}

/// Opens the stamped file by name and reads four places of it, again and again until `signals` says stop. Says how many handles there
/// were, and how many of them saw two versions without an error.
fn race(path: &Path, seed: u64, signals: &Path) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut handles, mut mixtures) = (0, 0);
    let stop = signals.with_extension("stop");
    while !stop.exists() {
        let Ok(file) = File::open(path) else { continue };
        let len = file.metadata().unwrap().len();
        let mut seen = BTreeSet::new();
        let mut buffer = [0; 4096];
        let is_well = (0..4).all(|_| {
            let place = random.u64(..len / 4096) * 4096;
            let read = file.read_exact_at(&mut buffer, place);
            seen.extend(versions_in(&buffer).into_iter().filter(|_| read.is_ok()));
            read.is_ok()
        });
        handles += 1;
        mixtures += usize::from(is_well && seen.len() > 1);
    }
    say(handles);
    say(mixtures);
}

/// Reads a file from its start until a read fails, and says how. Tells `signals` when it is well under way.
fn until_it_fails(path: &Path, signals: &Path) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 128 * 1024];
    let mut done = 0;
    let error = loop {
        match file.read(&mut buffer) {
            Ok(0) => break 0,
            Ok(count) => done += count,
            Err(error) => break error.raw_os_error().unwrap_or(-1),
        }
        if done == 4 << 20 {
            std::fs::write(signals.with_extension("opened"), "").unwrap();
        }
    };
    say(error);
}
