//! The question on GitHub: a comment, and the comments and reviews that follow it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Plan;
use crate::action::{Answer, Call, Context, Failure, Intent, Why};
use crate::given::{self, invalid};
use crate::hops;
use crate::kinds::github::{identity, json, repository, sha};

/// A hundred a page; what comes behind so many comments is not read.
const MOST_PAGES: u32 = 40;
/// People whose permission is asked for in one look.
const MOST_ASKED_FOR: usize = 20;
/// Permissions from the least.
const PERMISSIONS: &[&str] = &["read", "triage", "write", "maintain", "admin"];

/// Where it is asked, and who may answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// `/repos/OWNER/NAME`
    repository: String,
    /// Issue or pull request; otherwise the commit is asked.
    number: Option<u64>,
    sha: Option<String>,
    permission: String,
    users: Vec<String>,
}

/// The question as it was posted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Posted {
    id: u64,
    at: String,
    pub(super) url: Option<String>,
}

impl Asked {
    pub(super) fn read(call: &Call) -> Result<Self, Why> {
        let given = given::params(call);
        let users = given.optional_texts("users")?.unwrap_or_default().into_iter().map(str::to_owned).collect();
        let sha = match call.origin.number {
            Some(_) => call.origin.sha.clone(),
            None => Some(sha(call)?),
        };
        let permission = given.one_of("permission", PERMISSIONS)?.unwrap_or("write").to_owned();
        Ok(Self { repository: repository(call)?, number: call.origin.number, sha, permission, users })
    }

    fn comments(&self) -> Result<String, Failure> {
        match (self.number, &self.sha) {
            (Some(number), _) => Ok(format!("{}/issues/{number}/comments", self.repository)),
            (None, Some(sha)) => Ok(format!("{}/commits/{sha}/comments", self.repository)),
            (None, None) => Err(Failure::Final { why: invalid("the event is about no issue, pull request or commit") }),
        }
    }

    async fn list(&self, context: &Context<'_>, path: &str) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("{path}?per_page=100&page={page}");
            let answer = json(context.clients.github.get(&path, context.deadline).await?)?;
            let items = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            all.extend_from_slice(items);
            if items.len() < 100 {
                break;
            }
        }
        Ok(all)
    }

    /// Posts the question, unless an earlier attempt did.
    pub(super) async fn ask(&self, context: &Context<'_>, intent: &Intent, question: &str) -> Result<Posted, Failure> {
        let marker = marker(intent);
        let there = self.list(context, &self.comments()?).await?;
        let holds = |comment: &&Value| text(comment, "/body").contains(&marker);
        let comment = match there.iter().find(holds) {
            Some(comment) => comment.clone(),
            None => {
                let body = json!({ "body": self.body(intent, question, &how(&intent.call.origin.run)) });
                json(context.clients.github.post(&self.comments()?, &body, context.deadline).await?)?
            }
        };
        let (id, url) = identity(&comment, "html_url")?;
        Ok(Posted { id, at: text(&comment, "/created_at"), url: Some(url) })
    }

    fn body(&self, intent: &Intent, question: &str, line: &str) -> String {
        let origin = &intent.call.origin;
        let run = origin.run_url.as_ref().map_or_else(|| format!("`{}`", origin.run), |url| format!("[{}]({url})", origin.run));
        format!("**{}**\n\nRule `{}`, run {run}: {line}\n\n{}", plain(question), origin.rule, marker(intent))
    }

    /// The first word of somebody who may.
    pub(super) async fn answer(
        &self,
        context: &Context<'_>,
        intent: &Intent,
        posted: &Posted,
        plan: &Plan,
    ) -> Result<Option<Answer>, Failure> {
        let run = &intent.call.origin.run;
        let mut said: Vec<(String, bool, Option<String>)> = Vec::new();
        for comment in self.list(context, &self.comments()?).await? {
            // Only what was written after the question, by a person, and not edited since.
            let newer = comment.get("id").and_then(Value::as_u64).is_some_and(|id| id > posted.id);
            let untouched = text(&comment, "/updated_at") == text(&comment, "/created_at");
            if newer
                && untouched
                && text(&comment, "/user/type") != "Bot"
                && let Some((approved, more)) = command(&text(&comment, "/body"), run)
            {
                said.push((text(&comment, "/user/login"), approved, more));
            }
        }
        if let (Some(number), Some(sha)) = (self.number, &self.sha) {
            said.extend(self.reviews(context, number, sha, posted).await?);
        }
        let mut asked_for = BTreeSet::new();
        for (by, approved, comment) in said {
            // Many strangers must not use up what we may ask of GitHub.
            if asked_for.len() >= MOST_ASKED_FOR {
                break;
            }
            let named = self.users.is_empty() || self.users.iter().any(|user| user.eq_ignore_ascii_case(&by));
            if named && !plan.is_requester(&by) && asked_for.insert(by.clone()) && self.may(context, &by).await? {
                return Ok(Some(Answer { approved, via: "github".to_owned(), by, comment }));
            }
        }
        Ok(None)
    }

    /// Approvals of exactly the event's commit that came after the question.
    async fn reviews(
        &self,
        context: &Context<'_>,
        number: u64,
        sha: &str,
        posted: &Posted,
    ) -> Result<Vec<(String, bool, Option<String>)>, Failure> {
        let reviews = match self.list(context, &format!("{}/pulls/{number}/reviews", self.repository)).await {
            Ok(reviews) => reviews,
            // An issue has none.
            Err(failure) if failure.why().code == "not-found" => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        let counts = |review: &&Value| {
            text(review, "/state") == "APPROVED"
                && text(review, "/commit_id") == sha
                && text(review, "/submitted_at") >= posted.at
        };
        Ok(reviews.iter().filter(counts).map(|review| (text(review, "/user/login"), true, None)).collect())
    }

    /// Asks GitHub for somebody's permission.
    async fn may(&self, context: &Context<'_>, login: &str) -> Result<bool, Failure> {
        let fits = !login.is_empty() && login.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !fits {
            return Ok(false);
        }
        let path = format!("{}/collaborators/{login}/permission", self.repository);
        let found = match context.clients.github.get(&path, context.deadline).await {
            Ok(answer) => json(answer)?,
            Err(failure) if failure.why().code == "not-found" => return Ok(false),
            Err(failure) => return Err(failure),
        };
        let rank = |word: &str| PERMISSIONS.iter().position(|permission| *permission == word);
        // `role_name` can be one that an organisation made itself; then the permission below it counts.
        let has = rank(&text(&found, "/role_name")).or_else(|| rank(&text(&found, "/permission")));
        Ok(has.is_some_and(|has| Some(has) >= rank(&self.permission)))
    }

    /// Says what came of it, in place of the question.
    pub(super) async fn close(
        &self,
        context: &Context<'_>,
        intent: &Intent,
        posted: &Posted,
        question: &str,
        line: &str,
    ) -> Result<(), Failure> {
        let path = match self.number {
            Some(_) => format!("{}/issues/comments/{}", self.repository, posted.id),
            None => format!("{}/comments/{}", self.repository, posted.id),
        };
        let body = json!({ "body": self.body(intent, question, &plain(line)) });
        context.clients.github.patch(&path, &body, context.deadline).await.map(drop)
    }
}

fn marker(intent: &Intent) -> String {
    hops::comment(&intent.call.key, hops::carried(&intent.call))
}

fn how(run: &str) -> String {
    format!("answer with `/approve {run}` or `/reject {run}` in a comment, or approve this commit in a review")
}

/// `/approve RUN more words` at the beginning of a comment.
fn command(body: &str, run: &str) -> Option<(bool, Option<String>)> {
    let line = body.trim().lines().next()?;
    let mut words = line.split_whitespace();
    let approved = match words.next()? {
        "/approve" => true,
        "/reject" => false,
        _ => return None,
    };
    if words.next()? != run {
        return None;
    }
    let more = words.collect::<Vec<_>>().join(" ");
    Some((approved, Some(more).filter(|more| !more.is_empty())))
}

/// Text in which nothing is Markdown, HTML or a mention.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '@' => escaped.push_str("@\u{200b}"),
            '\r' | '\n' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // References to issues are links, and links tell others.
            '#' => escaped.push_str("#\u{200b}"),
            character if character.is_ascii_punctuation() => {
                escaped.push('\\');
                escaped.push(character);
            }
            character => escaped.push(character),
        }
    }
    escaped
}

fn text(thing: &Value, pointer: &str) -> String {
    thing.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_for_this_run_is_an_answer() {
        assert_eq!(command("/approve r-1", "r-1"), Some((true, None)));
        assert_eq!(command("  /reject r-1 not on a Friday \nmore", "r-1"), Some((false, Some("not on a Friday".into()))));
        for other in
            ["/approve", "/approve r-12", "> /approve r-1", "please /approve r-1", "/approved r-1", "", "x\n/approve r-1"]
        {
            assert_eq!(command(other, "r-1"), None, "{other}");
        }
    }

    #[test]
    fn nothing_in_a_question_is_markdown() {
        let hostile = "**x** [y](http://z) ![i](j) @acme/all <img> `c` #1\n# h";
        let escaped = plain(hostile);
        assert_eq!(
            escaped,
            "\\*\\*x\\*\\* \\[y\\]\\(http\\:\\/\\/z\\) \\!\\[i\\]\\(j\\) @\u{200b}acme\\/all &lt;img&gt; \\`c\\` #\u{200b}1 #\u{200b} h"
        );
    }
}
