//! OAuth 1.0a with HMAC-SHA1, as X wants it of an app that acts for a user (RFC 5849).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;

/// What the operator's secret holds; its form tells which of X's two ways is meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserKeys {
    pub(super) consumer_key: String,
    pub(super) consumer_secret: String,
    pub(super) token: String,
    pub(super) token_secret: String,
}

/// What makes a signature different from every other.
pub(super) struct Moment {
    /// Seconds since the Unix epoch.
    pub(super) timestamp: i64,
    pub(super) nonce: String,
}

/// The value of `Authorization`. `form` are the pairs of a form body; a JSON body is not part of the signature.
pub(super) fn authorization(method: &str, url: &Url, form: &[(&str, &str)], keys: &UserKeys, moment: &Moment) -> String {
    let timestamp = moment.timestamp.to_string();
    let own = [
        ("oauth_consumer_key", keys.consumer_key.as_str()),
        ("oauth_nonce", &moment.nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", &timestamp),
        ("oauth_token", &keys.token),
        ("oauth_version", "1.0"),
    ];
    let mut pairs: Vec<(String, String)> = own.iter().chain(form).map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.extend(url.query_pairs().map(|(name, value)| (encoded(&name), encoded(&value))));
    pairs.sort();
    let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    let text = format!("{method}&{}&{}", encoded(bare.as_str()), encoded(&joined.join("&")));
    let key = format!("{}&{}", encoded(&keys.consumer_secret), encoded(&keys.token_secret));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    let shown = own.iter().copied().chain([("oauth_signature", signature.as_str())]);
    let shown: Vec<String> = shown.map(|(name, value)| format!("{name}=\"{}\"", encoded(value))).collect();
    format!("OAuth {}", shown.join(", "))
}

/// RFC 3986: everything but letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of "Creating a signature" in X's documentation, at both names of its API.
    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let keys = UserKeys {
            consumer_key: "xvz1evFS4wEEPTGEFPHBog".into(),
            consumer_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw".into(),
            token: "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb".into(),
            token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE".into(),
        };
        let moment = Moment { timestamp: 1_318_622_958, nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg".into() };
        let form = [("status", "Hello Ladies + Gentlemen, a signed OAuth request!")];
        for (host, signature) in
            [("api.twitter.com", "hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D"), ("api.x.com", "Ls93hJiZbQ3akF3HF3x1Bz8%2FzU4%3D")]
        {
            let url = Url::parse(&format!("https://{host}/1.1/statuses/update.json?include_entities=true")).unwrap();
            let header = authorization("POST", &url, &form, &keys, &moment);
            assert!(header.contains(&format!("oauth_signature=\"{signature}\"")), "{host}: {header}");
            assert!(header.starts_with("OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", oauth_nonce="));
        }
    }
}
