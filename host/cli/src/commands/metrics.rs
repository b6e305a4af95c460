//! `backstay metrics`: what is known about jobs and runs, for Prometheus.

use std::path::PathBuf;

use backstay_engine::metrics;
use backstay_model::Result;
use serde_json::json;

use crate::output::Output;
use crate::wire;

/// Runs the command.
///
/// # Errors
/// The database can't be read.
pub async fn run(data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    let text = metrics::render(&engine).await?;
    output.print(&json!({ "text": text }), || text.clone())?;
    Ok(0)
}
