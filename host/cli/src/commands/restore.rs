//! `backstay restore`: gives data back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_api::view::RunView;
use backstay_engine::restore::RestoreOptions;
use backstay_model::Result;
use backstay_stream::codec::Identities;

use crate::args::Restore;
use crate::commands::find_good_backup;
use crate::output::summary::report_text;
use crate::output::{Lines, Output};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such backup, or standard output can't take it. A restore that failed is a result.
pub async fn run(args: Restore, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let backup = find_good_backup(&engine, &args.backup, output).await?;
    let source = engine.plugins.load(&backup.manifest.source.plugin).await?;
    let place = match args.to.as_deref() {
        // A plugin that asks to write to the target takes a path; another's target, such as POOL/NAME, is its own.
        Some(to)
            if source
                .manifest()
                .capabilities
                .write
                .iter()
                .any(|w| w.path == "{target}")
                && to != "-"
                && !has_scheme(to) =>
        {
            Some(wire::absolute(Path::new(to))?.to_string_lossy().into_owned())
        }
        other => other.map(str::to_owned),
    };
    let options = RestoreOptions {
        place,
        paths: args.paths,
        artifact: args.artifact,
        overwrite: args.overwrite,
        dry_run: args.dry_run,
        identities: Identities::from_files(&args.identity)?,
        context,
    };
    if args.to.as_deref() == Some("-") {
        engine.restore_to(&backup, &options, std::io::stdout()).await?;
        return Ok(0);
    }
    let lines = Arc::new(Lines::new());
    let report = engine.restore(&backup, &options, Arc::clone(&lines) as _).await?;
    drop(lines);
    output.print(&RunView::from(&report), || report_text(&report))?;
    Ok(report.exit_code())
}

/// Whether it begins with a word and a colon, such as `volume:NAME`. A directory of such a name is `./WORD:…`.
fn has_scheme(to: &str) -> bool {
    to.split_once(':').is_some_and(|(word, _)| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    })
}
