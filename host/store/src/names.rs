//! What somebody may have meant by a name that isn't there.

/// At most this many names are listed.
const SHOWN: usize = 10;

/// A hint that lists the names most like the wanted one, or else the ones that there are, or else says `none`.
pub(crate) fn suggest(wanted: &str, available: &[String], none: &str) -> String {
    let lower = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 2).clamp(1, 3);
    let mut similar: Vec<(usize, &String)> = available
        .iter()
        .filter_map(|name| {
            let name_lower = name.to_lowercase();
            let contained = !lower.is_empty() && (name_lower.contains(&lower) || lower.contains(&name_lower));
            let distance = distance(&lower, &name_lower);
            (contained || distance <= allowed).then_some((distance, name))
        })
        .collect();
    similar.sort();
    if !similar.is_empty() {
        let names: Vec<&str> = similar.iter().take(3).map(|(_, name)| name.as_str()).collect();
        return format!("did you mean {}?", names.join(" or "));
    }
    if available.is_empty() {
        return none.to_owned();
    }
    let more = available.len().saturating_sub(SHOWN);
    let mut hint = format!("there are: {}", available[..available.len() - more].join(", "));
    if more > 0 {
        hint.push_str(&format!(" and {more} more"));
    }
    hint
}

/// The least number of characters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, available: &[&str], hint: &str) {
        let available: Vec<String> = available.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(suggest(wanted, &available, "there are none"), hint);
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        check("flahs", &["flash", "zfs-tank"], "did you mean flash?");
        check("Flash", &["flash"], "did you mean flash?");
        check(
            "zfs",
            &["flash", "zfs-tank", "zfs-home"],
            "did you mean zfs-home or zfs-tank?",
        );
    }

    #[test]
    fn else_what_there_is_is_listed_up_to_a_limit() {
        check("x", &[], "there are none");
        check("documents", &["flash", "tank"], "there are: flash, tank");
        let many: Vec<String> = (0..14).map(|i| format!("job-{i:02}")).collect();
        let hint = suggest("documents", &many, "");
        assert!(hint.ends_with("job-09 and 4 more"), "{hint}");
    }
}
