//! Ed25519 and ECDSA over parts of a request: the provider keeps the private key, the settings have the public one.

use std::borrow::Cow;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::secret::Secret;

use super::Refusal;
use super::signed::Envelope;
use crate::inbound::Inbound;

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519, 32 bytes.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, signatures in DER.
    EcdsaP256,
}

/// An envelope with the public keys of one source, newest first.
#[derive(Debug)]
pub struct Scheme {
    algorithm: Algorithm,
    envelope: Envelope,
    keys: Vec<Vec<u8>>,
}

/// Before the point of a P-256 key in a SubjectPublicKeyInfo.
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Before an Ed25519 key in a SubjectPublicKeyInfo.
const ED25519_INFO: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

impl Scheme {
    /// Takes in the public keys. An error is for the operator.
    pub fn new(algorithm: Algorithm, envelope: Envelope, secrets: &[Secret]) -> Result<Self, String> {
        if secrets.is_empty() {
            return Err("has no key: a source that cannot verify does not start".to_owned());
        }
        let keys = secrets.iter().map(|secret| algorithm.key(secret)).collect::<Result<_, String>>()?;
        Ok(Self { algorithm, envelope, keys })
    }

    /// Which key matches, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let presented = self.envelope.presented(inbound)?;
        let mut matched = None;
        self.envelope.any(inbound, &presented, &mut |pieces| {
            let message = pieces.concat();
            matched = self
                .keys
                .iter()
                .position(|key| presented.signatures.iter().any(|signature| self.algorithm.verifies(key, &message, signature)));
            matched.is_some()
        })?;
        let site = &self.envelope.site;
        let index = matched.ok_or_else(|| Refusal::unverified(format!("the signature in {site} is of none of the keys")))?;
        self.envelope.check_body_time(inbound)?;
        Ok(index)
    }

    /// For people: what was checked and which key matched.
    pub(super) fn describe(&self, key: usize) -> String {
        format!("{}, key {} of {}", self.envelope.site, key + 1, self.keys.len())
    }

    /// Proves this request as the provider would, with a private key that is made for tests: the provider's own
    /// never leaves it. Ed25519: the seed in hexadecimal, or `whsk_` and base64. ECDSA: PKCS#8 in base64.
    pub fn sign(&self, inbound: &mut Inbound, private: Option<&Secret>) -> Result<(), Refusal> {
        let Some(private) = private else {
            let why = "only the provider has the private key; give one made for tests with --key FILE, and its public half to the source";
            return Err(Refusal::unverified(why));
        };
        self.envelope.write(inbound, &|pieces| self.algorithm.sign(private, &pieces.concat()))
    }
}

impl Algorithm {
    fn key(self, secret: &Secret) -> Result<Vec<u8>, String> {
        let text = secret.expose_text().unwrap_or_default().trim();
        match self {
            Self::Ed25519 => {
                let encoded = text.strip_prefix("whpk_");
                let lines = encoded.unwrap_or(text).lines().filter(|line| !line.starts_with("-----"));
                let base64 = || STANDARD.decode(lines.collect::<String>()).ok();
                let bytes = if encoded.is_none() { hex::decode(text).ok().or_else(base64) } else { base64() };
                let bytes = bytes.map(|bytes| bytes.strip_prefix(ED25519_INFO.as_slice()).map(<[u8]>::to_vec).unwrap_or(bytes));
                let bytes = bytes.filter(|bytes| bytes.len() == 32);
                let bytes =
                    bytes.ok_or("has a key that is not an Ed25519 public key: 64 hexadecimal digits, base64, or whpk_…")?;
                if is_small(&bytes) {
                    return Err("has a weak Ed25519 key, under which anybody's signatures verify".to_owned());
                }
                Ok(bytes)
            }
            Self::EcdsaP256 => {
                let lines = text.lines().filter(|line| !line.starts_with("-----"));
                let bytes = hex::decode(text).or_else(|_| STANDARD.decode(lines.collect::<String>())).unwrap_or_default();
                // The bare point begins with how it is written: with both coordinates.
                let point = bytes.strip_prefix(P256_INFO.as_slice()).unwrap_or(&bytes);
                let whole = point.len() == 65 && point.first() == Some(&4);
                whole.then(|| point.to_vec()).ok_or_else(|| {
                    "has a key that is not a P-256 public key: SPKI or the uncompressed point, in base64, PEM or hexadecimal"
                        .to_owned()
                })
            }
        }
    }

    fn verifies(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match self {
            // A small R makes signatures that fit several messages; honest signers never make one.
            Self::Ed25519 => {
                signature.get(..32).is_some_and(|point| !is_small(point))
                    && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            Self::EcdsaP256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature).is_ok(),
        }
    }

    fn sign(self, private: &Secret, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let text = private.expose_text().unwrap_or_default().trim();
        let unusable = || Refusal::unverified("the key given with --key cannot be used for this kind of signature");
        match self {
            Self::Ed25519 => {
                let seed = match text.strip_prefix("whsk_") {
                    Some(encoded) => STANDARD.decode(encoded).ok(),
                    None => hex::decode(text).ok(),
                };
                let seed = seed.and_then(|bytes| bytes.get(..32).map(<[u8]>::to_vec)).ok_or_else(unusable)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| unusable())?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            Self::EcdsaP256 => {
                let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
                let bytes = STANDARD.decode(lines).map_err(|_| unusable())?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes).map_err(|_| unusable())?;
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| unusable())?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// The public half of an Ed25519 seed, for tests of senders.
pub fn ed25519_public(seed: &[u8]) -> Option<Vec<u8>> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok().map(|pair| pair.public_key().as_ref().to_vec())
}

/// Is this the encoding of a point of small order? The sign bit does not matter.
fn is_small(point: &[u8]) -> bool {
    const LAST: u8 = 0x7F;
    let Some((last, front)) = point.split_last() else { return true };
    let point: Cow<'_, [u8]> = Cow::Owned([front, &[last & LAST]].concat());
    // 0 and 1, also written as p and p + 1, and p - 1: all other bytes are the same.
    let (first, middle) = (point.first().copied().unwrap_or_default(), point.get(1..31).unwrap_or_default());
    let low = last & LAST == 0 && first <= 1 && middle.iter().all(|byte| *byte == 0);
    let high = last & LAST == LAST && first >= 0xEC && middle.iter().all(|byte| *byte == 0xFF);
    low || high || ORDER_EIGHT.iter().any(|small| small.as_slice() == point.as_ref())
}

/// The y coordinates of the points of order 8.
const ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0, 0xD5, 0xDF, 0xAC, 0x05,
        0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
    ],
    [
        0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F, 0x2A, 0x20, 0x53, 0xFA,
        0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_keys_are_known_in_all_their_spellings() {
        let spelled = |first: u8, middle: u8, last: u8| [&[first][..], &[middle; 30], &[last]].concat();
        for weak in [
            spelled(0, 0, 0),
            spelled(1, 0, 0),
            spelled(0, 0, 0x80),
            spelled(1, 0, 0x80),
            spelled(0xEC, 0xFF, 0x7F),
            spelled(0xED, 0xFF, 0x7F),
            spelled(0xEE, 0xFF, 0xFF),
            ORDER_EIGHT[0].to_vec(),
        ] {
            assert!(is_small(&weak), "{}", hex::encode(&weak));
            assert!(Algorithm::Ed25519.key(&Secret::new(hex::encode(&weak))).is_err());
        }
        let key = ed25519_public(&[7; 32]).unwrap();
        let info = [ED25519_INFO.as_slice(), key.as_slice()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&info));
        for written in
            [hex::encode(&key), STANDARD.encode(&key), format!("whpk_{}", STANDARD.encode(&key)), STANDARD.encode(&info), pem]
        {
            assert_eq!(Algorithm::Ed25519.key(&Secret::new(written.clone())), Ok(key.clone()), "{written}");
        }
    }
}
