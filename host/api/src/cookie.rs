//! The cookie of a browser that is logged in, and what it must send with it to change something.
//!
//! A browser sends a cookie by itself, whichever page asks for it. So a change takes two things that a foreign page can't
//! give: an origin that is ours, and a text that only pages of ours were told.

use backstay_model::{Error, Result};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::Problem;

/// Name of the cookie.
const NAME: &str = "backstay";

/// Its name where the browser comes by an encrypted connection: browsers take it from nobody else then.
const SECURE_NAME: &str = "__Host-backstay";

/// The header with the text that pages of ours were told.
pub const CSRF_HEADER: &str = "X-CSRF-Token";

/// What that text is derived for.
const CSRF_CONTEXT: &str = "backstay 2026-11-22 text that a page sends with changes";

/// What the cookie of a browser holds, if it sends one of ours. Where all is encrypted, only one that was set so counts.
pub fn read(headers: &HeaderMap, is_encrypted: bool) -> Option<&str> {
    let find = |wanted: &str| {
        let all = headers.get_all(header::COOKIE).iter();
        let mut pairs = all
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(name, value)| (name == wanted).then_some(value))
    };
    find(SECURE_NAME).or_else(|| find(NAME).filter(|_| !is_encrypted))
}

/// Has a browser keep a text for so many seconds.
///
/// # Errors
/// The text can't stand in a header.
pub fn set(text: &str, is_secure: bool, seconds: i64) -> Result<HeaderValue> {
    let (name, secure) = if is_secure {
        (SECURE_NAME, "; Secure")
    } else {
        (NAME, "")
    };
    let cookie = format!("{name}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).map_err(|e| Error::internal("a session is no header").because(e))
}

/// Has a browser forget it, by whichever name it has it.
///
/// # Errors
/// As [`set`].
pub fn unset(headers: &mut HeaderMap) -> Result<()> {
    for is_secure in [true, false] {
        headers.append(header::SET_COOKIE, set("", is_secure, 0)?);
    }
    Ok(())
}

/// The text that pages must send with changes in the session of this cookie.
pub fn csrf(text: &str) -> String {
    blake3::Hash::from_bytes(blake3::derive_key(CSRF_CONTEXT, text.as_bytes()))
        .to_hex()
        .to_string()
}

/// Refuses a change that a browser sends with its cookie, unless a page of ours asked for it.
pub fn refuse_forged(headers: &HeaderMap, text: &str) -> std::result::Result<(), Problem> {
    let forged = |detail: &str| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "It isn't certain that you asked for it",
            detail,
        )
        .hint(format!(
            "a change with a cookie takes an `Origin` and the header `{CSRF_HEADER}` with the `csrf` of /api/v1/session; \
             programs send a token instead"
        ))
    };
    // That it is ours was seen to before.
    if !headers.contains_key(header::ORIGIN) {
        return Err(forged("the request doesn't say which page sends it"));
    }
    let given = headers.get(CSRF_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
    let right = blake3::hash(csrf(text).as_bytes());
    // Hashes compare in constant time.
    if blake3::hash(given) != right {
        return Err(forged(&format!(
            "the header `{CSRF_HEADER}` is missing, or is of another session"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_only_a_secure_one_where_all_is_encrypted() {
        let check = |cookies: &[&str], is_encrypted: bool| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
            }
            read(&headers, is_encrypted).map(str::to_owned)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(check(&["theme=dark; backstay=a; x=y"], false), some("a"));
        assert_eq!(check(&["theme=dark", "backstay=a"], false), some("a"));
        assert_eq!(check(&["backstay=a; __Host-backstay=b"], false), some("b"));
        assert_eq!(check(&["backstay=a; __Host-backstay=b"], true), some("b"));
        assert_eq!(check(&["backstay=a"], true), None);
        assert_eq!(check(&["backstayx=a; xbackstay=b; backstay"], false), None);
        assert_eq!(check(&[], false), None);
    }
}
