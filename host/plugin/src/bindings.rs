//! What is generated from `wit/`: the imports once, and each world's exports on top of them.

#![allow(missing_docs, reason = "generated; the contract's documentation is in wit/")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

pub mod imports {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "host",
        imports: { default: async | trappable },
        with: {
            "backstay:plugin/data.byte-stream": crate::host::ByteStream,
            "backstay:plugin/data.tree": crate::host::Tree,
            "backstay:plugin/process.tree-copy": crate::copying::Copying,
            "backstay:plugin/storage.store": crate::host::Store,
            "backstay:plugin/scratch.directory": crate::scratch::Scratch,
        },
    });
}

pub mod source {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "source",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "backstay:plugin/types": super::imports::backstay::plugin::types,
            "backstay:plugin/log": super::imports::backstay::plugin::log,
            "backstay:plugin/progress": super::imports::backstay::plugin::progress,
            "backstay:plugin/state": super::imports::backstay::plugin::state,
            "backstay:plugin/journal": super::imports::backstay::plugin::journal,
            "backstay:plugin/secrets": super::imports::backstay::plugin::secrets,
            "backstay:plugin/data": super::imports::backstay::plugin::data,
            "backstay:plugin/process": super::imports::backstay::plugin::process,
            "backstay:plugin/storage": super::imports::backstay::plugin::storage,
            "backstay:plugin/scratch": super::imports::backstay::plugin::scratch,
            "backstay:plugin/script": super::imports::backstay::plugin::script,
        },
    });
}

pub mod destination {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "destination",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "backstay:plugin/types": super::imports::backstay::plugin::types,
            "backstay:plugin/log": super::imports::backstay::plugin::log,
            "backstay:plugin/progress": super::imports::backstay::plugin::progress,
            "backstay:plugin/state": super::imports::backstay::plugin::state,
            "backstay:plugin/journal": super::imports::backstay::plugin::journal,
            "backstay:plugin/secrets": super::imports::backstay::plugin::secrets,
            "backstay:plugin/data": super::imports::backstay::plugin::data,
            "backstay:plugin/process": super::imports::backstay::plugin::process,
            "backstay:plugin/storage": super::imports::backstay::plugin::storage,
            "backstay:plugin/scratch": super::imports::backstay::plugin::scratch,
            "backstay:plugin/script": super::imports::backstay::plugin::script,
        },
    });
}

pub use imports::backstay::plugin as wit;
