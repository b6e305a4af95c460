//! A store in a scratch directory, and small valid values to put into it.

use std::path::Path;
use std::sync::Arc;

use backstay_model::clock::ManualClock;
use backstay_model::event::Level;
use backstay_model::filters::Filters;
use backstay_model::job::{Job, JobSpec};
use backstay_model::manifest::{Digest, Form, JobRef, MANIFEST_VERSION, Manifest, PluginUse, StoredArtifact};
use backstay_model::run::{Run, RunKind, RunReason, RunStatus, Stats};
use backstay_store::{Backup, NewEvent, Store};
use jiff::Timestamp;
use serde_json::{Map, json};
use tempfile::TempDir;
use uuid::Uuid;

pub struct Lab {
    pub store: Store,
    pub clock: ManualClock,
    pub dir: TempDir,
}

pub async fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(at("2026-03-01T02:03:04.000000005Z"));
    let store = Store::open(dir.path(), Arc::new(clock.clone())).await.unwrap();
    Lab { store, clock, dir }
}

pub async fn open(dir: &Path) -> backstay_model::Result<Store> {
    Store::open(dir, Arc::new(ManualClock::new(at("2026-03-02T00:00:00Z")))).await
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn spec(name: &str) -> JobSpec {
    serde_json::from_value(json!({
        "name": name,
        "schedule": { "cron": "0 3 * * *", "timezone": "Europe/Berlin" },
        "source": { "plugin": "path", "config": { "path": "/home", "exclude": ["*.tmp"] } },
        "destinations": [{ "plugin": "local", "config": { "path": "/mnt/backup" } }],
        "retention": { "keepLast": 7, "maxAge": "400d" },
    }))
    .unwrap()
}

pub async fn job(store: &Store, name: &str) -> Job {
    store.apply_job(&spec(name)).await.unwrap().0
}

pub fn run(job: &Job) -> Run {
    Run {
        id: Uuid::now_v7(),
        job_id: job.id,
        job_name: job.spec.name.clone(),
        kind: RunKind::Backup,
        status: RunStatus::Queued,
        reason: RunReason::Manual,
        due_at: None,
        started_at: at("2026-03-01T03:00:00.123456789Z"),
        finished_at: None,
        error: None,
        warnings: Vec::new(),
        stats: Stats::default(),
    }
}

pub async fn begun(store: &Store, job: &Job) -> Run {
    let run = run(job);
    store.begin_run(&run, &[]).await.unwrap();
    run
}

pub fn ended(run: &Run, status: RunStatus) -> Run {
    Run {
        status,
        finished_at: Some(at("2026-03-01T03:10:00Z")),
        ..run.clone()
    }
}

pub fn event(run: &Run, message: &str) -> NewEvent {
    NewEvent {
        at: at("2026-03-01T03:00:01Z"),
        run_id: run.id,
        level: Level::Info,
        origin: "host".to_owned(),
        message: message.to_owned(),
        status: None,
    }
}

pub fn backup(store: &Store, run: &Run, destination_index: usize) -> Backup {
    let plugin = |id: &str| PluginUse {
        plugin: id.to_owned(),
        version: "0.1.0".to_owned(),
        digest: "d1".to_owned(),
        config: Map::from_iter([("path".to_owned(), json!("/home"))]),
    };
    let mut manifest = Manifest {
        manifest_version: MANIFEST_VERSION,
        id: Uuid::now_v7(),
        instance_id: store.instance_id(),
        device: "nas".to_owned(),
        job: JobRef {
            id: run.job_id,
            name: run.job_name.clone(),
        },
        run_id: run.id,
        destination_index,
        created_at: run.started_at,
        finished_at: at("2026-03-01T03:05:00Z"),
        host_version: "0.1.0".to_owned(),
        source: plugin("path"),
        destination: plugin("local"),
        filters: Filters::default(),
        artifacts: vec![StoredArtifact {
            name: "home".to_owned(),
            form: Form::Tar,
            media_type: "application/x-tar".to_owned(),
            receipt: "r1".to_owned(),
            object: "home.tar".to_owned(),
            location: "/mnt/backup/data".to_owned(),
            index: None,
            raw: Digest {
                bytes: 10,
                ..Digest::default()
            },
            stored: Digest {
                bytes: 10,
                ..Digest::default()
            },
            content_bytes: 10,
            carried_bytes: 0,
            entries: 1,
            compression: None,
            encryption: None,
            metadata: [("uuid".to_owned(), json!({ "a": [1.5, null, "é\n"] }))].into(),
            statistics: [].into(),
            base: None,
        }],
        depends_on: None,
        warnings: Vec::new(),
        more_warnings: 0,
        stages: Vec::new(),
        checksum: String::new(),
    };
    manifest.seal().unwrap();
    Backup {
        destination_index,
        receipt: "r2".to_owned(),
        location: "/mnt/backup/home".to_owned(),
        critical: destination_index == 0,
        verified_at: None,
        verified_level: None,
        verified_ok: None,
        run_id: run.id,
        created_at: manifest.created_at,
        manifest,
    }
}
