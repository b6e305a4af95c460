//! Settings of the HTTP interface.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// The HTTP interface. Its socket in the data directory is always there; this is about the network and browsers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiSettings {
    /// An address and a port, such as `127.0.0.1:1201`, or `none` to listen on nothing but the socket.
    #[schemars(with = "String")]
    pub listen: Listen,
    /// More names that clients may use for this host, without a port. Those of the loopback address, and the address that it
    /// listens on, are always allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Encryption. Without it, only a loopback address can be listened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// How long browsers stay logged in.
    pub sessions: SessionSettings,
}

/// How long browsers stay logged in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SessionSettings {
    /// A session that isn't used for this long ends. At least a minute.
    pub idle: Span,
    /// A session ends after this long, however much it is used.
    pub absolute: Span,
}

impl Default for SessionSettings {
    fn default() -> Self {
        SessionSettings {
            idle: Span::seconds(8 * 3600),
            absolute: Span::seconds(7 * 24 * 3600),
        }
    }
}

impl SessionSettings {
    fn check(&self, found: &mut Vec<Diagnostic>) {
        if self.idle < Span::seconds(60) {
            found.push(
                Diagnostic::error("/api/sessions/idle", "out-of-range", "it is less than a minute")
                    .hint("the default is 8h"),
            );
        }
        if self.absolute < self.idle {
            found.push(
                Diagnostic::error(
                    "/api/sessions/absolute",
                    "out-of-range",
                    "it is less than `idle`, which then has no effect",
                )
                .hint("the default is 7d"),
            );
        }
    }
}

/// Where the certificate and its key are, as PEM files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate, with those that lead to its authority. Absolute.
    pub certificate: PathBuf,
    /// Its private key. Absolute.
    pub key: PathBuf,
}

/// Where to listen, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Listen(String);

/// The word for nothing but the socket.
const NONE: &str = "none";

impl Default for Listen {
    fn default() -> Self {
        Listen("127.0.0.1:1201".to_owned())
    }
}

impl Listen {
    /// Whether nothing is to be listened on but the socket.
    pub fn is_none(&self) -> bool {
        self.0 == NONE
    }

    /// The address, if it is one: names are not looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.0.strip_prefix("localhost:") {
            Some(port) => Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port.parse().ok()?)),
            None => self.0.parse().ok(),
        }
    }
}

impl ApiSettings {
    pub(super) fn check(&self, found: &mut Vec<Diagnostic>) {
        let listen = &self.listen;
        if !listen.is_none() {
            match listen.address() {
                None => found.push(
                    Diagnostic::error(
                        "/api/listen",
                        "invalid",
                        format!("`{}` is not an address and a port", listen.0),
                    )
                    .hint("write it as in 127.0.0.1:1201 or [::1]:1201; `none` is for nothing but the socket"),
                ),
                Some(address) if !address.ip().is_loopback() && self.tls.is_none() => found.push(
                    Diagnostic::error(
                        "/api/listen",
                        "not-encrypted",
                        format!("{address} can be reached from other machines, and tokens would go there unencrypted"),
                    )
                    .hint("give a certificate and its key with `api.tls`, or listen on 127.0.0.1 behind a proxy that encrypts"),
                ),
                Some(_) => {}
            }
        }
        self.sessions.check(found);
        for (index, host) in self.hosts.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            let port = host
                .rsplit_once(':')
                .filter(|_| host.parse::<Ipv6Addr>().is_err());
            if let Some((name, port)) = port
                && !name.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
            {
                found.push(
                    Diagnostic::error(
                        format!("/api/hosts/{index}"),
                        "has-port",
                        format!("`{host}` has a port, and names are compared without theirs"),
                    )
                    .hint(format!("write `{name}`: it holds for every port")),
                );
            } else if host.is_empty() || host == "*" || !host.chars().all(plain) {
                found.push(
                    Diagnostic::error(
                        format!("/api/hosts/{index}"),
                        "invalid",
                        format!("`{host}` is no name of a host"),
                    )
                    .hint("write it as in a browser's address, without scheme and port: backup.example.org"),
                );
            }
        }
    }

    /// The files that are named, each with its pointer.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        self.tls.iter().flat_map(|tls| {
            [
                ("/api/tls/certificate", &tls.certificate),
                ("/api/tls/key", &tls.key),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::settings::Settings;

    #[test]
    fn what_would_be_unsafe_or_makes_no_sense_is_refused() {
        let said = |api| Settings::read(&json!({ "api": api })).unwrap_err().report();
        let all = [
            said(json!({ "listen": "0.0.0.0:1201" })),
            said(json!({ "listen": "1201", "hosts": ["*", "https://backup"] })),
            said(json!({ "listen": "[::]:1201", "tls": { "certificate": "cert.pem", "key": "/key.pem" } })),
            said(json!({ "lisen": "127.0.0.1:1201" })),
            said(json!({ "hosts": ["backup.example.org:1201", "[::1]:1201", "::1", "backup.example.org"] })),
            said(json!({ "sessions": { "idle": "30s", "absolute": "10s" } })),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn loopback_needs_no_encryption_and_all_else_does() {
        let is_fine = |api| Settings::read(&json!({ "api": api })).is_ok();
        for listen in [
            "127.0.0.1:1201",
            "127.9.9.9:0",
            "[::1]:1201",
            "localhost:1201",
            "none",
        ] {
            assert!(is_fine(json!({ "listen": listen })), "{listen}");
        }
        let tls = json!({ "certificate": "/cert.pem", "key": "/key.pem" });
        for listen in ["0.0.0.0:1201", "192.0.2.1:1201", "[2001:db8::1]:443"] {
            assert!(!is_fine(json!({ "listen": listen })), "{listen}");
            assert!(is_fine(json!({ "listen": listen, "tls": tls })), "{listen}");
        }
    }
}
