//! `backstay recovery-kit`: prints how to restore without Backstay.

use std::path::PathBuf;

use backstay_model::Result;
use serde_json::json;

use crate::args::RecoveryKit;
use crate::commands::find_good_backup;
use crate::output::Output;
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such backup, or a plugin can't say how.
pub async fn run(args: RecoveryKit, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    let backup = find_good_backup(&engine, &args.backup, output).await?;
    let script = engine.recovery_kit(&backup).await?;
    output.print(&json!({ "backup": backup.manifest.id, "script": script }), || {
        script.clone()
    })?;
    Ok(0)
}
