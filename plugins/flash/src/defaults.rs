//! What a flash drive holds that needs a rule of its own, by default. Paths are those of Unraid 6 and 7 and of
//! widespread plugins for it.

/// Secrets, and archives that plugins fetch again: kept out of git and out of the backup.
pub const SECRETS: [&str; 26] = [
    // Passwords: of the system and of Samba.
    "/config/shadow",
    "/config/shadow-",
    "/config/smbpasswd",
    "/config/secrets.tdb",
    "/config/passdb.tdb",
    // Private keys: of the web server, of SSH, of disks.
    "/config/ssl/**/*.pem",
    "/config/ssl/**/*.key",
    "/config/ssh/**/*_key",
    "/config/ssh/**/id_*",
    "/config/*keyfile*",
    // Private keys of VPNs.
    "/config/wireguard/",
    "/config/plugins/tailscale/state/",
    "/config/plugins/tailscale/*.state",
    "/config/plugins/zerotier/**/*.secret",
    "/config/plugins/openvpn*/**/*.key",
    // Tokens of services.
    "/config/plugins/dynamix.my.servers/",
    "/config/plugins/cloudflared/**/*.json",
    "/config/plugins/rclone/.rclone.conf",
    "/config/plugins/rclone/rclone.conf",
    "/config/plugins/dynamix/smtp.cfg",
    "/config/plugins/dynamix/notifications/agents/",
    // Archives of plugins.
    "/config/plugins/**/*.tgz",
    "/config/plugins/**/*.txz",
    "/config/plugins/**/*.tar.bz2",
    "/config/plugins/**/*.tar.gz",
    "/config/plugins/**/*.tar.xz",
];

/// What git doesn't track because it would wear out the drive: the system's images and logs. The backup has it.
pub const UNTRACKED: [&str; 4] = ["/bz*", "/previous/", "/logs/", "/System Volume Information/"];

/// A file over this is named in a warning when git begins to track it, in bytes. Its every version stays in the
/// history.
pub const LARGE_FILE_BYTES: u64 = 10 << 20;
