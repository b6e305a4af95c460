//! `progress`: what the plugin is doing.

use crate::bindings::wit::progress;
use crate::host::Host;

impl progress::Host for Host {
    async fn update(&mut self, stage: String, done: u64, total: Option<u64>) -> wasmtime::Result<()> {
        self.scope.context.meter.tick();
        self.scope.listener.progress(self.words(&stage), done, total);
        Ok(())
    }
}
