//! Acceptance vectors: data that more cases than ours are run through.

use std::path::PathBuf;

use serde_json::Value;

/// The folder in `DECLIC_VECTORS`, which must be there.
#[expect(clippy::disallowed_methods, reason = "the folder of vectors is a setting of the test run, not of the service")]
fn given() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("DECLIC_VECTORS")?);
    assert!(folder.is_dir(), "DECLIC_VECTORS is {}, and there is no such folder", folder.display());
    Some(folder)
}

/// `DECLIC_VECTORS`, or our own.
fn folder() -> PathBuf {
    given().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into())
}

/// A file of the folder. `None`, said on stdout, if it is not in a folder that was given; ours are all there.
pub fn vectors(name: &str) -> Option<Value> {
    let file = folder().join(name);
    let Ok(text) = std::fs::read_to_string(&file) else {
        assert!(given().is_some(), "{} is missing", file.display());
        println!("{} is missing: nothing was checked", file.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Names of the files with cases of providers: all without a leading underscore, in order.
pub fn provider_files() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json") && !name.starts_with('_')).collect();
    names.sort();
    names
}
