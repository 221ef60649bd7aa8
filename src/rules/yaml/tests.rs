//! Spans, faults and limits of the reader.

use proptest::prelude::*;

use super::{Content, Limits, Node, Plain, Scalar, Style, duration, read};
use crate::rules::diagnostic::{Source, render};

fn tree(text: &str) -> Node {
    let (tree, faults) = read("f.yaml", text, Limits::REPOSITORY);
    assert!(faults.is_empty(), "{}", render(&faults, &[Source { path: "f.yaml", text }], false));
    tree.expect("a file without faults has a tree")
}

fn faults(text: &str) -> Vec<String> {
    let (_, faults) = read("f.yaml", text, Limits::REPOSITORY);
    faults
        .iter()
        .map(|fault| {
            let (line, column) = fault.position(text);
            format!("{line}:{column} {} {}", fault.code, &text[fault.span.clone()])
        })
        .collect()
}

#[test]
fn every_way_to_write_a_text_leads_back_to_the_file() {
    let cases = [
        "a: x ${{ here }} y",
        "a: \"x \\t\\u00e9 ${{ here }} y\"",
        "a: 'it''s ${{ here }} y'",
        "a: é ${{ here }}",
        "a: |\n  one\n    two\n\n  x ${{ here }}\n",
        "a: |\n  blanks at the end  \n  x ${{ here }}\n",
        "a: >-\n  one\n  two\n\n\n  x ${{ here }}\n  y",
        "a: \"one\n  two \\\n  x ${{ here }}\"",
        "a: one\n  two\n\n  x ${{ here }}",
        "- {a: [\"${{ here }}\"]}",
        "a: \"one  \n\n  ${{ here }}\"",
        "a: |\r\n  one\r\n  x ${{ here }}\r\n",
        "\u{feff}a: x ${{ here }}",
    ];
    for text in cases {
        let mut node = &tree(text);
        while node.scalar().is_none() {
            node = match &node.content {
                Content::Mapping(entries) => &entries[0].value,
                Content::List(items) => &items[0],
                Content::Scalar(_) => unreachable!("the loop ends at a scalar"),
            };
        }
        let scalar = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let at = scalar.find("here").expect("every case has it");
        let place = node.place(text, &(at..at + 4));
        assert_eq!(&text[place], "here", "{text:?}");
    }
}

#[test]
fn a_mapping_spans_from_its_first_key_to_its_last_value() {
    let text = "a:\n  b: 1\n  c: [x, y]   # why\nd: { e: 1 }\n";
    let tree = tree(text);
    let span = |key: &str| tree.get(key).map(|entry| &text[entry.value.span.clone()]);
    assert_eq!(span("a"), Some("b: 1\n  c: [x, y]"));
    assert_eq!(span("d"), Some("{ e: 1 }"));
}

#[test]
fn a_key_given_twice_is_a_fault_and_the_first_one_counts() {
    let text = "a: 1\nb: 2\na: 3\na: 4\n";
    let (tree, faults) = read("f.yaml", text, Limits::REPOSITORY);
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].related.as_ref().map(|(span, _)| span.clone()), Some(0..1));
    assert_eq!(tree.map(|tree| tree.to_json()), Some(serde_json::json!({ "a": 1, "b": 2 })));
}

#[test]
fn what_yaml_can_do_and_we_do_not_want_is_a_fault() {
    let cases: &[(&str, &[&str])] = &[
        ("a: &x 1\nb: *x", &["1:7 yaml-anchor 1"]),
        ("a: &x", &["1:4 yaml-anchor &x"]),
        ("a: *x", &["1:4 yaml-alias *x"]),
        ("a: !!str 1", &["1:4 yaml-tag !!str 1"]),
        ("a: !b", &["1:4 yaml-tag !b"]),
        ("a: {<<: {b: 1}}", &["1:5 yaml-merge <<"]),
        ("? [a]\n: 1", &["1:3 yaml [a]"]),
        ("a: 1\n---\nb: 1", &["2:1 yaml ---"]),
        ("a: b\u{202e}c", &["1:5 yaml \u{202e}"]),
        ("a: b\u{0}c", &["1:5 yaml \u{0}"]),
        ("a: !x\nb: !y", &["1:4 yaml-tag !x", "2:4 yaml-tag !y"]),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), *expected, "{text:?}");
    }
}

#[test]
fn a_file_beyond_a_limit_is_not_read() {
    let deep = "[".repeat(100_000);
    assert_eq!(faults(&deep[..40]), ["1:33 limit ["]);
    assert!(faults(&deep)[0].contains("limit"));
    let wide = format!("[{}]", "1,".repeat(20_001));
    assert!(faults(&wide)[0].starts_with("1:40002 limit"), "{:?}", faults(&wide));
}

#[test]
fn plain_scalars_follow_the_core_schema() {
    let plain = |text: &str| Scalar { text: text.to_owned(), style: Style::Plain }.plain();
    for text in ["yes", "no", "on", "y", "1_000", "0x", "1e", "e5", ".", "-", ".inf", "1e999", "12:30", "0b1", "0xzz"] {
        assert_eq!(plain(text), Plain::Text, "{text}");
    }
    for (text, expected) in [("1", 1), ("-7", -7), ("+3", 3), ("010", 10), ("0x1F", 31), ("0o17", 15)] {
        assert_eq!(plain(text), Plain::Int(expected), "{text}");
    }
    for (text, expected) in
        [("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-2.5e-1", -0.25), ("1e3", 1000.0), ("99999999999999999999", 1e20)]
    {
        assert_eq!(plain(text), Plain::Double(expected), "{text}");
    }
    assert_eq!(plain("~"), Plain::Null);
    assert_eq!(plain("true"), Plain::Bool(true));
}

#[test]
fn durations_are_a_whole_number_and_a_unit() {
    assert_eq!(duration("15m").map(|length| length.as_secs()), Some(900));
    assert_eq!(duration("250ms").map(|length| length.as_millis()), Some(250));
    for text in ["", "5", "s", "1.5h", "-1s", "5 m", "5min", "99999999999999999999d", "1e3s"] {
        assert_eq!(duration(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\n\t\u{e9}\u{1f600}\u{0}\r]{0,200}") {
        let (tree, faults) = read("f.yaml", &text, Limits::REPOSITORY);
        prop_assert!(tree.is_some() || !faults.is_empty());
        let _ = render(&faults, &[Source { path: "f.yaml", text: &text }], false);
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_it_panic(parts in proptest::collection::vec(
        prop_oneof![
            Just("a"), Just(": "), Just("\n"), Just("  "), Just("- "), Just("["), Just("]"), Just("{"), Just("}"), Just(", "),
            Just("\""), Just("'"), Just("|\n"), Just(">-\n"), Just("&"), Just("*"), Just("!"), Just("#"), Just("?"), Just("---\n"),
            Just("${{ x }}"), Just("\\"), Just("%"), Just("@"), Just("é"), Just("<<"), Just("\t"), Just("...\n"),
        ],
        0..40,
    )) {
        let text = parts.concat();
        let (tree, faults) = read("f.yaml", &text, Limits::REPOSITORY);
        prop_assert!(tree.is_some() || !faults.is_empty());
        let _ = render(&faults, &[Source { path: "f.yaml", text: &text }], false);
    }

    #[test]
    fn a_quoted_text_comes_back_and_every_offset_is_in_its_span(value in "[a-zé \"\\\\$\\{\\}:#']{0,40}") {
        let quoted = serde_json::to_string(&value).expect("a string serializes");
        let text = format!("k: {quoted}");
        let tree = tree(&text);
        let node = &tree.entries().expect("a mapping")[0].value;
        prop_assert_eq!(node.scalar().map(|scalar| scalar.text.as_str()), Some(value.as_str()));
        for (at, found) in value.char_indices() {
            let place = node.place(&text, &(at..at + found.len_utf8()));
            prop_assert!(text[place.clone()].ends_with(found), "{:?} at {} is {:?}", found, at, &text[place]);
        }
    }
}
