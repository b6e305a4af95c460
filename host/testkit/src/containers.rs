//! Real containers by Podman, with a storage of their own and the API that Docker's client speaks, too.
//!
//! Nothing is fetched: the one image is made of a static busybox. Needs root. No network is set up.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::fail::{OrFail, in_drop};
use crate::{process, tools};

/// The image of every container.
pub const IMAGE: &str = "localhost/busybox:test";

/// What a container runs that stops at once when it is asked to.
pub const OBEDIENT: &str = "trap 'exit 0' TERM; while :; do sleep 0.05 & wait; done";

/// What a container runs that has to be killed.
pub const STUBBORN: &str = "trap '' TERM; while :; do sleep 1; done";

/// A container engine of its own for one test; all in it is removed when it is dropped.
#[derive(Debug)]
pub struct Containers {
    directory: TempDir,
    service: Option<Child>,
}

impl Containers {
    /// Makes a storage with one image, and starts the service.
    ///
    /// # Panics
    /// Podman, runc or busybox is missing, or doesn't work here.
    #[track_caller]
    pub fn start() -> Self {
        tools::require_root("to run containers");
        tools::require(&["podman", "runc", "busybox", "tar"]);
        let directory = tempfile::Builder::new()
            .prefix("backstay-containers-")
            .tempdir()
            .or_fail("make a directory for containers");
        let mut containers = Containers {
            directory,
            service: None,
        };
        containers.write_settings();
        containers.import_image();
        containers.start_service();
        containers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The settings by which a plain `podman` finds this storage: what `/etc/containers` holds.
    pub fn settings(&self) -> PathBuf {
        self.path("etc")
    }

    /// The directory that holds the volumes.
    pub fn volumes(&self) -> PathBuf {
        self.path("storage/volumes")
    }

    /// The address of the service.
    pub fn address(&self) -> String {
        format!("unix://{}", self.path("api.sock").display())
    }

    fn write_settings(&self) {
        let etc = self.settings();
        std::fs::create_dir_all(&etc).or_fail("make a directory for settings");
        let here = self.directory.path().display();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{here}/run\"\ngraphroot = \"{here}/storage\"\n"
        );
        let engine = format!(
            "[containers]\nnetns = \"none\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             tmp_dir = \"{here}/tmp\"\nstatic_dir = \"{here}/storage/libpod\"\nvolume_path = \"{here}/storage/volumes\"\n"
        );
        let policy = r#"{ "default": [{ "type": "insecureAcceptAnything" }] }"#;
        for (name, text) in [
            ("storage.conf", storage.as_str()),
            ("containers.conf", &engine),
            ("policy.json", policy),
        ] {
            std::fs::write(etc.join(name), text).or_fail("write settings for podman");
        }
    }

    fn import_image(&self) {
        let root = self.path("image");
        std::fs::create_dir_all(root.join("bin")).or_fail("make an image");
        let busybox = tools::find("busybox").unwrap_or_default();
        std::fs::copy(busybox, root.join("bin/busybox")).or_fail("copy busybox");
        for applet in [
            "sh", "sleep", "cat", "touch", "rm", "test", "true", "false", "sync", "date", "kill", "ls",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).or_fail("make an applet");
        }
        std::fs::create_dir(root.join("tmp")).or_fail("make an image");
        let archive = self.path("image.tar");
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&root)
            .arg(".")
            .status()
            .or_fail("run tar");
        assert!(packed.success(), "can't pack the image");
        let archive = archive.to_string_lossy().into_owned();
        self.podman(&["import", "--quiet", &archive, IMAGE]);
    }

    /// Starts the service, if it doesn't run.
    ///
    /// # Panics
    /// It doesn't answer within 20 s.
    #[track_caller]
    pub fn start_service(&mut self) {
        if self.service.is_some() {
            return;
        }
        let child = self
            .command(&["system", "service", "--time", "0", &self.address()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .or_fail("start the service of podman");
        self.service = Some(child);
        let socket = self.path("api.sock");
        process::wait_until("the service of podman", Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
    }

    /// Ends the service; the containers go on.
    pub fn stop_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            process::kill(service.id());
            service.wait().or_fail("wait for the service of podman");
            std::fs::remove_file(self.path("api.sock")).or_fail("remove a socket");
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.settings().join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.settings().join("storage.conf"))
            .arg("--root")
            .arg(self.path("storage"))
            .arg("--runroot")
            .arg(self.path("run"))
            .args(args);
        command
    }

    /// Runs `podman` on this storage, however it ends.
    ///
    /// # Panics
    /// It can't be started.
    #[track_caller]
    pub fn try_podman(&self, args: &[&str]) -> Output {
        self.command(args)
            .stdin(Stdio::null())
            .output()
            .or_fail("run podman")
    }

    /// Runs `podman` on this storage, which must succeed, and returns what it printed.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn podman(&self, args: &[&str]) -> String {
        let output = self.try_podman(args);
        if !output.status.success() {
            panic!(
                "podman {args:?} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a container that does `script` until it is stopped.
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn run(&self, name: &str, options: &[&str], script: &str) {
        let start = ["run", "--detach", "--name", name, "--network", "none"];
        let end = [IMAGE, "/bin/sh", "-c", script];
        self.podman(&[&start, options, &end].concat());
    }

    /// One word for the state of a container; `gone` if there is none.
    #[track_caller]
    pub fn state(&self, name: &str) -> String {
        self.inspect(name, "{{.State.Status}}")
    }

    /// A field of a container as a Go template shows it; `gone` if there is no such container.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        let output = self.try_podman(&["container", "inspect", "--format", template, name]);
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
        "gone".to_owned()
    }

    /// The directory of a volume, which is made if it isn't there.
    #[track_caller]
    pub fn volume(&self, name: &str) -> PathBuf {
        if !self.try_podman(&["volume", "exists", name]).status.success() {
            self.podman(&["volume", "create", name]);
        }
        self.volumes().join(name).join("_data")
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.stop_service();
        let remove = || self.try_podman(&["rm", "--all", "--force", "--time", "0"]);
        let mut removed = remove();
        // Podman keeps watch over commands in containers for minutes, and would make the directory again.
        end_watchers(self.directory.path());
        // What a container had mounted would keep its directory.
        unmount_below(self.directory.path());
        // What was mounted elsewhere too, by a host with mounts of its own, was busy until now.
        if !removed.status.success() {
            removed = remove();
        }
        if !removed.status.success() {
            in_drop(&format!(
                "can't remove containers: {}",
                String::from_utf8_lossy(&removed.stderr)
            ));
        }
    }
}

fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<&str> = places
        .filter(|place| Path::new(place).starts_with(directory))
        .collect();
    for place in below.into_iter().rev() {
        if let Err(error) = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("can't unmount {place}: {error}");
        }
    }
}

/// Ends all processes that have the directory in their command line.
fn end_watchers(directory: &Path) {
    let directory = directory.to_string_lossy().into_owned();
    process::wait_until(
        "the last processes of podman to end",
        Duration::from_secs(20),
        || {
            let mut left = 0;
            for entry in std::fs::read_dir("/proc").or_fail("list processes").flatten() {
                let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&line).contains(&directory) {
                    process::kill(pid);
                    left += 1;
                }
            }
            left == 0
        },
    );
}
