//! The command line of `backstay remote`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What to do with remotes.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Make an object store known
    ///
    /// Its secret (a key, a password) is never given on the command line, where others could see it: it comes from a
    /// file, from standard input, or is asked for. It is kept encrypted.
    Add(RemoteAdd),
    /// List remotes
    List,
    /// Show a remote, without its secret
    Show {
        /// Its name
        name: String,
    },
    /// Give a remote another secret, also while jobs name it
    Secret {
        /// Its name
        name: String,
        /// Where the secret comes from
        #[command(flatten)]
        from: SecretFrom,
    },
    /// Write, read, list and delete a small object, and say what fails
    Test {
        /// Its name
        name: String,
    },
    /// Forget a remote and its secret; what is stored in it stays
    Rm {
        /// Its name
        name: String,
    },
}

/// What speaks at the other end.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RemoteType {
    /// Amazon S3, and what is compatible with it: MinIO, R2, Wasabi, Garage, B2 and others
    S3,
    /// Google Cloud Storage
    Gcs,
    /// Azure Blob Storage
    Azure,
    /// Backblaze B2 by its own interface
    B2,
    /// A WebDAV server, such as Nextcloud
    Webdav,
    /// An SFTP server, by this system's ssh
    Sftp,
}

/// Make an object store known.
#[derive(Debug, clap::Args)]
pub struct RemoteAdd {
    /// Name by which jobs know it
    pub name: String,
    /// What it is
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub kind: RemoteType,
    /// Bucket; for azure the container
    #[arg(long, visible_alias = "container")]
    pub bucket: Option<String>,
    /// B2's id of the bucket
    #[arg(long, value_name = "ID")]
    pub bucket_id: Option<String>,
    /// URL of the server, for sftp sftp://HOST:PORT; without it, that of the provider
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of an S3 bucket
    #[arg(long)]
    pub region: Option<String>,
    /// Who signs in: S3's access key id, Azure's account, B2's application key id, the user of a WebDAV or SFTP server
    #[arg(long, visible_alias = "access-key-id", visible_alias = "user")]
    pub account: Option<String>,
    /// Directory within the bucket or on the server, below which everything is kept; on an SFTP server it must be there
    #[arg(long, value_name = "PATH")]
    pub root: Option<String>,
    /// S3: put the bucket before the host's name instead of into the path
    #[arg(long)]
    pub virtual_host_style: bool,
    /// SFTP: file with the private key, which stays where it is, instead of a secret
    #[arg(long, value_name = "FILE")]
    pub identity_file: Option<String>,
    /// SFTP: file with the keys of known hosts, instead of those of ssh
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<String>,
    /// Where its secret comes from
    #[command(flatten)]
    pub secret: SecretFrom,
}

/// Where a secret comes from, if it isn't asked for.
#[derive(Debug, clap::Args)]
pub struct SecretFrom {
    /// Read the secret from a file
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    pub secret_from_file: Option<PathBuf>,
    /// Read the secret from standard input
    #[arg(long)]
    pub secret_stdin: bool,
}
