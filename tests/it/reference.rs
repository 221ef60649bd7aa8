//! The generated reference is what the lists say.

use std::path::Path;

use crate::support::binary::declic;

#[test]
fn the_reference_is_up_to_date() {
    let output = declic(Path::new(env!("CARGO_MANIFEST_DIR")), &["reference", "--check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\nrun `cargo run -- reference` and commit docs/reference");
}
