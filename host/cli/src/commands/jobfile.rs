//! Job files: YAML or JSON, one job or several.

use std::io::Read as _;
use std::path::Path;

use backstay_model::{Code, Error, Result};
use serde_json::Value;

/// Reads the jobs of a file, or of standard input for `-`, as they were written.
///
/// # Errors
/// It can't be read, isn't YAML or JSON, or holds no job.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    let name = path.display();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    }
    .map_err(|e| {
        Error::io_as(Code::Configuration, "read the job file", path, e).with_code(Code::Configuration)
    })?;
    let wrong = |e: String| {
        Error::new(
            Code::Configuration,
            format!("{name} is not valid YAML or JSON: {e}"),
        )
        .hint("check the indentation and the quotes at that place")
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|e| wrong(e.to_string()))?;
    let mut jobs = Vec::new();
    for document in documents {
        match document {
            Value::Array(several) => jobs.extend(several),
            Value::Null => {}
            one => jobs.push(one),
        }
    }
    if jobs.is_empty() {
        return Err(Error::new(Code::Configuration, format!("{name} holds no job")));
    }
    Ok(jobs)
}
