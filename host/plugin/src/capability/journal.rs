//! `journal`: what must be undone, on disk before the side effect.

use backstay_model::journal::{Owner, UndoWhen};
use backstay_model::{Code, Error, Result};

use crate::bindings::wit::journal::{self, UndoWhen as GuestWhen};
use crate::bindings::wit::types::Failure;
use crate::call::Flood;
use crate::host::{Host, answer};

impl Host {
    async fn record_undo(&mut self, entry: &str, when: UndoWhen) -> Result<()> {
        let most = self.scope.limits.journal_entry_bytes;
        if entry.len() > most {
            return Err(Error::new(
                Code::Security,
                format!(
                    "a journal entry of {} bytes is too long; {most} are the most",
                    entry.len()
                ),
            ));
        }
        let run = self.run()?;
        let _busy = self.busy.enter();
        let owner = Owner::Plugin {
            id: self.plugin.clone(),
            config: self.scope.config.clone(),
            destination: run.destination,
            target: self.scope.target.clone(),
        };
        run.store
            .record_entry(run.run_id, &owner, when, entry)
            .await
            .map(drop)
    }
}

impl journal::Host for Host {
    async fn record(&mut self, entry: String, when: GuestWhen) -> wasmtime::Result<Result<(), Failure>> {
        self.used.journal_entries += 1;
        if self.used.journal_entries > self.scope.limits.journal_entries {
            return Err(Flood::error("it wrote journal entries without end"));
        }
        let when = match when {
            GuestWhen::Always => UndoWhen::Always,
            GuestWhen::OnAbort => UndoWhen::OnAbort,
            GuestWhen::OnCommit => UndoWhen::OnCommit,
        };
        answer(self.record_undo(&entry, when).await)
    }
}
