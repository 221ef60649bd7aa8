//! The strict check against lists of cases and against another reader.

use proptest::prelude::*;

use super::*;

fn flaw(document: &str) -> &'static str {
    check(document.as_bytes()).expect_err(document).what
}

#[test]
fn ordinary_documents_pass() {
    for document in
        [r#"{}"#, r#" [1, -2.5e3, "ä\n\u00e4", true, false, null, {"a": {"b": []}}] "#, "0", r#""x""#, "18446744073709551615"]
    {
        check(document.as_bytes()).unwrap_or_else(|flaw| panic!("{document}: {flaw}"));
    }
    assert_eq!(check(b"{}"), Ok(Kind::Object));
    assert_eq!(check(b" []"), Ok(Kind::Array));
    assert_eq!(check(b"\"x\""), Ok(Kind::Scalar));
}

#[test]
fn a_key_that_occurs_twice_is_refused_however_it_is_written() {
    let twice = "a key occurs twice in the object that ends here";
    assert_eq!(flaw(r#"{"ref":1,"ref":2}"#), twice);
    assert_eq!(flaw(r#"{"ref":1,"r\u0065f":2}"#), twice);
    assert_eq!(flaw(r#"{"r\u0065f":1,"\u0072ef":2}"#), twice);
    assert_eq!(flaw(r#"[{"x":{"a":1,"b":{"a":2},"a":3}}]"#), twice);
    let many: Vec<String> = (0..100).map(|number| format!("\"k{number}\":0")).collect();
    assert_eq!(flaw(&format!("{{{},\"k50\":1}}", many.join(","))), twice);
    assert!(check(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
    assert!(check(br#"{"a":{"b":1},"b":{"b":1},"\\u0061":1}"#).is_ok());
}

#[test]
fn depth_and_count_are_bounded() {
    assert_eq!(flaw(&"[".repeat(100_000)), "nested too deeply");
    assert_eq!(flaw(&"{\"a\":".repeat(20_000)), "nested too deeply");
    assert!(check(format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)).as_bytes()).is_ok());
    assert_eq!(flaw(&format!("[{}0]", "0,".repeat(MAX_VALUES))), "too many values");
    let keys: String = (0..1_000_000).map(|number| format!("\"k{number}\":0,")).collect();
    assert_eq!(flaw(&format!("{{{keys}\"z\":0}}")), "too many values");
}

#[test]
fn numbers_that_lose_digits_are_refused() {
    let lost = "a number that cannot be kept exactly";
    for number in ["18446744073709551616", "-9223372036854775809", "1e999999", "-1e400", "1e-400", &"9".repeat(1_000_000)] {
        assert_eq!(flaw(number), lost);
    }
    for number in ["9007199254740993", "-9223372036854775808", "1e300", "0e-999", "0.0", "-0", "0.80000001192092896"] {
        check(number.as_bytes()).unwrap_or_else(|flaw| panic!("{number}: {flaw}"));
    }
    assert_eq!(parse(b"9007199254740993").unwrap().as_u64(), Some(9_007_199_254_740_993));
}

#[test]
fn what_is_not_json_is_refused() {
    for document in [
        "",
        " ",
        "{",
        "[1",
        "\"a",
        "{\"a\"}",
        "{\"a\":}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1}{\"b\":2}",
        "[1]]",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "NaN",
        "{/*x*/\"a\":1}",
        "'a'",
        "{a:1}",
        "tru",
        "nulll",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"a\nb\"",
        "\u{feff}{}",
    ] {
        assert!(check(document.as_bytes()).is_err(), "{document:?}");
    }
    assert!(check(b"{\"a\":\"\xC0\xAF\"}").is_err());
    assert!(check("\"\\ud83d\\ude00\"".as_bytes()).is_ok());
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..12)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_that_a_writer_makes_is_accepted_and_read_alike(document in documents()) {
        let text = serde_json::to_vec(&document).unwrap();
        let expected: Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(parse(&text), Ok(expected));
    }

    #[test]
    fn what_it_accepts_every_reader_accepts(bytes in "[\\[\\]{}:,\"\\\\ua0-9eE.+ -]{0,24}") {
        if check(bytes.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(bytes.as_bytes()).is_ok());
        }
    }

    #[test]
    fn a_damaged_document_is_read_alike_or_refused(document in documents(), place in any::<usize>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&document).unwrap();
        let place = place % text.len();
        text[place] = byte;
        if check(&text).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&text).is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes);
    }
}
