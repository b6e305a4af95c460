//! What configurations of tools around restic have in common: a repository with its password and its environment.

use serde_json::{Map, Value, json};

use super::report::Report;

/// Variables that restic is given as they are; others of the known ones only as secrets.
const PLAIN: [&str; 13] = [
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "B2_ACCOUNT_ID",
    "AZURE_ACCOUNT_NAME",
    "GOOGLE_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "OS_AUTH_URL",
    "OS_REGION_NAME",
    "OS_USERNAME",
    "OS_TENANT_NAME",
    "OS_PROJECT_NAME",
    "OS_USER_DOMAIN_NAME",
    "OS_PROJECT_DOMAIN_NAME",
];

const SECRET: [&str; 9] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "B2_ACCOUNT_KEY",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
    "GOOGLE_ACCESS_TOKEN",
    "OS_PASSWORD",
    "ST_KEY",
    "RESTIC_REST_PASSWORD",
];

/// A repository as the destination of a job.
pub struct Repository<'a> {
    /// What its secrets are named after.
    pub name: &'a str,
    /// Where it is.
    pub url: &'a str,
    /// Its variables.
    pub environment: Vec<(String, String)>,
    /// Where the variables are in the configuration.
    pub environment_at: &'a str,
    /// More tags for each snapshot.
    pub tags: Vec<String>,
    /// Whether it may be made.
    pub init: bool,
}

impl Repository<'_> {
    /// The destination. `at` is where the repository is in the configuration.
    pub fn destination(&self, at: &str, report: &mut Report) -> Value {
        let mut config = Map::new();
        let url = self.url.strip_prefix("local:").unwrap_or(self.url);
        // A user or a password in it would be shown in command lines.
        let (url, has_user) = without_user(url);
        if has_user {
            report.left(at, "the user and the password in the repository's URL");
            report.note(at, "give them as secrets: `environmentSecrets: { RESTIC_REST_USERNAME: …, RESTIC_REST_PASSWORD: … }`");
        }
        config.insert("repository".to_owned(), json!(url));
        let password = report.secret(
            &format!("{}-password", self.name),
            "the password of the restic repository",
        );
        config.insert("passwordSecret".to_owned(), json!(password));
        if self.init {
            config.insert("init".to_owned(), json!(true));
        }
        if !self.tags.is_empty() {
            config.insert("tags".to_owned(), json!(self.tags));
        }
        let (mut plain, mut secret) = (Map::new(), Map::new());
        for (name, value) in &self.environment {
            if PLAIN.contains(&name.as_str()) {
                plain.insert(name.clone(), json!(value));
            } else if SECRET.contains(&name.as_str()) {
                let kept = report.secret(
                    &format!("{}-{}", self.name, name.to_ascii_lowercase().replace('_', "-")),
                    &format!("the value of {name}"),
                );
                secret.insert(name.clone(), json!(kept));
            } else if !matches!(name.as_str(), "RESTIC_PASSWORD" | "RESTIC_REPOSITORY") {
                report.left(
                    self.environment_at,
                    format!("the variable {name}: restic isn't given it"),
                );
            }
        }
        for (key, map) in [("environment", plain), ("environmentSecrets", secret)] {
            if !map.is_empty() {
                config.insert(key.to_owned(), Value::Object(map));
            }
        }
        report.note(
            at,
            "snapshots that are in the repository stay, and are neither listed nor deleted by Backstay",
        );
        json!({ "plugin": "restic", "config": config })
    }
}

fn without_user(url: &str) -> (String, bool) {
    if url.starts_with("sftp:") {
        return (url.to_owned(), false);
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), false);
    };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
    match authority.rsplit_once('@') {
        None => (url.to_owned(), false),
        Some((_, host)) => {
            let path = path.map(|path| format!("/{path}")).unwrap_or_default();
            (format!("{scheme}://{host}{path}"), true)
        }
    }
}
