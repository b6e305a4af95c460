//! `backstay audit`: shows who changed what.

use std::path::PathBuf;

use backstay_model::Result;

use crate::args::Audit;
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// The database can't be read.
pub async fn run(args: Audit, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    let entries = engine.store.audit(None, args.limit).await?;
    output.print(&entries, || {
        if entries.is_empty() {
            return "nothing was changed yet".to_owned();
        }
        let rows = entries.iter().map(|entry| {
            vec![
                entry.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
                entry.actor.clone(),
                entry.action.clone(),
                entry.subject.clone(),
                entry.outcome.clone().unwrap_or_else(|| "not known".to_owned()),
            ]
        });
        table(&["at", "who", "what", "of", "outcome"], &rows.collect::<Vec<_>>())
    })?;
    Ok(0)
}
