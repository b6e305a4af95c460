//! In which order containers are made quiet: what depends on another before that other.

use std::collections::{BTreeMap, BTreeSet};

use crate::inspect::{Container, DEPENDS_ON, OWN_DEPENDS_ON, PROJECT, SERVICE};

/// Containers in groups: those of the first can be stopped at once, then those of the second, and so on. They
/// are started the other way round. Dependencies in a circle are all in the last group.
pub fn groups(containers: Vec<Container>) -> Vec<Vec<Container>> {
    let needs: Vec<BTreeSet<usize>> = containers
        .iter()
        .map(|c| {
            let others = containers.iter().enumerate();
            let needed = others.filter(|(_, other)| other.id != c.id && depends(c, other));
            needed.map(|(index, _)| index).collect()
        })
        .collect();
    let mut left: BTreeMap<usize, Container> = containers.into_iter().enumerate().collect();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let free: Vec<usize> = left
            .keys()
            .copied()
            .filter(|index| !left.keys().any(|other| needs[*other].contains(index)))
            .collect();
        let next = if free.is_empty() {
            left.keys().copied().collect()
        } else {
            free
        };
        groups.push(next.iter().filter_map(|index| left.remove(index)).collect());
    }
    groups
}

/// Whether a container must not run without the other.
fn depends(container: &Container, other: &Container) -> bool {
    let label = |of: &Container, key: &str| of.config.labels.get(key).cloned();
    let same_project =
        label(container, PROJECT).is_some() && label(container, PROJECT) == label(other, PROJECT);
    let services = label(container, DEPENDS_ON).unwrap_or_default();
    let by_compose = same_project
        && services
            .split(',')
            .filter_map(|service| service.split(':').next())
            .any(|service| !service.is_empty() && label(other, SERVICE).as_deref() == Some(service.trim()));
    let by_label = label(container, OWN_DEPENDS_ON)
        .unwrap_or_default()
        .split(',')
        .any(|name| name.trim() == other.name);
    let host = &container.host_config;
    let by_namespace = [&host.network_mode, &host.ipc_mode, &host.pid_mode]
        .into_iter()
        .filter_map(|mode| mode.strip_prefix("container:"))
        .any(|of| of == other.id || of == other.name);
    by_compose || by_label || by_namespace || container.dependencies.contains(&other.id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn container(name: &str, more: Value) -> Container {
        let mut all = json!({ "Id": format!("id-{name}"), "Name": name, "State": { "Status": "running" }, "Config": {} });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        serde_json::from_value(all).expect("a container")
    }

    fn compose(service: &str, depends_on: &str) -> Container {
        let labels = json!({ PROJECT: "shop", SERVICE: service, DEPENDS_ON: depends_on });
        container(
            &format!("shop-{service}-1"),
            json!({ "Config": { "Labels": labels } }),
        )
    }

    fn names(groups: &[Vec<Container>]) -> Vec<Vec<&str>> {
        groups
            .iter()
            .map(|group| group.iter().map(|c| c.name.as_str()).collect())
            .collect()
    }

    #[test]
    fn dependants_are_stopped_first() {
        let ordered = groups(vec![
            compose("db", ""),
            compose("web", "db:service_healthy:false,cache:service_started:true"),
            compose("cache", ""),
            compose("proxy", "web:service_started:false"),
        ]);
        assert_eq!(
            names(&ordered),
            [
                vec!["shop-proxy-1"],
                vec!["shop-web-1"],
                vec!["shop-db-1", "shop-cache-1"]
            ]
        );
    }

    #[test]
    fn the_network_of_another_is_a_dependency() {
        let ordered = groups(vec![
            container("vpn", json!({})),
            container(
                "a",
                json!({ "HostConfig": { "NetworkMode": "container:id-vpn" } }),
            ),
            container("b", json!({ "Dependencies": ["id-a"] })),
            container(
                "c",
                json!({ "Config": { "Labels": { OWN_DEPENDS_ON: "x, vpn" } } }),
            ),
        ]);
        assert_eq!(names(&ordered), [vec!["b", "c"], vec!["a"], vec!["vpn"]]);
    }

    #[test]
    fn a_service_of_the_same_name_in_another_project_is_no_dependency() {
        let labels = json!({ PROJECT: "other", SERVICE: "db" });
        let other = container("other-db-1", json!({ "Config": { "Labels": labels } }));
        assert_eq!(groups(vec![other, compose("web", "db")]).len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_labels_say_every_container_is_there_once(labels in prop::collection::vec("[abc,:]{0,6}", 1..5)) {
            let all: Vec<Container> = labels.iter().enumerate()
                .map(|(n, l)| compose(["a", "b", "c", "d"][n], l)).collect();
            let mut found: Vec<String> = groups(all.clone()).into_iter().flatten().map(|c| c.id).collect();
            found.sort();
            prop_assert_eq!(found, all.into_iter().map(|c| c.id).collect::<Vec<_>>());
        }
    }
}
