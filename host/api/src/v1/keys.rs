//! The key by which a client says that a request is the same as one before.

use backstay_store::RequestKey;
use http::HeaderMap;

use crate::Problem;
use crate::app::Caller;

/// Name of the header.
pub const HEADER: &str = "Idempotency-Key";

/// Longest key.
const LONGEST: usize = 255;

/// The key of a request, with what tells it from others of its sender: what is asked for, in words of the handler.
pub fn key(headers: &HeaderMap, caller: &Caller, asked: &[&str]) -> Result<Option<RequestKey>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let wrong = || {
        Problem::bad_request(format!(
            "{HEADER} is not 1 to {LONGEST} visible characters of ASCII"
        ))
    };
    if given.next().is_some() {
        return Err(Problem::bad_request(format!("there is more than one {HEADER}")));
    }
    let text = first.to_str().map_err(|_| wrong())?;
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let mut hash = blake3::Hasher::new();
    for part in asked {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    Ok(Some(RequestKey {
        actor: caller.actor.clone(),
        key: text.to_owned(),
        asked: hash.finalize().to_hex().to_string(),
    }))
}

/// The key was used for something else.
pub fn reused() -> Problem {
    Problem::new(
        http::StatusCode::UNPROCESSABLE_ENTITY,
        "key-reused",
        "The key belongs to another request",
        format!("another request came with the same {HEADER} within the last 24 hours"),
    )
    .hint("make a new key for each thing that is to be done once, such as a UUID")
}
