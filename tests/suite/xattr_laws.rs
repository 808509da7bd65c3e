//! Laws of `--xattr`: extended attributes say what the service calls an entry and how much of it is here; only where they were asked for.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, do_act, seed_of};
use crate::mount_child::say;
use crate::mounted::{await_that, mounts_are_allowed};

/// Says the names of the attributes of a path in one line, and the value of each in one more.
pub(crate) fn say_attributes(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: as long as no buffer is given, nothing is written; `names` and `value` are as long as the calls are told.
    unsafe {
        let len = libc::listxattr(path.as_ptr(), std::ptr::null_mut(), 0);
        let mut names = vec![0_u8; usize::try_from(len).unwrap()];
        assert_eq!(libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()), len);
        let names: Vec<&[u8]> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        say(names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" "));
        for name in names {
            let name = CString::new(name).unwrap();
            let len = libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0);
            let mut value = vec![0_u8; usize::try_from(len).unwrap()];
            assert_eq!(libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()), len);
            say(String::from_utf8(value).unwrap());
        }
        let mut small = [0_u8; 1];
        let size = small.len();
        assert_eq!(libc::getxattr(path.as_ptr(), c"user.koofs.id".as_ptr(), small.as_mut_ptr().cast(), size), -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ERANGE));
        assert_eq!(libc::getxattr(path.as_ptr(), c"user.koofs.other".as_ptr(), std::ptr::null_mut(), 0), -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENODATA));
    }
}

#[test]
fn attributes_say_what_the_service_calls_an_entry_and_how_much_of_it_is_here() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("folder"));
    let id = emulator.tree().add(&folder, Entry::file("a/b", 5 << 20));
    let seed = seed_of(&emulator, &id);
    let mut bench = Bench::with(emulator, &["--xattr"], &[]);
    let file = |bench: &Bench| bench.path("folder").join("a\u{ff0f}b");
    let attributes = |path: &Path| do_act("attributes", path, &[]);

    let root = attributes(bench.mountpoint.path());
    assert_eq!(root[0], "user.koofs.id");
    let of_folder = attributes(&bench.path("folder"));
    assert_eq!(of_folder, ["user.koofs.id user.koofs.original-name", &folder, "folder"]);
    let names = "user.koofs.id user.koofs.version user.koofs.original-name user.koofs.cached-bytes";
    bench.emulator.reset_counters();
    let before = attributes(&file(&bench));
    assert_eq!((before[0].as_str(), before[1].as_str(), before[3].as_str()), (names, id.as_str(), "a/b"));
    let (size, edited) = before[2].split_once('-').unwrap();
    assert!(size == (5 << 20).to_string() && edited.parse::<u64>().unwrap() > 0, "{before:?}");
    assert_eq!(before[4], "0");
    assert_eq!(bench.emulator.counters().object_bytes_sent, 0, "the question reads nothing");

    // What has been read is here, in memory, and after a remount on the disk.
    do_act("stream", &file(&bench), &[&seed]);
    assert_eq!(attributes(&file(&bench))[4], (5 << 20).to_string());
    bench.remount(&["--xattr"]);
    bench.emulator.reset_counters();
    await_that("the pieces to be on the disk", || attributes(&file(&bench))[4] == (5 << 20).to_string());
    assert_eq!(bench.emulator.counters().object_bytes_sent, 0, "the disk alone is asked");
    bench.end();
}
