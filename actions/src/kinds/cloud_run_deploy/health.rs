//! Health of the new revision, asked at its own address.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::action::Failure;
use crate::cloud_run::text;
use crate::http::{HttpError, Method, Request, Response};
use crate::kinds::cloud_run_deploy::plan::Health;
use crate::kinds::cloud_run_deploy::steps::Deploy;

const TIMEOUT: Duration = Duration::from_secs(10);

impl Deploy<'_> {
    /// Asks until the answer is the wanted one, as often as the rule says.
    pub(super) async fn check_health(&self, health: &Health, address: &str) -> Result<(), Failure> {
        let url = format!("{}{}", address.trim_end_matches('/'), health.path);
        // Cloud Run takes the service's own address as audience, for the addresses of its tags too.
        let audience = if self.plan.target.health_id_token {
            Some(text(&self.api.service(self.until).await?, "uri").to_owned())
        } else {
            None
        };
        let mut last = String::new();
        for attempt in 1..=health.attempts {
            let deadline = self.until.min(Instant::now() + TIMEOUT);
            let request = Request::to(Method::GET, &url, deadline).expect_any().cap(256 * 1024);
            last = match self.ask(request, audience.as_deref()).await {
                Ok(answer) if health.status.map_or((200..300).contains(&answer.status), |wanted| wanted == answer.status) => {
                    self.stage("healthy", &format!("{} answered {}", health.path, answer.status));
                    return Ok(());
                }
                Ok(answer) => format!("answered {}", answer.status),
                // A long page is an answer too, but its status is not known to be right.
                Err(error @ (HttpError::Refused(_) | HttpError::Invalid(_) | HttpError::Token(_))) => {
                    return Err(error.into_failure("The revision's own address"));
                }
                Err(HttpError::Timeout) => "did not answer in time".into(),
                Err(error) => error.to_string(),
            };
            if attempt == health.attempts || self.until.saturating_duration_since(Instant::now()) < health.every {
                last = format!("{last} ({attempt} attempts)");
                break;
            }
            sleep(health.every).await;
        }
        let wanted = health.status.map_or_else(|| "2xx".to_owned(), |status| status.to_string());
        Err(Failure::last("unhealthy", format!("The new revision is not healthy: {} {last}, wanted {wanted}", health.path)))
    }

    async fn ask(&self, request: Request, audience: Option<&str>) -> Result<Response, HttpError> {
        let clients = self.context.clients;
        match audience {
            None => clients.http.send(request).await,
            Some(audience) => {
                let account = self.plan.target.deploy_as.as_deref();
                clients.google.send_with_id_token(account, audience, request).await
            }
        }
    }
}
