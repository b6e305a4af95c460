//! `state`: notes of a plugin for one job.

use backstay_model::Result;

use crate::bindings::wit::state;
use crate::bindings::wit::types::Failure;
use crate::host::{Host, answer};

impl Host {
    async fn read_note(&mut self, key: &str) -> Result<Option<String>> {
        self.grants.state()?;
        let run = self.run()?;
        let _busy = self.busy.enter();
        run.store.state(run.job_id, &self.plugin, key).await
    }

    async fn write_note(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        self.grants.state()?;
        let run = self.run()?;
        let _busy = self.busy.enter();
        run.store.set_state(run.job_id, &self.plugin, key, value).await
    }
}

impl state::Host for Host {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Failure>> {
        answer(self.read_note(&key).await)
    }

    async fn set(&mut self, key: String, value: Option<String>) -> wasmtime::Result<Result<(), Failure>> {
        answer(self.write_note(&key, value.as_deref()).await)
    }
}
