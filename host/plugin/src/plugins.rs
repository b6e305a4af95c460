//! The plugins of this installation: those that come with the host, and those that were installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use backstay_model::plugin::{PluginKind, PluginManifest};
use backstay_model::{Code, Error, Result};
use backstay_store::{InstalledPlugin, Store};
use serde_json::{Map, Value};
use wasmtime::component::InstancePre;

use crate::grants::{Grants, Programs, Values};
use crate::host::Host;
use crate::runtime::Runtime;
use crate::scope::Scope;
use crate::script::{Moment, ScriptDone, ScriptRequest};
use crate::{cache, manifest};

/// A component that is part of the host's own file.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// Its id, as in its manifest.
    pub id: &'static str,
    /// The component.
    pub wasm: &'static [u8],
}

/// A plugin that can be called.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) runtime: Runtime,
    pub(crate) programs: Arc<Programs>,
    pub(crate) store: Store,
    pub(crate) instance: InstancePre<Host>,
    about: Arc<About>,
}

#[derive(Debug)]
struct About {
    manifest: PluginManifest,
    digest: String,
    is_bundled: bool,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Plugin({} {})",
            self.about.manifest.id, self.about.manifest.version
        )
    }
}

impl Plugin {
    /// What it says about itself.
    pub fn manifest(&self) -> &PluginManifest {
        &self.about.manifest
    }

    /// BLAKE3 of the component, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.about.digest
    }

    /// The remotes that it may use with a configuration.
    pub fn remotes(&self, config: &Map<String, Value>) -> Vec<String> {
        let values = Values {
            config,
            target: None,
            scratch: None,
        };
        Grants::new(self.manifest(), values)
            .remotes()
            .map(str::to_owned)
            .collect()
    }

    /// The secrets that it may use with a configuration.
    pub fn secrets(&self, config: &Map<String, Value>) -> Vec<String> {
        let values = Values {
            config,
            target: None,
            scratch: None,
        };
        Grants::new(self.manifest(), values)
            .secrets()
            .map(str::to_owned)
            .collect()
    }

    /// Whether it came with the host.
    pub fn is_bundled(&self) -> bool {
        self.about.is_bundled
    }
}

/// Finds and loads plugins. Each is loaded once.
#[derive(Debug)]
pub struct Plugins {
    runtime: Runtime,
    programs: Arc<Programs>,
    bundled: Vec<Bundled>,
    store: Store,
    installed: PathBuf,
    cache: PathBuf,
    loaded: Mutex<BTreeMap<String, Plugin>>,
}

impl Plugins {
    /// The plugins in `bundled` and those installed below `data_dir`.
    pub fn new(runtime: Runtime, bundled: Vec<Bundled>, store: Store, data_dir: &Path) -> Self {
        Plugins {
            runtime,
            programs: Arc::default(),
            bundled,
            store,
            installed: data_dir.join("plugins"),
            cache: data_dir.join("cache").join("plugins"),
            loaded: Mutex::default(),
        }
    }

    /// Where programs are found.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A plugin of a kind.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is none of that name, or it is of the other kind; [`Code::Security`]
    /// if its file isn't the one that was installed.
    pub async fn get(&self, id: &str, kind: PluginKind) -> Result<Plugin> {
        let plugin = self.load(id).await?;
        if plugin.manifest().kind != kind {
            return Err(Error::new(
                Code::Configuration,
                format!("`{id}` is a {} plugin, not a {kind}", plugin.manifest().kind),
            ));
        }
        Ok(plugin)
    }

    /// A plugin of any kind.
    ///
    /// # Errors
    /// As for [`Plugins::get`].
    pub async fn load(&self, id: &str) -> Result<Plugin> {
        if let Some(plugin) = self.lock().get(id) {
            return Ok(plugin.clone());
        }
        let plugin = match self.bundled.iter().find(|b| b.id == id) {
            Some(bundled) => self.compile(bundled.wasm, id, None)?,
            None => self.load_installed(id).await?,
        };
        self.lock().insert(id.to_owned(), plugin.clone());
        Ok(plugin)
    }

    /// The file of an installed plugin; nothing if it came with the host.
    ///
    /// # Errors
    /// There is no such plugin.
    pub async fn file(&self, id: &str) -> Result<Option<PathBuf>> {
        self.load(id).await?;
        let installed = self.store.plugin(id).await?;
        Ok(installed.map(|installed| self.installed.join(installed.file_name)))
    }

    /// Runs a script of a job's own, outside of any plugin.
    ///
    /// # Errors
    /// It can't be confined, was cancelled, broke a limit, or didn't end well.
    pub async fn run_script(
        &self,
        request: ScriptRequest,
        moment: &Moment,
        scope: &Scope,
    ) -> Result<ScriptDone> {
        crate::script::run(&self.runtime, &self.store, request, moment, scope).await
    }

    /// What every plugin says about itself, without loading one; with whether it came with the host.
    ///
    /// # Errors
    /// A manifest can't be read.
    pub async fn list(&self) -> Result<Vec<(PluginManifest, bool)>> {
        let mut all = Vec::new();
        for bundled in &self.bundled {
            all.push((manifest::read(bundled.wasm, bundled.id)?, true));
        }
        for installed in self.store.plugins().await? {
            all.push((PluginManifest::parse(installed.manifest_json.as_bytes())?, false));
        }
        all.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        Ok(all)
    }

    /// Reads the manifest of a component file and checks that it can be loaded, without installing it.
    ///
    /// # Errors
    /// It can't be read, isn't a plugin for this host, or has the name of one that comes with it.
    pub fn inspect(&self, file: &Path) -> Result<(PluginManifest, Vec<u8>)> {
        let wasm = std::fs::read(file).map_err(|e| Error::io_as(Code::Configuration, "read", file, e))?;
        let name = file.display().to_string();
        let manifest = manifest::read(&wasm, &name)?;
        if self.bundled.iter().any(|b| b.id == manifest.id) {
            return Err(Error::new(
                Code::Configuration,
                format!(
                    "{name} calls itself `{}`, which is a plugin of the host",
                    manifest.id
                ),
            ));
        }
        self.compile(&wasm, &manifest.id, None)?;
        Ok((manifest, wasm))
    }

    /// Installs a component and pins its digest.
    ///
    /// # Errors
    /// As for [`Plugins::inspect`], or it can't be written.
    pub async fn install(&self, file: &Path, now: jiff::Timestamp) -> Result<PluginManifest> {
        let (manifest, wasm) = self.inspect(file)?;
        let digest = blake3::hash(&wasm).to_hex().to_string();
        let file_name = format!("{digest}.wasm");
        let failed = |e| Error::io("write into", &self.installed, e);
        std::fs::create_dir_all(&self.installed).map_err(failed)?;
        let temporary = tempfile::NamedTempFile::new_in(&self.installed).map_err(failed)?;
        std::fs::write(temporary.path(), &wasm).map_err(failed)?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary
            .persist(self.installed.join(&file_name))
            .map_err(|e| failed(e.error))?;
        let manifest_json = serde_json::to_string(&manifest)
            .map_err(|e| Error::internal("cannot write a plugin's manifest").because(e))?;
        let version = manifest.version.clone();
        let plugin = InstalledPlugin {
            id: manifest.id.clone(),
            version,
            digest,
            manifest_json,
            file_name,
            installed_at: now,
        };
        self.store.install_plugin(&plugin).await?;
        self.lock().remove(&manifest.id);
        Ok(manifest)
    }

    async fn load_installed(&self, id: &str) -> Result<Plugin> {
        let Some(installed) = self.store.plugin(id).await? else {
            let known: Vec<String> = self.list().await?.into_iter().map(|(m, _)| m.id).collect();
            return Err(
                Error::new(Code::Configuration, format!("there is no plugin `{id}`")).hint(format!(
                    "there are: {}; install others with `backstay plugin install FILE`",
                    known.join(", ")
                )),
            );
        };
        let file = self.installed.join(&installed.file_name);
        let wasm = std::fs::read(&file).map_err(|e| Error::io_as(Code::Environment, "read", &file, e))?;
        self.compile(&wasm, id, Some(&installed.digest))
    }

    fn compile(&self, wasm: &[u8], id: &str, pinned: Option<&str>) -> Result<Plugin> {
        let digest = blake3::hash(wasm).to_hex().to_string();
        if pinned.is_some_and(|pinned| pinned != digest) {
            return Err(Error::new(
                Code::Security,
                format!("the file of plugin `{id}` is not the one that was installed"),
            )
            .hint("somebody changed it, or the disk is damaged: install it again"));
        }
        let manifest = manifest::read(wasm, &format!("plugin `{id}`"))?;
        let failed = |e: wasmtime::Error| {
            Error::new(Code::Configuration, "the plugin does not compile")
                .because(crate::guest_error::printable(&format!("{e:#}")))
        };
        let component = cache::load(&self.runtime.engine, wasm, &digest, &self.cache, failed)?;
        let instance = self.runtime.linker.instantiate_pre(&component).map_err(|e| {
            Error::new(
                Code::Configuration,
                format!("plugin `{id}` asks for something that this host doesn't have"),
            )
            .because(crate::guest_error::printable(&format!("{e:#}")))
        })?;
        let about = Arc::new(About {
            manifest,
            digest,
            is_bundled: pinned.is_none(),
        });
        Ok(Plugin {
            runtime: self.runtime.clone(),
            programs: Arc::clone(&self.programs),
            store: self.store.clone(),
            instance,
            about,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
