//! RSA keys made for a test: what Google and Amazon sign with, and how they publish it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub struct Rsa(KeyPair);

impl Rsa {
    pub fn new() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// PKCS#8 in base64, as `declic send --key` takes it.
    pub fn private(&self) -> String {
        let private: Pkcs8V1Der<'_> = self.0.as_der().unwrap();
        STANDARD.encode(private.as_ref())
    }

    pub fn sign(&self, how: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// As an item of a JSON Web Key Set.
    pub fn published(&self, id: &str) -> Value {
        // RSAPublicKey of 2048 bits: the modulus begins after nine bytes, the exponent is 65537.
        let modulus = URL_SAFE_NO_PAD.encode(&self.0.public_key().as_ref()[9..265]);
        json!({ "kty": "RSA", "kid": id, "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB" })
    }

    /// `Bearer` and an ID token.
    pub fn token(&self, id: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "kid": id, "typ": "JWT" })), part(claims));
        let signature = self.sign(&RSA_PKCS1_SHA256, signed.as_bytes());
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// As a certificate in PEM, signed by nobody in particular: what it is worth is decided by where it is fetched.
    pub fn certificate(&self) -> String {
        let info: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        let algorithm = der(0x30, &[&der(0x06, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B]])]);
        let name = der(0x30, &[]);
        let time = |text: &str| der(0x17, &[text.as_bytes()]);
        let validity = der(0x30, &[&time("250101000000Z"), &time("350101000000Z")]);
        let body = der(0x30, &[&der(0x02, &[&[1]]), &algorithm, &name, &validity, &name, info.as_ref()]);
        let certificate = der(0x30, &[&body, &algorithm, &der(0x03, &[&[0, 0]])]);
        let lines = STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    }
}

/// A value in DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], length.as_slice(), content.as_slice()].concat()
}
