//! Who is let in: the right host, no foreign page, a known token or the cookie of a browser that logged in with one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use backstay_model::access::{Role, Token};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, header};

use crate::app::{App, Browser, Caller};
use crate::endpoint::unknown_caller;
use crate::{Problem, cookie, first_token};

/// What can be asked without a token.
const OPEN: &str = "/health";

/// Where a browser logs in, with a token in the body.
pub const SESSION: &str = "/api/v1/session";

/// Names that people give to tokens in addresses, where they end up in logs and histories.
const TOKENS: [&str; 6] = [
    "token",
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "authorization",
];

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// From this machine by the socket, of a user who may use it.
    User(u32),
    /// By the network.
    Network(SocketAddr),
}

impl Peer {
    /// The address that it comes from.
    pub fn address(self) -> IpAddr {
        match self {
            Peer::User(_) => IpAddr::from([127, 0, 0, 1]),
            Peer::Network(address) => address.ip(),
        }
    }
}

/// Lets a request in, and says who sends it.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&app, &parts).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                parts.extensions.insert(caller);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn identify(app: &App, request: &Parts) -> Result<Option<Caller>, Problem> {
    let Some(peer) = request.extensions.get::<Peer>() else {
        return Err(unknown_caller());
    };
    let headers = &request.headers;
    if let Peer::Network(_) = peer {
        let host = host(request)?;
        if !is_ours(&host, &app.settings().api.hosts) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "This host doesn't go by that name",
                format!("`{}` is no name of this host", host.host()),
            )
            .hint("add the name to `api.hosts` in the settings of the service"));
        }
        refuse_foreign_pages(headers, &host)?;
    }
    let named = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        TOKENS.iter().any(|token| name.eq_ignore_ascii_case(token))
    };
    if request.uri.query().unwrap_or_default().split('&').any(named) {
        return Err(
            Problem::bad_request("there is a token in the address, where it ends up in logs")
                .hint("send it as `Authorization: Bearer TOKEN`, and replace this one"),
        );
    }
    let is_login = request.method == Method::POST && request.uri.path() == SESSION;
    if is_login || request.uri.path() == OPEN {
        return Ok(None);
    }
    // A proxy in front may have words of its own there (`Basic`): those are none for us.
    let given = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    if let Some(token) = given.and_then(bearer) {
        return known(app, token, peer.address())
            .await
            .map(Caller::with_token)
            .map(Some);
    }
    match peer {
        Peer::User(uid) => Ok(Some(Caller {
            actor: format!("user:{uid}"),
            role: Role::Admin,
            token: None,
            browser: None,
        })),
        Peer::Network(_) => match cookie::read(headers, app.settings().api.tls.is_some()) {
            Some(text) => browser(app, request, text, peer.address()).await.map(Some),
            None => Err(unknown_caller()),
        },
    }
}

/// The token in an `Authorization`, if that is what it holds.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who a browser with this cookie is.
async fn browser(app: &App, request: &Parts, text: &str, address: IpAddr) -> Result<Caller, Problem> {
    let settings = app.settings();
    let found = app.engine.store.session_of(text, &settings.api.sessions).await?;
    let Some((session, token)) = found else {
        let counted = app.old_cookies.count(address, Instant::now());
        counted.map_err(|seconds| too_many(&address.to_string(), "old cookies", seconds))?;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "session",
            "You are not logged in any more",
            "the session has ended: it wasn't used for long, was as old as it may be, or somebody ended it",
        )
        .hint("log in again with a token"));
    };
    if !matches!(request.method, Method::GET | Method::HEAD) {
        cookie::refuse_forged(&request.headers, text)?;
    }
    app.see(&session);
    let csrf = cookie::csrf(text);
    Ok(Caller {
        browser: Some(Browser { session, csrf }),
        ..Caller::with_token(token)
    })
}

/// The token with this text. Nobody guesses 256 bits: what is limited is how many lines of the log those who try may cause, and
/// not who has the right one.
pub async fn known(app: &App, token: &str, address: IpAddr) -> Result<Token, Problem> {
    match app.engine.store.token_of(token).await? {
        Some(found) => {
            first_token::used(app.engine.data_dir(), &found, token);
            Ok(found)
        }
        None => {
            let counted = app.wrong_tokens.count(address, Instant::now());
            counted.map_err(|seconds| too_many(&address.to_string(), "wrong tokens", seconds))?;
            tracing::warn!("a wrong token from {address}");
            Err(unknown_caller())
        }
    }
}

/// That there were too many of something, and when the next one is looked at.
pub fn too_many(who: &str, what: &str, seconds: u32) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-attempts",
        "Too many in a minute",
        format!("{who} has sent too many {what}"),
    )
    .retry_after(seconds)
}

/// The host that the client means to talk to.
fn host(request: &Parts) -> Result<Authority, Problem> {
    let mut given = request.headers.get_all(header::HOST).iter();
    let wrong = || Problem::bad_request("the request doesn't name one host");
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(wrong());
    };
    let host = Authority::try_from(value.as_bytes()).map_err(|_| wrong())?;
    match request.uri.authority() {
        Some(other) if *other != host => Err(wrong()),
        _ => Ok(host),
    }
}

/// Whether a name is one of this host. A page elsewhere may have its own name lead here (DNS rebinding), but not an
/// address, nor a name that somebody wrote into the settings.
fn is_ours(host: &Authority, names: &[String]) -> bool {
    let host = host.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// A browser says which page sends a request; it must be one of ours.
fn refuse_foreign_pages(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let foreign = |detail: String| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "origin",
            "A page of another host sends this",
            detail,
        )
    };
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let of = origin.split_once("://").map_or("", |(_, of)| of);
        if !of.eq_ignore_ascii_case(host.as_str()) {
            return Err(foreign(format!("the origin of the request is `{origin}`")));
        }
    }
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        Some(b"cross-site" | b"same-site") => {
            Err(foreign("the browser says that another site sends it".to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_ours() {
        let names = ["backup.example.org".to_owned()];
        let check = |host: &str| is_ours(&host.parse().unwrap(), &names);
        for host in [
            "localhost:1201",
            "127.0.0.1",
            "[::1]:1201",
            "192.0.2.7:80",
            "Backup.Example.org:443",
        ] {
            assert!(check(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:1201",
            "example.org",
        ] {
            assert!(!check(host), "{host}");
        }
    }
}
