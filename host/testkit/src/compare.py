"""Compares two trees; see compare.rs for what counts. Exits with 0 alike, 10 different, anything else trouble."""
import collections
import hashlib
import os
import resource
import stat
import sys

SHOWN = 20
BLOCK = 1 << 16
SPARE = 1 << 20

original, copy = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
exceptions = set(sys.argv[3:])
differences = []


class Enough(Exception):
    pass


def differ(path, what):
    if len(differences) == SHOWN:
        raise Enough
    differences.append(f"{path!r}: {what}")


def attributes(parent, name):
    # A path through the handle of the directory stays short however deep the tree is.
    path = b"/proc/self/fd/%d/%s" % (parent, name)
    names = os.listxattr(path, follow_symlinks=False)
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names if n != "security.selinux"}


def content(parent, name):
    """Digest of all blocks that aren't zero with their places, so holes and written zeros are the same; and their size."""
    digest, stored, done = hashlib.sha256(), 0, 0
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        size = os.fstat(handle).st_size
        while done < size:
            try:
                start = os.lseek(handle, done, os.SEEK_DATA)
            except OSError as error:
                if error.errno == 6:  # ENXIO: only a hole is left
                    break
                raise
            end = os.lseek(handle, start, os.SEEK_HOLE)
            for offset in range(start - start % BLOCK, end, BLOCK):
                if offset < done:
                    continue
                block = os.pread(handle, BLOCK, offset)
                if block.strip(b"\0"):
                    digest.update(b"%d:%d:" % (offset, len(block)))
                    digest.update(block)
                    stored += len(block)
                done = offset + BLOCK
            done = max(done, end)
    finally:
        os.close(handle)
    return digest.hexdigest(), stored


def kind(mode):
    return {
        stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a fifo",
        stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket",
    }.get(stat.S_IFMT(mode), "something unknown")


def entry(path, a, b, name_a, name_b):
    """Compares one entry in the directories a and b. Says whether both are directories."""
    x = os.stat(name_a, dir_fd=a, follow_symlinks=False)
    y = os.stat(name_b, dir_fd=b, follow_symlinks=False)
    if stat.S_IFMT(x.st_mode) != stat.S_IFMT(y.st_mode):
        differ(path, f"is {kind(x.st_mode)} in the original, {kind(y.st_mode)} in the copy")
        return False
    if "metadata" not in exceptions and (path != b"." or "root" not in exceptions):
        metadata(path, a, b, name_a, name_b, x, y)
    if stat.S_ISREG(x.st_mode):
        for number, found in ((0, x), (1, y)):
            groups[number][(found.st_dev, found.st_ino)].add(path)
        if x.st_size != y.st_size:
            differ(path, f"size {x.st_size} became {y.st_size}")
            return False
        (digest_x, stored), (digest_y, _) = content(a, name_a), content(b, name_b)
        if digest_x != digest_y:
            differ(path, "content differs")
        most = max(x.st_blocks * 512, stored)
        if "allocation" not in exceptions and y.st_blocks * 512 > most + most // 4 + SPARE:
            differ(path, f"takes up {y.st_blocks * 512} bytes instead of {x.st_blocks * 512}: holes were filled")
    elif stat.S_ISLNK(x.st_mode):
        target_x, target_y = os.readlink(name_a, dir_fd=a), os.readlink(name_b, dir_fd=b)
        if target_x != target_y:
            differ(path, f"target {target_x!r} became {target_y!r}")
    elif stat.S_ISCHR(x.st_mode) or stat.S_ISBLK(x.st_mode):
        if x.st_rdev != y.st_rdev:
            differ(path, f"device number {x.st_rdev} became {y.st_rdev}")
    return stat.S_ISDIR(x.st_mode)


def metadata(path, a, b, name_a, name_b, x, y):
    for what, old, new in (
        ("mode", oct(stat.S_IMODE(x.st_mode)), oct(stat.S_IMODE(y.st_mode))),
        ("owner", x.st_uid, y.st_uid),
        ("group", x.st_gid, y.st_gid),
    ):
        if old != new:
            differ(path, f"{what} {old} became {new}")
    unit = 10**9 if "subseconds" in exceptions else 1
    if "times" not in exceptions and x.st_mtime_ns // unit != y.st_mtime_ns // unit:
        differ(path, f"time {x.st_mtime_ns} ns became {y.st_mtime_ns} ns")
    old, new = attributes(a, name_a), attributes(b, name_b)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            differ(path, f"attribute {name!r} {old.get(name)!r} became {new.get(name)!r}")


def open_directory(parent, name):
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def names(handle):
    return {os.fsencode(name) for name in os.listdir(handle)}


def is_empty(parent, name):
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        return False
    handle = open_directory(parent, name)
    try:
        return not os.listdir(handle)
    finally:
        os.close(handle)


def both(path, a, b):
    """One level of the walk: the two handles and the names still to be seen, in order."""
    in_a, in_b = names(a), names(b)
    for name in sorted(in_a ^ in_b):
        if name in in_a and "empty-directories" in exceptions and is_empty(a, name):
            continue
        differ(os.path.join(path, name), "is missing in the copy" if name in in_a else "is only in the copy")
    return path, a, b, iter(sorted(in_a & in_b))


def walk():
    a, b = open_directory(None, original), open_directory(None, copy)
    entry(b".", a, b, b".", b".")
    levels = [both(b"", a, b)]
    while levels:
        path, a, b, left = levels[-1]
        name = next(left, None)
        if name is None:
            levels.pop()
            os.close(a)
            os.close(b)
        elif entry(os.path.join(path, name), a, b, name, name):
            levels.append(both(os.path.join(path, name), open_directory(a, name), open_directory(b, name)))
    if "metadata" in exceptions:
        return
    linked = [{frozenset(group) for group in groups[number].values() if len(group) > 1} for number in (0, 1)]
    for group in sorted(linked[0] ^ linked[1], key=sorted):
        where = "are one file in the original only" if group in linked[0] else "are one file in the copy only"
        differ(min(group), f"hard links {sorted(group)!r} {where}")


groups = [collections.defaultdict(set), collections.defaultdict(set)]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
try:
    walk()
except Enough:
    differences.append(f"and more; these are the first {SHOWN}")
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
print("\n".join(differences))
sys.exit(10 if differences else 0)
