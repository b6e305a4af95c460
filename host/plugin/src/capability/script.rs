//! `script`: scripts of users, confined, into the call's scratch directory.

use std::path::PathBuf;
use std::time::Duration;

use backstay_confine::Limits;
use backstay_model::{Code, Error, Result};
use wasmtime::component::Resource;

use crate::bindings::wit::script::{self as wit, Ended, Script};
use crate::bindings::wit::types::Failure;
use crate::host::{Host, answer};
use crate::scratch::Scratch;
use crate::script::{Moment, ScriptRequest, run};

/// The longest time of a script.
const MOST_SECONDS: u32 = 3600;

impl Host {
    async fn run_script(&mut self, script: Script, output: Scratch) -> Result<Ended> {
        let mut readable: Vec<PathBuf> = script.read.into_iter().map(PathBuf::from).collect();
        let directory = script.working_directory.map(PathBuf::from);
        let secrets: Vec<&str> = script
            .env_secrets
            .iter()
            .map(|(_, secret)| secret.as_str())
            .collect();
        self.grants
            .script(&script.path, &readable, &secrets, script.network)?;
        if let Some(directory) = &directory
            && self
                .grants
                .script(&script.path, std::slice::from_ref(directory), &[], false)
                .is_ok()
        {
            readable.push(directory.clone());
        }
        let seconds = script.limits.seconds;
        if seconds == 0 || seconds > MOST_SECONDS {
            let message = format!("plugin {} gave a script {seconds} s", self.plugin);
            return Err(Error::new(Code::Internal, message).hint("1 to 3600 s can be given"));
        }
        let request = ScriptRequest {
            path: script.path.into(),
            args: script.args,
            directory,
            readable,
            output: Some(output.path().to_owned()),
            network: script.network,
            env: script.env,
            env_secrets: script.env_secrets,
            limits: Limits {
                time: Duration::from_secs(seconds.into()),
                memory_bytes: script.limits.memory_bytes,
                processes: script.limits.processes,
                output_bytes: script.limits.output_bytes,
                ..Limits::default()
            },
        };
        let moment = Moment::of("source", self.run()?);
        let _busy = self.busy.enter();
        let done = run(&self.runtime, &self.store, request, &moment, &self.scope).await?;
        Ok(Ended {
            metadata: done.metadata.into_iter().collect(),
            entries: done.size.entries,
            bytes: done.size.bytes,
            digest: done.digest,
        })
    }
}

impl wit::Host for Host {
    async fn run(
        &mut self,
        script: Script,
        output: Resource<Scratch>,
    ) -> wasmtime::Result<Result<Ended, Failure>> {
        let env: usize = script
            .env
            .iter()
            .chain(&script.env_secrets)
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let texts = script
            .args
            .iter()
            .chain(&script.read)
            .map(String::len)
            .sum::<usize>();
        self.keep(env + texts)?;
        let output = self.table.get(&output)?.clone();
        answer(self.run_script(script, output).await)
    }

    async fn check(&mut self) -> wasmtime::Result<Result<(), Failure>> {
        answer(self.blocking(|| backstay_confine::probe::probe().map(drop)).await)
    }
}
