//! The way in to everything but sources: who may not come in learns nothing, not even that there is something.

use std::net::IpAddr;
use std::sync::Arc;

use poem::http::{StatusCode, header};
use poem::{Endpoint, Request, Response};

use super::{Role, Viewer};
use crate::api::problem::Problem;
use crate::api::{Api, PREFIX, State};
use crate::receive::is_on_this_machine;

/// Lets people in, or not.
pub struct Door {
    api: Api,
}

impl Door {
    /// In front of API and console.
    pub fn new(state: Arc<State>) -> Self {
        Self { api: Api::new(state) }
    }

    async fn answer(&self, mut request: Request) -> Response {
        let path = request.uri().path();
        if path != PREFIX && !path.starts_with("/api/v1/") {
            return nothing().response();
        }
        match admitted(&request) {
            Ok(viewer) => {
                request.extensions_mut().insert(viewer);
                self.api.answer(request).await
            }
            Err(problem) => problem.response(),
        }
    }
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await)
    }
}

/// Nobody is asked who they are on this machine, as long as nothing else is set; elsewhere nothing answers.
fn admitted(request: &Request) -> Result<Viewer, Problem> {
    if !is_on_this_machine(request) || !names_this_machine(request) {
        return Err(nothing());
    }
    if !request.method().is_safe() && !is_from_ourselves(request) {
        let detail = "This was asked for by a page of somebody else.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(Viewer { who: "this machine".to_owned(), role: Role::Operator })
}

fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing here.")
}

/// A name that leads to this machine but belongs to somebody else would let their page read ours.
fn names_this_machine(request: &Request) -> bool {
    let Some(host) = request.header(header::HOST) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Browsers say which page asks; other programs say nothing.
fn is_from_ourselves(request: &Request) -> bool {
    let site = request.header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = request.header(header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == request.header(header::HOST)
    });
    site && origin
}
