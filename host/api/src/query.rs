//! Reads what stands in an address: strictly, so that a slip of the finger is said instead of passed over.

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use uuid::Uuid;

use crate::Problem;

/// The parameters after the question mark.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// The name or id of something, from the path.
#[derive(Debug)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Name(name)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// The id of something, from the path.
#[derive(Debug)]
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Name(text) = Name::from_request_parts(parts, state).await?;
        match Uuid::try_parse(&text) {
            Ok(id) => Ok(Id(id)),
            Err(_) => Err(Problem::bad_request(format!("`{text}` is not an id"))
                .hint("an id is a UUID, as in 0198c1f4-7c2e-7a10-8f5e-3c1d2b4a5f60")),
        }
    }
}

/// How many things a page has at most: 1 to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<const MOST: u32, const USUAL: u32>(pub u32);

impl<const MOST: u32, const USUAL: u32> Default for Limit<MOST, USUAL> {
    fn default() -> Self {
        Limit(USUAL)
    }
}

impl<'de, const MOST: u32, const USUAL: u32> Deserialize<'de> for Limit<MOST, USUAL> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if (1..=MOST).contains(&number) {
            Ok(Limit(number))
        } else {
            Err(de::Error::custom(format!("{number} is not between 1 and {MOST}")))
        }
    }
}

impl<const MOST: u32, const USUAL: u32> JsonSchema for Limit<MOST, USUAL> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Limit{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL })
    }
}

/// No parameters at all.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A page of a long list, of all jobs or of one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagedOfJob {
    /// At most so many.
    #[serde(default)]
    pub limit: Limit<500, 50>,
    /// `next` of the page before.
    pub cursor: Option<Uuid>,
    /// Only of the job with this name or id.
    #[schemars(length(min = 1))]
    pub job: Option<String>,
}
