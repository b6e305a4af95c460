//! `process`: programs that were granted, with arguments that match.

use std::sync::Arc;

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use backstay_stream::process::{self, CommandRecipe, CommandSink, CommandSpec, Meaning};
use backstay_stream::pump::pump;
use wasmtime::component::Resource;

use crate::bindings::wit::process::{self as wit, Command, CopyOptions, Meaning as GuestMeaning, Output};
use crate::bindings::wit::types::Failure;
use crate::copying::Copying;
use crate::grants::{self, Variable, Within};
use crate::guest_error;
use crate::host::{ByteStream, Host, Tree, answer};
use crate::scope::Moved;

impl Host {
    /// A command that was granted, with its secrets in place.
    pub(super) async fn granted(&mut self, command: Command, code: Code) -> Result<CommandSpec> {
        self.granted_within(Within::Root, command, code).await
    }

    /// As [`Host::granted`], for one that is run there.
    pub(super) async fn granted_within(
        &mut self,
        within: Within,
        command: Command,
        code: Code,
    ) -> Result<CommandSpec> {
        let plain = command.env.iter().map(|(name, value)| Variable {
            name,
            value: Some(value.as_str()),
        });
        let secret = command
            .env_secrets
            .iter()
            .map(|(name, _)| Variable { name, value: None });
        let variables: Vec<_> = plain.chain(secret).collect();
        self.grants
            .exec(within, &command.program, &command.args, &variables)?;
        if command
            .args
            .iter()
            .chain(command.env.iter().map(|(_, value)| value))
            .any(|text| text.contains('\0'))
        {
            return Err(Error::new(
                Code::Security,
                "an argument can't hold a NUL character",
            ));
        }
        let mut env = vec![
            ("PATH".into(), grants::SEARCH_PATH.into()),
            ("LANG".into(), "C.UTF-8".into()),
        ];
        env.extend(
            command
                .env
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        let mut secrets: Vec<(String, String)> = Vec::new();
        for (name, secret) in command.env_secrets {
            secrets.push((name, self.secret_text(&secret).await?));
        }
        let hidden = Secrets::new(secrets.iter().map(|(_, text)| text.as_str()));
        self.secrets = self.secrets.and(&hidden);
        env.extend(secrets.into_iter().map(|(name, text)| (name.into(), text.into())));
        Ok(CommandSpec {
            program: self.programs.find(&command.program)?,
            args: command.args.into_iter().map(Into::into).collect(),
            env,
            secrets: hidden,
            code,
            meanings: Vec::new(),
        })
    }

    /// A command that was granted, whose output somebody else reads later, with what its complaints mean.
    pub(super) async fn granted_explained(
        &mut self,
        command: Command,
        meanings: Vec<GuestMeaning>,
    ) -> Result<CommandSpec> {
        let is_destination = self
            .scope
            .run
            .as_ref()
            .is_some_and(|run| run.destination.is_some());
        // What a destination's program writes was stored before.
        let code = if is_destination {
            Code::Storage
        } else {
            Code::BackupFailed
        };
        let mut spec = self.granted(command, code).await?;
        let known = meanings.into_iter();
        spec.meanings = known.map(|one| meaning(one, &self.secrets)).collect();
        Ok(spec)
    }

    async fn run_command(&mut self, command: Command, stdin: Option<ByteStream>) -> Result<Output> {
        let code = if stdin.is_some() {
            Code::Storage
        } else {
            Code::Environment
        };
        let spec = self.granted(command, code).await?;
        let context = self.scope.context.clone();
        let output = match stdin {
            None => self.blocking(move || process::run(&spec, &context)).await?,
            Some(stream) => {
                let is_payload = stream.is_payload;
                let (transfer, output) = self
                    .blocking(move || {
                        let sink = CommandSink::start(&spec, &context)?;
                        pump(stream.recipe, &stream.filters, sink, &context)
                    })
                    .await?;
                // A program that ends badly after it got everything has stored nothing.
                if is_payload && output.status == 0 {
                    self.moved.push(Moved::Stream { transfer, seen: None });
                }
                output
            }
        };
        Ok(Output {
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

impl wit::Host for Host {
    async fn run(
        &mut self,
        command: Command,
        stdin: Option<Resource<ByteStream>>,
    ) -> wasmtime::Result<Result<Output, Failure>> {
        let stdin = stdin.map(|stream| self.table.delete(stream)).transpose()?;
        answer(self.run_command(command, stdin).await)
    }

    async fn pipe(&mut self, command: Command) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        self.pipe_explained(command, Vec::new()).await
    }

    async fn pipe_explained(
        &mut self,
        command: Command,
        meanings: Vec<GuestMeaning>,
    ) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        self.keep(bytes_of_words(&command, &meanings))?;
        match self.granted_explained(command, meanings).await {
            Ok(spec) => {
                let recipe = Arc::new(CommandRecipe(spec));
                Ok(Ok(self.push_stream(ByteStream::plain(recipe))?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn copy(
        &mut self,
        tree: Resource<Tree>,
        mut options: CopyOptions,
    ) -> wasmtime::Result<Result<Resource<Copying>, Failure>> {
        let tree = self.table.get(&tree)?.clone();
        let earlier = options
            .earlier
            .take()
            .map(|index| self.table.delete(index))
            .transpose()?;
        match self.begin_copy(tree, &options, earlier).await {
            Ok(copying) => Ok(Ok(self.table.push(copying)?)),
            Err(error) => answer(Err(error)),
        }
    }
}

/// Bytes that are kept for a command until it runs.
pub(super) fn bytes_of_words(command: &Command, meanings: &[GuestMeaning]) -> usize {
    let env = command.env.iter().chain(&command.env_secrets);
    let env_bytes: usize = env.map(|(name, value)| name.len() + value.len()).sum();
    let words_bytes: usize = meanings.iter().map(bytes_of).sum();
    env_bytes + words_bytes + command.args.iter().map(String::len).sum::<usize>()
}

fn bytes_of(meaning: &GuestMeaning) -> usize {
    let failure = &meaning.failure;
    meaning.sign.len() + failure.message.len() + failure.hint.as_ref().map_or(0, String::len)
}

/// What a guest says that a complaint means, for the stream that can't ask it any more.
fn meaning(of_guest: GuestMeaning, secrets: &Secrets) -> Meaning {
    let error = guest_error::error(of_guest.failure, secrets);
    Meaning {
        sign: of_guest.sign,
        code: error.code(),
        retry: error.is_retryable(),
        hint: error.hint_text().map(str::to_owned),
        message: error.to_string(),
    }
}
