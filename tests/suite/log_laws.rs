//! Laws of the log of a mount that whoever reads it does not read.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{LIMIT, mount_command, tool};
use crate::mounted::{Mountpoint, Watched, await_that, mounts_are_allowed};

#[test]
fn mount_answers_while_nobody_reads_its_log_and_tells_what_is_missing_of_it() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add_many("", (0..600).map(|number| Entry::folder(format!("folder {number}"))));
    let mountpoint = Mountpoint::new();
    let fifo = mountpoint.beside("fifo");
    tool("mkfifo", [fifo.to_str().unwrap()]).well();
    // With a writer too, so that it has no end.
    let mut reader = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let mut command = mount_command(&emulator, mountpoint.path(), &["-vvv", "-f", "--log-file"]);
    command.arg(&fifo);
    let mut daemon = Watched::start(command, LIMIT);
    mountpoint.await_types(&["fuse.koofs"]);
    let mut rounds = 0;
    let mut text = Vec::new();
    await_that("lines that are missing", || {
        // Each round lists all folders anew, and logs each.
        tool("sh", ["-c", "ls -R \"$0\" >/dev/null", mountpoint.path().to_str().unwrap()]).well();
        tool("kill", ["-HUP", &daemon.pid().to_string()]).well();
        rounds += 1;
        if rounds % 3 == 0 {
            let mut buffer = [0; 65536];
            while let Ok(count) = reader.read(&mut buffer) {
                text.extend_from_slice(&buffer[..count]);
            }
        }
        String::from_utf8_lossy(&text).contains("lines are missing here")
    });
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
