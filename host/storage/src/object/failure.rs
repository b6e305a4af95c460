//! What a failure of an object store means to a person: its class, its root cause, the next step. Never a secret.

use std::error::Error as _;

use backstay_model::remote::{Remote, RemoteKind};
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error};
use opendal::ErrorKind;

use super::connect::NO_ROOM;

/// Longest answer of a server that is repeated, in characters.
const MAX_ANSWER_CHARS: usize = 300;

/// One sentence with the class and the next step. `doing` completes "cannot …".
pub(super) fn explain(remote: &Remote, secrets: &Secrets, doing: &str, error: &opendal::Error) -> Error {
    let said = said(error);
    let name = &remote.name;
    let test = format!("`backstay remote test {name}` tries it step by step");
    let (code, hint) = if error.message() == NO_ROOM
        || is_said(&said, &["QuotaExceeded", "InsufficientStorage"])
    {
        (
            Code::DiskSpace,
            "make room in the store, raise its quota, or shorten the retention".to_owned(),
        )
    } else if is_said(&said, &["RequestTimeTooSkewed"]) {
        (
            Code::Environment,
            "this machine's clock is wrong: let it follow a time server".to_owned(),
        )
    } else if error.kind() == ErrorKind::PermissionDenied
        || is_said(
            &said,
            &[
                "InvalidAccessKeyId",
                "SignatureDoesNotMatch",
                "AccessDenied",
                "ExpiredToken",
            ],
        )
    {
        (Code::Permission, refused(remote, &said))
    } else if error.kind() == ErrorKind::ConfigInvalid {
        let hint = format!(
            "check the bucket, the endpoint and the region: `backstay remote show {name}`; a remote is changed by removing and adding it"
        );
        (Code::Configuration, hint)
    } else if is_transport(error) {
        let endpoint = remote.endpoint.as_deref().unwrap_or("the store");
        (
            Code::Network,
            format!("can this machine reach {endpoint}? {test}"),
        )
    } else if error.kind() == ErrorKind::RateLimited {
        (
            Code::Network,
            "the store wants fewer requests: run fewer jobs at once, or later".to_owned(),
        )
    } else if error.kind() == ErrorKind::NotFound {
        (Code::Storage, format!("was it removed by somebody else? {test}"))
    } else {
        (Code::Storage, test)
    };
    let text = secrets.redact(&format!("cannot {doing}: {said}"));
    let explained = Error::new(code, text).hint(hint);
    // The layer that tries again marks what it gave up on, so both words mean: it may pass another time.
    let may_pass = error.is_temporary() || error.is_persistent() || error.kind() == ErrorKind::RateLimited;
    if may_pass && matches!(code, Code::Network | Code::Storage) {
        return explained.retryable();
    }
    explained
}

fn refused(remote: &Remote, said: &str) -> String {
    let (name, secret) = (&remote.name, remote.kind.secret_name());
    if said.contains("InvalidAccessKeyId") {
        return format!(
            "the store doesn't know the account of the remote: add `{name}` again with the right --account"
        );
    }
    if said.contains("SignatureDoesNotMatch") || (remote.kind == RemoteKind::Webdav && said.contains("401")) {
        return format!("the {secret} is wrong: `backstay remote secret {name}` takes the right one");
    }
    format!(
        "is the {secret} right, and may it read, write, list and delete there? `backstay remote test {name}` says which of them fails"
    )
}

/// The root cause in the words of the store, else of the system.
fn said(error: &opendal::Error) -> String {
    if is_transport(error) {
        return root_cause(error);
    }
    let message = error.message();
    // OpenDAL shows the answers of S3 as it shows any struct of its own.
    if let (Some(code), Some(text)) = (quoted(message, "code: "), quoted(message, "message: ")) {
        let said = if text.is_empty() {
            code
        } else {
            format!("{code}: {text}")
        };
        return shorten(&said);
    }
    if message.is_empty() {
        return match error.kind() {
            ErrorKind::NotFound => "it is not there".to_owned(),
            ErrorKind::PermissionDenied => "the store refused it".to_owned(),
            kind => root_cause_or(error, &format!("the store refused it ({kind})")),
        };
    }
    let text = without_tags(message);
    shorten(&if error.source().is_some() && text.len() < 60 {
        format!("{text}: {}", root_cause(error))
    } else {
        text
    })
}

/// Whether no whole answer came.
fn is_transport(error: &opendal::Error) -> bool {
    let message = error.message();
    message.starts_with("send http request")
        || message.starts_with("read data from http response")
        || message.starts_with("http response")
}

fn root_cause(error: &opendal::Error) -> String {
    root_cause_or(error, error.message())
}

fn root_cause_or(error: &opendal::Error, otherwise: &str) -> String {
    let mut cause = error.source();
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    shorten(&without_url(&last.unwrap_or_else(|| otherwise.to_owned())))
}

/// The text without the ` for url (…)` of the HTTP client: a URL may be signed.
fn without_url(text: &str) -> String {
    match text.split_once(" for url (") {
        Some((before, after)) => {
            let rest = after.split_once(')').map_or("", |(_, rest)| rest);
            format!("{before}{rest}")
        }
        None => text.to_owned(),
    }
}

/// The value of a field in the text of a struct, without its escapes.
fn quoted(text: &str, field: &str) -> Option<String> {
    let start = text.find(field)? + field.len();
    let rest = text[start..].strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(value),
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    None
}

/// What a page of a server says, without its mark-up.
fn without_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut is_tag = false;
    for c in text.chars() {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => {
                is_tag = false;
                plain.push(' ');
            }
            c if !is_tag => plain.push(if c.is_control() { ' ' } else { c }),
            _ => {}
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_said(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn shorten(text: &str) -> String {
    if text.chars().count() > MAX_ANSWER_CHARS {
        return text.chars().take(MAX_ANSWER_CHARS).chain(['…']).collect();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_is_told_without_its_wrapping() {
        let message =
            r#"S3Error { code: "NoSuchBucket", message: "no \"x\" here", resource: "", request_id: "" }"#;
        let error = opendal::Error::new(ErrorKind::ConfigInvalid, message);
        assert_eq!(said(&error), r#"NoSuchBucket: no "x" here"#);
        let page = "<html><body><h1>503</h1>\nSlow  down</body></html>";
        assert_eq!(
            said(&opendal::Error::new(ErrorKind::Unexpected, page)),
            "503 Slow down"
        );
        assert_eq!(
            without_url("error sending request for url (https://h/?X-Amz-Signature=1): refused"),
            "error sending request: refused"
        );
    }

    #[test]
    fn a_clock_that_is_wrong_is_not_told_as_a_lack_of_permission() {
        let remote = Remote {
            name: "main".to_owned(),
            kind: RemoteKind::S3,
            bucket: Some("backups".to_owned()),
            bucket_id: None,
            endpoint: None,
            region: None,
            account: Some("me".to_owned()),
            root: None,
            virtual_host_style: false,
            identity_file: None,
            known_hosts_file: None,
        };
        // As OpenDAL gives the answer 403 of Amazon.
        let refused = |code: &str| {
            let message =
                format!(r#"S3Error {{ code: "{code}", message: "no", resource: "", request_id: "" }}"#);
            let error = opendal::Error::new(ErrorKind::PermissionDenied, message);
            explain(&remote, &Secrets::new(None), "write it", &error)
        };
        let skewed = refused("RequestTimeTooSkewed");
        assert_eq!(skewed.code(), Code::Environment);
        assert!(skewed.hint_text().is_some_and(|hint| hint.contains("clock")));
        assert_eq!(refused("AccessDenied").code(), Code::Permission);
    }
}
