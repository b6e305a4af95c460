//! A flash drive as an Unraid server boots from it, made up from what real ones hold, with secrets to be looked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::fail::{OrFail, in_drop};
use crate::tools;

/// Files that hold a secret, each a text of its own that is nowhere else.
pub const SECRETS: [(&str, &str); 12] = [
    ("config/shadow", "root:$5$sEcReT-shadow-hash:19700:0:99999:7:::\n"),
    ("config/smbpasswd", "anna:1001:sEcReT-samba-hash:[U]:LCT-1:\n"),
    ("config/secrets.tdb", "TDB file\nsEcReT-machine-account\n"),
    (
        "config/wireguard/wg0.conf",
        "[Interface]\nPrivateKey=sEcReT-wireguard-server=\n",
    ),
    (
        "config/wireguard/peers/peer-tower-wg0-1.conf",
        "PrivateKey=sEcReT-wireguard-peer=\n",
    ),
    (
        "config/plugins/tailscale/state/tailscaled.state",
        "{\"_machinekey\":\"sEcReT-tailscale-key\"}\n",
    ),
    (
        "config/plugins/dynamix.my.servers/myservers.cfg",
        "[remote]\napikey=\"sEcReT-connect-key\"\n",
    ),
    (
        "config/plugins/rclone/.rclone.conf",
        "[s3]\nsecret_access_key = sEcReT-s3-key\n",
    ),
    (
        "config/ssh/ssh_host_ed25519_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nsEcReT-host-key\n",
    ),
    (
        "config/ssh/root/id_ed25519",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nsEcReT-user-key\n",
    ),
    (
        "config/ssl/certs/Tower_unraid_bundle.pem",
        "-----BEGIN PRIVATE KEY-----\nsEcReT-web-key\n",
    ),
    (
        "config/plugins/community.applications/community.applications-2026.11.01-x86_64-1.txz",
        "sEcReT-no-but-an-archive\n",
    ),
];

/// Files that git doesn't track by default, and that a drive can't boot without.
pub const IMAGES: [&str; 4] = ["bzimage", "bzroot", "bzmodules", "bzfirmware"];

const TEXTS: [(&str, &str); 18] = [
    ("changes.txt", "# Version 7.1.4\n- fixes\n"),
    ("license.txt", "Unraid OS\n"),
    ("startup.nsh", "\\EFI\\boot\\bootx64.efi\r\n"),
    ("make_bootable.bat", "@ECHO OFF\r\n"),
    ("EFI/boot/bootx64.efi", "MZ-not-really\n"),
    ("EFI/boot/syslinux.cfg", "default menu.c32\n"),
    (
        "syslinux/syslinux.cfg",
        "default menu.c32\nlabel Unraid OS\n  kernel /bzimage\n  append initrd=/bzroot\n",
    ),
    ("syslinux/ldlinux.c32", "\u{7f}ELF-not-really\n"),
    (
        "config/ident.cfg",
        "# Generated settings:\r\nNAME=\"Tower\"\r\ntimeZone=\"Europe/Berlin\"\r\nUSE_SSL=\"auto\"\r\n",
    ),
    ("config/disk.cfg", "startArray=\"yes\"\r\nspindownDelay=\"0\"\r\n"),
    (
        "config/network.cfg",
        "IFNAME[0]=\"br0\"\r\nDHCP_KEEPRESOLV=\"no\"\r\n",
    ),
    ("config/go", "#!/bin/bash\n/usr/local/sbin/emhttp\n"),
    ("config/passwd", "root:x:0:0:Console:/root:/bin/bash\n"),
    ("config/shares/appdata.cfg", "shareUseCache=\"only\"\r\n"),
    ("config/pools/cache.cfg", "diskFsType=\"zfs\"\r\n"),
    (
        "config/plugins/community.applications.plg",
        "<?xml version='1.0'?>\n",
    ),
    (
        "config/plugins/dockerMan/templates-user/my-Plex.xml",
        "<?xml version=\"1.0\"?>\n<Container><Name>Plex</Name></Container>\n",
    ),
    (
        "config/ssh/ssh_host_ed25519_key.pub",
        "ssh-ed25519 AAAA root@Tower\n",
    ),
];

/// Fills a directory, which must exist, with such a drive.
///
/// # Panics
/// A file can't be written.
#[track_caller]
pub fn fill(directory: &Path) {
    for (name, text) in TEXTS.iter().chain(&SECRETS) {
        write(directory, name, text.as_bytes());
    }
    for (number, name) in IMAGES.iter().enumerate() {
        let image = crate::tree::noise(300_000, number as u64);
        write(directory, name, &image);
        write(
            directory,
            &format!("{name}.sha256"),
            format!("{number:064}\n").as_bytes(),
        );
    }
    write(directory, "previous/bzimage", &crate::tree::noise(50_000, 9));
    write(directory, "logs/syslog-previous", b"Nov 21 Tower kernel: up\n");
    // What is no text: the array's disks, and the licence.
    write(directory, "config/super.dat", &crate::tree::noise(4096, 7));
    write(directory, "config/Pro.key", &crate::tree::noise(256, 8));
    std::fs::create_dir_all(directory.join("config/plugins-error")).or_fail("make an empty directory");
}

/// Writes a file of a drive, with the directories above it.
///
/// # Panics
/// It can't be written.
#[track_caller]
pub fn write(directory: &Path, name: &str, content: &[u8]) {
    let path = directory.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).or_fail(format!("make {}", parent.display()));
    }
    std::fs::write(&path, content).or_fail(format!("write {}", path.display()));
}

/// A real FAT file system in a file, mounted by FUSE and unmounted when dropped. It has no owners, modes or links, and
/// doesn't tell letters by their case.
///
/// What this driver can't do, unlike the kernel's: `chmod`, which git wants for its own files.
#[derive(Debug)]
pub struct FatDisk {
    directory: TempDir,
}

impl FatDisk {
    /// Makes and mounts an empty one of some megabytes.
    ///
    /// # Panics
    /// A tool is missing, or it can't be mounted.
    #[track_caller]
    pub fn mount(size_bytes: u64) -> Self {
        tools::require_root("to mount a FAT file system");
        tools::require(&["fusefat", "mkfs.vfat"]);
        let directory = tempfile::Builder::new()
            .prefix("backstay-fat-")
            .tempdir()
            .or_fail("make a directory for a FAT file system");
        let image = directory.path().join("image");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(size_bytes))
            .or_fail("make an image");
        run(Command::new("mkfs.vfat").arg(&image));
        let disk = FatDisk { directory };
        std::fs::create_dir(disk.path()).or_fail("make a mount point");
        run(Command::new("fusefat")
            .args(["-o", "rw+"])
            .arg(&image)
            .arg(disk.path()));
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("drive")
    }
}

impl Drop for FatDisk {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH) {
            in_drop(&format!("can't unmount {}: {error}", self.path().display()));
        }
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let shown = format!("{command:?}");
    // What it leaves running must not keep a pipe of ours open.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.or_fail(format!("run {shown}")).success(), "{shown} failed");
}
