//! Every provider's acceptance vectors, and what must hold of every signature.

use std::path::Path;

use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::sources::{self, Answer, Identity, Source, Taken};
use declic::verify::Refusal;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::described::{self, Unstarted};
use crate::support::service::{SECRET, github, github_headers, push, source};
use crate::support::vectors::{folder, inbound, provider_files, strings, text, vectors};

/// What becomes of a request, with the delivery's id and type if the vector says what they are: some sign bytes that are no event.
enum Verdict {
    Refused(Refusal),
    Verified,
    Delivery(Identity),
    /// With what is read from it, if it was proved.
    Answered(Answer, Option<Identity>),
}

fn judge(source: &dyn Source, case: &Value) -> Verdict {
    let inbound = inbound(case);
    let entry = source.entry();
    let path = if entry.below { inbound.path.rsplit_once('/').map_or("", |(above, _)| above) } else { entry.path.as_str() };
    if !entry.methods.contains(&inbound.method.as_str()) || path != entry.path {
        return Verdict::Refused(Refusal { status: 405, public: "", private: format!("{} is not answered", inbound.method) });
    }
    let words = !case["event_type"].is_null() || !case["delivery_id"].is_null();
    if text(case, "kind") != "handshake" && !words {
        return source.authenticate(inbound).map_or_else(Verdict::Refused, |_| Verdict::Verified);
    }
    match sources::take(source, inbound.clone()) {
        Ok(Taken::Challenge(answer, _)) => {
            let identity = source.authenticate(inbound).ok().and_then(|verified| source.identify(&verified).ok());
            Verdict::Answered(answer, identity)
        }
        Ok(Taken::Delivery(_, identity)) => Verdict::Delivery(identity),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// What is wrong with a verdict, if anything.
fn fault(case: &Value, verdict: &Verdict) -> Option<String> {
    let accept = text(case, "expect") == "accept";
    let handshake = text(case, "kind") == "handshake";
    match verdict {
        Verdict::Refused(refusal) if accept => Some(format!("was refused: {}", refusal.private)),
        Verdict::Refused(refusal) => {
            let status = case["respond"]["status"].as_u64();
            status.filter(|status| *status != u64::from(refusal.status)).map(|_| format!("was refused with {}", refusal.status))
        }
        Verdict::Verified | Verdict::Delivery(_) if !accept => Some("was accepted".to_owned()),
        Verdict::Answered(answer, _) if !accept => {
            let absent = strings(&case["respond"]["absent_headers"]);
            let shown = answer.headers.iter().any(|(name, _)| absent.iter().any(|absent| absent.eq_ignore_ascii_case(name)));
            (absent.is_empty() || shown).then(|| "was answered".to_owned())
        }
        Verdict::Delivery(_) | Verdict::Verified if handshake => Some("was not answered as a challenge".to_owned()),
        Verdict::Verified => None,
        Verdict::Delivery(found) => misread(case, found),
        Verdict::Answered(answer, found) => {
            misanswered(&case["respond"], answer).or_else(|| found.as_ref().and_then(|found| misread(case, found)))
        }
    }
}

/// What is read otherwise than the vector says, where it says anything.
fn misread(case: &Value, found: &Identity) -> Option<String> {
    let read = [("event_type", &found.event_type), ("delivery_id", &found.delivery_id)];
    let told = |key: &str| match &case[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let wrong = read.into_iter().find(|(key, found)| told(key).is_some_and(|wanted| wanted != **found));
    wrong.map(|(key, found)| format!("read {found:?} as {key}"))
}

/// What is wrong with an answer. JSON is compared as JSON; `nosniff` is what the front door says with everything.
fn misanswered(wanted: &Value, answer: &Answer) -> Option<String> {
    let body = String::from_utf8_lossy(&answer.body);
    if wanted["status"].as_u64().is_some_and(|status| status != u64::from(answer.status)) {
        return Some(format!("was answered with {}", answer.status));
    }
    if let Some(expected) = wanted["body"].as_str() {
        let json = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        let same = if json(expected).is_some() { json(expected) == json(&body) } else { expected == body };
        if !same {
            return Some(format!("was answered with {body:?}"));
        }
    }
    if wanted["content_type"].as_str().is_some_and(|expected| !answer.content_type.starts_with(expected)) {
        return Some(format!("was answered as {}", answer.content_type));
    }
    for (name, value) in wanted["headers"].as_object().into_iter().flatten() {
        let has = answer.headers.iter().any(|(key, found)| key.eq_ignore_ascii_case(name) && value.as_str() == Some(found));
        if !has && !name.eq_ignore_ascii_case("x-content-type-options") {
            return Some(format!("lacks the header {name}: {value}"));
        }
    }
    (wanted["then_get"].as_str() != answer.then_get.as_deref()).then(|| format!("would get {:?}", answer.then_get))
}

/// Why a vector cannot be judged, or what is wrong.
pub fn judged(folder: &Path, case: &Value) -> Option<String> {
    if let Some(why) = unread(case) {
        return Some(why);
    }
    let verdict = match described::source(folder, case) {
        Ok(source) => judge(source.as_ref(), case),
        Err(Unstarted::Undescribed(why)) => return Some(format!("has no source that could be started: {why}")),
        // Whoever has such a secret takes nothing in: right for a weak key, wrong for everything else.
        Err(Unstarted::Unfit(why)) => {
            Verdict::Refused(Refusal { status: 401, public: "", private: format!("it does not start: {why}") })
        }
    };
    let fault = fault(case, &verdict);
    let word = match &verdict {
        Verdict::Refused(refusal) => format!("{} {}", refusal.status, refusal.private),
        Verdict::Answered(answer, _) => format!("answered with {}", answer.status),
        Verdict::Verified | Verdict::Delivery(_) => "accepted".to_owned(),
    };
    println!("{}: {word}", text(case, "id"));
    fault
}

/// What makes a vector unreadable: a verdict on it would say nothing.
fn unread(case: &Value) -> Option<String> {
    let known = |key: &str, words: &[&str]| words.contains(&text(case, key));
    let words = [("expect", ["accept", "reject"].as_slice()), ("kind", &["verify", "handshake", "replay"])];
    let wrong = words.iter().find(|(key, words)| !known(key, words));
    if let Some((key, words)) = wrong {
        return Some(format!("cannot be judged: `{key}` is {}, not one of {}", case[*key], words.join(", ")));
    }
    let missing = ["provider", "method", "path"].into_iter().find(|key| text(case, key).is_empty());
    let missing = missing.or_else(|| (!case["now"].is_number()).then_some("now"));
    missing.map(|key| format!("cannot be judged: it has no `{key}`"))
}

#[test]
fn the_vectors_of_every_provider_get_their_verdict() {
    let mut wrong = Vec::new();
    for file in provider_files() {
        let cases = vectors(&file).unwrap_or_default();
        let Some(cases) = cases.as_array() else {
            wrong.push(format!("{file} is no list of vectors"));
            continue;
        };
        for case in cases {
            if let Some(fault) = judged(&folder(), case) {
                let described = format!("{} {} {}", text(case, "level"), text(case, "description"), text(case, "reason"));
                wrong.push(format!("{} ({described}) {fault}", text(case, "id")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

fn signed(headers: Vec<(String, String)>, body: Vec<u8>) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: "/hooks/github".to_owned(),
        query: String::new(),
        headers: headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into())).collect(),
        body: body.into(),
        received_at: Timestamp(1_800_000_000_000),
    }
}

#[test]
fn during_rotation_the_secret_that_matched_is_known() {
    let rotating = source("github", "github", json!({ "secret": "hook" }), &["new", SECRET, "older"]);
    let body = push("main");
    let verified = rotating.authenticate(signed(github_headers("push", "1", &body), body)).unwrap();
    assert_eq!((verified.secret(), verified.how()), (1, "x-hub-signature-256, secret 2 of 3"));
}

#[test]
fn a_refusal_tells_the_sender_the_same_whatever_was_wrong() {
    let source = github();
    let body = push("main");
    let refuse = |value: &str| {
        let mut headers = github_headers("push", "1", &body);
        headers.retain(|(name, _)| name != "X-Hub-Signature-256");
        headers.push(("X-Hub-Signature-256".to_owned(), value.to_owned()));
        source.authenticate(signed(headers, body.clone())).expect_err(value)
    };
    let zeros = format!("sha256={}", "0".repeat(64));
    for value in ["", "sha256=", "sha1=abc", "sha256=zz", &zeros] {
        let refusal = refuse(value);
        assert_eq!((refusal.status, refusal.public), (401, "The request could not be verified."));
        assert!(!refusal.private.contains(SECRET) && !refusal.private.contains("0000"), "{}", refusal.private);
    }
}

proptest! {
    #[test]
    fn no_mutation_of_a_byte_of_the_body_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let body = push("main");
        let headers = github_headers("push", "1", &body);
        let mut changed = body.clone();
        changed[place.index(body.len())] ^= flip;
        prop_assert!(github().authenticate(signed(headers, changed)).is_err());
    }

    #[test]
    fn no_mutation_of_a_byte_of_the_signature_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let body = push("main");
        let mut inbound = signed(github_headers("push", "1", &body), body);
        for (name, value) in &mut inbound.headers {
            if name == "x-hub-signature-256" {
                let mut bytes = value.to_vec();
                let index = place.index(bytes.len());
                bytes[index] ^= flip;
                *value = bytes.into();
            }
        }
        prop_assert!(github().authenticate(inbound).is_err());
    }

    #[test]
    fn arbitrary_signatures_never_panic_and_never_pass(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut inbound = signed(Vec::new(), push("main"));
        inbound.headers.push(("x-hub-signature-256".to_owned(), value.into()));
        prop_assert!(github().authenticate(inbound).is_err());
    }
}
