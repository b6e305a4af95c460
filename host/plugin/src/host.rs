//! What an instance holds on the host's side: its scope, its grants, its handles and what it used up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backstay_model::filters::Filters;
use backstay_model::job::Metadata;
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use backstay_stream::Recipe;
use backstay_stream::tree::TreeSpec;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings::wit::types::Failure;
use crate::call::Flood;
use crate::grants::{Grants, Programs, Values};
use crate::guest_error::{failure, printable};
use crate::memory::Ceiling;
use crate::plugins::Plugin;
use crate::runtime::Runtime;
use crate::scope::{Moved, RunScope, Scope};
use crate::scratch;

/// A `byte-stream` of a guest: a recipe, and what happens to its bytes on the way.
#[derive(Debug, Clone)]
pub struct ByteStream {
    pub(crate) recipe: Arc<dyn Recipe>,
    pub(crate) filters: Filters,
    /// It is the content that a destination was called to store.
    pub(crate) is_payload: bool,
}

impl ByteStream {
    /// A recipe whose bytes are moved as they are.
    pub(crate) fn plain(recipe: Arc<dyn Recipe>) -> Self {
        ByteStream {
            recipe,
            filters: Filters::default(),
            is_payload: false,
        }
    }
}

/// A `tree` of a guest.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) spec: Arc<TreeSpec>,
    pub(crate) is_payload: bool,
}

/// A `store` of a guest.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) place: Arc<backstay_storage::Place>,
}

/// The host's side of one instance.
pub struct Host {
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    pub(crate) memory: Ceiling,
    pub(crate) stderr: MemoryOutputPipe,
    pub(crate) plugin: String,
    pub(crate) runtime: Runtime,
    pub(crate) grants: Grants,
    pub(crate) programs: Arc<Programs>,
    pub(crate) store: backstay_store::Store,
    pub(crate) scope: Scope,
    pub(crate) busy: Busy,
    pub(crate) used: Used,
    pub(crate) moved: Vec<Moved>,
    /// What this call needs not ask of a remote: where an object is, and its bytes.
    pub(crate) seen: Option<(String, u64)>,
    /// What a destination says about how it stored something.
    pub(crate) statistics: Metadata,
    /// Where a scratch directory may be made; nothing if this call has none, or once it has one.
    pub(crate) scratch_place: Option<PathBuf>,
    /// The secrets that went to its programs: what it says is shown without them.
    pub(crate) secrets: Secrets,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({})", self.plugin)
    }
}

/// What an instance has used of its limits.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) log_lines: u32,
    pub(crate) journal_entries: u32,
    pub(crate) cpu_ticks: u64,
    pub(crate) kept_bytes: usize,
    pub(crate) scratch_names: u32,
    pub(crate) scratch_bytes: u64,
}

/// How many things the host is doing for a guest right now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<AtomicU64>);

impl Busy {
    pub(crate) fn enter(&self) -> BusyGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        BusyGuard(self.clone())
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// The host is doing something for a guest.
#[derive(Debug)]
pub(crate) struct BusyGuard(Busy);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How much of what a guest says on its standard error is kept, in bytes: a panic's message is there.
const STDERR_BYTES: usize = 1 << 20;

impl Host {
    pub(crate) fn new(plugin: &Plugin, scope: Scope) -> Self {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES);
        // No arguments, no environment, no directories, no network: what a plugin may do goes through its grants.
        let wasi = WasiCtxBuilder::new()
            .stderr(stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let memory = Ceiling::new(&scope.limits);
        let scratch_place = scope.scratch_place();
        let scratch_path = scratch_place.as_deref().map(scratch::visible);
        let grants = Grants::new(
            plugin.manifest(),
            Values {
                config: &scope.config,
                target: scope.target.as_deref(),
                scratch: scratch_path.as_deref().and_then(Path::to_str),
            },
        );
        let mut table = ResourceTable::new();
        table.set_max_capacity(scope.limits.handles);
        Host {
            table,
            wasi,
            memory,
            stderr,
            plugin: plugin.manifest().id.clone(),
            runtime: plugin.runtime.clone(),
            grants,
            programs: Arc::clone(&plugin.programs),
            store: plugin.store.clone(),
            scope,
            busy: Busy::default(),
            used: Used::default(),
            moved: Vec::new(),
            seen: None,
            statistics: Metadata::new(),
            scratch_place,
            secrets: Secrets::default(),
        }
    }

    /// What the guest said, as it is shown: printable, and without the secrets that went to its programs.
    pub(crate) fn words(&self, said: &str) -> String {
        printable(&self.secrets.redact(said))
    }

    /// The run that the call is part of.
    ///
    /// # Errors
    /// The call isn't part of one, so nothing may be changed in it.
    pub(crate) fn run(&self) -> Result<&RunScope> {
        self.scope.run.as_ref().ok_or_else(|| {
            Error::new(
                Code::Security,
                format!("plugin {} asked for a change outside of a run", self.plugin),
            )
            .hint("a plugin may only look while it validates")
        })
    }

    /// Runs blocking work on a thread of its own; waiting for it isn't the guest's idleness.
    pub(crate) fn blocking<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let busy = self.busy.enter();
        async move {
            let result = tokio::task::spawn_blocking(work).await;
            drop(busy);
            result.unwrap_or_else(|_| Err(Error::internal("a worker thread panicked")))
        }
    }

    /// Counts bytes of a guest that the host keeps for as long as the call takes, whatever becomes of their handle.
    pub(crate) fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let most = self.scope.limits.kept_bytes;
        self.used.kept_bytes = self.used.kept_bytes.saturating_add(bytes);
        if self.used.kept_bytes > most {
            return Err(Flood::error(format!(
                "it gave the host more than {} MiB to keep",
                most >> 20
            )));
        }
        Ok(())
    }

    pub(crate) fn push_stream(&mut self, stream: ByteStream) -> wasmtime::Result<Resource<ByteStream>> {
        Ok(self.table.push(stream)?)
    }

    pub(crate) fn push_tree(&mut self, spec: Arc<TreeSpec>) -> wasmtime::Result<Resource<Tree>> {
        Ok(self.table.push(Tree {
            spec,
            is_payload: false,
        })?)
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Turns a result of the host into the guest's.
pub(crate) fn answer<T>(result: Result<T>) -> wasmtime::Result<Result<T, Failure>> {
    Ok(result.map_err(|e| failure(&e)))
}
