//! Gives the drive's files and its history back.

use backstay_sdk::{Content, Failure, Restored, Result, Target, log, progress};

use crate::git::Git;
use crate::repository::{self, State};
use crate::{Facts, history};

/// Unpacks the files to the place that was named, or back to where they were.
///
/// # Errors
/// Something is in the way, or the data is damaged.
pub fn files(facts: &Facts, content: Content, target: &Target) -> Result<Restored> {
    let place = target.place.clone().unwrap_or_else(|| facts.path.clone());
    let report = content.unpack(&place, &target.unpack_options())?;
    if target.dry_run {
        log::info(format!(
            "would write {} entries with {} bytes to {place}",
            report.entries, report.bytes
        ));
    } else if !facts.left_out.is_empty() {
        log::info(format!(
            "what these patterns match was not in the backup, so set it anew: {}",
            facts.left_out.join(", ")
        ));
    }
    Ok(Restored {
        place,
        entries: report.entries,
        bytes: report.bytes,
    })
}

/// Makes a repository of the history: beside the files at another place, or where the git data was.
///
/// # Errors
/// There is a history already, or git fails.
pub fn history(facts: &Facts, content: Content, target: &Target) -> Result<Restored> {
    let (work_tree, git_dir) = match &target.place {
        Some(place) => (place.clone(), format!("{place}/.git")),
        None => (facts.path.clone(), facts.git_path.clone()),
    };
    let restored = Restored {
        place: git_dir.clone(),
        entries: 0,
        bytes: 0,
    };
    if !target.paths.is_empty() {
        log::info("the history is not among the paths that were asked for");
        return Ok(restored);
    }
    if target.dry_run {
        log::info(format!(
            "would restore the history up to commit {} to {git_dir}",
            facts.commit
        ));
        return Ok(restored);
    }
    progress::stage("restoring the history");
    let git = Git {
        git_dir,
        work_tree,
        ignore_case: false,
    };
    let is_taken = repository::look(&git.git_dir)? == State::Present && git.look_up("HEAD")?.is_some();
    if is_taken && !target.overwrite {
        return Err(
            Failure::configuration(format!("there is a git history at {} already", git.git_dir))
                .hint("restore to another place, move it away, or allow it to be overwritten"),
        );
    }
    repository::create(&git)?;
    let output = git.unbundle().run_with(content.into_stream()?)?;
    let output = git.check(output)?;
    let updates = updates(&output.stdout, facts);
    git.run_with(&git.set_refs(), &updates)?;
    if let Some(branch) = &facts.branch {
        git.run(&git.set_branch(branch))?;
    }
    git.run(&git.read_tree())?;
    Ok(restored)
}

/// What sets the branches and tags that a bundle names, in the form of `git update-ref --stdin`.
fn updates(listing: &str, facts: &Facts) -> String {
    let refs = listing.lines().filter_map(|line| line.split_once(' '));
    let mut updates: String = refs
        .filter(|(_, name)| name.starts_with("refs/") && !name.contains(char::is_whitespace))
        .map(|(id, name)| format!("update {name} {id}\n"))
        .collect();
    if facts.branch.is_none() {
        updates.push_str(&format!("option no-deref\nupdate HEAD {}\n", facts.commit));
    }
    updates
}

/// What a machine without Backstay runs.
pub fn recovery_command(artifact: &str, facts: &Facts) -> String {
    if artifact != history::ARTIFACT {
        return TAR.to_owned();
    }
    let head = match &facts.branch {
        Some(branch) => format!("symbolic-ref HEAD {}", backstay_sdk::shell::quote(branch)),
        None => format!("update-ref --no-deref HEAD {}", facts.commit),
    };
    format!(
        "git init -q \"$TARGET\" && cat > \"$TARGET/.git/history.bundle\" && \
         git -C \"$TARGET\" fetch -q -u .git/history.bundle '+refs/*:refs/*' && git -C \"$TARGET\" {head} && \
         git -C \"$TARGET\" read-tree HEAD && rm \"$TARGET/.git/history.bundle\""
    )
}

/// Tar's own way to do what [`files`] does.
const TAR: &str = "mkdir -p \"$TARGET\" && \
    tar --xattrs --xattrs-include='*' --numeric-owner --same-owner -xpf - -C \"$TARGET\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_and_tags_are_set_and_nothing_else() {
        let listing = "1 refs/heads/main\n1 HEAD\n2 refs/tags/v1\n3 ../x\n4 refs/a b\n";
        let facts = Facts::example();
        assert_eq!(
            updates(listing, &facts),
            "update refs/heads/main 1\nupdate refs/tags/v1 2\n"
        );
        let detached = Facts {
            branch: None,
            commit: "9".to_owned(),
            ..facts
        };
        assert_eq!(updates("", &detached), "option no-deref\nupdate HEAD 9\n");
    }
}
