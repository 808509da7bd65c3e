//! Tells the kernel what has changed, on a thread of its own: telling blocks while an operation on the same directory is
//! under way, so neither a loop thread nor one that answers operations may do it (measured: fuse-notes, D).

use std::ffi::OsStr;
use std::io;
use std::thread;

use fuser::{INodeNo, Notifier};

use crate::fs::{Change, Changes};

/// Starts the thread that tells the kernel `changes` for as long as there may be any.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(notifier: Notifier, changes: Changes) -> io::Result<()> {
    let tell_all = move || {
        for change in changes {
            tell(&notifier, change);
        }
    };
    thread::Builder::new().name("koofs-notify".to_owned()).spawn(tell_all)?;
    Ok(())
}

fn tell(notifier: &Notifier, change: Change) {
    let told = match change {
        Change::Names(dir, names) => {
            names.iter().try_for_each(|name| notifier.inval_entry(INodeNo(dir.0), OsStr::new(&**name)))
        }
        // A negative offset means attributes only: pages block on reads that are under way, and are never stale here.
        Change::Attributes(ino) => notifier.inval_inode(INodeNo(ino.0), -1, 0),
        Change::Told(told) => {
            told();
            Ok(())
        }
    };
    if let Err(error) = told {
        // What the kernel does not know it need not forget; anything else it finds out when its time for it is up.
        log::debug!("the kernel was not told of a change: {error}");
    }
}
