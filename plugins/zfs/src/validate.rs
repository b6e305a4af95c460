//! Whether the machine has what a configuration names.

use backstay_sdk::{Code, Diagnostic, Failure};

use crate::command;
use crate::config::Config;

/// At most this many datasets are named to a person who misspelt one.
const MAX_NAMED: usize = 10;

/// Looks for the dataset, and for the sending options that the job wants.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    let output = match command::list_datasets().run() {
        Ok(output) => output,
        Err(failure) => return vec![unstartable(failure)],
    };
    if !output.is_success() {
        let message = format!(
            "the datasets of this machine can't be listed: {}",
            output.complaint()
        );
        let diagnostic = Diagnostic::error("/poolName", "zfs-unavailable", message);
        return vec![
            diagnostic
                .hint("is the ZFS module loaded, or the zfs-fuse daemon running, and is the host root?"),
        ];
    }
    missing_dataset(&config.pool_name, &output.stdout)
        .into_iter()
        .chain(unknown_options(config))
        .collect()
}

fn unstartable(failure: Failure) -> Diagnostic {
    if failure.code == Code::Environment {
        Diagnostic::error("/poolName", "missing-program", failure.message)
            .hint("install ZFS, on Debian and Ubuntu `apt install zfsutils-linux`")
    } else {
        Diagnostic::from_failure("/poolName", "zfs-unavailable", failure)
    }
}

fn missing_dataset(wanted: &str, listed: &str) -> Option<Diagnostic> {
    let mut there: Vec<&str> = listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if there.contains(&wanted) {
        return None;
    }
    // Those of the same pool are the likeliest to be meant.
    let pool = |name: &str| name.split('/').next().map(str::to_owned);
    there.sort_by_key(|name| pool(name) != pool(wanted));
    let diagnostic = Diagnostic::error(
        "/poolName",
        "missing-dataset",
        format!("there is no pool or dataset `{wanted}`"),
    );
    let named = there
        .iter()
        .take(MAX_NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    Some(match there.len() {
        0 => diagnostic.hint("no pool is imported on this machine; see `zpool import`"),
        n if n > MAX_NAMED => diagnostic.hint(format!("there are {named} and {} more", n - MAX_NAMED)),
        _ => diagnostic.hint(format!("there are {named}")),
    })
}

/// Options that only OpenZFS knows, on a machine without it.
fn unknown_options(config: &Config) -> Vec<Diagnostic> {
    let wanted: Vec<&str> = [
        (config.raw, "raw"),
        (config.compressed, "compressed"),
        (config.large_blocks, "largeBlocks"),
    ]
    .into_iter()
    .filter_map(|(wanted, field)| wanted.then_some(field))
    .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    match command::version().run() {
        Err(failure) => vec![unstartable(failure)],
        Ok(output) if output.is_success() => Vec::new(),
        Ok(_) => wanted
            .into_iter()
            .map(|field| {
                let message = format!("the ZFS of this machine can't send with `{field}`");
                Diagnostic::error(format!("/{field}"), "unknown-option", message)
                    .hint("it needs OpenZFS 0.8 or newer")
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_that_is_there_is_well() {
        assert!(missing_dataset("tank/home", "tank\ntank/home\n").is_none());
    }

    #[test]
    fn a_missing_dataset_is_named_with_those_that_exist() {
        let diagnostic = missing_dataset("tank/hom", "tank\ntank/home\n").expect("missing");
        assert_eq!(
            (diagnostic.pointer.as_str(), diagnostic.code.as_str()),
            ("/poolName", "missing-dataset")
        );
        assert_eq!(diagnostic.message, "there is no pool or dataset `tank/hom`");
        assert_eq!(diagnostic.hint.as_deref(), Some("there are tank, tank/home"));
    }

    #[test]
    fn datasets_of_the_same_pool_are_named_first() {
        let hint = missing_dataset("tank/x", "a\na/b\ntank\ntank/home\n").and_then(|d| d.hint);
        assert_eq!(hint.as_deref(), Some("there are tank, tank/home, a, a/b"));
    }

    #[test]
    fn of_many_datasets_some_are_named() {
        let listed: String = (0..12).map(|n| format!("p{n}\n")).collect();
        let hint = missing_dataset("x", &listed)
            .and_then(|d| d.hint)
            .expect("a hint");
        assert_eq!(
            hint,
            "there are p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 2 more"
        );
        let hint = missing_dataset("x", "").and_then(|d| d.hint).expect("a hint");
        assert_eq!(hint, "no pool is imported on this machine; see `zpool import`");
    }

    #[test]
    fn a_missing_program_comes_with_the_way_to_install_it() {
        let diagnostic = unstartable(Failure::environment("there is no program `zfs`"));
        assert_eq!(diagnostic.code, "missing-program");
        assert!(diagnostic.hint.is_some_and(|hint| hint.contains("apt install")));
    }
}
