//! Scripts that are WASI commands: a core module (preview 1) or a component, with what was granted as preopened
//! directories.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backstay_confine::limits::Broken;
use backstay_confine::lines::{Hear, Said, Stream, listen};
use backstay_confine::output::{self, Cleaned};
use backstay_confine::script::OUTPUT;
use backstay_confine::{Ended, How, Script};
use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Engine, Linker, Module, Store, UpdateDeadline};
use wasmtime_wasi::cli::OutputFile;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

use super::blocking;
use crate::cache;
use crate::call::Flood;
use crate::limits::Limits;
use crate::memory::Ceiling;
use crate::runtime::Runtime;

/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Status of a command that a trap ended, as of a native one that aborts.
const TRAPPED: i32 = 134;

/// The host's side of one command.
struct State {
    wasi: WasiP1Ctx,
    memory: Ceiling,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// A compiled command.
enum Compiled {
    Module(Module),
    Component(Component),
}

/// Runs a command to its end; it is compiled once, and kept in `cache`.
///
/// # Errors
/// It isn't a command, can't be given what was granted, or its output can't be read.
pub(super) async fn run(
    runtime: &Runtime,
    script: Script,
    (digest, cache): (String, PathBuf),
    stop: Arc<AtomicBool>,
    hear: Hear,
) -> Result<Ended> {
    let script = Arc::new(script);
    let engine = runtime.engine.clone();
    let compiled = {
        let script = Arc::clone(&script);
        let engine = engine.clone();
        blocking(move || compile(&engine, &script, &digest, &cache)).await?
    };
    let (output, errors) = (Pipe::new()?, Pipe::new()?);
    let listeners = [
        listen(output.read, Stream::Output, Arc::clone(&hear))?,
        listen(errors.read, Stream::Error, Arc::clone(&hear))?,
    ];
    let wasi = context(&script, output.write, errors.write)?;
    let memory_bytes = usize::try_from(script.limits.memory_bytes).unwrap_or(usize::MAX);
    let memory = Ceiling::new(&Limits {
        memory_bytes,
        ..Limits::default()
    });
    let mut store = Store::new(&engine, State { wasi, memory });
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
    store.set_epoch_deadline(1);
    let _running = runtime.running();
    let watched = watch(&script, &stop, call(&engine, &compiled, store, &hear)).await;
    // The command and its ends of the pipes are gone.
    let how = watched.unwrap_or_else(|broken| broken);
    let (said, cleaned) = blocking(move || {
        let said = listeners
            .into_iter()
            .map(|listener| listener.join().unwrap_or_default());
        let said = said.fold(Said::default(), Said::and);
        let cleaned = match &script.output {
            Some(output) => output::clean(output, &script.limits)?,
            None => Ok(Cleaned::default()),
        };
        Ok((said, cleaned))
    })
    .await?;
    Ok(match cleaned {
        Ok(output) => Ended { how, said, output },
        Err(broken) => Ended {
            how: How::Broke(broken),
            said,
            output: Cleaned::default(),
        },
    })
}

/// Both ends of a pipe.
struct Pipe {
    read: File,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> Result<Self> {
        let made = pipe_with(PipeFlags::CLOEXEC);
        let (read, write) = made.map_err(|e| {
            Error::new(Code::Environment, "cannot make a pipe").because(std::io::Error::from(e))
        })?;
        Ok(Pipe {
            read: File::from(read),
            write,
        })
    }
}

fn compile(engine: &Engine, script: &Script, digest: &str, cache: &Path) -> Result<Compiled> {
    let failed = |e: wasmtime::Error| {
        let what = crate::guest_error::printable(&format!("{e:#}"));
        Error::new(
            Code::Configuration,
            format!("{} is not a WASI command", script.name()),
        )
        .because(what)
        .hint("build it for wasm32-wasip1 or wasm32-wasip2")
    };
    // The word after the magic number tells them apart: the layer is 1 in components.
    if script.content.get(6..8) == Some(&[1, 0]) {
        cache::load(engine, &script.content, digest, cache, failed).map(Compiled::Component)
    } else {
        cache::load(engine, &script.content, digest, cache, failed).map(Compiled::Module)
    }
}

/// What the command may see.
fn context(script: &Script, output: OwnedFd, errors: OwnedFd) -> Result<WasiP1Ctx> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(OutputFile::new(File::from(output)));
    wasi.stderr(OutputFile::new(File::from(errors)));
    wasi.arg(script.path.to_string_lossy());
    wasi.args(&script.args);
    wasi.env("LANG", "C.UTF-8");
    if script.output.is_some() {
        wasi.env("BACKSTAY_OUTPUT_DIR", OUTPUT);
    }
    for (name, value) in &script.env {
        wasi.env(name, value);
    }
    if script.network {
        wasi.inherit_network().allow_ip_name_lookup(true);
    } else {
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    }
    let mut grant = |real: &Path, path: &Path, perms| {
        let added = wasi.preopened_dir(real, path.to_string_lossy(), perms);
        added.map(drop).map_err(|e| {
            Error::new(
                Code::Environment,
                format!("{} can't be opened for a script", show(path)),
            )
            .because(e.to_string())
        })
    };
    for granted in script.granted()? {
        if !granted.covered.is_empty() {
            return Err(Error::new(
                Code::Security,
                format!(
                    "{} holds data of Backstay itself, which can't be covered over for a WASI command",
                    show(&granted.path)
                ),
            )
            .hint("name the directories in it that the script reads"));
        }
        if !granted.real.is_dir() {
            return Err(Error::new(
                Code::Configuration,
                format!(
                    "{} is not a directory, and a WASI command sees only directories",
                    show(&granted.path)
                ),
            )
            .hint("name the directory that it is in"));
        }
        grant(&granted.real, &granted.path, FsPerms::ReadOnly)?;
    }
    if let Some(output) = &script.output {
        grant(output, Path::new(OUTPUT), FsPerms::ReadWrite)?;
    }
    Ok(wasi.build_p1())
}

/// Calls the command, which takes its store with it when it ends.
async fn call(engine: &Engine, compiled: &Compiled, mut store: Store<State>, hear: &Hear) -> How {
    let ended = match compiled {
        Compiled::Module(module) => call_module(engine, module, &mut store).await,
        Compiled::Component(component) => call_component(engine, component, &mut store).await,
    };
    match ended {
        Ok(status) => How::Exited(status),
        Err(error) => {
            if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
                return How::Exited(*status);
            }
            if error.downcast_ref::<Flood>().is_some() {
                return How::Broke(Broken::Memory);
            }
            // Without the backtrace, in which the guest chose the names.
            let cause = crate::guest_error::printable(&error.root_cause().to_string());
            hear(Stream::Error, &cause);
            How::Exited(TRAPPED)
        }
    }
}

async fn call_module(engine: &Engine, module: &Module, store: &mut Store<State>) -> wasmtime::Result<i32> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |state: &mut State| &mut state.wasi)?;
    let instance = linker.instantiate_async(&mut *store, module).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(&mut *store, ()).await?;
    Ok(0)
}

async fn call_component(
    engine: &Engine,
    component: &Component,
    store: &mut Store<State>,
) -> wasmtime::Result<i32> {
    let mut linker = ComponentLinker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let command = Command::instantiate_async(&mut *store, component, &linker).await?;
    let ended = command.wasi_cli_run().call_run(&mut *store).await?;
    Ok(i32::from(ended.is_err()))
}

/// Waits for a command, but not past its limits. Dropping the call ends it wherever it is.
async fn watch(
    script: &Arc<Script>,
    stop: &AtomicBool,
    call: impl Future<Output = How>,
) -> std::result::Result<How, How> {
    let mut call = std::pin::pin!(call);
    let begun = Instant::now();
    loop {
        if let Ok(how) = tokio::time::timeout(LOOK, call.as_mut()).await {
            return Ok(how);
        }
        if stop.load(Ordering::SeqCst) {
            return Err(How::Stopped);
        }
        if begun.elapsed() > script.limits.time {
            return Err(How::Broke(Broken::Time));
        }
        if script.output.is_some() {
            let looked = Arc::clone(script);
            let broken = blocking(move || {
                Ok(looked
                    .output
                    .as_deref()
                    .and_then(|output| output::broken(output, &looked.limits)))
            });
            if let Ok(Some(broken)) = broken.await {
                return Err(How::Broke(broken));
            }
        }
    }
}
