//! A plain HTTP API for `http/request`: answers with what it was asked.

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::json;

pub struct Echo;

/// Started on a free port.
pub async fn start() -> Running<Echo> {
    server::start(|_, _| Echo).await.unwrap()
}

#[async_trait]
impl Api for Echo {
    async fn answer(&self, request: &Request) -> Answer {
        let body = request.json().unwrap_or_else(|| String::from_utf8_lossy(&request.body).into_owned().into());
        let authorization = request.header("authorization");
        match request.path.as_str() {
            "/moved" => Answer::empty(302).with_header("location", "/elsewhere"),
            "/text" => Answer::text(200, "plain"),
            "/broken" => Answer::of_type(200, "application/json", "{\"half\":"),
            "/large" => Answer::text(200, "x".repeat(2 * 1024 * 1024)),
            _ => Answer::json(
                200,
                &json!({
                    "method": request.method, "path": request.path, "query": request.query, "body": body,
                    "authorization": authorization, "key": request.header("idempotency-key"), "type": request.header("content-type"),
                    "headers": request.headers,
                }),
            ),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}
