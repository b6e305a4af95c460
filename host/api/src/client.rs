//! Talks to the service of a data directory by its socket, for the program's other commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::Problem;
use crate::listen::connect;
use crate::problem::ENDING;

/// How long the service may take to answer. What takes it longer by its nature is waited for as long as it takes.
const LIMIT: Duration = Duration::from_secs(40);

/// The service of a data directory.
#[derive(Debug, Clone)]
pub struct Client {
    data_dir: PathBuf,
}

/// What the service answers when all is well.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether it has begun something now: it accepted what was asked, and that was not there before.
    pub is_accepted: bool,
    /// What it says.
    pub body: Value,
}

impl Client {
    /// The service, if one is there.
    ///
    /// # Errors
    /// There is one, and this user may not use it, or it is too busy for anybody.
    pub async fn find(data_dir: &Path) -> Result<Option<Self>> {
        let found = timeout(LIMIT, connect(data_dir)).await.map_err(|_| silent())??;
        Ok(found.map(|_| Client {
            data_dir: data_dir.to_owned(),
        }))
    }

    /// Asks the service to do something. With a key it is done once, however often it is asked. Nothing if the service is
    /// about to end and takes nothing new.
    ///
    /// # Errors
    /// Those of the service, as if this process had done it; or the service is gone, or doesn't answer.
    pub async fn post(&self, path: &str, key: Option<&str>) -> Result<Option<Answer>> {
        let asked = self.ask(Method::POST, path, key);
        timeout(LIMIT, asked).await.map_err(|_| silent())?
    }

    /// As [`Client::post`], for what may take long: it is waited for as long as it takes, and stops when this is dropped.
    ///
    /// # Errors
    /// As for [`Client::post`].
    pub async fn wait_for(&self, path: &str) -> Result<Option<Answer>> {
        self.ask(Method::POST, path, None).await
    }

    /// Asks the service how something is.
    ///
    /// # Errors
    /// As for [`Client::post`].
    pub async fn get(&self, path: &str) -> Result<Value> {
        let asked = self.ask(Method::GET, path, None);
        let answer = timeout(LIMIT, asked).await.map_err(|_| silent())??;
        Ok(answer.ok_or_else(gone)?.body)
    }

    async fn ask(&self, method: Method, path: &str, key: Option<&str>) -> Result<Option<Answer>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|e| Error::internal("a request can't be made").because(e))?;
        let stream = connect(&self.data_dir).await?.ok_or_else(gone)?;
        let answered = exchange(stream, request).await;
        let (status, body) = answered.map_err(|e| gone().because(e))?;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|e| Error::internal("the service doesn't answer in JSON").because(e))?;
        if status.is_success() {
            let is_accepted = status == StatusCode::ACCEPTED;
            Ok(Some(Answer { is_accepted, body }))
        } else if body["type"] == Problem::name(ENDING) {
            Ok(None)
        } else {
            Err(failure(status, &body))
        }
    }
}

async fn exchange(stream: UnixStream, request: Request<Empty<Bytes>>) -> hyper::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection moves only as long as somebody waits for it.
    let connection = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = connection => never,
    }
}

/// A name as a part of a path.
pub fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._~-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    // These would lead elsewhere.
    match text.as_str() {
        "" | "." | ".." => "%00".to_owned(),
        _ => text,
    }
}

fn gone() -> Error {
    Error::new(Code::Environment, "the service has gone away").hint("`backstay runs` shows what it has done")
}

fn silent() -> Error {
    let message = format!("the service didn't answer within {} seconds", LIMIT.as_secs());
    Error::new(Code::Environment, message)
        .hint("it may be stopped, or have too many connections; its log may say more")
}

/// The failure that a problem tells of.
fn failure(status: StatusCode, problem: &Value) -> Error {
    let code = serde_json::from_value(problem["code"].clone()).unwrap_or(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Permission,
        status if status.is_client_error() => Code::Configuration,
        _ => Code::Environment,
    });
    let detail = problem["detail"].as_str().unwrap_or("the service can't do it");
    let error = Error::new(code, detail);
    match problem["hint"].as_str() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(segment("flash-1.daily"), "flash-1.daily");
        assert_eq!(segment("a/../b?c"), "a%2F..%2Fb%3Fc");
        assert_eq!(segment("größe"), "gr%C3%B6%C3%9Fe");
        assert_eq!([segment(""), segment("..")], ["%00", "%00"]);
    }
}
