//! Amazon SNS: a signature inside the JSON, by a certificate that the JSON names. The one who may name certificates is decided here.
//!
//! The body is read strictly before anything is proved, because the proof is in it. Every Amazon customer can make a message that
//! verifies, so the list of topics is the real authorisation.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::secret::Secret;
use serde_json::Value;
use url::{Host, Url};

use super::Refusal;
use super::trust::{Form, Key, Trust, Want};
use crate::inbound::Inbound;
use crate::json;

/// Seconds a message may be old: Amazon tries again for as long.
const TOLERANCE: i64 = 3600;
/// The address that a message names whose certificate was made for tests.
const TEST_CERTIFICATE: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-test.pem";
/// Bytes of a message with its envelope; Amazon's limit is 256 KiB before escaping.
const LARGEST: usize = 2 * 1024 * 1024;

/// The topics of one source.
#[derive(Debug, Clone)]
pub struct Scheme {
    /// Topics that may speak.
    pub topics: Vec<String>,
    /// Certificates.
    pub trust: Arc<Trust>,
}

impl Scheme {
    /// The certificate that must be fetched first.
    pub fn wants(&self, inbound: &Inbound) -> Option<Want> {
        let message = self.message(inbound).ok()?;
        let url = text(&message, "SigningCertURL")?;
        let due = self.trust.is_due(url, "", inbound.received_at);
        due.then(|| Want { url: url.to_owned(), form: Form::Certificate, id: String::new() })
    }

    /// Checks the message.
    pub fn verify(&self, inbound: &Inbound) -> Result<(), Refusal> {
        let message = self.message(inbound).map_err(|why| Refusal::unverified(format!("the message {why}")))?;
        let url = text(&message, "SigningCertURL").unwrap_or_default();
        let keys = self.trust.keys(url);
        let Some(Key::Rsa(key)) = keys.as_ref().and_then(|keys| keys.get("")) else {
            return Err(Refusal::not_now(format!("the certificate {url} is not known yet")));
        };
        let algorithm = match text(&message, "SignatureVersion") {
            Some("1") => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Some("2") => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(Refusal::unverified("the message has an unknown SignatureVersion")),
        };
        let signature = text(&message, "Signature").and_then(|encoded| STANDARD.decode(encoded).ok());
        let signature = signature.ok_or_else(|| Refusal::unverified("the message's signature is missing or not base64"))?;
        let signed = signed(&message).ok_or_else(|| Refusal::unverified("the message lacks a field that is signed"))?;
        key.verify(algorithm, signed.as_bytes(), &signature).map_err(|_| Refusal::unverified("the message's signature is wrong"))
    }

    /// The message, if everything but its signature is right: nothing is fetched for others.
    fn message(&self, inbound: &Inbound) -> Result<Value, String> {
        if inbound.body.len() > LARGEST {
            return Err("is too large".to_owned());
        }
        let message = json::parse(&inbound.body).map_err(|flaw| format!("cannot be read: {flaw}"))?;
        let topic = text(&message, "TopicArn").ok_or("has no TopicArn")?;
        if !self.topics.iter().any(|allowed| allowed == topic) {
            return Err("is of a topic that `topic-arn` does not name".to_owned());
        }
        if !is_certificate_address(text(&message, "SigningCertURL").unwrap_or_default()) {
            return Err("names a certificate that is not Amazon's".to_owned());
        }
        let time = text(&message, "Timestamp").and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        let time = time.ok_or("has no Timestamp")?;
        if (inbound.received_at.seconds() - time.timestamp()).abs() > TOLERANCE {
            return Err("is too old, or from the future".to_owned());
        }
        Ok(message)
    }
}

impl Scheme {
    /// Signs a message with an RSA key made for tests (PKCS#8 in base64): its certificate must stand where the message says, which
    /// `aws.sns-url` of the settings can make true.
    pub fn sign(&self, inbound: &mut Inbound, private: Option<&Secret>) -> Result<(), Refusal> {
        let Some(private) = private else {
            let why = "only Amazon has the key of its topics; give one made for tests with --key FILE, and let `aws.sns-url` lead to its certificate";
            return Err(Refusal::unverified(why));
        };
        let unusable = || Refusal::unverified("the key given with --key is not an RSA key in PKCS#8");
        let text = private.expose_text().unwrap_or_default();
        let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let pair = STANDARD.decode(lines.trim()).ok().and_then(|der| RsaKeyPair::from_pkcs8(&der).ok()).ok_or_else(unusable)?;
        let mut message = json::parse(&inbound.body).map_err(|flaw| Refusal::malformed(flaw.to_string()))?;
        let fields = message.as_object_mut().ok_or_else(|| Refusal::malformed("the message is not an object"))?;
        let usual = [
            ("Type", "Notification".to_owned()),
            ("MessageId", ulid::Ulid::new().to_string()),
            ("TopicArn", self.topics.first().cloned().unwrap_or_default()),
            ("Message", String::new()),
            ("SigningCertURL", TEST_CERTIFICATE.to_owned()),
        ];
        for (name, value) in usual {
            fields.entry(name).or_insert(Value::String(value));
        }
        fields.insert("Timestamp".to_owned(), inbound.received_at.rfc3339().into());
        fields.insert("SignatureVersion".to_owned(), "2".into());
        let signed = signed(&message).ok_or_else(|| Refusal::malformed("the message lacks a field that is signed"))?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| unusable())?;
        message["Signature"] = STANDARD.encode(signature).into();
        inbound.body = message.to_string().into();
        Ok(())
    }
}

/// A text at the top of the message.
pub fn text<'m>(message: &'m Value, name: &str) -> Option<&'m str> {
    message.get(name).and_then(Value::as_str)
}

/// What is signed: the names and values of these fields, a line each.
fn signed(message: &Value) -> Option<String> {
    let fields: &[&str] = match text(message, "Type")? {
        "Notification" => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
            &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        }
        _ => return None,
    };
    let mut signed = String::new();
    for name in fields {
        match message.get(name) {
            None if *name == "Subject" => {}
            Some(Value::Null) if *name == "Subject" => {}
            value => {
                let value = value?.as_str()?;
                signed.push_str(name);
                signed.push('\n');
                signed.push_str(value);
                signed.push('\n');
            }
        }
    }
    Some(signed)
}

fn is_certificate_address(address: &str) -> bool {
    amazon(address).is_some_and(|url| url.path().ends_with(".pem") && url.query().is_none())
}

/// The address as Amazon's SNS has it: `https://sns.REGION.amazonaws.com/…`. Everything else is refused, lookalikes too.
pub fn amazon(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let plain = url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    let Some(Host::Domain(host)) = url.host() else { return None };
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let region = host.strip_prefix("sns.")?.strip_suffix(".amazonaws.com")?;
    let fine = region.len() >= 3 && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && fine).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_service_are_amazons() {
        assert!(amazon("https://sns.us-east-2.amazonaws.com/x.pem").is_some());
        assert!(amazon("https://sns.cn-north-1.amazonaws.com.cn/x.pem").is_some());
        for address in [
            "http://sns.us-east-2.amazonaws.com/x.pem",
            "https://sns.us-east-2.amazonaws.com.evil.example/x.pem",
            "https://sns.us-east-2.amazonaws.com@evil.example/x.pem",
            "https://evil.example/sns.us-east-2.amazonaws.com/x.pem",
            "https://sns-evil.s3.amazonaws.com/x.pem",
            "https://sns.us-east-2.amazonaws.com:8443/x.pem",
            "https://sns.evil.s3.amazonaws.com/x.pem",
            "https://sns.us-east-2.amazonaws.com./x.pem",
            "https://user@sns.us-east-2.amazonaws.com/x.pem",
            "https://sns..amazonaws.com/x.pem",
            "https://xsns.us-east-2.amazonaws.com/x.pem",
        ] {
            assert!(amazon(address).is_none(), "{address}");
        }
    }
}
