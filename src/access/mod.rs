//! Who may look, and who may act.

pub mod door;
pub mod session;

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use poem::Request;
use poem::http::{StatusCode, header};
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;
use crate::clock::Timestamp;
use crate::receive::is_on_this_machine;
use crate::settings::Settings;
use session::Sessions;

/// Bytes of a token at least: it can be tried from anywhere.
const SHORTEST: usize = 16;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
}

impl Role {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The role of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator].into_iter().find(|role| role.word() == word)
    }
}

/// Somebody who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// How they were let in: what the audit log shows.
    pub who: String,
    /// What they may do.
    pub role: Role,
}

impl Viewer {
    /// May they see everything?
    pub fn sees_all(&self) -> bool {
        true
    }

    /// May they see what is about this repository?
    pub fn sees(&self, _repository: Option<&str>) -> bool {
        true
    }
}

/// A token by its digest, so that neither it nor its length is compared.
struct Token {
    digest: [u8; 32],
    role: Role,
    name: &'static str,
}

/// Who is let in, by `admin:`.
pub struct Access {
    tokens: Vec<Token>,
    /// Nothing is set: this machine only.
    this_machine_only: bool,
    /// Browsers that are signed in.
    pub sessions: Sessions,
}

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub viewer: Viewer,
    /// What forms must repeat, so that nobody else's page can send them.
    pub form_key: String,
    /// Is there a session that can be ended?
    pub signed_in: bool,
}

impl Access {
    /// From the settings with their secrets. The error is for the operator.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let admin = &settings.admin;
        let mut tokens = Vec::new();
        let mut secrets = Vec::new();
        for (entry, role, name) in
            [(&admin.token, Role::Operator, "operator token"), (&admin.viewer_token, Role::Viewer, "viewer token")]
        {
            let Some(entry) = entry else { continue };
            for value in settings.secrets.get(entry).into_iter().flatten() {
                if value.expose().len() < SHORTEST {
                    return Err(format!(
                        "the {name} `{entry}` is shorter than {SHORTEST} bytes: make one with `openssl rand -hex 24`"
                    ));
                }
                tokens.push(Token { digest: Sha256::digest(value.expose()).into(), role, name });
                secrets.push(value.expose().to_vec());
            }
        }
        for (digest, role, name) in
            [(admin.token_sha256, Role::Operator, "operator token"), (admin.viewer_token_sha256, Role::Viewer, "viewer token")]
        {
            tokens.extend(digest.map(|digest| Token { digest, role, name }));
        }
        let https = settings.public_url.as_deref().is_some_and(|url| url.starts_with("https:"));
        let sessions = Sessions::new(&secrets, admin.session, https);
        Ok(Self { tokens, this_machine_only: !admin.is_set(), sessions })
    }

    /// Is anybody asked who they are?
    pub fn asks(&self) -> bool {
        !self.this_machine_only
    }

    /// Who a token belongs to.
    pub fn by_token(&self, token: &str) -> Option<Viewer> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // All of them, so that the time says nothing of which one it is.
        let found = self.tokens.iter().fold(None, |found, known| {
            let same = verify_slices_are_equal(&known.digest, &digest).is_ok();
            if same { Some(known) } else { found }
        });
        found.map(|known| Viewer { who: known.name.to_owned(), role: known.role })
    }

    /// Who asks. The problem is what they are told if they are not let in.
    pub fn admit(&self, request: &Request) -> Result<Admitted, Problem> {
        if self.this_machine_only {
            return self.this_machine(request);
        }
        if let Some(value) = request.header(header::AUTHORIZATION) {
            let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
            let viewer = token.and_then(|token| self.by_token(token.trim()));
            // A browser never sends this by itself: there is nothing to protect forms from.
            return viewer.map(|viewer| Admitted { viewer, form_key: String::new(), signed_in: false }).ok_or_else(unknown);
        }
        let (viewer, form_key) = self.sessions.of(request, Timestamp::now()).ok_or_else(unknown)?;
        from_ourselves(request)?;
        Ok(Admitted { viewer, form_key, signed_in: true })
    }

    /// Nobody is asked who they are on this machine, as long as nothing else is set; elsewhere nothing answers.
    fn this_machine(&self, request: &Request) -> Result<Admitted, Problem> {
        if !is_on_this_machine(request) || !names_this_machine(request) {
            return Err(nothing());
        }
        from_ourselves(request)?;
        let viewer = Viewer { who: "this machine".to_owned(), role: Role::Operator };
        Ok(Admitted { viewer, form_key: self.sessions.form_key("this machine"), signed_in: false })
    }
}

/// The same for everything that is not there.
pub fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing here.")
}

fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Sign in, or send a token of `admin:` as `Authorization: Bearer`.")
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

/// Browsers say which page asks; other programs say nothing. What only reads may come from anywhere: nobody else's page can read it.
pub fn from_ourselves(request: &Request) -> Result<(), Problem> {
    if request.method().is_safe() {
        return Ok(());
    }
    let site = request.header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = request.header(header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == request.header(header::HOST)
    });
    if site && origin {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "This was asked for by a page of somebody else."))
    }
}
