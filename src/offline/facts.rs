//! What the opening of a source has told, as far as a mount needs it that cannot ask: written down, and read back. No secret, no
//! token, no link is in it. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::remote::{Capacity, NodeId};

/// Changed whenever the same bytes would mean something else.
const FORMAT: u8 = 1;

/// What the opening of a source has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The root of the source.
    pub root: NodeId,
    /// The directory that the mount shows as its root.
    pub shown_root: NodeId,
    /// The most ids that one call for links may name.
    pub max_links: usize,
    /// For `statfs`.
    pub capacity: Option<Capacity>,
    /// When the service ends to give anything of it.
    pub expires_at: Option<SystemTime>,
}

impl Facts {
    /// The facts as bytes; `None` if they cannot be written down.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![FORMAT];
        bytes.extend(u32::try_from(self.max_links).ok()?.to_le_bytes());
        bytes.push(u8::from(self.capacity.is_some()));
        let Capacity { total_bytes, used_bytes } = self.capacity.unwrap_or(Capacity { total_bytes: 0, used_bytes: 0 });
        bytes.extend(total_bytes.to_le_bytes());
        bytes.extend(used_bytes.to_le_bytes());
        bytes.push(u8::from(self.expires_at.is_some()));
        let expires_at = self.expires_at.unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes.extend(expires_at.as_secs().to_le_bytes());
        for id in [&self.root, &self.shown_root] {
            bytes.extend(u16::try_from(id.as_str().len()).ok()?.to_le_bytes());
            bytes.extend(id.as_str().as_bytes());
        }
        Some(bytes)
    }

    /// The facts, if all bytes are as [`Facts::encode`] writes them.
    pub fn decode(mut bytes: &[u8]) -> Option<Facts> {
        let bytes = &mut bytes;
        if take(bytes)? != [FORMAT] {
            return None;
        }
        let max_links = usize::try_from(u32::from_le_bytes(take(bytes)?)).ok()?;
        let has_capacity = flag(take(bytes)?)?;
        let capacity =
            Capacity { total_bytes: u64::from_le_bytes(take(bytes)?), used_bytes: u64::from_le_bytes(take(bytes)?) };
        let expires = flag(take(bytes)?)?;
        let expires_at = UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_le_bytes(take(bytes)?)))?;
        let (root, shown_root) = (id(bytes)?, id(bytes)?);
        bytes.is_empty().then_some(Facts {
            root,
            shown_root,
            max_links,
            capacity: has_capacity.then_some(capacity),
            expires_at: expires.then_some(expires_at),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn flag(byte: [u8; 1]) -> Option<bool> {
    match byte {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

fn id(bytes: &mut &[u8]) -> Option<NodeId> {
    let len = usize::from(u16::from_le_bytes(take(bytes)?));
    let (text, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    std::str::from_utf8(text).ok().map(NodeId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_back_as_they_were_written_and_nothing_else_is_read() {
        let capacity = Some(Capacity { total_bytes: u64::MAX, used_bytes: 7 });
        let all = Facts {
            root: NodeId::new("root"),
            shown_root: NodeId::new("ü"),
            max_links: 100,
            capacity,
            expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        };
        let few = Facts { capacity: None, expires_at: None, shown_root: NodeId::new(""), ..all.clone() };
        for facts in [all, few] {
            let bytes = facts.encode().expect("short ids");
            assert_eq!(Facts::decode(&bytes), Some(facts));
            for len in 0..bytes.len() {
                assert_eq!(Facts::decode(&bytes[..len]), None);
            }
            assert_eq!(Facts::decode(&[&bytes[..], &[0]].concat()), None);
            for at in 0..bytes.len() {
                for byte in [0, 2, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] = byte;
                    // Does not panic, whatever it says.
                    let _ = Facts::decode(&bytes);
                }
            }
        }
        let facts = Facts {
            root: NodeId::new(&"x".repeat(70_000)),
            shown_root: NodeId::new(""),
            max_links: 1,
            capacity: None,
            expires_at: None,
        };
        assert_eq!(facts.encode(), None);
    }
}
