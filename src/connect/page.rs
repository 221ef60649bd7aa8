//! The two pages on this machine: one that leads to GitHub, and one that GitHub leads back to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use maud::{DOCTYPE, Markup, html};
use poem::http::{Method, StatusCode, header};
use poem::listener::TcpAcceptor;
use poem::{Request, Response, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::take;

/// What the pages know.
pub(super) struct Page {
    /// Where the manifest is posted to.
    pub form: String,
    pub manifest: String,
    /// Comes back with the code, or it is not ours.
    pub state: String,
    pub code: Mutex<Option<oneshot::Sender<String>>>,
    /// `127.0.0.1:PORT`
    pub host: String,
}

/// Until it is told to stop.
pub(super) async fn serve(listener: TcpListener, page: Arc<Page>, stop: oneshot::Receiver<()>) {
    let acceptor = match listener.into_std().and_then(TcpAcceptor::from_std) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, "the page on this machine cannot be served"),
    };
    let endpoint = poem::endpoint::make(move |request: Request| {
        let page = Arc::clone(&page);
        async move { page.answer(&request) }
    });
    // The sender is only ever dropped; either way the last answer has a moment to get out.
    let stop = async move { drop(stop.await) };
    let server = Server::new_with_acceptor(acceptor);
    if let Err(error) = server.run_with_graceful_shutdown(endpoint, stop, Some(Duration::from_secs(1))).await {
        tracing::error!(%error, "the page on this machine ended");
    }
}

impl Page {
    fn answer(&self, request: &Request) -> Response {
        // A name that somebody else made lead here is not this machine's.
        let host = request.header(header::HOST).unwrap_or_default();
        if host != self.host || request.method() != Method::GET {
            return shown(StatusCode::NOT_FOUND, "Nothing here", html! {});
        }
        match request.uri().path() {
            "/" => self.begin(),
            "/created" => self.created(request.uri().query().unwrap_or_default()),
            _ => shown(StatusCode::NOT_FOUND, "Nothing here", html! {}),
        }
    }

    fn begin(&self) -> Response {
        let text = html! {
            p { "GitHub shows what the App may do, and you create it there. Its keys come back to this machine and are kept by Declic." }
            form action=(self.form) method="post" {
                input type="hidden" name="manifest" value=(self.manifest);
                button { "Go to GitHub" }
            }
        };
        shown(StatusCode::OK, "Create a GitHub App for Declic", text)
    }

    fn created(&self, query: &str) -> Response {
        let values: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |name: &str| values.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let plain = |text: &str| {
            (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if value("state") != self.state || !plain(value("code")) {
            let text = html! { p { "This answer does not belong to what was begun here. Begin again." } };
            return shown(StatusCode::BAD_REQUEST, "Not ours", text);
        }
        match take(&self.code) {
            Some(sender) => {
                // Nobody waits any more: the command ended a moment ago.
                let _ = sender.send(value("code").to_owned());
                shown(StatusCode::OK, "The App is there", html! { p { "Go back to the terminal: it says what to do next." } })
            }
            None => {
                shown(StatusCode::GONE, "Done already", html! { p { "The code was taken before. Go back to the terminal." } })
            }
        }
    }
}

fn shown(status: StatusCode, title: &str, text: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) } }
            body { main { h1 { (title) } (text) } }
        }
    };
    Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'")
        .body(page.into_string())
}
