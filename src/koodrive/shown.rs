//! Text of the service, made fit for an error or a log: bounded, on one line, and without the secrets that the service may
//! repeat. Pure.

/// The longest code that is shown, in characters; the known ones have 8 digits.
const MAX_CODE_CHARS: usize = 32;

/// Shorter secrets are not struck out of messages: they occur in ordinary words.
const SHORTEST_SECRET_BYTES: usize = 4;

/// A code of the service's, with `secrets` struck out. A text longer than any code is not shown at all: it may be a secret that
/// is not known here, and even a part of one must not be shown.
pub(super) fn cleaned_code(code: &str, secrets: &[&str]) -> String {
    let code = cleaned(code, usize::MAX, secrets);
    if code.chars().count() > MAX_CODE_CHARS { "(too long)".to_owned() } else { code }
}

/// At most `limit` characters of the service's text, on one line, with `secrets` struck out (a service may repeat what it was
/// sent).
pub(super) fn cleaned(text: &str, limit: usize, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET_BYTES);
    let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"));
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect::<String>().trim().to_owned()
}
