//! Sessions of browsers: a signed cookie that ends by itself. Only that somebody signed out is stored, so every instance knows all of them.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::header;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Role, Sight, Viewer};
use crate::clock::Timestamp;

/// Name of the cookie.
const COOKIE: &str = "declic_session";

/// What a cookie says.
#[derive(Serialize, Deserialize)]
struct Claims {
    who: String,
    role: String,
    until: i64,
    /// Not everything, but what GitHub lets this login see; an empty one sees nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sees: Option<String>,
    /// Makes two sessions of the same second two.
    nonce: String,
}

/// A session that can be ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Tells it from all others, and lets nobody in.
    pub id: String,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// What a request's cookie proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whose it is.
    pub viewer: Viewer,
    /// What its forms must repeat.
    pub form_key: String,
    /// The session itself.
    pub session: Session,
}

/// Makes and reads them.
pub struct Sessions {
    key: hmac::Key,
    length: Duration,
    https: bool,
}

impl Sessions {
    /// The key comes from secrets that all instances have. Where there are none (only digests, or nothing is set), it is made up, and
    /// ends with the process: a digest stands in the settings, where more people can read it than may come in. `who_may` is part of
    /// it: where others may come in than before, everybody is asked again.
    pub fn new(secrets: &[Vec<u8>], who_may: &str, length: Duration, https: bool) -> Self {
        let mut hash = Sha256::new_with_prefix(b"declic session 2");
        hash.update(Sha256::digest(who_may));
        for secret in secrets {
            hash.update(u64::try_from(secret.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(secret);
        }
        if secrets.is_empty() {
            hash.update(rand::random::<[u8; 32]>());
        }
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &hash.finalize()), length, https }
    }

    /// `Set-Cookie` of a new session.
    pub fn begin(&self, viewer: &Viewer, now: Timestamp) -> String {
        let claims = Claims {
            who: viewer.who.clone(),
            role: viewer.role.word().to_owned(),
            until: now.after(self.length).0,
            sees: match &viewer.sight {
                Sight::Everything => None,
                Sight::Repositories(login) => Some(login.clone().unwrap_or_default()),
            },
            nonce: hex::encode(rand::random::<[u8; 8]>()),
        };
        let sealed = self.seal("session", &serde_json::to_vec(&claims).unwrap_or_default());
        self.cookie(COOKIE, &sealed, "/", self.length.as_secs())
    }

    /// `Set-Cookie` that ends a session.
    pub fn end(&self) -> String {
        self.cookie(COOKIE, "", "/", 0)
    }

    /// `Set-Cookie` of a cookie that no script reads and no other site's form sends.
    pub(super) fn cookie(&self, name: &str, value: &str, path: &str, seconds: u64) -> String {
        let secure = if self.https { "; Secure" } else { "" };
        format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// A body that only we can have written, for one purpose.
    pub(super) fn seal(&self, purpose: &str, body: &[u8]) -> String {
        let body = URL_SAFE_NO_PAD.encode(body);
        let tag = hmac::sign(&self.key, format!("{purpose} {body}").as_bytes());
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The body again, if we wrote it for this purpose.
    pub(super) fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let (body, tag) = sealed.split_once('.')?;
        hmac::verify(&self.key, format!("{purpose} {body}").as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        URL_SAFE_NO_PAD.decode(body).ok()
    }

    /// Something that only we can make of a seed.
    pub(super) fn derive(&self, label: &str, seed: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, format!("derived {label} {seed}").as_bytes()))
    }

    /// What a request's cookie proves. Whether somebody ended that session is not known here.
    pub fn of(&self, request: &Request, now: Timestamp) -> Option<Opened> {
        let value = cookie_of(request, COOKIE)?;
        let claims: Claims = serde_json::from_slice(&self.open("session", &value)?).ok()?;
        let sight = match claims.sees {
            None => Sight::Everything,
            Some(login) => Sight::Repositories(Some(login).filter(|login| !login.is_empty())),
        };
        let viewer = Viewer { who: claims.who, role: Role::of_word(&claims.role)?, sight };
        let session = Session { id: self.derive("id", &value), until: Timestamp(claims.until) };
        (claims.until > now.0).then(|| Opened { viewer, form_key: self.form_key(&value), session })
    }

    /// What the forms of a session repeat.
    pub fn form_key(&self, session: &str) -> String {
        hex::encode(hmac::sign(&self.key, format!("form {session}").as_bytes()))
    }
}

/// A cookie of a request.
pub(super) fn cookie_of(request: &Request, name: &str) -> Option<String> {
    let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookie: &str) -> Request {
        let value = cookie.split(';').next().unwrap().to_owned();
        Request::builder().header("cookie", format!("other=1; {value}")).finish()
    }

    #[test]
    fn a_session_is_known_until_it_ends_and_only_as_it_was_made() {
        let hour = Duration::from_secs(3600);
        let sessions = Sessions::new(&[b"a secret".to_vec()], "", hour, true);
        let viewer = Viewer { who: "viewer token".to_owned(), role: Role::Viewer, sight: Sight::Everything };
        let now = Timestamp(1_800_000_000_000);
        let cookie = sessions.begin(&viewer, now);
        assert!(cookie.contains("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let opened = sessions.of(&request(&cookie), now).unwrap();
        assert_eq!(opened.viewer, viewer);
        assert_eq!((opened.form_key.len(), opened.session.until), (64, now.after(hour)));
        assert_ne!(opened.session.id, sessions.of(&request(&sessions.begin(&viewer, now)), now).unwrap().session.id);
        assert!(sessions.of(&request(&cookie), now.after(hour)).is_none(), "it is over");
        // Another instance with the same secret knows it; one with another secret does not.
        assert!(Sessions::new(&[b"a secret".to_vec()], "", hour, true).of(&request(&cookie), now).is_some());
        assert!(Sessions::new(&[b"another".to_vec()], "", hour, true).of(&request(&cookie), now).is_none());
        assert!(Sessions::new(&[], "", hour, true).of(&request(&cookie), now).is_none());
        let forged = cookie.replacen("declic_session=ey", "declic_session=eX", 1);
        assert!(sessions.of(&request(&forged), now).is_none());
        assert!(sessions.of(&request("declic_session=; Path=/"), now).is_none());
        // Where others may come in than before, everybody is asked again.
        assert!(Sessions::new(&[b"a secret".to_vec()], "others", hour, true).of(&request(&cookie), now).is_none());
        // What was written for another purpose is no session.
        let body =
            serde_json::to_vec(&serde_json::json!({ "who": "x", "role": "operator", "until": i64::MAX, "nonce": "" })).unwrap();
        let other = format!("declic_session={}", sessions.seal("sign-in", &body));
        assert!(sessions.of(&request(&other), now).is_none());
    }

    #[test]
    fn a_session_keeps_what_its_person_may_see() {
        let sessions = Sessions::new(&[], "", Duration::from_secs(60), false);
        let now = Timestamp(1_800_000_000_000);
        for sight in [Sight::Everything, Sight::Repositories(None), Sight::Repositories(Some("ann".to_owned()))] {
            let viewer = Viewer { who: "ann@acme.example".to_owned(), role: Role::Operator, sight };
            assert_eq!(sessions.of(&request(&sessions.begin(&viewer, now)), now).unwrap().viewer, viewer);
        }
    }
}
