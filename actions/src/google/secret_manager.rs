//! Secret Manager: the value of a secret, checked against its checksum.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::action::Failure;
use crate::google::Google;
use crate::http::{HttpError, Request};
use crate::secret::Secret;

impl Google {
    /// The value of `projects/P/secrets/S` (its latest version) or `projects/P/secrets/S/versions/V`; with `/locations/L/` after
    /// the project for a regional secret. A value that does not fit its checksum is refused, to be asked for again.
    pub async fn access_secret(&self, name: &str, deadline: Instant) -> Result<Secret, Failure> {
        let (name, location) = version(name).ok_or_else(|| {
            Failure::last(
                "invalid",
                "A secret is named `projects/PROJECT/secrets/NAME`, with `/versions/N` for another than the latest",
            )
        })?;
        let base = match location {
            Some(location) if self.0.settings.secret_manager_url == "https://secretmanager.googleapis.com" => {
                format!("https://secretmanager.{location}.rep.googleapis.com")
            }
            _ => self.0.settings.secret_manager_url.clone(),
        };
        let request = Request::to(Method::GET, &format!("{base}/v1/{name}:access"), deadline);
        let target = format!("Secret Manager, asked for `{name}`,");
        let answer = self.send(None, request).await.and_then(|answer| answer.json());
        payload(&answer.map_err(|error| error.into_failure(&target))?)
            .map_err(|fault| Failure::retry("bad-answer", format!("{target} {fault}")))
    }
}

impl Google {
    /// Makes a secret with this value, or gives one that is there another version of it. Answers its name: `projects/P/secrets/S`.
    pub async fn create_secret(&self, project: &str, id: &str, value: &Secret, deadline: Instant) -> Result<String, Failure> {
        let name = format!("projects/{project}/secrets/{id}");
        if version(&name).is_none() {
            return Err(Failure::last("invalid", format!("`{name}` cannot be the name of a secret")));
        }
        let base = &self.0.settings.secret_manager_url;
        let target = format!("Secret Manager, asked to make `{name}`,");
        let body = json!({ "replication": { "automatic": {} } });
        let request =
            Request::to(Method::POST, &format!("{base}/v1/projects/{project}/secrets?secretId={id}"), deadline).json(&body);
        match self.send(None, request).await {
            Ok(_) | Err(HttpError::Status { status: 409, .. }) => {}
            Err(error) => return Err(error.into_failure(&target)),
        }
        let data = value.expose();
        let payload = json!({ "payload": { "data": STANDARD.encode(data), "dataCrc32c": crc32c(data).to_string() } });
        let request = Request::to(Method::POST, &format!("{base}/v1/{name}:addVersion"), deadline).json(&payload).conceal(value);
        self.send(None, request).await.map_err(|error| error.into_failure(&target))?;
        Ok(name)
    }
}

/// The full name of a version, and the location of a regional one.
fn version(name: &str) -> Option<(String, Option<&str>)> {
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) && part != ".."
    };
    let parts: Vec<&str> = name.split('/').collect();
    if !parts.iter().copied().all(fits) {
        return None;
    }
    match parts.as_slice() {
        ["projects", _, "secrets", _] => Some((format!("{name}/versions/latest"), None)),
        ["projects", _, "secrets", _, "versions", _] => Some((name.to_owned(), None)),
        ["projects", _, "locations", location, "secrets", _] => Some((format!("{name}/versions/latest"), Some(location))),
        ["projects", _, "locations", location, "secrets", _, "versions", _] => Some((name.to_owned(), Some(location))),
        _ => None,
    }
}

fn payload(answer: &Value) -> Result<Secret, &'static str> {
    let data = answer.pointer("/payload/data").and_then(Value::as_str).ok_or("answered without a value")?;
    let data = STANDARD.decode(data).map_err(|_| "answered with a value that is not base64")?;
    let promised = match answer.pointer("/payload/dataCrc32c") {
        Some(Value::String(text)) => text.parse::<u32>().ok(),
        Some(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        None => return Err("answered without a checksum"),
    };
    if promised == Some(crc32c(&data)) {
        Ok(Secret::new(data))
    } else {
        Err("answered with a value that does not fit its checksum")
    }
}

/// Castagnoli's CRC, bit by bit: secrets are at most 64 KiB and read at start.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_value_that_does_not_fit_its_checksum_is_refused() {
        let answer = |sum: &str| json!({ "payload": { "data": "MTIzNDU2Nzg5", "dataCrc32c": sum } });
        assert_eq!(payload(&answer("3808858755")).map(|secret| secret.expose().to_vec()), Ok(b"123456789".to_vec()));
        assert!(payload(&answer("3808858754")).is_err());
        assert!(payload(&json!({ "payload": { "data": "MTIz" } })).is_err());
    }

    #[test]
    fn names_of_secrets_are_completed_and_checked() {
        assert_eq!(version("projects/p/secrets/s"), Some(("projects/p/secrets/s/versions/latest".into(), None)));
        assert_eq!(version("projects/p/locations/l/secrets/s/versions/3").and_then(|(_, location)| location), Some("l"));
        for name in ["s", "projects/p/secrets/../x", "projects//secrets/s", "projects/p/secrets/s?x=1"] {
            assert_eq!(version(name), None, "{name}");
        }
    }
}
