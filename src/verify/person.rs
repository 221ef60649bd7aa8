//! ID tokens of people: what an issuer says about whoever signed in there. Pure: keys are given, the time is given.

use serde_json::Value;

use super::jwt::Token;
use super::trust::Keys;
use crate::clock::Timestamp;

/// What a token must say to be for us.
#[derive(Debug, Clone)]
pub struct Expected<'e> {
    /// Accepted values of `iss`.
    pub issuers: &'e [&'e str],
    /// `aud`: our id at the issuer.
    pub audience: &'e str,
    /// `nonce`: the one that we asked with.
    pub nonce: Option<&'e str>,
}

/// The id of the key that a token names, so that it can be fetched. Nothing else of the token is to be believed yet.
pub fn key_id(token: &str) -> Option<String> {
    Token::parse(token).ok().map(|token| token.key_id)
}

/// The claims of a token that is signed by one of the keys, is for us, and is of now. The error is for the log: `the token …`.
pub fn claims(token: &str, expected: &Expected<'_>, keys: &Keys, now: Timestamp) -> Result<Value, String> {
    let token = Token::parse(token)?;
    let key = keys.get(&token.key_id).ok_or("is signed with a key that its issuer does not publish")?;
    token.verify(key)?;
    let text = |name: &str| token.claims.get(name).and_then(Value::as_str);
    if !text("iss").is_some_and(|issuer| expected.issuers.contains(&issuer)) {
        return Err("is from another issuer".to_owned());
    }
    let (is_for_us, alone) = match token.claims.get("aud") {
        Some(Value::String(audience)) => (audience == expected.audience, true),
        Some(Value::Array(audiences)) => (audiences.iter().any(|one| one == expected.audience), audiences.len() == 1),
        _ => (false, true),
    };
    if !is_for_us {
        return Err("is for another audience".to_owned());
    }
    // Made for several, it must say who asked for it; whoever asked, if it says so, was us.
    if text("azp").map_or(!alone, |party| party != expected.audience) {
        return Err("was asked for by somebody else".to_owned());
    }
    token.in_time(now.seconds())?;
    if let Some(nonce) = expected.nonce
        && text("nonce") != Some(nonce)
    {
        return Err("does not answer this sign-in: its nonce is another".to_owned());
    }
    if text("sub").is_none_or(str::is_empty) {
        return Err("names nobody".to_owned());
    }
    Ok(token.claims)
}
