//! Which object of the store the content of an inode is of: one and no other, from the first byte that was returned of it.
//!
//! Before that, an object can be given up for another, and is where only the disk says that it was the one: what is kept may be of a version
//! that the store has no more, and nobody has seen a byte of it yet. Locks: one, for the length of a comparison.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock};

use lru::LruCache;

use super::object::Object;
use crate::remote::{NodeId, Version};
use crate::sync::lock;

/// The most objects whose identity is remembered after their last handle was closed, so that their blocks are found
/// again: about 200 bytes each, and more than the blocks that fit into a GiB.
const MAX_OBJECTS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The objects of a mount, by what the listing says of them.
pub(super) struct Objects(Mutex<LruCache<(NodeId, Version), Arc<Object>>>);

impl Default for Objects {
    fn default() -> Objects {
        Objects(Mutex::new(LruCache::new(MAX_OBJECTS)))
    }
}

impl Objects {
    /// The object of that version; a new one if the store has shown that the last one is no longer the file's.
    pub(super) fn get(&self, id: &NodeId, version: Version) -> Arc<Object> {
        let key = (id.clone(), version);
        let mut objects = lock(&self.0);
        match objects.get(&key) {
            Some(object) if !object.is_changed() => Arc::clone(object),
            _ => {
                let object = Arc::new(Object::new(id.clone(), version));
                objects.put(key, Arc::clone(&object));
                object
            }
        }
    }
}

/// The object of one inode's content.
#[derive(Debug)]
pub(super) struct Current {
    object: Mutex<Arc<Object>>,
    /// The same, once bytes of it have been returned: never another from then on.
    settled: OnceLock<Arc<Object>>,
}

impl Current {
    pub(super) fn new(object: Arc<Object>) -> Current {
        Current { object: Mutex::new(object), settled: OnceLock::new() }
    }

    /// The object to read from.
    pub(super) fn object(&self) -> Arc<Object> {
        self.settled.get().map_or_else(|| Arc::clone(&lock(&self.object)), Arc::clone)
    }

    /// Whether bytes have been returned.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get().is_some()
    }

    /// Bytes of `object` are about to be returned. `false` if they must not be: another has taken its place.
    pub(super) fn settle(&self, object: &Arc<Object>) -> bool {
        if let Some(settled) = self.settled.get() {
            return Arc::ptr_eq(settled, object);
        }
        let current = lock(&self.object);
        Arc::ptr_eq(&current, object) && Arc::ptr_eq(self.settled.get_or_init(|| Arc::clone(object)), object)
    }

    /// Whether `old`, which the store has other content than, can be given up for another: only the disk has said that it was the one,
    /// and no byte of it was returned.
    pub(super) fn can_renew(&self, old: &Arc<Object>) -> bool {
        old.is_from_disk() && self.settled.get().is_none_or(|settled| !Arc::ptr_eq(settled, old))
    }

    /// Gives up `old`, which has changed, for another of `objects`. `false` if bytes of it were returned, or it was not from the disk.
    pub(super) fn renew(&self, old: &Arc<Object>, objects: &Objects) -> bool {
        if !old.is_changed() || !self.can_renew(old) {
            return false;
        }
        let new = objects.get(&old.id, old.version);
        let mut current = lock(&self.object);
        if !self.can_renew(old) {
            return false;
        }
        if Arc::ptr_eq(&current, old) {
            log::info!("what is kept of a file is of another version than the store has by now: it is read anew");
            *current = new;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (Objects, Arc<Object>, Current) {
        let objects = Objects::default();
        let object = objects.get(&NodeId::new("f"), Version { size_bytes: 7, edited_ms: 1 });
        let current = Current::new(Arc::clone(&object));
        (objects, object, current)
    }

    #[test]
    fn object_that_only_the_disk_knew_is_given_up_until_a_byte_of_it_was_returned() {
        let (objects, old, current) = parts();
        old.set_from_disk();
        assert!(!current.renew(&old, &objects), "it has not changed");
        old.set_changed();
        assert!(current.renew(&old, &objects) && current.renew(&old, &objects));
        let new = current.object();
        assert!(!Arc::ptr_eq(&new, &old) && !new.is_changed());
        assert!(!current.settle(&old), "bytes of the old one are returned no more");
        assert!(current.settle(&new) && current.is_settled());
        new.set_from_disk();
        new.set_changed();
        assert!(!current.renew(&new, &objects));
        assert!(current.renew(&old, &objects), "a read of the old one is made again with the new one");
    }

    #[test]
    fn object_that_the_store_has_shown_is_the_only_one() {
        let (objects, old, current) = parts();
        old.set_changed();
        assert!(!current.renew(&old, &objects));
        assert!(Arc::ptr_eq(&current.object(), &old));
    }
}
