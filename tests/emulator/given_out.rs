//! What the service has told its clients that nobody else may see: tokens and the signatures of links. For laws that look for them
//! where they must not be.

use super::lock;
use std::collections::VecDeque;
use std::sync::Mutex;

/// So many are remembered, the latest: more than a law looks for, and little beside a tree of a million entries.
const MAX_GIVEN_OUT: usize = 20_000;

/// Secrets, the oldest first.
#[derive(Debug, Default)]
pub struct GivenOut(Mutex<VecDeque<String>>);

impl GivenOut {
    /// `secret` goes to a client: a token without its scheme.
    pub fn note(&self, secret: &str) {
        let mut all = lock(&self.0);
        if all.len() == MAX_GIVEN_OUT {
            all.pop_front();
        }
        all.push_back(secret.split(' ').next_back().unwrap_or(secret).to_owned());
    }

    /// `link` goes to a client: its signature stands at its end, in every style.
    pub fn note_link(&self, link: &str) {
        self.note(link.rsplit(['=']).next().unwrap_or(link));
    }

    /// All that are remembered.
    pub fn all(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}
