//! What a script sees: the arguments of bubblewrap, and of the program that gives up what root had.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Component, Path, PathBuf};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};

use crate::identity::Identity;
use crate::limits::TEMPORARY_BYTES;
use crate::memory::memory;
use crate::script::{OUTPUT, PATH, Script};

/// Parts of `/etc` that programs need and that say nothing about this machine's users or services.
const SETTINGS: [&str; 12] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/mime.types",
    "/etc/perl",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
];

/// Parts of `/etc` that a script with a network needs.
const NETWORK_SETTINGS: [&str; 5] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/protocols",
];

/// Where the system's programs are; in most distributions links into `/usr`.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Descriptors that bubblewrap inherits, by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    pub(crate) script: RawFd,
    pub(crate) filter: RawFd,
    pub(crate) status: RawFd,
    pub(crate) go: RawFd,
}

/// How a script is shown what it sees.
#[derive(Debug)]
pub(crate) struct View {
    /// Options of bubblewrap, for a descriptor that it reads, so that no list of processes shows them.
    pub(crate) options: Vec<OsString>,
    /// The command to run inside.
    pub(crate) inside: Vec<OsString>,
    /// Files that the options name by their descriptors.
    pub(crate) files: Vec<File>,
}

/// Arguments of a program, and the files that they name by their descriptors.
#[derive(Debug, Default)]
struct Args {
    words: Vec<OsString>,
    files: Vec<File>,
}

impl Args {
    fn add<const N: usize>(&mut self, args: [&dyn AsRef<std::ffi::OsStr>; N]) {
        self.words
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    }

    /// Makes the directories above a path, so that the script's user can go through them. By itself bubblewrap makes
    /// them for root alone.
    fn above(&mut self, path: &Path) {
        let above: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|path| *path != Path::new("/"))
            .collect();
        for directory in above.into_iter().rev() {
            self.add([&"--perms", &"0755", &"--dir", &directory]);
        }
    }

    /// Shows something of the host.
    fn show(&mut self, real: &Path, path: &Path) {
        self.above(path);
        self.add([&"--ro-bind", &real, &path]);
    }

    /// Gives a copy of a file. It takes a fraction of the time of a mount.
    fn copy(&mut self, file: File, path: &Path) {
        self.above(path);
        self.add([
            &"--perms",
            &"0444",
            &"--file",
            &file.as_raw_fd().to_string(),
            &path,
        ]);
        self.files.push(file);
    }
}

/// The view of a script.
///
/// # Errors
/// Something that was granted isn't there or can't be granted, or the script has no interpreter.
pub(crate) fn of(script: &Script, identity: Identity, setpriv: &Path, fds: Descriptors) -> Result<View> {
    let mut args = Args::default();
    namespaces(&mut args, script, identity);
    system(&mut args, script, identity)?;
    granted(&mut args, script)?;
    if let Some(output) = &script.output {
        args.add([&"--bind", output, &OUTPUT]);
    }
    // Last, so that nothing above hides it.
    args.above(&script.path);
    args.add([
        &"--perms",
        &"0555",
        &"--ro-bind-data",
        &fds.script.to_string(),
        &script.path,
    ]);
    args.add([&"--remount-ro", &"/", &"--remount-ro", &"/dev"]);
    args.add([&"--chdir", &directory(script)?]);
    environment(&mut args, script);
    args.add([&"--seccomp", &fds.filter.to_string()]);
    args.add([
        &"--json-status-fd",
        &fds.status.to_string(),
        &"--block-fd",
        &fds.go.to_string(),
    ]);
    let mut command = Args::default();
    if identity.is_other {
        become_user(&mut command, identity, setpriv);
    }
    if let Some(interpreter) = script.interpreter()? {
        command.add([&interpreter]);
    }
    command.add([&script.path]);
    command.words.extend(script.args.iter().map(OsString::from));
    Ok(View {
        options: args.words,
        inside: command.words,
        files: args.files,
    })
}

fn namespaces(args: &mut Args, script: &Script, identity: Identity) {
    args.add([&"--die-with-parent", &"--new-session"]);
    args.add([
        &"--unshare-ipc",
        &"--unshare-pid",
        &"--unshare-uts",
        &"--unshare-cgroup-try",
    ]);
    if !script.network {
        args.add([&"--unshare-net"]);
    }
    args.add([&"--cap-drop", &"ALL"]);
    if identity.is_other {
        // For the change of user, which gives them up, and to start in a directory of that user.
        for kept in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH"] {
            args.add([&"--cap-add", &kept]);
        }
    } else {
        args.add([&"--unshare-user", &"--disable-userns"]);
    }
}

/// The part that is the same for all scripts.
fn system(args: &mut Args, script: &Script, identity: Identity) -> Result<()> {
    args.add([&"--ro-bind", &"/usr", &"/usr"]);
    for name in PROGRAMS {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => args.add([&"--symlink", &target, &path]),
            Err(_) if path.is_dir() => args.show(&path, &path),
            Err(_) => {}
        }
    }
    let network = script.network.then_some(NETWORK_SETTINGS);
    let settings = SETTINGS
        .into_iter()
        .chain(network.into_iter().flatten())
        .map(Path::new);
    for setting in settings {
        if setting.is_dir() {
            args.show(setting, setting);
        } else if setting.is_file() {
            let file = File::open(setting).map_err(|e| Error::io("open", setting, e))?;
            args.copy(file, setting);
        }
    }
    args.copy(
        memory("passwd", identity.passwd().as_bytes())?,
        Path::new("/etc/passwd"),
    );
    args.copy(
        memory("group", identity.groups().as_bytes())?,
        Path::new("/etc/group"),
    );
    args.add([&"--proc", &"/proc", &"--dev", &"/dev"]);
    for temporary in ["/tmp", "/dev/shm"] {
        let size = TEMPORARY_BYTES.to_string();
        args.add([&"--perms", &"1777", &"--size", &size, &"--tmpfs", &temporary]);
    }
    args.add([&"--perms", &"0755", &"--dir", &"/backstay"]);
    Ok(())
}

/// What was granted, from the outside in, and covers over what must not be seen in it.
fn granted(args: &mut Args, script: &Script) -> Result<()> {
    let granted = script.granted()?;
    for grant in &granted {
        args.show(&grant.real, &grant.path);
    }
    for covered in granted.iter().flat_map(|grant| &grant.covered) {
        args.add([&"--perms", &"0000", &"--size", &"4096", &"--tmpfs", covered]);
    }
    Ok(())
}

/// Where the script starts.
fn directory(script: &Script) -> Result<PathBuf> {
    let Some(wanted) = &script.directory else {
        let place = if script.output.is_some() { OUTPUT } else { "/tmp" };
        return Ok(PathBuf::from(place));
    };
    let is_seen = wanted == Path::new("/")
        || ["/usr", "/tmp", OUTPUT]
            .iter()
            .any(|seen| wanted.starts_with(seen))
        || script.readable.iter().any(|seen| wanted.starts_with(seen));
    if is_seen && !wanted.components().any(|part| part == Component::ParentDir) {
        return Ok(wanted.clone());
    }
    Err(Error::new(
        Code::Configuration,
        format!(
            "the script {} can't start in {}, which it doesn't see",
            script.name(),
            show(wanted)
        ),
    )
    .hint("add it to `read`, or leave `workingDirectory` out to start in the output directory"))
}

fn environment(args: &mut Args, script: &Script) {
    args.add([&"--clearenv"]);
    for (name, value) in [
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
    ] {
        args.add([&"--setenv", &name, &value]);
    }
    if script.output.is_some() {
        args.add([&"--setenv", &"BACKSTAY_OUTPUT_DIR", &OUTPUT]);
    }
    for (name, value) in &script.env {
        args.add([&"--setenv", name, value]);
    }
}

/// Becomes the user and gives up every capability for good.
fn become_user(args: &mut Args, identity: Identity, setpriv: &Path) {
    args.add([&setpriv, &"--clear-groups", &"--no-new-privs"]);
    args.add([&"--inh-caps=-all", &"--ambient-caps=-all", &"--bounding-set=-all"]);
    args.add([
        &format!("--regid={}", identity.group),
        &format!("--reuid={}", identity.user),
        &"--",
    ]);
}
