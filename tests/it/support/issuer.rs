//! An OpenID Connect issuer, and the keys of Identity-Aware Proxy: codes are good once, for whoever asked, with the right verifier.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use declic::clock::Timestamp;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::{Map, Value, json};

pub const CLIENT: &str = "declic-at-the-issuer";
pub const CLIENT_SECRET: &str = "a client secret: of this test+";
pub const REDIRECT: &str = "https://declic.example.dev/sign-in/callback";

/// What a code stands for.
struct Granted {
    nonce: String,
    challenge: String,
    used: bool,
}

/// What the issuer, or somebody in its place, does wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Wrong {
    Claim(&'static str, Value),
    WithoutClaim(&'static str),
    Unsigned,
    ForeignKey,
    /// The public key as a secret of HS256.
    PublicKeyAsSecret,
    NoToken,
    NamesAnotherIssuer,
}

pub struct Issuer {
    pub url: String,
    rsa: RsaPair,
    foreign: RsaPair,
    ec: EcdsaKeyPair,
    codes: Mutex<HashMap<String, Granted>>,
    /// Who signs in next.
    pub person: Mutex<Value>,
    pub wrong: Mutex<Option<Wrong>>,
}

pub async fn start() -> Running<Issuer> {
    let rsa = || RsaPair::generate(KeySize::Rsa2048).unwrap();
    server::start(|url, _| Issuer {
        url: url.to_owned(),
        rsa: rsa(),
        foreign: rsa(),
        ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        codes: Mutex::default(),
        person: Mutex::new(json!({ "sub": "1", "email": "ann@acme.example", "email_verified": true })),
        wrong: Mutex::default(),
    })
    .await
    .unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Issuer {
    pub fn sign_in_as(&self, person: Value) {
        *self.person.lock().unwrap() = person;
    }

    pub fn goes_wrong(&self, wrong: Option<Wrong>) {
        *self.wrong.lock().unwrap() = wrong;
    }

    fn keys(&self) -> Value {
        let public = self.rsa.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kid": "rsa", "kty": "RSA", "alg": "RS256", "use": "sig",
              "n": number(public.modulus().big_endian_without_leading_zero()),
              "e": number(public.exponent().big_endian_without_leading_zero()) },
            { "kid": "ec", "kty": "EC", "alg": "ES256", "use": "sig", "crv": "P-256",
              "x": number(&point[1..33]), "y": number(&point[33..65]) },
        ] })
    }

    /// A token with these claims, signed with RS256 or as it goes wrong.
    fn token(&self, claims: &Value) -> String {
        let wrong = self.wrong.lock().unwrap().clone();
        let header = |alg: &str| part(&json!({ "alg": alg, "kid": "rsa", "typ": "JWT" }));
        match wrong {
            Some(Wrong::Unsigned) => format!("{}.{}.", header("none"), part(claims)),
            Some(Wrong::PublicKeyAsSecret) => {
                let message = format!("{}.{}", header("HS256"), part(claims));
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.rsa.public_key().as_ref());
                format!("{message}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
            }
            wrong => {
                let pair = if wrong == Some(Wrong::ForeignKey) { &self.foreign } else { &self.rsa };
                let message = format!("{}.{}", header("RS256"), part(claims));
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
                format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
        }
    }

    /// An assertion as the proxy makes it: ES256.
    pub fn assertion(&self, claims: &Value) -> String {
        let message = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "ec", "typ": "JWT" })), part(claims));
        let signature = self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn authorize(&self, request: &Request) -> Answer {
        let parameter = |name: &str| request.parameter(name).unwrap_or_default();
        let challenge = parameter("code_challenge");
        let right = [
            parameter("response_type") == "code",
            parameter("client_id") == CLIENT,
            parameter("redirect_uri") == REDIRECT,
            parameter("scope").split(' ').any(|scope| scope == "openid"),
            parameter("state").len() >= 22,
            parameter("nonce").len() >= 22,
            parameter("code_challenge_method") == "S256",
            URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|hash| hash.len() == 32),
        ];
        if right.contains(&false) {
            // Whoever asks wrongly is never sent anywhere.
            return Answer::text(400, format!("invalid_request: {right:?}"));
        }
        let mut codes = self.codes.lock().unwrap();
        let code = format!("code-{}", codes.len() + 1);
        let granted = Granted { nonce: parameter("nonce").to_owned(), challenge: challenge.to_owned(), used: false };
        codes.insert(code.clone(), granted);
        let mut back = url::Url::parse(REDIRECT).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", parameter("state")).append_pair("iss", &self.url);
        Answer::empty(302).with_header("location", back.as_str())
    }

    fn exchange(&self, request: &Request) -> Answer {
        let refused = |error: &str| Answer::json(400, &json!({ "error": error }));
        let written = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", written(CLIENT), written(CLIENT_SECRET)));
        if request.header("authorization") != Some(&format!("Basic {pair}")) {
            return Answer::json(401, &json!({ "error": "invalid_client" }));
        }
        if request.header("content-type") != Some("application/x-www-form-urlencoded") {
            return refused("invalid_request");
        }
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("grant_type") != "authorization_code" {
            return refused("unsupported_grant_type");
        }
        let mut codes = self.codes.lock().unwrap();
        let Some(granted) = codes.get_mut(field("code")) else { return refused("invalid_grant") };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
        let right = !granted.used && field("redirect_uri") == REDIRECT && challenge == granted.challenge;
        granted.used = true;
        if !right || field("code_verifier").len() < 43 {
            return refused("invalid_grant");
        }
        let now = Timestamp::now().seconds();
        let mut claims = json!({ "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": granted.nonce });
        let person = self.person.lock().unwrap().clone();
        claims.as_object_mut().unwrap().extend(person.as_object().cloned().unwrap_or_else(Map::new));
        match self.wrong.lock().unwrap().clone() {
            Some(Wrong::Claim(name, value)) => claims[name] = value,
            Some(Wrong::WithoutClaim(name)) => drop(claims.as_object_mut().unwrap().remove(name)),
            Some(Wrong::NoToken) => return Answer::json(200, &json!({ "access_token": "a", "token_type": "Bearer" })),
            _ => {}
        }
        let token = self.token(&claims);
        Answer::json(200, &json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token }))
    }
}

#[async_trait]
impl Api for Issuer {
    async fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/.well-known/openid-configuration") => {
                let another = *self.wrong.lock().unwrap() == Some(Wrong::NamesAnotherIssuer);
                let issuer = if another { "https://attacker.example" } else { &self.url };
                Answer::json(
                    200,
                    &json!({
                        "issuer": issuer, "authorization_endpoint": format!("{}/authorize", self.url),
                        "token_endpoint": format!("{}/token", self.url), "jwks_uri": format!("{}/keys", self.url),
                        "response_types_supported": ["code"], "id_token_signing_alg_values_supported": ["RS256"],
                        "authorization_response_iss_parameter_supported": true,
                    }),
                )
            }
            ("GET", "/keys") => Answer::json(200, &self.keys()).with_header("cache-control", "max-age=600"),
            ("GET", "/authorize") => self.authorize(request),
            ("POST", "/token") => self.exchange(request),
            _ => Answer::empty(404),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "error": message }))
    }
}
