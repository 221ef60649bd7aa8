//! Signatures inside the JSON, one for each item of a batch: Adyen.
//!
//! The body is read strictly before anything is proved, because the proof is in it. Only the fields in the list are covered.

use aws_lc_rs::hmac::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::secret::Secret;
use serde_json::Value;

use super::Refusal;
use super::hmac::{Algorithm, KeyForm, keys, mac, same};
use crate::inbound::Inbound;
use crate::json;

/// Items in one body.
const MOST: usize = 1000;

/// Where the items, their signatures and the fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The list at the top of the body.
    pub list: String,
    /// The object within each of its items; empty if the item is it.
    pub item: String,
    /// Path of the signature within that.
    pub signature: String,
    /// Paths of what is signed, joined with `:`. One that is missing counts as an empty text.
    pub fields: Vec<String>,
    /// How the secret becomes the key.
    pub key: KeyForm,
}

/// The template with the keys of one source, newest first.
pub struct Scheme {
    template: Template,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scheme").field("template", &self.template).field("keys", &self.keys.len()).finish()
    }
}

impl Scheme {
    /// Takes in the keys. An error is for the operator.
    pub fn new(template: Template, secrets: &[Secret]) -> Result<Self, String> {
        Ok(Self { keys: keys(Algorithm::Sha256, &template.key, secrets)?, template })
    }

    /// Which key matches all the items, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let body = json::parse(&inbound.body).map_err(|flaw| Refusal::unverified(format!("the body cannot be read: {flaw}")))?;
        let list = body.get(&self.template.list).and_then(Value::as_array);
        let list = list.filter(|list| (1..=MOST).contains(&list.len()));
        let list = list.ok_or_else(|| Refusal::unverified("the body has no item that could be signed, or too many"))?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            let item = self.inner(item).ok_or_else(|| Refusal::unverified("an item is not laid out as it must be"))?;
            let signature = at(item, &self.template.signature).and_then(Value::as_str);
            let signature = signature.and_then(|encoded| STANDARD.decode(encoded).ok());
            let signature =
                signature.ok_or_else(|| Refusal::unverified("an item has no signature, or one that is not base64"))?;
            let signed = self.signed(item).ok_or_else(|| Refusal::unverified("a signed field is not text or a number"))?;
            items.push((signed, signature));
        }
        let matched = self.keys.iter().position(|key| items.iter().all(|(signed, found)| same(&mac(key, &[signed]), found)));
        matched.ok_or_else(|| Refusal::unverified("the signature of an item is of none of the source's secrets"))
    }

    fn inner<'v>(&self, item: &'v Value) -> Option<&'v Value> {
        if self.template.item.is_empty() { Some(item) } else { item.get(&self.template.item) }
    }

    fn signed(&self, item: &Value) -> Option<String> {
        let values = self.template.fields.iter().map(|path| match at(item, path) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => None,
        });
        Some(values.collect::<Option<Vec<_>>>()?.join(":"))
    }

    /// For people: what was checked and which key matched.
    pub(super) fn describe(&self, secret: usize) -> String {
        format!("{} in the body, secret {} of {}", self.template.signature, secret + 1, self.keys.len())
    }

    /// Signs every item with the newest key.
    pub fn sign(&self, inbound: &mut Inbound) -> Result<(), Refusal> {
        let key = self.keys.first().ok_or_else(|| Refusal::unverified("there is no key"))?;
        let mut body = json::parse(&inbound.body).map_err(|flaw| Refusal::malformed(flaw.to_string()))?;
        let list = body.get_mut(&self.template.list).and_then(Value::as_array_mut);
        for item in list.ok_or_else(|| Refusal::malformed("the body has no list of items"))? {
            let inner = if self.template.item.is_empty() { Some(item) } else { item.get_mut(&self.template.item) };
            let inner = inner.ok_or_else(|| Refusal::malformed("an item is not laid out as it must be"))?;
            let signed = self.signed(inner).ok_or_else(|| Refusal::malformed("a signed field is not text or a number"))?;
            put(inner, &self.template.signature, STANDARD.encode(mac(key, &[signed])));
        }
        inbound.body = body.to_string().into();
        Ok(())
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, step| value.get(step))
}

fn put(value: &mut Value, path: &str, text: String) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(fields) = value.as_object_mut() else { return };
    if rest.is_empty() {
        fields.insert(step.to_owned(), text.into());
    } else {
        put(fields.entry(step).or_insert_with(|| Value::Object(serde_json::Map::new())), rest, text);
    }
}
