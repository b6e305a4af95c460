//! The WebAssembly engine, shared by all plugins of a process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use backstay_model::{Error, Result};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::bindings::imports::Host_ as HostWorld;
use crate::host::Host;
use crate::limits::{STACK_BYTES, TICK};

/// The engine, and the imports that every plugin is linked with.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Arc<Linker<Host>>,
    ticker: Arc<Ticker>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime")
    }
}

impl Runtime {
    /// Sets the engine up.
    ///
    /// # Errors
    /// This machine can't run it.
    pub fn new() -> Result<Self> {
        let failed = |e: wasmtime::Error| {
            Error::internal("cannot set up the WebAssembly engine").because(e.to_string())
        };
        let mut config = Config::new();
        config.wasm_component_model(true).epoch_interruption(true);
        config.max_wasm_stack(STACK_BYTES);
        config.async_stack_size(STACK_BYTES + (512 << 10));
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        HostWorld::add_to_linker::<Host, wasmtime::component::HasSelf<Host>>(&mut linker, |host| host)
            .map_err(failed)?;
        let ticker = Arc::new(Ticker::default());
        Ticker::start(&ticker, &engine)?;
        Ok(Runtime {
            engine,
            linker: Arc::new(linker),
            ticker,
        })
    }

    /// Keeps the clock for running guests going until the guard is dropped.
    pub(crate) fn running(&self) -> Running {
        self.ticker.enter();
        Running(Arc::clone(&self.ticker))
    }
}

/// Moves the engine's epoch on while a guest runs, and sleeps otherwise.
#[derive(Debug, Default)]
struct Ticker {
    guests: AtomicUsize,
    wake: Condvar,
    lock: Mutex<()>,
}

impl Ticker {
    fn start(ticker: &Arc<Ticker>, engine: &Engine) -> Result<()> {
        let ticker = Arc::downgrade(ticker);
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || {
                while let (Some(ticker), Some(engine)) = (ticker.upgrade(), engine.upgrade()) {
                    if ticker.guests.load(Ordering::SeqCst) > 0 {
                        engine.increment_epoch();
                        drop(ticker);
                        std::thread::sleep(TICK);
                    } else {
                        let guard = ticker.lock.lock().unwrap_or_else(PoisonError::into_inner);
                        // Wakes up now and then to see whether the runtime is gone.
                        drop(ticker.wake.wait_timeout(guard, TICK * 100));
                    }
                }
            })
            .map_err(|e| Error::internal("cannot start a thread").because(e))?;
        Ok(())
    }

    fn enter(&self) {
        self.guests.fetch_add(1, Ordering::SeqCst);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}

/// A guest is running.
#[derive(Debug)]
pub(crate) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
