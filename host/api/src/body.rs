//! Reads a request's body: JSON, of a bounded size, within a bounded time.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use backstay_model::Diagnostic;
use backstay_model::job::check::against_schema;
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Problem;

/// More than any job needs.
pub const MAX_BYTES: usize = 1 << 20;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A body as it was sent.
#[derive(Debug)]
pub struct Json(pub Value);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The body has another form than expected",
                format!("the body is `{essence}`"),
            )
            .hint("send JSON, with `Content-Type: application/json`"));
        }
        let read = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BYTES).collect());
        let bytes = match read.await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(error)) => return Err(Problem::bad_request(format!("the body broke off: {error}"))),
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "slow",
                    "The request took too long to arrive",
                    format!("the body was not there within {} s", PATIENCE.as_secs()),
                ));
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Json(value)),
            Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
        }
    }
}

/// What a body says, or all that is wrong with it.
pub fn typed<T: DeserializeOwned + JsonSchema>(body: &Value) -> Result<T, Problem> {
    let schema = schemars::schema_for!(T).to_value();
    let mut found = against_schema(&schema, body, "")?;
    match T::deserialize(body) {
        Ok(typed) if found.is_empty() => return Ok(typed),
        Err(error) if found.is_empty() => found.push(Diagnostic::error("", "invalid", error.to_string())),
        _ => {}
    }
    Err(Problem::invalid("the body", found))
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        format!("the body has more than {MAX_BYTES} bytes"),
    )
}
