//! The fuzz targets' own functions over the committed corpus and a few seconds of mutations; `make fuzz` goes on for minutes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// How long each target is fed with mutations: `DECLIC_FUZZ_SECONDS`, or 2 seconds.
#[expect(clippy::disallowed_methods, reason = "how long it goes on is told to the test run, not to the service")]
fn time() -> Duration {
    let told = std::env::var("DECLIC_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(told.unwrap_or(2))
}

/// Longer inputs are cut: many small ones find more.
const LONGEST: usize = 4096;

/// Pieces of the languages, so that mutations get past the first character.
const PIECES: &[&str] = &[
    "${{",
    "}}",
    "event.",
    "payload",
    " ?? ",
    "&&",
    "||",
    "==",
    "\"",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n  ",
    "\n",
    "#",
    "|",
    ">",
    "*",
    "**",
    "?",
    "+",
    "!",
    "\\",
    "/",
    ".matches(",
    "map(x, x)",
    "if(true, 1, 2)",
    "null",
    "-9223372036854775808",
    "1e400",
    "\u{feff}",
    "\u{1f9c0}",
    "&a",
    "*a",
    "<<",
    "!!str",
    "---",
    "\t",
    "\r\n",
    "%",
    "on:",
    "rules:",
    "version: 1",
    "[a-",
    "[^",
    "sha256=",
    ",v1=",
    "v1,",
    "t=1800000000",
    "Bearer ",
    "eyJhbGciOiJub25lIn0.",
    "=",
    "&",
    "%41",
    "%ff",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

fn mutated(random: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let to = (at + random.random_range(0..16)).min(bytes.len());
        match random.random_range(0..5) {
            0 => drop(bytes.drain(at..to)),
            1 => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            2 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.random();
                }
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn feed(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "{name}: {} inputs", corpus.len());
    let hold = |bytes: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
            println!("input: {:?}", String::from_utf8_lossy(bytes));
            std::panic::resume_unwind(panic);
        }
    };
    corpus.iter().for_each(|bytes| hold(bytes));
    let mut random = StdRng::seed_from_u64(0x0dec_11c0);
    let until = Instant::now() + time();
    let mut inputs = 0;
    while Instant::now() < until {
        hold(&mutated(&mut random, &corpus));
        inputs += 1;
    }
    println!("{name}: {inputs} mutations");
}

#[test]
fn whatever_the_yaml_reader_is_given_it_says_what_is_wrong() {
    feed("yaml", targets::yaml);
}

#[test]
fn whatever_an_expression_is_it_stays_within_its_type() {
    feed("expression", targets::expression);
}

#[test]
fn whatever_a_pattern_is_it_means_itself() {
    feed("glob", targets::glob);
}

#[test]
fn whatever_a_template_is_its_value_fits() {
    feed("template", targets::template);
}

#[test]
fn whatever_signature_a_request_has_only_its_own_body_passes() {
    let mut accepted: Vec<String> = Vec::new();
    for bytes in corpus("signature").iter().filter(|bytes| targets::accepts(bytes)) {
        accepted.extend(String::from_utf8_lossy(bytes).lines().next().map(str::to_owned));
    }
    accepted.dedup();
    let kinds = "adyen aws-sns discord github sendgrid shopify slack standard-webhooks stripe svix twilio webhook";
    assert_eq!(accepted.join(" "), kinds, "the corpus is signed, so that mutations begin behind the signature");
    feed("signature", targets::signature);
}

#[test]
fn whatever_a_token_says_only_the_issuers_passes() {
    feed("token", targets::token);
}

#[test]
fn whatever_a_form_is_it_reads_as_it_was_written() {
    feed("form", targets::form);
}
