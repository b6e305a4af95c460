//! What can happen to what is stored, and which level of verification finds it.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Something of a backup that lies at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A stream, as it came from the source.
    Stream,
    /// A stream that was compressed and encrypted.
    Sealed,
    /// A file of a tree that is stored as files.
    File,
    /// The index of such a tree.
    Index,
    /// The backup's manifest.
    Manifest,
    /// The file of a restic repository in which the data is.
    Pack,
    /// The file of a restic repository that says what the backup is.
    Snapshot,
    /// As [`Part::Pack`], of a tree.
    TreePack,
    /// As [`Part::Snapshot`], of a tree.
    TreeSnapshot,
}

pub const PARTS: [Part; 9] = [
    Part::Stream,
    Part::Sealed,
    Part::File,
    Part::Index,
    Part::Manifest,
    Part::Pack,
    Part::Snapshot,
    Part::TreePack,
    Part::TreeSnapshot,
];

/// What somebody or something does to a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    FirstBit,
    MiddleBit,
    LastBit,
    Zeroes,
    CutShort,
    Grown,
    Emptied,
    Deleted,
    /// The same part of an older backup, as long as this one, is put in its place.
    Older,
    /// It and the same part of an older backup change places.
    Swapped,
}

pub const HARMS: [Harm; 10] = [
    Harm::FirstBit,
    Harm::MiddleBit,
    Harm::LastBit,
    Harm::Zeroes,
    Harm::CutShort,
    Harm::Grown,
    Harm::Emptied,
    Harm::Deleted,
    Harm::Older,
    Harm::Swapped,
];

/// Levels of verification, each with the ones before it.
pub const LEVELS: [&str; 4] = ["size", "checksum", "archive", "restore"];

/// The least level that finds it; nothing if the destination stores no such part, or the tests don't do this to it.
pub fn found_by(destination: &str, part: Part, harm: Harm) -> Option<&'static str> {
    let keeps_trees = matches!(destination, "local" | "object" | "rclone" | "rsync");
    // Which bit it is, and what the bytes mean, is the same wherever they are.
    if destination != "local" && (part == Part::Sealed || harm.is_a_finer_point()) {
        return None;
    }
    match (destination, part) {
        // Compressed, another backup has another length.
        (_, Part::Sealed) if harm.needs_older() => None,
        // After a file that is gone or too short restic 0.14 looks for most of a minute, and all else is the same to it.
        ("restic", Part::Pack | Part::TreePack) => (harm == Harm::MiddleBit).then_some("checksum"),
        ("restic", Part::Snapshot | Part::TreeSnapshot) => (harm == Harm::Deleted).then_some("size"),
        ("restic", _) | (_, Part::Pack | Part::Snapshot | Part::TreePack | Part::TreeSnapshot) => None,
        (_, Part::File | Part::Index) if !keeps_trees => None,
        // To store a tree takes rclone some seconds, and what comes back is compared with the index as anywhere else.
        ("rclone", Part::File) if !matches!(harm, Harm::MiddleBit | Harm::Deleted) => None,
        ("rclone", Part::Index) if harm != Harm::MiddleBit => None,
        // It is read and compared whatever the level is.
        (_, Part::Manifest) => Some("size"),
        _ if harm.changes_length() => Some("size"),
        _ => Some("checksum"),
    }
}

impl Part {
    /// What it is called in the documentation.
    pub fn title(self) -> &'static str {
        match self {
            Part::Stream => "a stream",
            Part::Sealed => "a compressed, encrypted stream",
            Part::File => "a file of a tree",
            Part::Index => "the index of a tree",
            Part::Manifest => "the manifest",
            Part::Pack => "a pack of restic's",
            Part::Snapshot => "a snapshot of restic's",
            Part::TreePack => "a pack of restic's, of a tree",
            Part::TreeSnapshot => "a snapshot of restic's, of a tree",
        }
    }
}

impl Harm {
    /// What it is called in the documentation.
    pub fn title(self) -> &'static str {
        match self {
            Harm::FirstBit => "its first byte changes by a bit",
            Harm::MiddleBit => "a bit in the middle changes",
            Harm::LastBit => "its last byte changes by a bit",
            Harm::Zeroes => "a block becomes zeroes",
            Harm::CutShort => "it is cut short",
            Harm::Grown => "something is appended",
            Harm::Emptied => "it becomes empty",
            Harm::Deleted => "it is deleted",
            Harm::Older => "one of an older backup takes its place",
            Harm::Swapped => "it and one of an older backup are swapped",
        }
    }

    /// Whether the file is shorter or longer afterwards, or gone.
    fn changes_length(self) -> bool {
        matches!(self, Harm::CutShort | Harm::Grown | Harm::Emptied | Harm::Deleted)
    }

    /// Whether another one does the same to another place of the file.
    fn is_a_finer_point(self) -> bool {
        matches!(self, Harm::FirstBit | Harm::LastBit | Harm::Zeroes)
    }

    /// Whether it takes the same part of an older backup.
    pub fn needs_older(self) -> bool {
        matches!(self, Harm::Older | Harm::Swapped)
    }

    /// Does it to a file, so that no time tells of it. Other names of the file keep what was in it.
    pub fn happens_to(self, file: &Path, older: Option<&Path>) {
        let whole = fs::read(file).unwrap();
        let middle = whole.len() / 2;
        // The last byte of JSON is a line end, which means nothing.
        let last = whole.iter().rposition(|byte| *byte != b'\n').unwrap();
        let mut bytes = whole.clone();
        match self {
            Harm::FirstBit => bytes[0] ^= 1,
            Harm::MiddleBit => bytes[middle] ^= 1,
            Harm::LastBit => bytes[last] ^= 1,
            Harm::Zeroes => bytes[middle..middle + middle.min(512)].fill(0),
            Harm::CutShort => bytes.truncate(middle),
            Harm::Grown => bytes.push(b'x'),
            Harm::Emptied => bytes.clear(),
            Harm::Deleted => {
                let directory = file.parent().unwrap();
                let time = modified(directory);
                fs::remove_file(file).unwrap();
                return set_modified(directory, time);
            }
            Harm::Older | Harm::Swapped => bytes = fs::read(older.unwrap()).unwrap(),
        }
        assert!(bytes != whole, "{self:?} changes nothing in {}", file.display());
        if self == Harm::Swapped {
            replace(older.unwrap(), &whole);
        }
        replace(file, &bytes);
    }
}

fn replace(file: &Path, bytes: &[u8]) {
    let directory = file.parent().unwrap();
    let times = [file, directory].map(modified);
    let mode = fs::metadata(file).unwrap().permissions();
    let new = directory.join("new-content");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, mode).unwrap();
    fs::rename(&new, file).unwrap();
    set_modified(file, times[0]);
    set_modified(directory, times[1]);
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}
