//! The files and symbolic links of a tree, for rclone.

use std::fs::File;
use std::io::Write as _;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};

use crate::tree::compare::Lines;
use crate::tree::copy::state::State;
use crate::tree::copy::{TreeCopy, ended, failed, reader, temporary};
use crate::tree::entry::Kind;
use crate::tree::listed::{LINK_ENDING, listed};

impl TreeCopy {
    /// The paths of regular files and symbolic links, in the form that rclone reads by `--files-from-raw`, where links have
    /// the ending that its `--links` gives them.
    ///
    /// # Errors
    /// [`Code::Configuration`], naming a path that rclone would take for another, or the list can't be written.
    pub fn files(&self) -> Result<File> {
        let mut out = temporary()?;
        let mut lines = Lines::new(reader(&self.draft)?, "drafted");
        let mut states = reader(&self.states)?;
        while let Some(line) = lines.next()? {
            if line.line.carried {
                continue;
            }
            let state = State::read(&mut states)
                .map_err(|e| Error::internal("the list of a tree ends early").because(e))?;
            let ending = match line.line.kind {
                // Another name of a link is one, too.
                Kind::Symlink => LINK_ENDING,
                Kind::Hardlink if state.is_link() => LINK_ENDING,
                Kind::File => "",
                Kind::Hardlink if state.is_file() => "",
                _ => continue,
            };
            let Some(mut path) = listed(&line.path) else {
                let shown = show_bytes(&line.path);
                let message = format!("rclone would give {shown} another name");
                return Err(Error::new(Code::Configuration, message).hint(
                    "leave it out or rename it, or have the destination keep the tree as a tar stream",
                ));
            };
            path.extend_from_slice(ending.as_bytes());
            path.push(b'\n');
            out.write_all(&path).map_err(failed)?;
        }
        ended(out)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::context::Context;
    use crate::tree::copy::CopyOptions;
    use crate::tree::spec::TreeSpec;

    fn listed_in(root: &std::path::Path) -> Result<String> {
        let spec = TreeSpec::all(root)?;
        let copy = TreeCopy::scan(spec, &CopyOptions::default(), None, &Context::default())?;
        let mut text = String::new();
        copy.files()?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn files_and_links_are_listed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        fs::create_dir(root.join("empty")).unwrap();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a\nb"), "").unwrap();
        fs::hard_link(root.join("sub/a\nb"), root.join("sub/same")).unwrap();
        symlink("nowhere", root.join("link")).unwrap();
        fs::hard_link(root.join("link"), root.join("sub/link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(
            listed_in(root).unwrap(),
            "link.rclonelink\nsub/a␊b\nsub/link.rclonelink\nsub/same\n"
        );
        fs::write(root.join("sub/x.rclonelink"), "").unwrap();
        let error = listed_in(root).unwrap_err();
        assert_eq!(error.code(), Code::Configuration);
        assert!(error.to_string().contains("sub/x.rclonelink"), "{error}");
    }
}
