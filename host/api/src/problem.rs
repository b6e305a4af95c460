//! What went wrong, as RFC 9457 has it. The only place that knows which failure has which status.

use std::fmt;

use axum::response::{IntoResponse, Response};
use backstay_model::{Code, Diagnostic, Error};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The kind of what is not done because the service is about to end.
pub const ENDING: &str = "ending";

/// After how many seconds a request may be sent again that failed for now.
const LATER: u32 = 5;

/// Why a request was not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of problem it is: `urn:backstay:problem:` and a stable word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The class of the failure, as in a run's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// All that is wrong with the body, each with a JSON pointer to its place.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub errors: Box<[Diagnostic]>,
    /// Seconds after which it may be tried again.
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            kind: Problem::name(kind),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
            code: None,
            errors: Box::default(),
            retry_after: None,
        }
    }

    /// The `type` of a kind.
    pub fn name(kind: &str) -> String {
        format!("urn:backstay:problem:{kind}")
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request makes no sense",
            detail,
        )
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            detail,
        )
    }

    /// It can't be done to a thing that is as it is.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, "conflict", "It can't be done now", detail)
    }

    /// Something that can't be accepted, with all that is wrong with it. `what` it is, such as `the job`.
    pub fn invalid(what: &str, errors: Vec<Diagnostic>) -> Self {
        let count = errors.iter().filter(|d| d.is_error()).count();
        let detail = match count {
            1 => format!("{what} has 1 error"),
            count => format!("{what} has {count} errors"),
        };
        Problem {
            code: Some(Code::Configuration),
            errors: errors.into(),
            ..Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "What was sent can't be accepted",
                detail,
            )
        }
    }

    /// It can't be done for now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "It can't be done for now",
            detail,
        )
        .retry_after(LATER)
    }

    /// The service takes nothing new.
    pub fn ending() -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ENDING,
            "The service is about to end",
            "the service takes nothing new: it is about to end",
        )
        .hint("if it is being started anew, ask again when it is back")
        .retry_after(LATER)
    }

    /// For `map_err` of what looks something up by its name: a wrong name is no wrong request.
    pub fn absent(error: Error) -> Self {
        if error.code() == Code::Configuration {
            Problem::not_found(error.report()).explain(&error)
        } else {
            error.into()
        }
    }

    /// For `map_err` of what changes something: the thing is not in the state for it.
    pub fn refused(error: Error) -> Self {
        if error.code() == Code::Configuration {
            Problem::conflict(error.report()).explain(&error)
        } else {
            error.into()
        }
    }

    /// For `map_err` of what looks at the source and the destinations of a job: what asking again doesn't change, such as a
    /// source that is gone, is a state of theirs. A disk or a server that holds backups may be back soon.
    pub fn unready(error: Error) -> Self {
        match error.code() {
            Code::Internal | Code::Network | Code::Storage | Code::DiskSpace => error.into(),
            _ if error.is_retryable() => error.into(),
            _ => Problem::conflict(error.report()).explain(&error),
        }
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn explain(mut self, error: &Error) -> Self {
        self.code = Some(error.code());
        self.hint = error.hint_text().map(str::to_owned);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<Error> for Problem {
    /// What the database, the disk or the machine can't do now is no defect of the host, nor of the request.
    fn from(error: Error) -> Self {
        let problem = match error.code() {
            Code::Configuration => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "What was sent can't be accepted",
                error.report(),
            ),
            Code::Internal => {
                tracing::error!("{}", error.report());
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "A defect of Backstay",
                    error.report(),
                )
            }
            _ => Problem::unavailable(error.report()),
        };
        problem.explain(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
