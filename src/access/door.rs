//! The way in to everything but sources.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response};

use super::{Access, Admitted, unknown};
use crate::api::problem::Problem;
use crate::api::{Api, PREFIX, State};
use crate::console::Console;

/// Lets people in, or not.
pub struct Door {
    access: Arc<Access>,
    state: Arc<State>,
    api: Api,
    console: Console,
}

impl Door {
    /// In front of API and console.
    pub fn new(access: Access, state: Arc<State>) -> Self {
        let access = Arc::new(access);
        let console = Console::new(Arc::clone(&state), Arc::clone(&access));
        Self { access, console, api: Api::new(Arc::clone(&state)), state }
    }

    /// Who asks, unless they signed out.
    async fn admit(&self, request: &Request) -> Result<Admitted, Problem> {
        let admitted = self.access.admit(request).await?;
        if let Some(session) = &admitted.session
            && self.state.is_over(session).await.map_err(|failure| failure.problem().clone())?
        {
            return Err(unknown());
        }
        Ok(admitted)
    }

    async fn answer(&self, mut request: Request) -> Response {
        let path = request.uri().path();
        let is_api = path == PREFIX || path.starts_with("/api/");
        match self.admit(&request).await {
            Ok(admitted) if is_api => {
                request.extensions_mut().insert(admitted.viewer);
                self.api.answer(request).await
            }
            Ok(admitted) => self.console.answer(request, &admitted).await,
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED.as_u16() && !is_api => {
                self.console.stranger(request).await
            }
            Err(problem) => {
                let mut response = problem.response();
                if response.status() == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                response
            }
        }
    }
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await)
    }
}
