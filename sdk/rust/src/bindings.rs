//! The contract as `wit-bindgen` writes it. Plugins use the names that the crate's root gives it.
//!
//! The imports are generated once, for the world `host`; the two kinds of plugin share them and differ
//! in what they export. Only the export macro that a plugin calls decides which world it is of.
#![allow(unsafe_code, missing_docs, reason = "generated code")]
#![allow(clippy::all, clippy::unwrap_used, clippy::panic, reason = "generated code")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated code")]

wit_bindgen::generate!({ path: "../../wit", world: "host" });

/// What a source exports.
pub mod source {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "source",
        pub_export_macro: true,
        export_macro_name: "export_source",
        with: {
            "backstay:plugin/types@0.1.0": crate::bindings::backstay::plugin::types,
            "backstay:plugin/log@0.1.0": crate::bindings::backstay::plugin::log,
            "backstay:plugin/progress@0.1.0": crate::bindings::backstay::plugin::progress,
            "backstay:plugin/state@0.1.0": crate::bindings::backstay::plugin::state,
            "backstay:plugin/journal@0.1.0": crate::bindings::backstay::plugin::journal,
            "backstay:plugin/secrets@0.1.0": crate::bindings::backstay::plugin::secrets,
            "backstay:plugin/data@0.1.0": crate::bindings::backstay::plugin::data,
            "backstay:plugin/process@0.1.0": crate::bindings::backstay::plugin::process,
            "backstay:plugin/storage@0.1.0": crate::bindings::backstay::plugin::storage,
            "backstay:plugin/scratch@0.1.0": crate::bindings::backstay::plugin::scratch,
            "backstay:plugin/script@0.1.0": crate::bindings::backstay::plugin::script,
        },
    });
}

/// What a destination exports.
pub mod destination {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "destination",
        pub_export_macro: true,
        export_macro_name: "export_destination",
        with: {
            "backstay:plugin/types@0.1.0": crate::bindings::backstay::plugin::types,
            "backstay:plugin/log@0.1.0": crate::bindings::backstay::plugin::log,
            "backstay:plugin/progress@0.1.0": crate::bindings::backstay::plugin::progress,
            "backstay:plugin/state@0.1.0": crate::bindings::backstay::plugin::state,
            "backstay:plugin/journal@0.1.0": crate::bindings::backstay::plugin::journal,
            "backstay:plugin/secrets@0.1.0": crate::bindings::backstay::plugin::secrets,
            "backstay:plugin/data@0.1.0": crate::bindings::backstay::plugin::data,
            "backstay:plugin/process@0.1.0": crate::bindings::backstay::plugin::process,
            "backstay:plugin/storage@0.1.0": crate::bindings::backstay::plugin::storage,
            "backstay:plugin/scratch@0.1.0": crate::bindings::backstay::plugin::scratch,
            "backstay:plugin/script@0.1.0": crate::bindings::backstay::plugin::script,
        },
    });
}
