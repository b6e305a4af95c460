//! Builds what talks to a store: its service, its HTTP client, and how it tries again.

use std::sync::OnceLock;
use std::time::Duration;

use backon::ExponentialBuilder;
use backstay_model::remote::RemoteKind;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use opendal::layers::RetryLayer;
use opendal::services::{Azblob, B2, Gcs, S3, Webdav};
use opendal::{
    Buffer, Error, ErrorKind, Executor, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator,
    Result,
};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::sync::{mpsc, watch};

use super::Access;
use super::repeat::{Background, Repeating, UploadId};

/// How long it may take until a connection is there.
const CONNECT: Duration = Duration::from_secs(15);

/// A peer that acknowledges nothing for so long is gone, whatever it was that we sent.
const SILENCE: Duration = Duration::from_secs(60);

/// The delay before the first retry; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay between retries.
const LAST_DELAY: Duration = Duration::from_secs(30);

/// The message of an error that says that the store is full.
pub(super) const NO_ROOM: &str = "HTTP 507 Insufficient Storage";

/// An operator that tries again what may pass next time: a network that failed, an answer 5xx or 429. Never another
/// answer 4xx.
pub(super) fn operator(access: &Access, retries: usize) -> Result<Operator> {
    let retry = RetryLayer::new()
        .with_jitter()
        .with_factor(2.0)
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LAST_DELAY)
        .with_max_times(retries)
        .with_notify(|_: opendal::layers::RetryEvent<'_>| ());
    let operator = service(access)?.layer(retry);
    let transport = HttpTransporter::new(Transport::new()?);
    Ok(operator.with_context(OperationContext::new().with_http_transport(transport)))
}

/// The same delays for what is tried again without OpenDAL.
pub(super) fn delays(retries: usize) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_factor(2.0)
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LAST_DELAY)
        .with_max_times(retries)
}

/// What is to be known about an upload while it waits.
pub(super) struct Signs {
    /// The first failure for good of what happens in the background.
    pub(super) failures: mpsc::Receiver<Error>,
    /// How many parts are on their way.
    pub(super) running: watch::Receiver<usize>,
    /// Which upload it is.
    pub(super) upload: UploadId,
}

/// The same operator for one upload.
pub(super) fn upload(
    operator: &Operator,
    access: &Access,
    handle: &tokio::runtime::Handle,
) -> Result<(Operator, Signs)> {
    let (transport, failures) = Repeating::new(Transport::new()?, access.clone(), delays(access.retries));
    let upload = transport.upload();
    let (background, running) = Background::new(handle.clone());
    let context = OperationContext::new()
        .with_http_transport(HttpTransporter::new(transport))
        .with_executor(Executor::with(background));
    let signs = Signs {
        failures,
        running,
        upload,
    };
    Ok((operator.clone().with_context(context), signs))
}

/// An operator that tries nothing again, with a transport of its own.
pub(super) fn once(access: &Access, transport: impl HttpTransport) -> Result<Operator> {
    let context = OperationContext::new().with_http_transport(HttpTransporter::new(transport));
    Ok(service(access)?.with_context(context))
}

fn service(access: &Access) -> Result<Operator> {
    let Access {
        remote,
        secret,
        prefix,
        storage_class,
        ..
    } = access;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let root = format!("/{}/{}", text(&remote.root), prefix);
    let secret = text(secret);
    let account = text(&remote.account);
    let bucket = text(&remote.bucket);
    let endpoint = remote.endpoint.as_deref();
    match remote.kind {
        RemoteKind::S3 => {
            // The checksum lets the store refuse what was damaged on the way, and buckets with object lock want it.
            let mut builder = S3::default()
                .root(&root)
                .bucket(&bucket)
                .region(remote.region.as_deref().unwrap_or("us-east-1"))
                .access_key_id(&account)
                .secret_access_key(&secret)
                .checksum_algorithm("crc32c")
                .disable_config_load()
                .disable_ec2_metadata();
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint(endpoint);
            }
            if remote.virtual_host_style {
                builder = builder.enable_virtual_host_style();
            }
            if let Some(class) = storage_class {
                builder = builder.default_storage_class(class);
            }
            Operator::new(builder)
        }
        RemoteKind::Gcs => {
            let mut builder = Gcs::default()
                .root(&root)
                .bucket(&bucket)
                .credential(&BASE64_STANDARD.encode(&secret))
                .disable_config_load()
                .disable_vm_metadata();
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some(class) = storage_class {
                builder = builder.default_storage_class(class);
            }
            Operator::new(builder)
        }
        RemoteKind::Azure => {
            let standard = format!("https://{account}.blob.core.windows.net");
            Operator::new(
                Azblob::default()
                    .root(&root)
                    .container(&bucket)
                    .endpoint(endpoint.unwrap_or(&standard))
                    .account_name(&account)
                    .account_key(&secret),
            )
        }
        RemoteKind::B2 => Operator::new(
            B2::default()
                .root(&root)
                .bucket(&bucket)
                .bucket_id(&text(&remote.bucket_id))
                .application_key_id(&account)
                .application_key(&secret),
        ),
        // A place of its own.
        RemoteKind::Sftp => Err(Error::new(
            ErrorKind::Unsupported,
            "an SFTP server is no object store",
        )),
        RemoteKind::Webdav => {
            let mut builder = Webdav::default()
                .root(&root)
                .endpoint(endpoint.unwrap_or_default());
            if !account.is_empty() {
                builder = builder.username(&account).password(&secret);
            }
            Operator::new(builder)
        }
    }
}

/// The client of this process: it keeps connections, and trusts what the system trusts.
pub(super) fn client() -> Result<reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // If somebody else has chosen one already, that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .tcp_keepalive(SILENCE)
        .tcp_user_timeout(SILENCE)
        .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::new(ErrorKind::ConfigInvalid, "there can be no HTTP client").set_source(e))?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// Sends requests, and gives the refusals that are no business of a retry their right name.
pub(super) struct Transport {
    client: reqwest::Client,
}

impl Transport {
    pub(super) fn new() -> Result<Self> {
        Ok(Transport { client: client()? })
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> Result<http::Response<HttpBody>> {
        let is_dav = is_dav(&request);
        let response = ReqwestTransport::new(self.client.clone()).fetch(request).await?;
        refuse(is_dav, response.status())?;
        Ok(response)
    }
}

/// Whether a request is one of WebDAV, whose refusals have no body that says more.
pub(super) fn is_dav(request: &http::Request<Buffer>) -> bool {
    let basic = request.headers().get(http::header::AUTHORIZATION);
    basic.is_some_and(|value| value.as_bytes().starts_with(b"Basic "))
        || matches!(request.method().as_str(), "PROPFIND" | "MKCOL" | "MOVE")
}

/// Turns a refusal into an error that nobody tries again.
pub(super) fn refuse(is_dav: bool, status: StatusCode) -> Result<()> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_dav => {
            Err(Error::new(ErrorKind::PermissionDenied, format!("HTTP {status}")))
        }
        StatusCode::INSUFFICIENT_STORAGE => Err(Error::new(ErrorKind::Unexpected, NO_ROOM)),
        _ => Ok(()),
    }
}
