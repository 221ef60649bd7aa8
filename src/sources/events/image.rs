//! `gcp.image`: what Artifact Registry says on its topic `gcr` when an image comes or goes.

use serde_json::{Value, json};

use super::{Decoded, pubsub, text};
use crate::journal::record::NewDelivery;

/// The kind of event.
pub const KIND: &str = "gcp.image";

/// From a Pub/Sub push. Names go into deploys, so they are held against what a registry allows in them.
pub fn decode(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    let notice = pubsub::message(content)?.body;
    if !notice.is_object() {
        return Err("the message is not a notice of Artifact Registry".to_owned());
    }
    let action = text(&notice, "/action");
    if !matches!(action.as_str(), "INSERT" | "DELETE") {
        return Err("`action` is neither INSERT nor DELETE".to_owned());
    }
    let by_digest = match optional(&notice, "digest")? {
        Some(name) => Some(split(name, '@', is_digest).ok_or("`digest` is not IMAGE@sha256:…")?),
        None => None,
    };
    let by_tag = match optional(&notice, "tag")? {
        Some(name) => Some(split(name, ':', is_tag).ok_or("`tag` is not IMAGE:TAG")?),
        None => None,
    };
    let image = match (by_digest, by_tag) {
        (Some((image, _)), Some((other, _))) if image != other => {
            return Err("`digest` and `tag` name different images".to_owned());
        }
        (Some((image, _)), _) | (None, Some((image, _))) => image,
        (None, None) => return Err("neither `digest` nor `tag` is given".to_owned()),
    };
    let reference = match (by_digest, by_tag) {
        (Some((_, digest)), _) => format!("{image}@{digest}"),
        (None, Some((_, tag))) if action == "DELETE" => format!("{image}:{tag}"),
        _ => return Err("an image that was pushed has no `digest`".to_owned()),
    };
    Ok(Some(Decoded::new(
        KIND,
        json!({
            "action": action,
            "image": image,
            "tag": by_tag.map(|(_, tag)| tag),
            "digest": by_digest.map(|(_, digest)| digest),
            "ref": reference,
        }),
    )))
}

fn optional<'n>(notice: &'n Value, name: &str) -> Result<Option<&'n str>, String> {
    match notice.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is not a text")),
    }
}

/// Image and what stands behind it.
fn split(name: &str, at: char, fits: fn(&str) -> bool) -> Option<(&str, &str)> {
    let (image, rest) = name.rsplit_once(at)?;
    (is_image(image) && fits(rest)).then_some((image, rest))
}

/// `HOST/PATH` in lower case.
fn is_image(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let mut parts = text.split('/');
    let host = parts.next().unwrap_or_default();
    let mut count = 0;
    let fine = parts.all(|part| {
        count += 1;
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(|byte| plain(byte) && byte != b':')
    });
    text.len() <= 1024 && host.contains('.') && host.bytes().all(plain) && fine && count > 0
}

fn is_tag(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=128).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    let Some(digits) = text.strip_prefix("sha256:") else { return false };
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
