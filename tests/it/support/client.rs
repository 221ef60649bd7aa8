//! A plain HTTP client for tests that play the sender or the target themselves.

use serde_json::Value;

use super::service::signature;

/// Status, headers in lower case, and the body as JSON (or as a JSON string if it is not JSON).
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A string of the body by JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Sends requests with an `Authorization` header, if it was given one.
pub struct Client {
    inner: reqwest::Client,
    authorization: Option<String>,
}

impl Client {
    pub fn anonymous() -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests talk to stand-ins and to the service as outsiders")]
        let inner = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { inner, authorization: None }
    }

    pub fn bearer(token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..Self::anonymous() }
    }

    pub fn authorized(header: &str) -> Self {
        Self { authorization: Some(header.to_owned()), ..Self::anonymous() }
    }

    /// The reply, or the error of a connection that gave none.
    pub async fn try_send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.inner.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let named = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(named).collect();
        #[expect(clippy::disallowed_methods, reason = "the other side is a part of the test")]
        let bytes = response.bytes().await?;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
        Ok(Reply { status, headers, body })
    }

    pub async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        self.try_send(method, url, headers, body).await.unwrap()
    }

    pub async fn get(&self, url: &str) -> Reply {
        self.send("GET", url, &[], Vec::new()).await
    }

    pub async fn json(&self, method: &str, url: &str, body: &Value) -> Reply {
        self.send(method, url, &[("content-type", "application/json")], body.to_string().into_bytes()).await
    }

    /// An event as GitHub would send it to `/hooks/github` at this address, signed with `secret`.
    pub async fn github(
        &self,
        address: &str,
        secret: &str,
        event: &str,
        guid: &str,
        body: Vec<u8>,
    ) -> Result<Reply, reqwest::Error> {
        let signature = signature(secret, &body);
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", guid),
            ("x-hub-signature-256", signature.as_str()),
        ];
        self.try_send("POST", &format!("http://{address}/hooks/github"), &headers, body).await
    }

    /// The same, which must be taken in. Answers our id of the delivery.
    pub async fn deliver(&self, address: &str, secret: &str, event: &str, guid: &str, payload: &Value) -> String {
        let reply = self.github(address, secret, event, guid, payload.to_string().into_bytes()).await.unwrap();
        assert_eq!(reply.status, 202, "{}", reply.body);
        reply.text("/id").to_owned()
    }
}
