//! `backstay health`: asks the service whether it does its work.

use std::path::PathBuf;

use backstay_api::client::Client;
use backstay_model::error::show;
use backstay_model::{Code, Error, Result};

use crate::output::Output;
use crate::wire;

/// Runs the command. The database isn't opened: it may be what is wrong.
///
/// # Errors
/// [`Code::Environment`] if there is no service, or it doesn't do its work now.
pub async fn run(data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let data_dir = wire::data_dir(data_dir)?;
    let Some(service) = Client::find(&data_dir).await? else {
        let message = format!("no service runs on the data directory {}", show(&data_dir));
        return Err(Error::new(Code::Environment, message).hint("`backstay serve` starts one"));
    };
    let answer = service.get("/ready").await?;
    output.print(&answer, || "the service does its work".to_owned())?;
    Ok(0)
}
