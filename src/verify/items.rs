//! Signatures inside the JSON: one for the whole document, or one for each item of a batch.
//!
//! The body is read strictly before anything is proved, because the proof is in it. Only the fields in the list are covered.

use aws_lc_rs::hmac::Key;
use declic_actions::secret::Secret;
use serde_json::Value;

use super::Refusal;
use super::hmac::{Algorithm, KeyForm, keys, mac, same};
use super::path::Path;
use super::signature::Encoding;
use super::timestamp::Rule;
use crate::inbound::Inbound;
use crate::json;
use crate::sources::form;

/// Items in one body.
const MOST: usize = 1000;

/// Where the items, their signatures and the fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The list of items; the whole body is the one item if there is none.
    pub list: Option<Path>,
    /// The object within each of its items.
    pub item: Path,
    /// The signature within that.
    pub signature: Path,
    /// What is signed. A field that is missing counts as an empty text.
    pub fields: Vec<Path>,
    /// Between the fields.
    pub join: String,
    /// The hash function.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// How the secret becomes the key.
    pub key: KeyForm,
    /// A time within each item, and how old it may be; it is one of the fields that are signed.
    pub time: Option<(Path, Rule)>,
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
        if template.fields.is_empty() {
            return Err("signs no field at all".to_owned());
        }
        if template.time.as_ref().is_some_and(|(path, _)| !template.fields.contains(path)) {
            return Err("must sign the time it has: a time that is not signed proves nothing".to_owned());
        }
        Ok(Self { keys: keys(template.algorithm, &template.key, secrets)?, template })
    }

    /// Which key matches all the items, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let body = form::document(inbound).map_err(|flaw| Refusal::unverified(format!("the body cannot be read: {flaw}")))?;
        let items = self.items(&body).filter(|items| (1..=MOST).contains(&items.len()));
        let items = items.ok_or_else(|| Refusal::unverified("the body has no item that could be signed, or too many"))?;
        let mut read = Vec::with_capacity(items.len());
        for item in &items {
            let signature = self.template.signature.one(item).and_then(Value::as_str);
            let signature = signature.and_then(|text| self.template.encoding.decode(text)).filter(|bytes| !bytes.is_empty());
            let signature = signature
                .ok_or_else(|| Refusal::unverified("an item has no signature, or one that is not written as it must be"))?;
            let signed = self.signed(item).ok_or_else(|| Refusal::unverified("a signed field is not text or a number"))?;
            read.push((signed, signature));
        }
        let matched = self.keys.iter().position(|key| read.iter().all(|(signed, found)| same(&mac(key, &[signed]), found)));
        let index = matched.ok_or_else(|| Refusal::unverified("the signature of an item is of none of the source's secrets"))?;
        if let Some((path, rule)) = &self.template.time {
            items.iter().try_for_each(|item| rule.check_value(path.one(item), inbound.received_at))?;
        }
        Ok(index)
    }

    /// What is signed one by one; `None` if something is not laid out as it must be.
    fn items<'v>(&self, body: &'v Value) -> Option<Vec<&'v Value>> {
        let items: Vec<&Value> = match &self.template.list {
            Some(list) => list.one(body)?.as_array()?.iter().collect(),
            None => vec![body],
        };
        items.into_iter().map(|item| self.template.item.one(item)).collect()
    }

    fn signed(&self, item: &Value) -> Option<String> {
        let values = self.template.fields.iter().map(|path| match path.one(item) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => None,
        });
        Some(values.collect::<Option<Vec<_>>>()?.join(&self.template.join))
    }

    /// For people: what was checked and which key matched.
    pub(super) fn describe(&self, secret: usize) -> String {
        format!("signature in the body, secret {} of {}", secret + 1, self.keys.len())
    }

    /// Signs every item with the newest key.
    pub fn sign(&self, inbound: &mut Inbound) -> Result<(), Refusal> {
        let key = self.keys.first().ok_or_else(|| Refusal::unverified("there is no key"))?;
        let mut body = json::parse(&inbound.body).map_err(|flaw| Refusal::malformed(flaw.to_string()))?;
        match &self.template.list {
            None => self.sign_item(key, &mut body)?,
            Some(list) => {
                let list = list.one_mut(&mut body).and_then(Value::as_array_mut);
                let list = list.ok_or_else(|| Refusal::malformed("the body has no list of items"))?;
                list.iter_mut().try_for_each(|item| self.sign_item(key, item))?;
            }
        }
        inbound.body = body.to_string().into();
        Ok(())
    }

    fn sign_item(&self, key: &Key, item: &mut Value) -> Result<(), Refusal> {
        let item = self.template.item.one_mut(item);
        let item = item.ok_or_else(|| Refusal::malformed("an item is not laid out as it must be"))?;
        let signed = self.signed(item).ok_or_else(|| Refusal::malformed("a signed field is not text or a number"))?;
        self.template.signature.put(item, &self.template.encoding.encode(&mac(key, &[signed])));
        Ok(())
    }
}
