//! From a remote name, which may be any text, to a name that Linux can hold and that is unique in its directory.
//!
//! Everything that Linux allows is kept byte for byte: newlines, right-to-left marks, decomposed accents, blanks at the end.

use std::borrow::Borrow;
use std::fmt;

use super::hash::stable_hash;

/// The longest name of a directory entry on Linux, in bytes (`NAME_MAX`, limits.h). FUSE would carry 1,024, but programs
/// and `getdents` users size their buffers by this.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest ending that counts as an extension when a name must be cut, in bytes with its dot. Longer than any in use;
/// a "sentence. like this" is not taken for one that must survive whole.
const MAX_EXTENSION_BYTES: usize = 32;

/// `~` and eight hex digits.
const SUFFIX_BYTES: usize = 9;

/// A name that may stand in a directory: 1 to 255 bytes of UTF-8, neither `.` nor `..`, without `/` and NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName(Box<str>);

impl EntryName {
    /// The name under which the remote entry `remote_name` with `id` stands in a directory where `is_taken` tells which
    /// names are in use already. The same input gives the same name on every mount.
    ///
    /// A name that is too long, or taken, gets `~` and eight hex digits of a hash of the id before its extension.
    pub fn assign(remote_name: &str, id: &str, mut is_taken: impl FnMut(&str) -> bool) -> EntryName {
        let wanted = sanitise(remote_name);
        if wanted.len() <= MAX_NAME_BYTES && !is_taken(&wanted) {
            return EntryName(wanted.into_boxed_str());
        }
        // A directory has finitely many names, and each attempt hashes to another suffix, so this ends; the second round
        // needs two ids that share 32 bits of hash and a name.
        let mut attempt: u32 = 0;
        loop {
            let name = with_suffix(&wanted, id, attempt);
            if !is_taken(&name) {
                return EntryName(name.into_boxed_str());
            }
            attempt += 1;
        }
    }

    /// Whether an entry that is shown as `name` can have only this name at the service, as long as no other has it too: nothing in
    /// it may stand for something that Linux forbids, or come of another entry's having the name.
    pub fn is_as_given(name: &str) -> bool {
        const STAND_INS: [char; 3] = ['\u{ff0f}', '\u{2400}', char::REPLACEMENT_CHARACTER];
        !name.contains(STAND_INS) && !["_", "_.", "_.."].contains(&name) && !has_suffix(name)
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for EntryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `name` without what Linux forbids. May still be too long.
fn sanitise(name: &str) -> String {
    match name {
        "" | "." | ".." => format!("_{name}"),
        _ => name.replace('/', "\u{ff0f}").replace('\0', "\u{2400}"),
    }
}

/// `name` with the suffix of `id` before its extension, the stem cut at a character boundary so that all of it fits.
fn with_suffix(name: &str, id: &str, attempt: u32) -> String {
    let (stem, extension) = split_extension(name);
    let room = MAX_NAME_BYTES - SUFFIX_BYTES - extension.len();
    let stem = &stem[..floor_char_boundary(stem, room)];
    let digits = match attempt {
        0 => stable_hash(&[id.as_bytes()]),
        _ => stable_hash(&[id.as_bytes(), &attempt.to_le_bytes()]),
    } >> 32;
    format!("{stem}~{digits:08x}{extension}")
}

/// Whether there may be a suffix of [`with_suffix`] somewhere.
fn has_suffix(name: &str) -> bool {
    let is_suffix = |at: usize| {
        let digits = name.as_bytes().get(at + 1..at + SUFFIX_BYTES);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    name.match_indices('~').any(|(at, _)| is_suffix(at))
}

/// The stem and the extension with its dot; the extension is empty where there is none (`.bashrc`, `README`, `a.`) or
/// where it is too long to be one.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The largest character boundary of `text` that is at most `limit`.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    if limit >= text.len() {
        return text.len();
    }
    (0..=limit).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn assign(name: &str) -> String {
        EntryName::assign(name, "F1", |_| false).as_str().to_owned()
    }

    #[test]
    fn allowed_name_is_kept_byte_for_byte() {
        for name in
            ["a", "a b ", " ", "line\nbreak", "\u{202e}gnp.exe", "e\u{301}", "é", "...", "a\\b:*?", "~", "😀", "-rf"]
        {
            assert_eq!(assign(name), name);
        }
    }

    #[test]
    fn forbidden_characters_and_names_are_replaced() {
        assert_eq!(assign("a/b"), "a\u{ff0f}b");
        assert_eq!(assign("/"), "\u{ff0f}");
        assert_eq!(assign("nul\0l"), "nul\u{2400}l");
        assert_eq!(assign(""), "_");
        assert_eq!(assign("."), "_.");
        assert_eq!(assign(".."), "_..");
    }

    #[test]
    fn long_name_is_cut_at_a_character_and_keeps_its_extension() {
        assert_eq!(assign(&"x".repeat(255)), "x".repeat(255));
        let cut = assign(&format!("{}.tar", "x".repeat(300)));
        assert_eq!(cut.len(), 255);
        assert!(cut.starts_with("xxx") && cut.ends_with(".tar"), "{cut}");
        assert_eq!(cut.as_bytes()[255 - 4 - 9], b'~');
        // Three bytes each: 255 - 9 - 4 = 242 is not a boundary, 240 is.
        let cut = assign(&format!("{}.txt", "字".repeat(100)));
        assert_eq!(cut.len(), 240 + 9 + 4);
    }

    #[test]
    fn replaced_characters_count_for_the_length_limit() {
        let cut = assign(&"/".repeat(200));
        assert!(cut.len() <= 255 && cut.contains('~'), "{cut}");
    }

    #[test]
    fn ending_that_is_no_extension_is_cut_like_the_rest() {
        let long_ending = format!("a.{}", "y".repeat(300));
        assert_eq!(assign(&long_ending).len(), 255);
        assert!(assign(&format!(".{}", "z".repeat(300))).starts_with(".z"));
    }

    #[test]
    fn taken_name_gets_digits_of_the_id_before_its_extension() {
        let first = EntryName::assign("a.txt", "F1", |name| name == "a.txt");
        let second = EntryName::assign("a.txt", "F2", |name| name == "a.txt");
        assert!(first.as_str().starts_with("a~") && first.as_str().ends_with(".txt"), "{first:?}");
        assert_eq!(first.as_str().len(), "a.txt".len() + 9);
        assert_ne!(first, second);
        assert_eq!(first, EntryName::assign("a.txt", "F1", |name| name == "a.txt"));
    }

    #[test]
    fn name_is_as_given_unless_it_may_have_been_changed() {
        for name in ["a", "a~", "a~1234567", "a~1234567x", "_a", "__", "..a", "~", "é.txt", "a b", "\n"] {
            assert!(EntryName::is_as_given(name), "{name:?}");
            assert_eq!(assign(name), name);
        }
        for name in
            ["a~01234567", "a~0123abcd.txt", "~00000000", "_", "_.", "_..", "a\u{ff0f}b", "\u{2400}", "\u{fffd}"]
        {
            assert!(!EntryName::is_as_given(name), "{name:?}");
        }
    }

    #[test]
    fn any_directory_of_hostile_names_gets_unique_valid_names() {
        let seed: u64 = std::env::var("KOOFS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
        println!("KOOFS_SEED={seed}");
        let alphabet = ["a", ".", "/", "\0", "~", "字", "😀", "\u{301}", "txt", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"];
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let mut taken = HashSet::new();
            for number in 0..40 {
                let length = rng.usize(..14);
                let remote: String = (0..length).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
                let name = EntryName::assign(&remote, &format!("F{number}"), |name| taken.contains(name));
                let text = name.as_str();
                assert!(!text.is_empty() && text.len() <= 255 && text != "." && text != "..", "{remote:?} -> {text:?}");
                assert!(!text.contains('/') && !text.contains('\0'), "{remote:?} -> {text:?}");
                assert!(text == remote || !EntryName::is_as_given(text), "{remote:?} -> {text:?}");
                assert!(taken.insert(text.to_owned()), "{text:?} twice");
            }
        }
    }
}
