//! Which files of which places are copied, by the switches that are on.

use crate::config::Config;
use crate::items::{Collector, ITEMS, PLACES, PRIVATE, STATUS_FILES};

/// One place to copy.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    /// The first collector that wants it.
    pub collector: Collector,
    /// One of [`PLACES`].
    pub place: &'static str,
    /// Patterns of what to take; without any, everything.
    pub include: Vec<String>,
    /// Patterns of what to leave out.
    pub exclude: Vec<String>,
}

/// What to copy for these collectors.
pub fn copies(config: &Config, collectors: &[Collector]) -> Vec<Copy> {
    PLACES
        .iter()
        .filter_map(|(place, _)| copy_of(config, collectors, place))
        .collect()
}

fn copy_of(config: &Config, collectors: &[Collector], place: &'static str) -> Option<Copy> {
    let of_place = |item: &crate::items::Item| {
        let files = item.files.iter().map(|f| f.path);
        files
            .filter(|path| is_at_or_below(path, place))
            .collect::<Vec<_>>()
    };
    let mut first = None;
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for collector in collectors {
        let items = || ITEMS.iter().filter(|item| item.collector == *collector);
        let on: Vec<&str> = items()
            .filter(|item| (item.is_on)(config))
            .flat_map(of_place)
            .collect();
        if !on.is_empty() {
            first.get_or_insert(*collector);
        }
        // What is switched off in something that is on.
        let off = items().filter(|item| !(item.is_on)(config)).flat_map(of_place);
        exclude.extend(off.filter(|path| on.iter().any(|wider| is_at_or_below(path, wider))));
        include.extend(on);
    }
    let collector = first?;
    if include.contains(&place) {
        include.clear();
    }
    exclude.extend(STATUS_FILES.iter().filter(|path| is_at_or_below(path, place)));
    if !config.private_keys {
        exclude.extend(PRIVATE.iter().filter(|path| is_at_or_below(path, place)));
    }
    let patterns = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let exclude = patterns(exclude)
        .into_iter()
        .chain(config.exclude.iter().cloned())
        .collect();
    Some(Copy {
        collector,
        place,
        include: patterns(include),
        exclude,
    })
}

/// Whether a path lies in a place.
pub fn is_at_or_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is taken of one place.
    #[track_caller]
    fn check(config: Value, place: &str, expected: Option<(Collector, &[&str], &[&str])>) {
        let config: Config = serde_json::from_value(config).expect("a configuration");
        let found = copies(&config, &Collector::ALL)
            .into_iter()
            .find(|copy| copy.place == place);
        let found = found.as_ref().map(|copy| {
            let texts = |all: &'_ [String]| all.iter().map(|p| p.clone().leak() as &str).collect::<Vec<_>>();
            let exclude = texts(&copy.exclude);
            let exclude: Vec<&str> = exclude
                .into_iter()
                .filter(|p| !STATUS_FILES.contains(p))
                .collect();
            (copy.collector, texts(&copy.include), exclude)
        });
        assert_eq!(
            found,
            expected.map(|(c, include, exclude)| (c, include.to_vec(), exclude.to_vec()))
        );
    }

    #[test]
    fn everything_on_takes_whole_places() {
        check(json!({}), "/etc/pve", Some((Collector::Pve, &[], &[])));
        check(json!({}), "/etc/network", Some((Collector::Pve, &[], &[])));
        check(json!({}), "/etc/cron.d", Some((Collector::System, &[], &[])));
    }

    #[test]
    fn an_item_that_is_off_is_left_out_of_one_that_is_on() {
        check(
            json!({ "pve": { "firewall": false } }),
            "/etc/pve",
            Some((
                Collector::Pve,
                &[],
                &["/etc/pve/firewall", "/etc/pve/nodes/*/host.fw"],
            )),
        );
        check(
            json!({ "pbs": { "tape": false }, "exclude": ["*.bak"] }),
            "/etc/proxmox-backup",
            Some((Collector::Pbs, &[], &["/etc/proxmox-backup/tape.cfg", "*.bak"])),
        );
    }

    #[test]
    fn an_item_that_is_on_is_taken_from_a_place_that_is_off() {
        let only = json!({ "pve": { "clusterConfig": false, "corosyncConfig": false, "firewall": false,
            "containerConfigs": false } });
        check(
            only,
            "/etc/pve",
            Some((
                Collector::Pve,
                &[
                    "/etc/pve/qemu-server/*.conf",
                    "/etc/pve/nodes/*/qemu-server/*.conf",
                ],
                &[],
            )),
        );
        let none = json!({ "pve": { "clusterConfig": false, "corosyncConfig": false, "firewall": false,
            "containerConfigs": false, "vmConfigs": false } });
        check(none, "/etc/pve", None);
    }

    #[test]
    fn what_one_collector_leaves_out_another_may_take() {
        check(
            json!({ "system": { "network": false } }),
            "/etc/network",
            Some((Collector::Pve, &[], &[])),
        );
        check(
            json!({ "pve": { "network": false }, "pbs": { "network": false } }),
            "/etc/network",
            Some((Collector::System, &["/etc/network/interfaces"], &[])),
        );
    }

    #[test]
    fn without_private_keys_the_database_that_holds_them_is_left_out() {
        check(
            json!({ "privateKeys": false }),
            "/var/lib/pve-cluster",
            Some((Collector::Pve, &[], &["/var/lib/pve-cluster"])),
        );
    }
}
