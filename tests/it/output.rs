//! What commands write, when nobody reads it or nothing takes it.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::binary::{command, declic};

const COMMANDS: &[&[&str]] = &[
    &["check"],
    &["test"],
    &["check", "--format", "json"],
    &["schema", "rules"],
    &["runs", "list"],
    &["deliveries", "list"],
    &["completions", "bash"],
];

/// A folder with settings, a rule and a store.
fn started() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(declic(folder.path(), &["init", "."]).status.success());
    folder
}

fn to_a_closed_pipe(folder: &Path, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command(folder, arguments).stdout(writer).stderr(Stdio::piped()).output().expect("the command starts")
}

#[test]
fn a_reader_who_has_gone_away_ends_a_command_quietly() {
    let folder = started();
    for arguments in COMMANDS {
        // A command that cannot do its work says so before it writes anything.
        if declic(folder.path(), arguments).stdout.is_empty() {
            continue;
        }
        let output = to_a_closed_pipe(folder.path(), arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        assert!(!complaint.contains("panicked"), "{arguments:?}: {complaint}");
    }
}

#[test]
fn a_full_disk_does_not_go_unnoticed() {
    let Ok(mut full) = OpenOptions::new().read(true).write(true).open("/dev/full") else {
        println!("there is no /dev/full here: nothing was tested");
        return;
    };
    assert_eq!(full.read(&mut [0]).ok(), Some(1));
    let folder = started();
    for arguments in [&["check"][..], &["schema", "rules"], &["completions", "bash"]] {
        let stdout = full.try_clone().expect("a second handle");
        let output = command(folder.path(), arguments).stdout(stdout).stderr(Stdio::piped()).output().expect("it starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complaint}");
        assert!(complaint.contains("declic: the output cannot be written: No space left"), "{arguments:?}: {complaint}");
    }
}
