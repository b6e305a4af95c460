//! The lines of an index that some paths of its tree need.

use std::io::BufReader;
use std::sync::Arc;

use backstay_model::Result;

use crate::blocks::Blocks;
use crate::context::Context;
use crate::read::{Reading, read};
use crate::recipe::{Produced, Recipe};
use crate::tree::compare::Lines;
use crate::tree::selection::Selection;

/// The lines of the paths, of what is below them, and of the directories above.
#[derive(Debug)]
pub(crate) struct ChosenLines {
    index: Arc<dyn Recipe>,
    paths: Vec<Vec<u8>>,
}

impl ChosenLines {
    pub(crate) fn new(index: Arc<dyn Recipe>, paths: &[String]) -> Self {
        ChosenLines {
            index,
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        }
    }

    fn choose(&self, index: &mut Reading, context: &Context, out: &mut Blocks) -> Result<()> {
        // Whoever unpacks says which of them aren't there.
        let mut selection = Selection::new(&self.paths)?;
        let mut lines = Lines::new(BufReader::new(index), "stored");
        let mut text = Vec::new();
        while let Some(line) = lines.next()? {
            context.cancel.check()?;
            if selection.takes(&line.path, line.line.kind) {
                text.clear();
                line.line.write(&mut text)?;
                out.write(&text)?;
            }
        }
        Ok(())
    }
}

impl Recipe for ChosenLines {
    fn describe(&self) -> String {
        self.index.describe()
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut index = read(Arc::clone(&self.index), &context.uncounted())?;
        match self.choose(&mut index, context, out) {
            Ok(()) => index.finish().map(|_| Produced::default()),
            Err(error) => Err(index.fail(error)),
        }
    }
}
