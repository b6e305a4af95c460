//! The entry of an endpoint: where it is, who may use it, what goes in and comes out. Both the routes and the OpenAPI
//! document are made from it, so that they can't say different things.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use backstay_model::access::Role;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use tokio::time::timeout;

use crate::app::{App, Caller};
use crate::{Problem, query};

/// For so long an answer is waited for.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// For so long if plugins are asked: a plugin may take a minute for each end of a job.
const CHECK_LIMIT: Duration = Duration::from_secs(300);

/// For so long if a whole source is walked.
const WALK_LIMIT: Duration = Duration::from_secs(3600);

/// What it takes to answer.
#[derive(Debug, Clone, Copy)]
enum Cost {
    /// Nothing: it is answered however busy the service is.
    Nothing,
    /// A look at the database, or a change there.
    Usual,
    /// Somebody says who they are, and is nobody until then.
    Login,
    /// Plugins are asked, which may start programs.
    Plugins,
    /// The whole source of a job is walked.
    Walk,
}

/// Makes a schema.
pub type Make = fn(&mut SchemaGenerator) -> Schema;

/// An endpoint.
pub struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// The least role; nothing for who needs none.
    pub(crate) role: Option<Role>,
    /// Of what stands in braces in the path: its schema, and what it is.
    pub(crate) place: Option<(Value, &'static str)>,
    pub(crate) query: Make,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Option<Make>,
    pub(crate) answers: Vec<Answer>,
    cost: Cost,
    is_for_ending: bool,
    route: MethodRouter<Arc<App>>,
}

/// A header of a request.
pub struct Header {
    pub(crate) name: &'static str,
    pub(crate) is_required: bool,
    pub(crate) summary: &'static str,
    pub(crate) schema: Value,
}

/// What comes back when all went well.
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) summary: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) schema: Option<Make>,
    /// A header that comes with it, and what that is.
    pub(crate) header: Option<(&'static str, &'static str)>,
}

fn make<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Endpoint {
    fn new(
        method: &'static str,
        path: &'static str,
        name: &'static str,
        route: MethodRouter<Arc<App>>,
    ) -> Self {
        Endpoint {
            method,
            path,
            name,
            summary: "",
            role: Some(Role::Viewer),
            place: None,
            query: make::<query::Nothing>,
            headers: Vec::new(),
            body: None,
            answers: Vec::new(),
            cost: Cost::Usual,
            is_for_ending: false,
            route,
        }
    }

    /// One that shows something.
    pub fn get<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new("get", path, name, on(MethodFilter::GET, handler))
    }

    /// One that does something.
    pub fn post<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new("post", path, name, on(MethodFilter::POST, handler))
    }

    /// One that replaces something.
    pub fn put<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new("put", path, name, on(MethodFilter::PUT, handler))
    }

    /// One that removes something.
    pub fn delete<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new("delete", path, name, on(MethodFilter::DELETE, handler))
    }

    /// What it does, in a line.
    pub fn says(self, summary: &'static str) -> Self {
        Endpoint { summary, ..self }
    }

    /// Who may use it; [`Role::Viewer`] if nothing is said.
    pub fn role(self, role: Role) -> Self {
        let role = Some(role);
        Endpoint { role, ..self }
    }

    /// Everybody may use it, without a token.
    pub fn open(self) -> Self {
        Endpoint { role: None, ..self }
    }

    /// It is answered however busy the service is.
    pub fn always(self) -> Self {
        let cost = Cost::Nothing;
        Endpoint { cost, ..self }
    }

    /// Somebody says who they are with it. Whoever only pretends to keeps no others from what they may do.
    pub fn logs_in(self) -> Self {
        let cost = Cost::Login;
        Endpoint { cost, ..self }
    }

    /// Plugins are asked for it, which may start programs and take long.
    pub fn asks_plugins(self) -> Self {
        let cost = Cost::Plugins;
        Endpoint { cost, ..self }
    }

    /// The whole source of a job is walked for it.
    pub fn walks_a_source(self) -> Self {
        let cost = Cost::Walk;
        Endpoint { cost, ..self }
    }

    /// It is done while the service ends too, though it changes something.
    pub fn while_ending(self) -> Self {
        Endpoint {
            is_for_ending: true,
            ..self
        }
    }

    /// What stands in braces in the path.
    pub fn place(self, schema: Value, summary: &'static str) -> Self {
        let place = Some((schema, summary));
        Endpoint { place, ..self }
    }

    /// What may stand behind the question mark: the fields of a struct.
    pub fn query<T: JsonSchema>(self) -> Self {
        Endpoint {
            query: make::<T>,
            ..self
        }
    }

    /// A header that it heeds.
    pub fn header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// What the body must be.
    pub fn body<T: JsonSchema>(self) -> Self {
        let body: Option<Make> = Some(make::<T>);
        Endpoint { body, ..self }
    }

    /// What comes back as JSON.
    pub fn answers<T: JsonSchema>(mut self, status: StatusCode, summary: &'static str) -> Self {
        self.answers.push(Answer {
            status,
            summary,
            media_type: "application/json",
            schema: Some(make::<T>),
            header: None,
        });
        self
    }

    /// Nothing comes back.
    pub fn answers_nothing(mut self, summary: &'static str) -> Self {
        self.answers.push(Answer {
            status: StatusCode::NO_CONTENT,
            summary,
            media_type: "application/json",
            schema: None,
            header: None,
        });
        self
    }

    /// Text of another form comes back.
    pub fn answers_text(mut self, media_type: &'static str, summary: &'static str) -> Self {
        self.answers.push(Answer {
            status: StatusCode::OK,
            summary,
            media_type,
            schema: Some(make::<String>),
            header: None,
        });
        self
    }

    /// Events come back for as long as somebody listens.
    pub fn streams(self, summary: &'static str) -> Self {
        self.answers_text("text/event-stream", summary)
    }

    /// With an `ETag`, for `If-Match`.
    pub fn with_etag(self) -> Self {
        self.with_header("ETag", "Changes with what people wrote of it, not with its runs")
    }

    /// With a header, and what that is.
    pub fn with_header(mut self, name: &'static str, summary: &'static str) -> Self {
        for answer in &mut self.answers {
            answer.header = Some((name, summary));
        }
        self
    }

    /// Its path, and what is routed there.
    pub fn into_route(self, app: &Arc<App>) -> (&'static str, MethodRouter<Arc<App>>) {
        let entry = Entry {
            role: self.role,
            cost: self.cost,
            is_for_ending: self.is_for_ending,
            app: Arc::clone(app),
        };
        let route = self
            .route
            .route_layer(from_fn(move |request: Request, next: Next| {
                let entry = entry.clone();
                async move { entry.enter(request, next).await }
            }));
        (self.path, route)
    }
}

/// What stands before a handler: only those go in who have the role, only so many at once, and only for so long.
#[derive(Clone)]
struct Entry {
    role: Option<Role>,
    cost: Cost,
    is_for_ending: bool,
    app: Arc<App>,
}

impl Entry {
    async fn enter(&self, request: Request, next: Next) -> Response {
        if let Some(role) = self.role {
            match request.extensions().get::<Caller>() {
                Some(caller) if caller.role >= role => {}
                Some(caller) => return wrong_role(role, caller).into_response(),
                None => return unknown_caller().into_response(),
            }
        }
        let only_looks = matches!(*request.method(), Method::GET | Method::HEAD);
        if self.app.is_ending() && !only_looks && !self.is_for_ending {
            return Problem::ending().into_response();
        }
        let (places, limit) = match self.cost {
            Cost::Nothing => return next.run(request).await,
            Cost::Usual if only_looks => (&self.app.looks, TIME_LIMIT),
            Cost::Usual => (&self.app.edits, TIME_LIMIT),
            Cost::Login => (&self.app.entrances, TIME_LIMIT),
            Cost::Plugins => (&self.app.checks, CHECK_LIMIT),
            Cost::Walk => (&self.app.walks, WALK_LIMIT),
        };
        let Ok(Ok(_place)) = timeout(TIME_LIMIT, places.acquire()).await else {
            return Problem::unavailable("too many others ask at the same time").into_response();
        };
        match timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                Problem::unavailable(format!("it took longer than {} s", limit.as_secs())).into_response()
            }
        }
    }
}

fn wrong_role(role: Role, caller: &Caller) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "role",
        "This token doesn't allow it",
        format!(
            "it takes the role {}, and {} is {}",
            role.name(),
            caller.actor,
            caller.role.name()
        ),
    )
    .hint("`backstay token add` makes a token with another role")
}

/// Somebody without a token, or with a wrong one.
pub fn unknown_caller() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token",
        "A token is needed",
        "there is no token in the request, or it is unknown, removed or expired",
    )
    .hint("send `Authorization: Bearer TOKEN`; `backstay token add` makes one")
}
