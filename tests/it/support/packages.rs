//! The pinned packages that `scripts/test-packages` installs.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder with `npm/node_modules` and `python`.
pub fn folder() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the packages are is told to the tests, not to the service")]
    let told = std::env::var_os("DECLIC_TEST_PACKAGES");
    match told {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-packages"),
    }
}

/// A file of an installed npm package: `@octokit/openapi/generated/api.github.com.json`.
pub fn npm(path: &str) -> PathBuf {
    present(folder().join("npm/node_modules").join(path))
}

/// A discovery document of google-api-python-client: `run.v2`.
pub fn discovery(name: &str) -> Value {
    let documents = folder().join("python/googleapiclient/discovery_cache/documents");
    json(&present(documents.join(format!("{name}.json"))))
}

/// A JSON file of a package.
pub fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/test-packages (make test does) and try again", path.display());
    path
}
