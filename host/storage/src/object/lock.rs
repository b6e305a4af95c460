//! Object lock of S3: a version of an object that nobody may delete for a while, not even who has the key.
//!
//! An object is locked once it is complete and was looked at, by a request of its own, so that what a failed run leaves
//! is never locked. A store that knows nothing of locks might take that request for something else: so the bucket is
//! asked first, before anything is sent to it.

use std::time::{Duration, SystemTime};

use backon::BackoffBuilder as _;
use backstay_model::{Code, Error, Result};
use backstay_stream::Cancel;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Shared, connect};
use crate::Key;

/// How long it may take, with its repeats.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most that S3 takes: 100 years.
const MOST_DAYS: u32 = 36_500;

/// For how long objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may shorten it.
    pub mode: LockMode,
    /// Days of 24 hours from when an object is complete.
    pub days: u32,
}

/// Who may shorten a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a special right.
    Governance,
    /// Nobody.
    Compliance,
}

/// What a bucket says of its locks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket {
    #[serde(default)]
    object_lock_enabled: String,
}

impl ObjectLock {
    pub(super) fn refuse_if_wrong(self) -> Result<()> {
        if (1..=MOST_DAYS).contains(&self.days) {
            return Ok(());
        }
        let message = format!("an object can't be locked for {} days", self.days);
        Err(Error::new(Code::Configuration, message).hint(format!("give 1 to {MOST_DAYS} days")))
    }

    /// The request for it, from now on.
    fn retention(self) -> opendal::Result<String> {
        let mode = match self.mode {
            LockMode::Governance => "GOVERNANCE",
            LockMode::Compliance => "COMPLIANCE",
        };
        // The time of the world, as in signatures: the store goes by it.
        let end = Timestamp::try_from(SystemTime::now())
            .and_then(|now| now.checked_add(SignedDuration::from_hours(24 * i64::from(self.days))))
            .map_err(|e| {
                opendal::Error::new(opendal::ErrorKind::Unexpected, "the lock would have no end")
                    .set_source(e)
            })?;
        let end = end.strftime("%Y-%m-%dT%H:%M:%SZ");
        Ok(format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode><RetainUntilDate>{end}</RetainUntilDate></Retention>"
        ))
    }
}

impl Shared {
    /// Fails if objects are to be locked and the bucket can't do so.
    pub(super) fn refuse_without_lock(&self, cancel: &Cancel) -> Result<()> {
        if self.access.lock.is_none() {
            return Ok(());
        }
        let asking = self.ask(Method::GET, "", &[("object-lock", "")], None);
        let doing = "ask for the object lock of";
        let said = self.wait(cancel, Some(PATIENCE), doing, "", asking)?;
        let said = said.and_then(|said| quick_xml::de::from_str::<Bucket>(&said).ok());
        if said.is_some_and(|bucket| bucket.object_lock_enabled == "Enabled") {
            return Ok(());
        }
        let message = format!(
            "{} has no object lock, or there is no such bucket",
            self.location("")
        );
        Err(Error::new(Code::Configuration, message).hint(
            "turn it on in the settings of the bucket, or leave out `objectLock`; not every store has it",
        ))
    }

    /// Locks an object that is complete, if objects are to be locked.
    ///
    /// # Errors
    /// It isn't locked; then it is taken away.
    pub(super) fn lock(&self, key: &Key, cancel: &Cancel) -> Result<()> {
        let Some(lock) = self.access.lock else {
            return Ok(());
        };
        let locked = self.try_to_lock(lock, key, cancel);
        locked.map_err(|error| match self.remove(key.as_str()) {
            Ok(()) => error,
            Err(e) => error.hint(format!("it could not be removed either: {}", e.report())),
        })
    }

    fn try_to_lock(&self, lock: ObjectLock, key: &Key, cancel: &Cancel) -> Result<()> {
        let locking = async {
            let body = Some(lock.retention()?);
            self.ask(Method::PUT, &self.full(key), &[("retention", "")], body)
                .await
        };
        let found = self.wait(cancel, Some(PATIENCE), "lock", key.as_str(), locking)?;
        if found.is_some() {
            return Ok(());
        }
        let message = format!(
            "{} was stored and can't be locked: it is not there",
            self.location(key.as_str())
        );
        Err(Error::new(Code::Storage, message).retryable())
    }

    /// A request that is repeated for as long as it may pass next time.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> opendal::Result<Option<String>> {
        let mut delays = connect::delays(self.access.retries).build();
        loop {
            let answer = self.request(method.clone(), path, query, body.clone()).await;
            let delay = match &answer {
                Err(error) if error.is_temporary() => delays.next(),
                _ => None,
            };
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_after_so_many_days() {
        let lock = ObjectLock {
            mode: LockMode::Compliance,
            days: 2,
        };
        let said = lock.retention().unwrap();
        let now = Timestamp::try_from(SystemTime::now()).unwrap();
        let end = now + SignedDuration::from_hours(48);
        let day = end.strftime("<RetainUntilDate>%Y-%m-%dT").to_string();
        assert!(
            said.contains(&day) && said.contains("<Mode>COMPLIANCE</Mode>"),
            "{said}"
        );
    }

    #[test]
    fn there_is_no_lock_of_no_days_and_none_for_ever() {
        for (days, is_right) in [(0, false), (1, true), (MOST_DAYS, true), (MOST_DAYS + 1, false)] {
            let mode = LockMode::Governance;
            assert_eq!(
                ObjectLock { mode, days }.refuse_if_wrong().is_ok(),
                is_right,
                "{days}"
            );
        }
    }
}
