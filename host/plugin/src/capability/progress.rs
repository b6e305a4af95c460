//! `progress`: what the plugin is doing.

use backstay_model::job::Metadata;
use backstay_model::{Code, Error};

use crate::bindings::wit::progress;
use crate::bindings::wit::types::Failure;
use crate::host::{Host, answer};

/// Longest text of statistics, in bytes.
const STATISTICS_BYTES: usize = 16 << 10;

impl progress::Host for Host {
    async fn update(&mut self, stage: String, done: u64, total: Option<u64>) -> wasmtime::Result<()> {
        self.scope.context.meter.tick();
        self.scope.listener.progress(self.words(&stage), done, total);
        Ok(())
    }

    async fn statistics(&mut self, facts: String) -> wasmtime::Result<Result<(), Failure>> {
        if facts.len() > STATISTICS_BYTES {
            let message = format!("statistics of {} bytes are too long", facts.len());
            let error = Error::new(Code::Security, message).hint(format!("{STATISTICS_BYTES} are the most"));
            return answer(Err(error));
        }
        answer(
            match serde_json::from_str::<Metadata>(&self.secrets.redact(&facts)) {
                Ok(facts) => {
                    self.statistics = facts;
                    Ok(())
                }
                Err(error) => Err(Error::internal("statistics are no JSON object").because(error)),
            },
        )
    }
}
