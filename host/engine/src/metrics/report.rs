//! Takes the metrics to where the settings say.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use backstay_model::settings::MetricsSettings;
use backstay_model::{Code, Error, Result};
use backstay_notify::Http;

use super::gather;
use super::text::Metrics;
use crate::Engine;

/// The group at a Pushgateway of what is of no job. No job can have this name.
const HOST: &str = "_backstay";

/// Writes the metrics to a file and pushes them to a Pushgateway.
#[derive(Debug)]
pub struct Reporter {
    http: Http,
    /// Jobs that were pushed, so that those which are gone are taken back.
    pushed: Mutex<BTreeSet<String>>,
}

impl Reporter {
    /// One that has pushed nothing yet.
    ///
    /// # Errors
    /// The system's certificates can't be read.
    pub fn new() -> Result<Self> {
        Ok(Reporter {
            http: Http::new()?,
            pushed: Mutex::default(),
        })
    }

    /// Does so once, if the settings ask for either.
    ///
    /// # Errors
    /// What could not be done, all of it.
    pub async fn report(&self, engine: &Engine, settings: &MetricsSettings) -> Result<()> {
        if settings.textfile.is_none() && settings.pushgateway.is_none() {
            return Ok(());
        }
        let metrics = gather(engine).await?;
        let written = settings
            .textfile
            .as_deref()
            .map_or(Ok(()), |path| write(path, &metrics.text()));
        let pushed = match &settings.pushgateway {
            Some(url) => self.push(url, &engine.device, &metrics).await,
            None => Ok(()),
        };
        match (written, pushed) {
            (Err(one), Err(other)) => Err(Error::new(
                one.code(),
                format!("{}; {}", one.report(), other.report()),
            )),
            (one, other) => one.and(other),
        }
    }

    fn pushed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.pushed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A group for each job, because at a Pushgateway the label `job` is that of the group.
    async fn push(&self, url: &str, device: &str, metrics: &Metrics) -> Result<()> {
        let url = url.trim_end_matches('/');
        let group = |job: &str| format!("{url}/metrics/job/{}/device/{}", encoded(job), encoded(device));
        let failed = |error: Error| Error::new(error.code(), "the metrics can't be pushed").because(error);
        let jobs: BTreeSet<String> = metrics.jobs().into_iter().collect();
        self.http
            .put_text(&group(HOST), &metrics.text_of(None))
            .await
            .map_err(failed)?;
        for job in &jobs {
            self.http
                .put_text(&group(job), &metrics.text_of(Some(job)))
                .await
                .map_err(failed)?;
        }
        // One that can't be taken back is taken back the next time.
        let mut gone: BTreeSet<String> = {
            let mut pushed = self.pushed();
            pushed.extend(jobs.iter().cloned());
            pushed.difference(&jobs).cloned().collect()
        };
        while let Some(job) = gone.pop_first() {
            self.http.delete(&group(&job)).await.map_err(failed)?;
            self.pushed().remove(&job);
        }
        Ok(())
    }
}

/// Replaces a file in one step, so that nobody ever reads half of it. Everybody may read it.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write the metrics to", path, e);
    let directory = path
        .parent()
        .ok_or_else(|| Error::new(Code::Configuration, "metrics.textfile names no file"))?;
    // Its name ends otherwise than in .prom, so that node_exporter leaves it alone.
    let mut file = tempfile::Builder::new()
        .prefix(".backstay-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
        .map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// A part of a path.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
