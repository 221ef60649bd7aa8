//! `application/x-www-form-urlencoded` bodies, read strictly.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::inbound::Inbound;
use crate::json;

/// Fields in one form; Slack and Twilio send some thirty.
const MAX_FIELDS: usize = 1000;

/// The fields in order. An error says what is wrong without quoting the body.
pub fn fields(body: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    if !body.is_ascii() {
        return Err("a form holds bytes that must be percent-encoded");
    }
    let mut fields = Vec::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if fields.len() >= MAX_FIELDS {
            return Err("a form has too many fields");
        }
        let split = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(split);
        let value = value.strip_prefix(b"=").unwrap_or_default();
        fields.push((decoded(name)?, decoded(value)?));
    }
    Ok(fields)
}

/// The value of a field that must be there exactly once.
pub fn only(body: &[u8], wanted: &str) -> Result<String, &'static str> {
    let mut found = fields(body)?.into_iter().filter(|(name, _)| name == wanted);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(value),
        (None, _) => Err("a form lacks its field"),
        (Some(_), Some(_)) => Err("a form has its field twice"),
    }
}

/// The body as JSON, or the fields of a form as an object of texts. A field that is there twice is refused: which one was meant?
pub fn document(inbound: &Inbound) -> Result<Value, String> {
    if !is_form(inbound) {
        return json::parse(&inbound.body).map_err(|flaw| flaw.to_string());
    }
    let mut object = Map::new();
    for (name, value) in fields(&inbound.body)? {
        if object.insert(name, Value::String(value)).is_some() {
            return Err("a form has a field twice".to_owned());
        }
    }
    Ok(Value::Object(object))
}

/// One name or value.
fn decoded(raw: &[u8]) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (rest.next().and_then(digit), rest.next().and_then(digit)) {
                (Some(high), Some(low)) => bytes.push(high * 16 + low),
                _ => return Err("a form has a faulty percent-encoding"),
            },
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| "a form is not UTF-8")
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Writes a field as browsers and providers do.
pub fn encode(name: &str, value: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// Packs a JSON body into this field, if the request says that its body is a form: as the providers do that send both.
pub fn pack(inbound: &mut Inbound, field: &str) {
    let bare = matches!(json::check(&inbound.body), Ok(json::Kind::Object | json::Kind::Array));
    if bare && is_form(inbound) {
        inbound.body = encode(field, &String::from_utf8_lossy(&inbound.body)).into();
    }
}

/// Does the request say that its body is a form?
pub fn is_form(inbound: &Inbound) -> bool {
    let content_type = inbound.header("content-type").unwrap_or_default();
    super::media_type(content_type) == "application/x-www-form-urlencoded"
}

/// The JSON of a body that is either plain JSON or a form with it in one field.
pub fn json_of<'b>(body: &'b [u8], form: bool, field: &str) -> Result<Cow<'b, [u8]>, &'static str> {
    if form { only(body, field).map(|text| Cow::Owned(text.into_bytes())) } else { Ok(Cow::Borrowed(body)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_once() {
        assert_eq!(only(b"payload=%7B%22a%22%3A%22b+c%2525%22%7D", "payload").unwrap(), r#"{"a":"b c%25"}"#);
        assert_eq!(only(b"a=1&payload=x", "payload").unwrap(), "x");
    }

    #[test]
    fn a_field_that_is_missing_or_doubled_is_refused() {
        assert!(only(b"payload=1&payload=2", "payload").is_err());
        assert!(only(b"payload=1&p%61yload=2", "payload").is_err());
        assert!(only(b"other=1", "payload").is_err());
        assert!(only(b"payload=%7", "payload").is_err());
        assert!(only(b"payload=%ff", "payload").is_err());
        assert!(fields("a=\u{e4}".as_bytes()).is_err());
        assert!(fields("a=1&".repeat(2000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "{\"a\":\"ä & b=+% c\"}";
        assert_eq!(only(encode("payload", text).as_bytes(), "payload").unwrap(), text);
    }
}
