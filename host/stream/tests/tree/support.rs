//! What the tests share: running recipes and tools, and an independent description of a tree.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use backstay_model::run::Warning;
use backstay_stream::Context;
use backstay_stream::read::read;
use backstay_stream::recipe::Produced;
use backstay_stream::tree::{TarRecipe, TreeSpec, UnpackOptions, Unpacked, unpack};
use tempfile::TempDir;

/// Prints one line for each entry of a tree, sorted, with all that a restore must give back.
const DESCRIBE: &str = r#"
import hashlib, os, resource, stat, sys
sys.setrecursionlimit(20000)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
seen, lines = {}, []

def xattrs(dir_fd, name):
    at = "/proc/self/fd/%d/" % dir_fd
    path = os.fsencode(at) + name
    found = []
    for key in sorted(os.listxattr(path, follow_symlinks=False)):
        found.append((key, os.getxattr(path, key, follow_symlinks=False).hex()[:4000]))
    return found

def content(dir_fd, name, size):
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=dir_fd)
    try:
        digest, data, position = hashlib.sha256(), [], 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(fd, start, os.SEEK_HOLE)
            data.append((start, end))
            os.lseek(fd, start, os.SEEK_SET)
            left = end - start
            while left:
                block = os.read(fd, min(left, 1 << 20))
                if not block:
                    break
                digest.update(block)
                left -= len(block)
            position = end
        return data, digest.hexdigest()
    finally:
        os.close(fd)

def describe(dir_fd, name, path):
    s = os.lstat(name, dir_fd=dir_fd)
    line = [repr(path), oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, xattrs(dir_fd, name)]
    if not stat.S_ISDIR(s.st_mode):
        line.append(("same as", seen.setdefault((s.st_dev, s.st_ino), repr(path)), s.st_nlink))
    if stat.S_ISREG(s.st_mode):
        line += [s.st_size, content(dir_fd, name, s.st_size)]
    elif stat.S_ISLNK(s.st_mode):
        line.append(os.readlink(name, dir_fd=dir_fd))
    elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        line.append((os.major(s.st_rdev), os.minor(s.st_rdev)))
    lines.append(" ".join(map(str, line)))
    if stat.S_ISDIR(s.st_mode):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=dir_fd)
        try:
            for below in sorted(os.fsencode(n) for n in os.listdir(fd)):
                describe(fd, below, path + b"/" + below)
        finally:
            os.close(fd)

top = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
describe(top, b".", b"")
print("\n".join(lines))
"#;

/// Runs a tool, which must be installed and end well.
#[track_caller]
pub fn run(command: &mut Command) -> Vec<u8> {
    let name = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{name} must be installed for this test: {e}"));
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The tree as Python sees it.
#[track_caller]
pub fn describe(tree: &Path) -> String {
    String::from_utf8(run(Command::new("python3").arg("-c").arg(DESCRIBE).arg(tree))).unwrap()
}

/// Compares two trees as Python sees them, and shows the lines that differ.
#[track_caller]
pub fn assert_same(expected: &Path, actual: &Path) {
    let (expected, actual) = (describe(expected), describe(actual));
    if expected != actual {
        let only = |a: &str, b: &str| {
            let b: std::collections::HashSet<&str> = b.lines().collect();
            a.lines()
                .filter(|l| !b.contains(l))
                .take(10)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "expected:\n{}\nactual:\n{}",
            only(&expected, &actual),
            only(&actual, &expected)
        );
    }
}

/// Owners, devices and trusted attributes need it.
#[track_caller]
pub fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test must be run as root"
    );
}

/// A new directory to work in.
pub fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// An archive with what its maker said.
pub struct Archive {
    pub bytes: Vec<u8>,
    pub produced: Produced,
    pub warnings: Vec<Warning>,
}

impl Archive {
    pub fn codes(&self) -> Vec<&str> {
        self.warnings.iter().map(|w| w.code.as_str()).collect()
    }

    /// The paths in it, as GNU tar lists them.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let listed = feed(
            Command::new("tar").args(["--quoting-style=literal", "-tf", "-"]),
            &self.bytes,
        );
        String::from_utf8_lossy(&listed)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Makes the archive of a spec.
#[track_caller]
pub fn archive_of(spec: TreeSpec) -> Archive {
    let context = Context::default();
    let mut reading = read(Arc::new(TarRecipe::new(spec)), &context).unwrap();
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).unwrap();
    let produced = reading.finish().unwrap();
    Archive {
        bytes,
        produced,
        warnings: context.notes.take().0,
    }
}

/// Makes the archive of a directory.
#[track_caller]
pub fn archive(root: &Path) -> Archive {
    archive_of(TreeSpec::all(root).unwrap())
}

/// Unpacks all of it; there must be no warning.
#[track_caller]
pub fn restore(bytes: &[u8], target: &Path) -> Unpacked {
    let context = Context::default();
    let done = unpack(bytes, target, &UnpackOptions::default(), &context, None);
    let done = done.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(context.notes.take().0, []);
    done
}

/// Runs a tool with bytes as its input.
#[track_caller]
pub fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child
        .as_mut()
        .unwrap_or_else(|e| panic!("{name} must be installed for this test: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A tool that ends early says why itself.
            let _ = std::io::Write::write_all(&mut stdin, input);
        });
        let (mut out, mut err) = (Vec::new(), String::new());
        child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(child.wait().unwrap().success(), "{name}: {err}");
        assert_eq!(err, "", "{name}");
        out
    })
}
