//! `x/post`: a post or a reply of the operator's account on X.

mod sign;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::http::{HttpError, Method, Request};
use crate::kinds::auth::secret;
use crate::secret::Secret;

use sign::{Moment, UserKeys, authorization};

/// A post of ours older than this is not taken for the one that is looked for.
const LOOK_BACK: i64 = 24 * 3600;

/// The action.
pub struct XPost;

static SPEC: Spec = Spec {
    name: "x/post",
    summary: "Posts on X, or replies to a post",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The account, by its name under `connections:`" },
        Field { name: "text", shape: "post", summary: "The text; nobody is told of mentions in values from outside" },
        Field { name: "in-reply-to", shape: "string?", summary: "Id of the post to answer" },
    ],
    outputs: &[
        Field { name: "id", shape: "string", summary: "X's id of the post" },
        Field { name: "url", shape: "string", summary: "Its address" },
    ],
    example: "connection: x_acme\ntext: A new version is out.\n",
    deadline: Duration::from_secs(20),
    repeat: Repeat::Found,
    repeat_how: "The account's posts of the last day are looked through for the text, and X itself refuses a repeated one",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    base: String,
    /// Name of the secret with the keys.
    auth: String,
    text: String,
    reply_to: Option<String>,
    most_a_day: Option<i64>,
    key: String,
}

#[async_trait]
impl Action for XPost {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "x")?;
        let (base, auth, text, reply_to, most_a_day) = all((
            base(&connection),
            connection.text("auth"),
            given.text("text"),
            reply_to(&given),
            connection.int_within("max-posts-per-day", 1, 100),
        ))?;
        let plan = Plan {
            base: base.to_owned(),
            auth: auth.to_owned(),
            text: text.to_owned(),
            reply_to: reply_to.map(str::to_owned),
            most_a_day,
            key: call.key.clone(),
        };
        let what = plan.reply_to.as_ref().map_or_else(|| "post on X".to_owned(), |id| format!("reply to {id} on X"));
        let summary = format!("{what}: {} characters", plan.text.chars().count());
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let account = Account::new(context, &plan)?;
        if let Some(most) = plan.most_a_day {
            let posts = account.recent().await?;
            if posts.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
                let message = format!("The account has {} posts within a day, and the connection allows {most}", posts.len());
                return Err(Failure::last("quota", message));
            }
        }
        let mut body = json!({ "text": plan.text });
        if let Some(id) = &plan.reply_to {
            body["reply"] = json!({ "in_reply_to_tweet_id": id });
        }
        match account.call(Method::POST, "/2/tweets", Some(&body)).await {
            Ok(answer) => outcome(answer.get("data").unwrap_or(&Value::Null)),
            // The post that it repeats may be this call's own, whose answer was lost.
            Err(failure) if failure.why().code == "duplicate" && context.attempt > 1 => {
                account.search().await?.map_or(Err(failure), |post| outcome(&post))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let post = Account::new(context, &plan)?.search().await?;
        post.as_ref().map(outcome).transpose()
    }
}

enum Keys {
    User(UserKeys),
    Bearer(Secret),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerKeys {
    access_token: String,
}

/// The account whose keys the connection holds.
struct Account<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    keys: Keys,
    secret: &'a Secret,
}

impl<'a> Account<'a> {
    fn new(context: &'a Context<'a>, plan: &'a Plan) -> Result<Self, Failure> {
        let secret = secret(context, &plan.auth)?;
        let keys = serde_json::from_slice(secret.expose()).map(Keys::User).or_else(|_| {
            let bearer = serde_json::from_slice(secret.expose());
            bearer.map(|keys: BearerKeys| Keys::Bearer(Secret::new(keys.access_token)))
        });
        // What the parser says could quote the secret.
        let keys = keys.map_err(|_| {
            let message = "The secret of the X connection is JSON with `consumer_key`, `consumer_secret`, `token` and \
                           `token_secret`, or with `access_token`";
            Failure::last("invalid", message)
        })?;
        Ok(Self { context, plan, keys, secret })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let address = format!("{}{path}", self.plan.base);
        let url = Url::parse(&address).map_err(|error| Failure::last("invalid", error.to_string()))?;
        let mut request = Request::new(method.clone(), url.clone(), self.context.deadline);
        if let Some(body) = body {
            request = request.json(body);
        }
        request = match &self.keys {
            Keys::Bearer(token) => request.bearer(token),
            Keys::User(keys) => {
                let header = authorization(method.as_str(), &url, &[], keys, &self.moment(path));
                let concealed = [&keys.consumer_secret, &keys.token_secret, &keys.token];
                let request = request.signed(&header, self.secret);
                concealed.into_iter().fold(request, |request, value| request.conceal(&Secret::new(value.as_str())))
            }
        };
        let answer = self.context.clients.http.send(request).await.and_then(|answer| answer.json());
        answer.map_err(|error| failure(error, self.context.clients.google.now()))
    }

    /// X refuses a nonce it has seen; this one is new for every request of every attempt.
    fn moment(&self, path: &str) -> Moment {
        let timestamp = self.context.clients.google.now();
        let unique = format!("{}\n{}\n{path}\n{}", self.plan.key, self.context.attempt, rand::random::<u64>());
        Moment { timestamp, nonce: hex::encode(Sha256::digest(unique.as_bytes())).chars().take(32).collect() }
    }

    /// The account's own posts of the last day, newest first; a hundred at most.
    async fn recent(&self) -> Result<Vec<Value>, Failure> {
        let me = self.call(Method::GET, "/2/users/me", None).await?;
        let id = me.pointer("/data/id").and_then(Value::as_str).filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
        let id = id.ok_or_else(|| Failure::last("bad-answer", "X does not say whose keys these are"))?;
        let since = chrono::DateTime::from_timestamp(self.context.clients.google.now() - LOOK_BACK, 0).unwrap_or_default();
        let since = since.format("%Y-%m-%dT%H:%M:%SZ").to_string().replace(':', "%3A");
        let path = format!("/2/users/{id}/tweets?max_results=100&start_time={since}");
        let page = self.call(Method::GET, &path, None).await?;
        Ok(page.get("data").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    async fn search(&self) -> Result<Option<Value>, Failure> {
        let posts = self.recent().await?;
        let text = |post: &Value| post.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(posts.into_iter().find(|post| is_same(&self.plan.text, &text(post))))
    }
}

/// X escapes three characters and puts addresses of its own in place of those that were posted.
fn is_same(ours: &str, shown: &str) -> bool {
    let shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let is_address = |word: &str| word.starts_with("http://") || word.starts_with("https://");
    let (ours, shown): (Vec<&str>, Vec<&str>) = (ours.split_whitespace().collect(), shown.split_whitespace().collect());
    let same = |(ours, shown): (&&str, &&str)| ours == shown || (is_address(ours) && shown.starts_with("https://t.co/"));
    ours.len() == shown.len() && ours.iter().zip(&shown).all(same)
}

fn failure(error: HttpError, now: i64) -> Failure {
    if let HttpError::Status { status, response, message, .. } = &error {
        let repeated = *status == 403 && message.contains("duplicate content");
        if repeated {
            return Failure::last("duplicate", "X does not take the same text twice");
        }
        let reset = response.header("x-rate-limit-reset").and_then(|reset| reset.parse::<i64>().ok());
        if let (429, Some(reset)) = (*status, reset) {
            let after = Duration::from_secs(u64::try_from(reset - now).unwrap_or(0).min(24 * 3600) + 1);
            let why = error.clone().into_failure("X").why().clone();
            return Failure::Retry { after: Some(after), why };
        }
    }
    error.into_failure("X")
}

fn outcome(post: &Value) -> Result<Outcome, Failure> {
    let id = post.get("id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Failure::last("bad-answer", "X's answer holds no `id`"))?;
    let url = format!("https://x.com/i/status/{id}");
    Ok(Outcome { outputs: json!({ "id": id, "url": url }), summary: format!("post {id}"), url: Some(url) })
}

fn base<'a>(connection: &given::Given<'a>) -> Result<&'a str, Why> {
    let base = connection.optional_text("api-url")?.unwrap_or("https://api.x.com").trim_end_matches('/');
    let fits = Url::parse(base).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if fits { Ok(base) } else { Err(invalid("`connection.api-url` must be an http or https address")) }
}

fn reply_to<'a>(given: &given::Given<'a>) -> Result<Option<&'a str>, Why> {
    let id = given.optional_text("in-reply-to")?.filter(|id| !id.is_empty());
    let fits = id.is_none_or(|id| id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit()));
    if fits { Ok(id) } else { Err(invalid("`with.in-reply-to` is the number of a post")) }
}
