//! Settings of the HTTP interface.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;

/// The HTTP interface. Its socket in the data directory is always there; this is about the network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiSettings {
    /// An address and a port, such as `127.0.0.1:1201`. Without it nothing listens on the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub listen: Option<Listen>,
    /// More names that clients may use for this host, without a port. Those of the loopback address, and the address that it
    /// listens on, are always allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Encryption. Without it, only a loopback address can be listened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
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

impl Listen {
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
        if let Some(listen) = &self.listen {
            match listen.address() {
                None => found.push(
                    Diagnostic::error(
                        "/api/listen",
                        "invalid",
                        format!("`{}` is not an address and a port", listen.0),
                    )
                    .hint("write it as in 127.0.0.1:1201 or [::1]:1201"),
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
        for (index, host) in self.hosts.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            if host.is_empty() || host == "*" || !host.chars().all(plain) {
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
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn loopback_needs_no_encryption_and_all_else_does() {
        let is_fine = |api| Settings::read(&json!({ "api": api })).is_ok();
        for listen in ["127.0.0.1:1201", "127.9.9.9:0", "[::1]:1201", "localhost:1201"] {
            assert!(is_fine(json!({ "listen": listen })), "{listen}");
        }
        let tls = json!({ "certificate": "/cert.pem", "key": "/key.pem" });
        for listen in ["0.0.0.0:1201", "192.0.2.1:1201", "[2001:db8::1]:443"] {
            assert!(!is_fine(json!({ "listen": listen })), "{listen}");
            assert!(is_fine(json!({ "listen": listen, "tls": tls })), "{listen}");
        }
    }
}
