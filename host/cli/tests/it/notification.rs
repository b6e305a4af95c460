//! Who is told what happens: once each, whatever happens in between, and never at the cost of a run.

mod mail;
mod outbox;
mod ping;
mod settings;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Output, Running};
use backstay_testkit::process::wait_until;
use serde_json::Value;

/// Longer than anything here should take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory with settings that commands and the service follow, and a source that can be taken away.
struct Desk {
    backstay: Backstay,
}

impl Desk {
    fn new() -> Self {
        Self::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")))
    }

    fn of(backstay: Backstay) -> Self {
        let config = backstay.scratch_dir().join("config.yaml");
        let backstay = backstay.env("BACKSTAY_CONFIG", config.to_str().unwrap());
        let desk = Desk { backstay };
        desk.settings("");
        for name in ["source", "place"] {
            fs::create_dir(desk.file(name)).unwrap();
        }
        fs::write(desk.file("source/file"), "content").unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn settings(&self, text: &str) {
        fs::write(self.file("config.yaml"), text).unwrap();
    }

    /// Settings with one webhook.
    fn webhook(&self, url: &str) {
        self.settings(&format!(
            "notifications: {{ channels: {{ ops: {{ type: webhook, url: \"{url}/hook\" }} }} }}"
        ));
    }

    /// A job over the source.
    fn job(&self, name: &str, more: &str) -> Output {
        let (source, place) = (self.file("source"), self.file("place"));
        self.backstay.apply(&format!(
            "name: {name}\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n{more}\n",
            source.display(),
            place.display()
        ))
    }

    /// Takes the source away, so that a run fails before it begins, or puts it back.
    fn break_source(&self, is_broken: bool) {
        let (here, away) = (self.file("source"), self.file("away"));
        if is_broken {
            fs::rename(here, away).unwrap();
        } else {
            fs::rename(away, here).unwrap();
        }
    }

    /// The service, once it has begun.
    #[track_caller]
    fn serve(&self) -> Running {
        let service = self.backstay.spawn(&["serve"]);
        let id = format!("{}\n", service.pid());
        wait_until("the service to begin", PATIENCE, || {
            fs::read_to_string(self.backstay.data_dir().join("daemon.lock")).is_ok_and(|text| text == id)
        });
        service
    }

    /// Waits until a channel is as it should be.
    #[track_caller]
    fn wait_for_channel(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait_until("a channel's state", PATIENCE, || {
            let all = self.backstay.json(&["notification", "list"]);
            let found = all
                .as_array()
                .unwrap()
                .iter()
                .find(|channel| channel["name"] == name);
            last = found.cloned().unwrap_or_default();
            is_so(&last)
        });
        last
    }
}

/// Stops a service politely. It must end well.
#[track_caller]
fn stop(service: Running) -> String {
    service.terminate();
    service.wait().ok().stderr
}

/// The events of a message that a webhook got.
fn events(message: &Value) -> Vec<&str> {
    let events = message["events"].as_array().unwrap();
    events.iter().map(|event| event.as_str().unwrap()).collect()
}
