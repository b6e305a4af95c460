//! Browsers: logging in with a token and out again, and who is logged in.

use std::sync::Arc;
use std::time::Instant;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use backstay_model::access::{Role, Session};
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::app::{Browser, Caller};
use crate::guard::{Peer, known, too_many};
use crate::query::{Id, Nothing, Params};
use crate::{Problem, body, cookie};

/// So much is kept of what a browser calls itself, in characters.
const AGENT: usize = 200;

/// What to log in with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A token.
    #[schemars(length(min = 1, max = 200))]
    token: String,
}

/// Who sends a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Identity {
    /// As it is written down with changes: `token:NAME`, or `user:UID` for somebody on this machine.
    actor: String,
    /// What they may do.
    role: Role,
    /// The session, for a browser that is logged in.
    session: Option<Session>,
    /// What that must send as `X-CSRF-Token` with all that changes something.
    csrf: Option<String>,
}

impl From<Caller> for Identity {
    fn from(caller: Caller) -> Self {
        let (session, csrf) = caller
            .browser
            .map(|browser| (browser.session, browser.csrf))
            .unzip();
        Identity {
            actor: caller.actor,
            role: caller.role,
            session,
            csrf,
        }
    }
}

pub async fn begin(
    app: Shared,
    Extension(peer): Extension<Peer>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body::Json(body): body::Json,
) -> Result<Response, Problem> {
    let login: Login = body::typed(&body)?;
    let token = known(&app, &login.token, peer.address()).await?;
    let begun = app.begun.count(token.id, Instant::now());
    begun.map_err(|seconds| too_many(&format!("the token `{}`", token.name), "log-ins", seconds))?;
    let text_of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let agent = text_of(header::USER_AGENT).map(|agent| agent.chars().take(AGENT).collect::<String>());
    let address = peer.address().to_string();
    let settings = app.settings();
    // A proxy in front may encrypt; the browser knows.
    let is_secure = settings.api.tls.is_some()
        || text_of(header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"));
    let mut caller = Caller::with_token(token.clone());
    let (engine, from) = (Arc::clone(&app.engine), address.clone());
    let limits = settings.api.sessions.clone();
    let begun = app.change(&caller, "session.begin", &address, async move {
        let begun = engine
            .store
            .begin_session(&token, &limits, &from, agent.as_deref());
        Ok(begun.await?)
    });
    let (session, text) = begun.await?;
    let seconds = session.expires_at.duration_since(session.created_at).as_secs();
    let set = cookie::set(&text, is_secure, seconds)?;
    caller.browser = Some(Browser {
        csrf: cookie::csrf(&text),
        session,
    });
    let mut response = (StatusCode::CREATED, identity(caller)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, set);
    Ok(response)
}

pub async fn show(Extension(caller): Extension<Caller>, _: Params<Nothing>) -> impl IntoResponse {
    identity(caller)
}

/// Who somebody is, for nobody in between to keep.
fn identity(caller: Caller) -> impl IntoResponse {
    (
        [(header::CACHE_CONTROL, "no-store")],
        Json(Identity::from(caller)),
    )
}

pub async fn end(
    app: Shared,
    Extension(caller): Extension<Caller>,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let Some(browser) = &caller.browser else {
        return Err(
            Problem::conflict("there is no session to end: the request comes without a cookie")
                .hint("a token is good until it expires or is removed"),
        );
    };
    remove(&app, &caller, &browser.session).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookie::unset(response.headers_mut())?;
    Ok(response)
}

pub async fn list(app: Shared, _: Params<Nothing>) -> Result<Json<Vec<Session>>, Problem> {
    let settings = app.settings();
    Ok(Json(app.engine.store.sessions(&settings.api.sessions).await?))
}

pub async fn revoke(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: Params<Nothing>,
) -> Result<StatusCode, Problem> {
    let settings = app.settings();
    let sessions = app.engine.store.sessions(&settings.api.sessions).await?;
    let Some(session) = sessions.iter().find(|session| session.id == id) else {
        return Err(
            Problem::not_found(format!("there is no session {id}")).hint("/api/v1/sessions lists them")
        );
    };
    remove(&app, &caller, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(app: &Shared, caller: &Caller, session: &Session) -> Result<(), Problem> {
    let (engine, id) = (Arc::clone(&app.engine), session.id);
    let subject = format!("{id} of {}", session.token);
    let removed = app.change(caller, "session.end", &subject, async move {
        // Ended by somebody else meanwhile, it has ended all the same.
        engine.store.end_session(id).await?;
        Ok(())
    });
    removed.await
}
