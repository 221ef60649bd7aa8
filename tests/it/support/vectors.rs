//! Acceptance vectors: data that more cases than ours are run through.

use std::path::PathBuf;

use serde_json::Value;

/// A file of `DECLIC_VECTORS` (default: `tests/vectors/`). `None`, said on stdout, if it is not there.
#[expect(clippy::disallowed_methods, reason = "the folder of vectors is a setting of the test run, not of the service")]
pub fn vectors(name: &str) -> Option<Value> {
    let default = || concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into();
    let file: PathBuf = std::env::var_os("DECLIC_VECTORS").map_or_else(default, PathBuf::from).join(name);
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("{} is missing: nothing was checked", file.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}
