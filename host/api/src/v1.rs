//! What there is: the entry of each endpoint. The handlers are in a file for each noun.

mod audit;
mod backups;
mod edits;
mod events;
mod health;
mod host;
mod jobs;
mod keys;
mod metrics;
mod plugins;
mod runs;
mod schedule;
mod session;
mod tokens;

use backstay_engine::preview::Preview;
use backstay_model::access::{AuditEntry, Role, Session, Token};
use backstay_model::event::Event;
use backstay_model::job::{Job, JobSpec};
use backstay_model::run::Run;
use backstay_model::settings::Settings;
use http::StatusCode;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Header};
use crate::guard::SESSION;
use crate::query::PagedOfJob;
use crate::view::{BackupView, NextRuns, Page, PluginDetails, PluginView, RunView, Validation};

const OK: StatusCode = StatusCode::OK;

/// All endpoints.
pub fn endpoints() -> Vec<Endpoint> {
    [
        about_the_host(),
        about_access(),
        about_jobs(),
        about_runs(),
        about_backups(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn about_the_host() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/health", "health", health::health)
            .open()
            .always()
            .says("Whether the service is there")
            .answers::<health::Health>(OK, "It is"),
        Endpoint::get("/ready", "ready", health::ready)
            .says("Whether the service does its work: the database can be used, the scheduler moves, and it isn't about to end")
            .answers::<health::Health>(OK, "It does"),
        Endpoint::get("/status", "status", health::status)
            .says("How things are on this host")
            .answers::<health::Status>(OK, "How things are"),
        Endpoint::get("/metrics", "metrics", metrics::show)
            .says("Numbers about jobs and runs, for Prometheus")
            .answers_text(metrics::MEDIA_TYPE, "All metrics"),
        Endpoint::get("/api/v1/openapi.json", "openapi", host::document)
            .says("This document")
            .answers::<serde_json::Map<String, Value>>(OK, "OpenAPI 3.1"),
        Endpoint::get("/api/v1/capabilities", "capabilities", host::capabilities)
            .says("What this host can do: its plugins, and the programs that they need")
            .answers::<host::Capabilities>(OK, "What it can do"),
        Endpoint::get("/api/v1/config", "config", host::config)
            .says("The settings of the service, as they hold now")
            .answers::<Settings>(OK, "The settings"),
        Endpoint::get("/api/v1/queue", "queue", host::queue)
            .says("What runs and what waits for its turn")
            .answers::<host::QueueView>(OK, "The queue"),
        Endpoint::get("/api/v1/schedule/next", "schedule-next", schedule::next)
            .query::<schedule::Upcoming>()
            .says("When jobs with a schedule are due next")
            .answers::<Vec<NextRuns>>(OK, "The next times, by job"),
        Endpoint::get("/api/v1/plugins", "plugin-list", plugins::list)
            .says("All plugins, with what they ask for")
            .answers::<Vec<PluginView>>(OK, "The plugins"),
        Endpoint::get("/api/v1/plugins/{id}", "plugin-info", plugins::show)
            .asks_plugins()
            .place(
                json!({ "type": "string", "pattern": "^[a-z0-9-]+$" }),
                "The id of a plugin",
            )
            .says("A plugin, with the JSON Schema of its configuration")
            .answers::<PluginDetails>(OK, "The plugin"),
    ]
}

fn about_access() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/audit", "audit", audit::list)
            .query::<audit::Paged>()
            .role(Role::Admin)
            .says("Who changed what, newest first")
            .answers::<Page<AuditEntry>>(OK, "A page"),
        Endpoint::get("/api/v1/tokens", "token-list", tokens::list)
            .role(Role::Admin)
            .says("All tokens, by name, without themselves")
            .answers::<Vec<Token>>(OK, "The tokens"),
        Endpoint::post("/api/v1/tokens", "token-add", tokens::add)
            .role(Role::Admin)
            .body::<tokens::NewToken>()
            .says("Makes a token, and shows it this once")
            .answers::<tokens::MadeToken>(StatusCode::CREATED, "The token"),
        Endpoint::delete("/api/v1/tokens/{id}", "token-rm", tokens::remove)
            .role(Role::Admin)
            .place(
                json!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" }),
                "Name or id of a token",
            )
            .says(
                "Removes a token: it is refused from now on, and so are the browsers that logged in with it",
            )
            .answers_nothing("It is removed"),
        Endpoint::post(SESSION, "session-begin", session::begin)
            .open()
            .logs_in()
            .body::<session::Login>()
            .says("Logs a browser in with a token: what it may do is that of the token")
            .answers::<session::Identity>(StatusCode::CREATED, "Who it is")
            .with_header("Set-Cookie", "The cookie that the browser sends from now on"),
        Endpoint::get(SESSION, "session-show", session::show)
            .says("Who sends this request")
            .answers::<session::Identity>(OK, "Who it is"),
        Endpoint::delete(SESSION, "session-end", session::end)
            .while_ending()
            .says("Logs the browser out that sends this")
            .answers_nothing("It is logged out")
            .with_header("Set-Cookie", "Has the browser forget its cookie"),
        Endpoint::get("/api/v1/sessions", "session-list", session::list)
            .role(Role::Admin)
            .says("All browsers that are logged in, the newest first")
            .answers::<Vec<Session>>(OK, "The sessions"),
        Endpoint::delete("/api/v1/sessions/{id}", "session-rm", session::revoke)
            .role(Role::Admin)
            .place(uuid(), "The id of a session")
            .says("Logs a browser out")
            .answers_nothing("It is logged out"),
    ]
}

fn about_jobs() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/jobs", "job-list", jobs::list)
            .query::<jobs::Paged>()
            .says("Jobs, by name")
            .answers::<Page<Job>>(OK, "A page"),
        Endpoint::post("/api/v1/jobs", "job-create", edits::create)
            .role(Role::Admin)
            .asks_plugins()
            .header(idempotency_key())
            .body::<JobSpec>()
            .says("Adds a job")
            .answers::<Job>(StatusCode::CREATED, "The job")
            .with_etag(),
        Endpoint::get("/api/v1/jobs/{id}", "job-show", jobs::show)
            .place(job_id(), "Name or id of a job")
            .says("A job")
            .answers::<Job>(OK, "The job")
            .with_etag(),
        Endpoint::put("/api/v1/jobs/{id}", "job-replace", edits::replace)
            .role(Role::Admin)
            .asks_plugins()
            .place(job_id(), "Name or id of a job")
            .header(if_match())
            .body::<JobSpec>()
            .says("Makes a job be as the body says, if it is still as its ETag says")
            .answers::<Job>(OK, "The job as it is now")
            .with_etag(),
        Endpoint::delete("/api/v1/jobs/{id}", "job-rm", edits::remove)
            .role(Role::Admin)
            .place(job_id(), "Name or id of a job")
            .header(if_match())
            .says("Removes a job, if it is still as its ETag says; its backups stay")
            .answers_nothing("It is removed"),
        // Plugins start programs for it, and hand them secrets that the job names: for those only who may change jobs.
        Endpoint::post("/api/v1/validate", "job-validate", jobs::validate)
            .role(Role::Admin)
            .asks_plugins()
            .body::<Value>()
            .says("Says all that is wrong with a job, without storing it")
            .answers::<Validation>(OK, "What there is to say"),
        Endpoint::post("/api/v1/jobs/{id}/preview", "job-preview", jobs::preview)
            .role(Role::Operator)
            .walks_a_source()
            .place(job_id(), "Name or id of a job")
            .says("Says what a run of a job would change at each destination, without changing anything")
            .answers::<Preview>(OK, "What would change"),
        Endpoint::post("/api/v1/jobs/{id}/run", "job-run", runs::start)
            .role(Role::Operator)
            .place(job_id(), "Name or id of a job")
            .header(idempotency_key())
            .says("Puts a run of a job into the queue, unless one waits there or is under way: then it is that one")
            .answers::<RunView>(StatusCode::ACCEPTED, "The new run")
            .answers::<RunView>(OK, "The run that was there already"),
    ]
}

fn about_runs() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/runs", "run-list", runs::list)
            .query::<PagedOfJob>()
            .says("Runs, newest first")
            .answers::<Page<Run>>(OK, "A page"),
        Endpoint::get("/api/v1/runs/{id}", "run-show", runs::show)
            .place(uuid(), "The id of a run")
            .says("A run, with what it left")
            .answers::<RunView>(OK, "The run"),
        Endpoint::post("/api/v1/runs/{id}/cancel", "run-cancel", runs::cancel)
            .role(Role::Operator)
            .while_ending()
            .place(uuid(), "The id of a run")
            .says("Asks for the end of a run; what it did is undone")
            .answers::<RunView>(StatusCode::ACCEPTED, "It will end")
            .answers::<RunView>(OK, "It was cancelled"),
        Endpoint::get("/api/v1/runs/{id}/logs", "run-logs", runs::logs)
            .query::<runs::PagedLogs>()
            .place(uuid(), "The id of a run")
            .says("What happened in a run, oldest first")
            .answers::<Page<Event>>(OK, "A page"),
        Endpoint::get("/api/v1/runs/{id}/events", "run-events", events::of_run)
            .query::<events::From>()
            .place(uuid(), "The id of a run")
            .header(resume())
            .says(
                "What happens in a run, from its begin: `status`, `log`, `progress`, and `end` with the run",
            )
            .streams("Server-sent events"),
        Endpoint::get("/api/v1/events", "events", events::all)
            .query::<events::From>()
            .header(resume())
            .says("What happens in all runs, from now on: `status`, `log` and `progress`")
            .streams("Server-sent events"),
    ]
}

fn about_backups() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/backups", "backup-list", backups::list)
            .query::<PagedOfJob>()
            .says("Backups, newest first")
            .answers::<Page<BackupView>>(OK, "A page"),
        Endpoint::get("/api/v1/backups/{id}", "backup-show", backups::show)
            .place(uuid(), "The id of a backup")
            .says("A backup")
            .answers::<BackupView>(OK, "The backup"),
    ]
}

fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn job_id() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" })
}

fn idempotency_key() -> Header {
    Header {
        name: keys::HEADER,
        is_required: false,
        summary: "Tells this request from others of its sender for 24 hours: sent again, it is done once",
        schema: json!({ "type": "string", "pattern": "^[!-~]{1,255}$" }),
    }
}

fn resume() -> Header {
    Header {
        name: events::RESUME,
        is_required: false,
        summary: "The id of the last event that was received: it goes on after that",
        schema: json!({ "type": "integer", "minimum": 0 }),
    }
}

fn if_match() -> Header {
    Header {
        name: "If-Match",
        is_required: true,
        summary: "The `ETag` of the job as it was seen, or * for whatever it is",
        schema: json!({ "type": "string", "pattern": "^(\\*|\"[!#-~]+\")$" }),
    }
}

/// What all requests share, for handlers.
pub(crate) type Shared = axum::extract::State<std::sync::Arc<crate::App>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_changes_nothing_and_has_no_program_started() {
        let mut more = Vec::new();
        for endpoint in endpoints() {
            match endpoint.role {
                None => more.push(format!("everybody {}", endpoint.name)),
                Some(Role::Viewer) if endpoint.method == "get" => {}
                Some(role) => more.push(format!("{} {}", role.name(), endpoint.name)),
            }
        }
        more.sort();
        let expected = [
            "admin audit",
            "admin job-create",
            "admin job-replace",
            "admin job-rm",
            "admin job-validate",
            "admin session-list",
            "admin session-rm",
            "admin token-add",
            "admin token-list",
            "admin token-rm",
            "everybody health",
            "everybody session-begin",
            "operator job-preview",
            "operator job-run",
            "operator run-cancel",
            // Of the browser that sends it alone.
            "viewer session-end",
        ];
        assert_eq!(more, expected);
    }
}
