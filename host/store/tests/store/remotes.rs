//! Secrets of remotes, and the key that seals them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use backstay_model::Code;
use backstay_model::remote::{Remote, RemoteKind};

use crate::fixtures::{lab, open};

const KEY: &str = "secrets.key";

fn remote(name: &str) -> Remote {
    Remote {
        name: name.to_owned(),
        kind: RemoteKind::S3,
        bucket: Some("b".to_owned()),
        bucket_id: None,
        endpoint: None,
        region: None,
        account: Some("a".to_owned()),
        root: None,
        virtual_host_style: false,
        identity_file: None,
        known_hosts_file: None,
    }
}

fn key_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(KEY))
        .collect()
}

#[tokio::test]
async fn no_new_key_is_made_while_secrets_need_the_old_one() {
    let lab = lab().await;
    let (store, key) = (&lab.store, lab.dir.path().join(KEY));
    store.add_remote(&remote("first"), Some("one")).await.unwrap();
    store.add_remote(&remote("open"), None).await.unwrap();
    let aside = lab.dir.path().join("aside");
    fs::rename(&key, &aside).unwrap();

    let refused = store
        .add_remote(&remote("second"), Some("two"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Encryption);
    let said = format!("{refused} {}", refused.hint_text().unwrap_or_default());
    assert!(
        said.contains(KEY) && said.contains("put secrets.key back"),
        "{said}"
    );
    assert!(said.contains("backstay remote rm"), "{said}");
    assert!(!key.exists());
    assert_eq!(
        store.remote("second").await.unwrap_err().code(),
        Code::Configuration
    );
    store.add_remote(&remote("public"), None).await.unwrap();

    // Either remedy helps.
    fs::rename(&aside, &key).unwrap();
    store.add_remote(&remote("second"), Some("two")).await.unwrap();
    assert_eq!(
        store.open_remote("first").await.unwrap().1.as_deref(),
        Some("one")
    );
    fs::remove_file(&key).unwrap();
    for name in ["first", "second"] {
        assert!(store.remove_remote(name).await.unwrap());
    }
    store.add_remote(&remote("first"), Some("again")).await.unwrap();
    assert_eq!(
        store.open_remote("first").await.unwrap().1.as_deref(),
        Some("again")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_make_the_key_at_once_use_the_same() {
    for _ in 0..8 {
        let lab = lab().await;
        let mut adding = Vec::new();
        for n in 0..6 {
            let store = open(lab.dir.path()).await.unwrap();
            adding.push(tokio::spawn(async move {
                store.add_remote(&remote(&format!("r{n}")), Some("secret")).await
            }));
        }
        for added in adding {
            added.await.unwrap().unwrap();
        }
        for n in 0..6 {
            let (_, secret) = lab.store.open_remote(&format!("r{n}")).await.unwrap();
            assert_eq!(secret.as_deref(), Some("secret"));
        }
        assert_eq!(key_files(lab.dir.path()), [KEY]);
    }
}

#[tokio::test]
async fn what_lies_where_a_key_might_be_written_is_left_alone() {
    let lab = lab().await;
    let elsewhere = lab.dir.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    let in_the_way = lab.dir.path().join(format!("{KEY}.new"));
    symlink(&elsewhere, &in_the_way).unwrap();
    lab.store.add_remote(&remote("r"), Some("secret")).await.unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    let key = fs::symlink_metadata(lab.dir.path().join(KEY)).unwrap();
    assert!(key.is_file());
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_key_behind_a_link_stays_behind_it() {
    let lab = lab().await;
    let (key, elsewhere) = (lab.dir.path().join(KEY), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("key");
    symlink(&target, &key).unwrap();
    // What it leads to isn't there now: a disk that isn't mounted.
    lab.store
        .add_remote(&remote("r"), Some("secret"))
        .await
        .unwrap_err();
    assert!(key.is_symlink() && !target.exists());
    fs::remove_file(&key).unwrap();
    lab.store.add_remote(&remote("r"), Some("secret")).await.unwrap();
    fs::rename(&key, &target).unwrap();
    symlink(&target, &key).unwrap();
    let before = fs::read(&target).unwrap();
    let rotated = lab.store.rotate_key().await.unwrap();
    assert_eq!((rotated.secrets, rotated.keeps_old), (1, false));
    assert!(key.is_symlink());
    assert_ne!(fs::read(&target).unwrap(), before);
    let (_, secret) = lab.store.open_remote("r").await.unwrap();
    assert_eq!(secret.as_deref(), Some("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_opens_and_seals_while_keys_are_exchanged_never_fails() {
    let lab = lab().await;
    lab.store.set_secret("a", "text").await.unwrap();
    let mut working = Vec::new();
    for n in 0..3 {
        let store = open(lab.dir.path()).await.unwrap();
        working.push(tokio::spawn(async move {
            for turn in 0..20 {
                match n {
                    0 => assert_eq!(store.rotate_key().await.unwrap().file.file_name().unwrap(), KEY),
                    1 => assert_eq!(store.secret("a").await.unwrap(), "text"),
                    _ => store.set_secret(&format!("b{turn}"), "more").await.unwrap(),
                }
            }
        }));
    }
    for one in working {
        one.await.unwrap();
    }
    for turn in 0..20 {
        assert_eq!(lab.store.secret(&format!("b{turn}")).await.unwrap(), "more");
    }
}
