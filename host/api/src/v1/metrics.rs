//! What is known about jobs and runs as numbers, for Prometheus.

use axum::response::{IntoResponse as _, Response};
use backstay_engine::metrics;
use http::{HeaderValue, header};

use super::Shared;
use crate::Problem;
use crate::query::{Nothing, Params};

/// Prometheus' own format, and its version.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn show(app: Shared, _: Params<Nothing>) -> Result<Response, Problem> {
    let mut response = metrics::render(&app.engine).await?.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Ok(response)
}
