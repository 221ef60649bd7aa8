//! RSA keys and RS256 tokens of the stand-ins. Keys are made when they are first needed; none is ever stored.

use std::io;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key pair with its id.
#[derive(Debug)]
pub(super) struct SigningKey {
    pair: KeyPair,
    /// `kid` of its tokens.
    pub(super) id: String,
}

impl SigningKey {
    pub(super) fn generate(id: &str) -> io::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| io::Error::other("no RSA key could be generated"))?;
        Ok(Self { pair, id: id.to_owned() })
    }

    /// The private key as a PEM block, for a key file.
    pub(super) fn pem(&self) -> io::Result<String> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| io::Error::other("the key cannot be written as PKCS #8"))?;
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        // Put together here, so that no file of the repository looks as if it held a key.
        let label = ["PRIVATE", "KEY"].join(" ");
        Ok(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
    }

    /// Signs claims as a JWT.
    pub(super) fn sign(&self, claims: &Value) -> io::Result<String> {
        let header = json!({ "alg": "RS256", "kid": self.id, "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| io::Error::other("the claims cannot be signed"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a JWT that this key signed, or what is wrong with it.
    pub(super) fn verify(&self, token: &str) -> Result<Value, String> {
        let (message, signature) = token.rsplit_once('.').ok_or("it is not a JWT")?;
        let (header, claims) = message.split_once('.').ok_or("it is not a JWT")?;
        let part = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part is not base64url")?;
            serde_json::from_slice::<Value>(&bytes).map_err(|_| "a part is not JSON")
        };
        if part(header)?.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err("its algorithm is not RS256".into());
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature is not base64url")?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .map_err(|_| "its signature does not match the key of the account")?;
        Ok(part(claims)?)
    }

    /// The public key as an entry of a JSON Web Key Set.
    pub(super) fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kid": self.id, "kty": "RSA", "alg": "RS256", "use": "sig",
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        })
    }
}
