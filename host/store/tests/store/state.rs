//! Plugins' notes and the installed plugins.

use backstay_model::Code;
use backstay_store::{InstalledPlugin, MAX_KEY_BYTES, MAX_NOTE_BYTES, MAX_NOTES};
use uuid::Uuid;

use crate::fixtures::{at, lab};

#[tokio::test]
async fn a_note_belongs_to_one_job_and_one_plugin() {
    let lab = lab().await;
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    lab.store
        .set_state(a, "zfs", "base", Some("guid-1"))
        .await
        .unwrap();
    lab.store
        .set_state(a, "zfs", "base", Some("guid-2"))
        .await
        .unwrap();
    assert_eq!(
        lab.store.state(a, "zfs", "base").await.unwrap().as_deref(),
        Some("guid-2")
    );
    assert_eq!(lab.store.state(b, "zfs", "base").await.unwrap(), None);
    assert_eq!(lab.store.state(a, "local", "base").await.unwrap(), None);
    lab.store.set_state(a, "zfs", "base", None).await.unwrap();
    assert_eq!(lab.store.state(a, "zfs", "base").await.unwrap(), None);
}

#[tokio::test]
async fn notes_are_limited_in_number_and_size() {
    let lab = lab().await;
    let job = Uuid::now_v7();
    let set = async |key: &str, value: Option<&str>| lab.store.set_state(job, "zfs", key, value).await;
    for i in 0..MAX_NOTES {
        set(&format!("k{i}"), Some("v")).await.unwrap();
    }
    let error = set("one-more", Some("v")).await.unwrap_err();
    assert_eq!(error.code(), Code::Security);
    assert!(
        error.to_string().contains("zfs") && error.to_string().contains("64"),
        "{error}"
    );
    set("k0", Some("changed")).await.unwrap();
    set("k1", None).await.unwrap();
    set("one-more", Some("v")).await.unwrap();

    set("k2", Some(&"x".repeat(MAX_NOTE_BYTES))).await.unwrap();
    assert_eq!(
        set("k2", Some(&"x".repeat(MAX_NOTE_BYTES + 1)))
            .await
            .unwrap_err()
            .code(),
        Code::Security
    );
    assert_eq!(
        set(&"k".repeat(MAX_KEY_BYTES + 1), Some("v"))
            .await
            .unwrap_err()
            .code(),
        Code::Security
    );
    assert_eq!(set("", Some("v")).await.unwrap_err().code(), Code::Security);
    lab.store.set_state(job, "local", "k", Some("v")).await.unwrap();
}

#[tokio::test]
async fn an_installed_plugin_is_replaced_by_its_next_version() {
    let lab = lab().await;
    let plugin = |id: &str, version: &str| InstalledPlugin {
        id: id.to_owned(),
        version: version.to_owned(),
        digest: "ab".repeat(32),
        manifest_json: r#"{"id":"x"}"#.to_owned(),
        file_name: format!("{id}-{version}.wasm"),
        installed_at: at("2026-03-01T00:00:00Z"),
    };
    for (id, version) in [("mega", "1.0.0"), ("box", "0.1.0"), ("mega", "1.1.0")] {
        lab.store.install_plugin(&plugin(id, version)).await.unwrap();
    }
    assert_eq!(
        lab.store.plugins().await.unwrap(),
        [plugin("box", "0.1.0"), plugin("mega", "1.1.0")]
    );
    assert_eq!(
        lab.store.plugin("mega").await.unwrap(),
        Some(plugin("mega", "1.1.0"))
    );
    assert!(lab.store.remove_plugin("mega").await.unwrap());
    assert!(!lab.store.remove_plugin("mega").await.unwrap());
    assert_eq!(lab.store.plugin("mega").await.unwrap(), None);
}
