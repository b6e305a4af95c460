//! Tokens: who may use the interface.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use backstay_model::Diagnostic;
use backstay_model::access::{Role, Token};
use backstay_model::span::Span;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::app::Caller;
use crate::query::{Name, Nothing, Params};
use crate::{Problem, body};

/// A token that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// A name for it, such as that of who uses it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"))]
    name: String,
    /// What it allows.
    #[serde(default = "least")]
    role: Role,
    /// How long it is good; for ever if absent.
    #[serde(default)]
    expires: Option<Span>,
}

fn least() -> Role {
    Role::Viewer
}

/// A token that was made just now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MadeToken {
    /// What is known about it.
    #[serde(flatten)]
    known: Token,
    /// The token itself, which is shown this once.
    token: String,
}

pub async fn list(app: Shared, _: Params<Nothing>) -> Result<Json<Vec<Token>>, Problem> {
    Ok(Json(app.engine.store.tokens().await?))
}

pub async fn add(
    app: Shared,
    Extension(caller): Extension<Caller>,
    _: Params<Nothing>,
    body::Json(body): body::Json,
) -> Result<Response, Problem> {
    let new: NewToken = body::typed(&body)?;
    let now = app.engine.clock.now();
    let expires_at = match new.expires.map(|span| Token::expiry(now, span)) {
        Some(None) => {
            let wrong = Diagnostic::error("/expires", "invalid", "this is no time to expire after");
            let wrong = wrong.hint("leave it out for a token that is good for ever");
            return Err(Problem::invalid("the token", vec![wrong]));
        }
        expires_at => expires_at.flatten(),
    };
    let (engine, name) = (Arc::clone(&app.engine), new.name.clone());
    let added = app.change(&caller, "token.add", &new.name, async move {
        let added = engine.store.add_token(&name, new.role, expires_at).await;
        added.map_err(Problem::refused)
    });
    let (known, token) = added.await?;
    let mut response = (StatusCode::CREATED, Json(MadeToken { known, token })).into_response();
    // Nobody in between is to keep it.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub async fn remove(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    _: Params<Nothing>,
) -> Result<StatusCode, Problem> {
    let store = &app.engine.store;
    let token = store.token(&name).await.map_err(Problem::absent)?;
    let engine = Arc::clone(&app.engine);
    let removed = app.change(&caller, "token.remove", &token.name, async move {
        let removed = engine.store.remove_token(&token.id.to_string()).await;
        removed.map_err(Problem::absent)
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}
