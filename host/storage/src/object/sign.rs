//! Signs the requests that are made or repeated without OpenDAL.
//!
//! A signature of S3 or Azure is good for a quarter of an hour. A large part may take longer than that to fail, so a
//! repeat needs a new one.

use backstay_model::remote::RemoteKind;
use http::header;
use http::request::Parts;
use opendal::{Error, ErrorKind, Result};
use reqsign_aws_v4::{RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};

use super::Access;

/// Headers that an earlier signature came with.
const EARLIER: [&str; 4] = ["authorization", "host", "x-amz-date", "x-ms-date"];

/// Signs a request, anew if it was signed before. Stores whose requests bear no signature get them as they are.
pub(super) async fn sign(access: &Access, head: &mut Parts) -> Result<()> {
    let account = access.remote.account.as_deref().unwrap_or_default();
    let secret = access.secret.as_deref().unwrap_or_default();
    if !matches!(access.remote.kind, RemoteKind::S3 | RemoteKind::Azure) {
        return Ok(());
    }
    for name in EARLIER {
        head.headers.remove(name);
    }
    let signed = if access.remote.kind == RemoteKind::S3 {
        let region = access.remote.region.as_deref().unwrap_or("us-east-1");
        let credential = StaticCredentialProvider::new(account, secret);
        let signer = Signer::new(Context::new(), credential, RequestSigner::new("s3", region));
        signer.sign(head, None).await
    } else {
        let credential = reqsign_azure_storage::StaticCredentialProvider::new_shared_key(account, secret);
        let signer = reqsign_azure_storage::RequestSigner::new();
        Signer::new(Context::new(), credential, signer)
            .sign(head, None)
            .await
    };
    // Its text may hold what was signed.
    signed.map_err(|_| Error::new(ErrorKind::Unexpected, "a request can't be signed"))?;
    // The client sets it as the protocol wants it.
    head.headers.remove(header::HOST);
    Ok(())
}
