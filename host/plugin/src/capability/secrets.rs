//! `secrets`: names only. The text goes from the vault into a child's environment and nowhere else.

use backstay_model::Result;

use crate::bindings::wit::secrets;
use crate::bindings::wit::types::Failure;
use crate::host::{Host, answer};

impl Host {
    /// The text of a secret that the plugin was granted.
    ///
    /// # Errors
    /// There is no grant, no such secret, or it can't be opened.
    pub(crate) async fn secret_text(&mut self, name: &str) -> Result<String> {
        self.grants.secret(name)?;
        self.store.secret(name).await
    }
}

impl secrets::Host for Host {
    async fn exists(&mut self, name: String) -> wasmtime::Result<Result<bool, Failure>> {
        if let Err(refused) = self.grants.secret(&name) {
            return answer(Err(refused));
        }
        answer(self.store.has_secret(&name).await)
    }
}
