//! Tokens in the form that the service expects in `Authorization`: opaque, each with its scheme.

use super::login_error::LoginError;
use crate::config::Secret;

/// Schemes that a token may begin with (API.md, section 3.1), each followed by a space or by the `+` that stands for one.
const SCHEMES: [&str; 2] = ["Bearer", "AT"];

/// The scheme of a signature that somebody else has made.
const SIGNATURE_SCHEME: &str = "HMAC-SHA256 ";

/// `token` as the value of `Authorization`: with its own scheme, or else with `Bearer`.
pub(super) fn header_value(token: &Secret, whence: &'static str) -> Result<Secret, LoginError> {
    let token = token.expose().trim();
    if token.is_empty() || !token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(LoginError::NotAToken(whence));
    }
    if token.starts_with(SIGNATURE_SCHEME) {
        return Ok(Secret::new(token));
    }
    for scheme in SCHEMES {
        if let Some(rest) = token.strip_prefix(scheme).and_then(|rest| rest.strip_prefix([' ', '+'])) {
            return Ok(Secret::new(format!("{scheme} {rest}")));
        }
    }
    Ok(Secret::new(format!("Bearer {token}")))
}

/// The token without its scheme.
pub(super) fn bare(value: &Secret) -> &str {
    value.expose().split_once(' ').map_or(value.expose(), |(_, bare)| bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_keeps_its_scheme_and_gets_one_only_if_it_has_none() {
        for (token, value) in [
            ("Bearer+10f88+x", "Bearer 10f88+x"),
            ("Bearer 10f88", "Bearer 10f88"),
            ("AT 3b91", "AT 3b91"),
            ("AT+3b91", "AT 3b91"),
            ("HMAC-SHA256 AppId=a,Signature=b+c", "HMAC-SHA256 AppId=a,Signature=b+c"),
            ("10f88", "Bearer 10f88"),
            ("ATlas", "Bearer ATlas"),
            ("Bearer", "Bearer Bearer"),
            (" 10f88\t", "Bearer 10f88"),
        ] {
            let header = header_value(&Secret::new(token), "it").expect(token);
            assert_eq!(header.expose(), value, "{token}");
        }
        for token in ["", " ", "a\nb", "ä", "a\u{0}"] {
            assert!(header_value(&Secret::new(token), "it").is_err(), "{token:?}");
        }
    }

    #[test]
    fn bare_token_has_no_scheme() {
        assert_eq!(bare(&Secret::new("Bearer x y")), "x y");
        assert_eq!(bare(&Secret::new("secret")), "secret");
    }
}
