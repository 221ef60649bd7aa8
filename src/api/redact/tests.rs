//! What is hidden, and what is not.

use serde_json::json;

use super::*;

#[test]
fn hidden_fields_are_hidden_however_deep_and_however_spelled() {
    let redaction = Redaction::new(&[], &["card_number".to_owned()]);
    let shown = redaction.value(json!({
        "user": { "apiKey": "k", "api_key": ["k"], "name": "Mona" }, "cardNumber": "4242", "token_count": 7,
        "list": [{ "client_secret": { "a": "b" } }], "secret": null
    }));
    let expected = json!({
        "user": { "apiKey": HIDDEN, "api_key": HIDDEN, "name": "Mona" }, "cardNumber": HIDDEN, "token_count": 7,
        "list": [{ "client_secret": HIDDEN }], "secret": null
    });
    assert_eq!(shown, expected);
}

#[test]
fn reasons_do_not_tell_what_a_hidden_field_holds() {
    let reason = |found: &str, parts: Vec<Reason>| Reason {
        holds: false,
        text: String::new(),
        found: vec![found.to_owned()],
        parts,
        hint: Some("near abc".to_owned()),
    };
    let mut told = reason("event.branch = \"main\"", vec![reason("event.payload.api_token = \"abc\", 1 = 2", Vec::new())]);
    Redaction::default().reason(&mut told);
    assert_eq!(
        (told.found.as_slice(), told.hint.as_deref()),
        (["event.branch = \"main\"".to_owned()].as_slice(), Some("near abc"))
    );
    assert_eq!(told.parts[0].found, ["event.payload.api_token = ‹hidden›"]);
    assert_eq!(told.parts[0].hint, None);
}

#[test]
fn bodies_are_shown_as_what_they_are() {
    let redaction = Redaction::default();
    assert_eq!(redaction.body(br#"{"token":"t","a":1}"#), Body::Json(json!({ "token": HIDDEN, "a": 1 })));
    let form = redaction.body(b"token=gIkuvaNzQIHg97ATvDxqgjtO&command=%2Fdeploy&payload=%7B%22token%22%3A%22t%22%7D");
    assert_eq!(form, Body::Json(json!({ "token": HIDDEN, "command": "/deploy", "payload": { "token": HIDDEN } })));
    assert_eq!(redaction.body(b"hello = world\nsecond"), Body::Text("hello = world\nsecond".to_owned()));
    assert_eq!(redaction.body(&[0xff, 0]), Body::Binary);
    assert!(redaction.hides_header("X-Hub-Signature-256") && !redaction.hides_header("X-GitHub-Event"));
}

#[test]
fn json_in_a_text_is_looked_into_however_often_it_is_wrapped() {
    let redaction = Redaction::default();
    let inner = json!({ "token": "t-1", "user": "mona" }).to_string();
    let wrapped = json!({ "inner": inner, "list": [format!("  {}", json!({ "a": json!({ "secret": "s-2" }).to_string() }))] });
    let shown = redaction.value(wrapped).to_string();
    assert!(!shown.contains("t-1") && !shown.contains("s-2"), "{shown}");
    assert!(shown.contains("mona"), "{shown}");
    let plain = json!({ "text": "{\"a\":  1}" });
    assert_eq!(redaction.value(plain.clone()), plain, "what hides nothing stays as it was written");
}

#[test]
fn credentials_in_addresses_and_in_plain_text_are_hidden() {
    let redaction = Redaction::default();
    for (text, shown) in [
        ("https://ann:pw-1@git.example/web.git", "https://‹hidden›@git.example/web.git"),
        ("https://tok-1@git.example/web.git and more", "https://‹hidden›@git.example/web.git and more"),
        ("see https://a.example/x?access_token=abc&page=2#t", "see https://a.example/x?access_token=‹hidden›&page=2#t"),
        ("https://a.example/x?page=2&sig=abc%2F1", "https://a.example/x?page=2&sig=‹hidden›"),
        ("https://a.example/x?page=2&design=3", "https://a.example/x?page=2&design=3"),
        ("https://hooks.slack.com/services/T0/B0/abcDEF", "https://hooks.slack.com/services/‹hidden›"),
        ("https://discord.com/api/webhooks/1/abc-DEF", "https://discord.com/api/webhooks/‹hidden›"),
        ("Authorization was Bearer abc.def-123456", "Authorization was Bearer ‹hidden›"),
        ("pushed ghp_0123456789abcdefghij0123456789 by accident", "pushed ‹hidden› by accident"),
        ("password=hunter2 is not one", "password=‹hidden› is not one"),
        ("mailto:mona@acme.example", "mailto:mona@acme.example"),
        ("https://acme.example/@mona?q=a@b", "https://acme.example/@mona?q=a@b"),
        ("next=https://a.example/?token=abc==", "next=https://a.example/?token=‹hidden›"),
        ("time: 12:30, a token of thanks", "time: 12:30, a token of thanks"),
    ] {
        assert_eq!(redaction.value(json!(text)), json!(shown));
    }
    assert_eq!(redaction.header("x-callback", "https://a:b@c.example/"), "https://‹hidden›@c.example/");
    assert_eq!(redaction.header("x-auth-token", "abc"), HIDDEN);
}

#[test]
fn bodies_that_are_neither_json_nor_a_form_do_not_tell_either() {
    let redaction = Redaction::default();
    for (body, shown) in [
        ("<order><token>abc</token><id>1</id></order>", "<order><token>‹hidden›</token><id>1</id></order>"),
        ("{\"token\": \"a b\", \"token\": \"c\", \"id\": 1}", "{\"token\": ‹hidden›, \"token\": ‹hidden›, \"id\": 1}"),
        ("user: mona\nApi-Key: abc\n", "user: mona\nApi-Key: ‹hidden›\n"),
    ] {
        assert_eq!(redaction.body(body.as_bytes()), Body::Text(shown.to_owned()));
    }
}

#[test]
fn what_was_found_in_an_address_is_hidden_too() {
    let mut found = "event.payload.clone_url = \"https://u:p-1@h.example/\"".to_owned();
    let mut hint = Some("near p-1".to_owned());
    Redaction::default().found(&mut found, &mut hint);
    assert_eq!((found.as_str(), hint), ("event.payload.clone_url = \"https://‹hidden›@h.example/\"", None));
}

#[test]
fn reasons_do_not_tell_what_hidden_fields_of_a_found_object_hold() {
    let redaction = Redaction::default();
    let long = "x".repeat(100);
    for value in [
        json!({ "api_token": "s-3cret", "login": "mona" }),
        json!([{ "a": { "client secret": "s-3cret" } }]),
        json!([["Authorization", "s-3cret"]]),
        json!({ "password": "s-3cret", "note": long }),
        json!([["x-assertion", "s-3cret"], long]),
        json!({ "to\u{200b}ken": "s-3cret", "note": "a" }),
        json!(json!({ "api_token": "s-3cret" }).to_string()),
        json!(json!({ "api_token": "s-3cret", "note": long }).to_string()),
    ] {
        for rest in ["", ", decided by \"main\""] {
            let mut found = format!("event.payload.sender = {}{rest}", show(&value));
            let mut hint = Some("near s-3cret".to_owned());
            assert!(found.contains("s-3cret"), "{found}");
            redaction.found(&mut found, &mut hint);
            assert!(!found.contains("s-3cret") && found.contains(HIDDEN), "{found}");
            assert_eq!(hint, None);
        }
    }
    let mut kept = format!("event.payload.sender = {}", show(&json!({ "login": "mona", "note": long })));
    let (before, mut hint) = (kept.clone(), Some("near".to_owned()));
    redaction.found(&mut kept, &mut hint);
    assert_eq!((kept, hint.is_some()), (before, true));
    let mut part = "event.payload.sender = {\"api_token\": \"s\", \"login\": \"mona\"}, no pattern matches".to_owned();
    redaction.found(&mut part, &mut None);
    assert_eq!(part, "event.payload.sender = {\"api_token\": \"‹hidden›\", \"login\": \"mona\"}, no pattern matches");
}
