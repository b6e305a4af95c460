//! Keeps a run under the limits that hold now, also when somebody changes them meanwhile.

use std::time::Duration;

use backstay_model::event::Level;
use backstay_model::job::Job;
use backstay_model::rate::Rate;
use backstay_model::{Error, Result};
use backstay_store::Store;
use backstay_stream::Throttle;
use uuid::Uuid;

use crate::Engine;
use crate::recorder::Recorder;

/// How often a run looks for new limits.
const LOOK: Duration = Duration::from_millis(500);

/// The file, beside the locks, by which the runs of a host share its limit.
const SHARED: &str = "bandwidth";

/// A run's limits; nobody looks for new ones any more when it is dropped.
#[derive(Debug)]
pub(crate) struct Throttling {
    pub(crate) throttle: Throttle,
    looking: tokio::task::JoinHandle<()>,
}

impl Drop for Throttling {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Engine {
    /// The limits of a job and of the host, and somebody who looks whether they have changed.
    ///
    /// # Errors
    /// The database can't be read, or the file that the limit is shared by can't be made.
    pub(crate) async fn throttling(&self, job: &Job, recorder: &Recorder) -> Result<Throttling> {
        let locks = self.locks();
        std::fs::create_dir_all(&locks).map_err(|e| Error::io("create", &locks, e))?;
        let throttle = Throttle::shared(&locks.join(SHARED))?;
        look(&self.store, job.id, &throttle, recorder).await?;
        let looking = {
            let (store, id) = (self.store.clone(), job.id);
            let (throttle, recorder) = (throttle.clone(), recorder.clone());
            tokio::spawn(async move {
                let mut failed = false;
                loop {
                    tokio::time::sleep(LOOK).await;
                    let looked = look(&store, id, &throttle, &recorder).await;
                    if let Err(error) = &looked
                        && !failed
                    {
                        let message = format!(
                            "the limits stay as they are while they can't be read: {}",
                            error.report()
                        );
                        recorder.say(Level::Warn, "host", message);
                    }
                    failed = looked.is_err();
                }
            })
        };
        Ok(Throttling { throttle, looking })
    }
}

async fn look(store: &Store, job: Uuid, throttle: &Throttle, recorder: &Recorder) -> Result<()> {
    let now = (store.job_throttle(job).await?, store.host_throttle().await?);
    let before = throttle.limits();
    if now != before {
        throttle.set(now.0, now.1);
        for (whose, before, now) in [("this job", before.0, now.0), ("this host", before.1, now.1)] {
            if before != now {
                recorder.say(Level::Info, "host", format!("{whose} may store {}", words(now)));
            }
        }
    }
    Ok(())
}

fn words(rate: Option<Rate>) -> String {
    rate.map_or_else(
        || "as fast as it can".to_owned(),
        |rate| format!("at most {rate}/s"),
    )
}
