//! The events. A new one is an entry of [`EVENTS`]; what decodes it is a source.

use std::time::Duration;

use declic_actions::action::Field;

use super::{Certain, Declares, EventSpec, FilterKind, FilterSpec, From, ReplySpec};
use crate::rules::glob::Subject;

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

const fn filter(name: &'static str, kind: FilterKind, path: &'static str, summary: &'static str) -> FilterSpec {
    FilterSpec { name, kind, path, summary }
}

const fn from(kind: &'static str) -> From {
    From { kind, format: None }
}

/// The `repo` context of GitHub events.
pub static REPOSITORY: &[Field] = &[
    field("full_name", "string", "`owner/name`"),
    field("owner", "string", "Account that the repository belongs to"),
    field("name", "string", "Name without the owner"),
    field("id", "int", "Number that stays when the repository is renamed"),
    field("default_branch", "string", "Name of the default branch"),
    field("private", "bool", "Is it hidden from the public?"),
    field("url", "string", "Its page"),
];

/// The `actor` context of GitHub events: who caused it.
pub static ACTOR: &[Field] = &[
    field("login", "string", "Name of the account"),
    field("id", "int", "Number that stays when the account is renamed"),
    field("type", "user|bot|app", "What kind of account"),
    field("permission", "none|read|triage|write|maintain|admin", "What the account may do on the repository"),
];

/// The `delivery` context of every event.
pub static DELIVERY: &[Field] = &[
    field("id", "string", "Declic's id of the delivery"),
    field("source", "string", "Name of the source in `declic.yaml`"),
    field("received_at", "timestamp", "When it was received"),
    field("replay", "bool", "Was it replayed by hand?"),
];

/// The `failure` context of `on-failure`.
pub static FAILURE: &[Field] = &[
    field("step", "string", "Id of the step that failed, or its number from 1"),
    field("action", "string", "Its action"),
    field("code", "string", "Stable word for the cause"),
    field("message", "text", "The cause, for people"),
    field("attempts", "int", "How often it was tried"),
    field("rolled_back", "bool", "Did the action put back what was there before?"),
];

pub(super) const REPOS: FilterSpec =
    filter("repos", FilterKind::Glob(Subject::Name), "repo.full_name", "Patterns of `owner/name`");
pub(super) const PAYLOAD: Field = field("payload", "any", "The whole body as GitHub sent it");
pub(super) const GITHUB: &[From] = &[from("github-app"), from("github")];

/// Every event with fields of its own, in the order of the reference.
pub static EVENTS: &[EventSpec] = &[
    EventSpec {
        name: "github.push",
        summary: "A branch or tag was pushed, created or deleted",
        github: true,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            REPOS,
            filter("branches", FilterKind::Glob(Subject::Branch), "event.branch", "Patterns of branch names"),
            filter("tags", FilterKind::Glob(Subject::Tag), "event.tag", "Patterns of tag names"),
            filter("paths", FilterKind::AnyGlob(Subject::Path), "event.files", "Patterns of changed files"),
        ],
        fields: &[
            field("ref", "string", "Full name: `refs/heads/main`"),
            field("branch", "string?", "Name of the branch, if it is one"),
            field("tag", "string?", "Name of the tag, if it is one"),
            field("sha", "string", "Commit after the push"),
            field("before", "string", "Commit before the push"),
            field("created", "bool", "Is the branch or tag new?"),
            field("deleted", "bool", "Is it gone?"),
            field("forced", "bool", "Was history rewritten?"),
            field("files", "[string]", "Files that the commits added, changed or removed"),
            field("files_complete", "bool", "False if GitHub did not list all files"),
            field("message", "text", "Message of the newest commit"),
            field("commits", "[{ sha: string, message: text, author: text }]", "The commits, oldest first"),
            PAYLOAD,
        ],
        certain: &[],
        from: GITHUB,
    },
    EventSpec {
        name: "github.pull_request",
        summary: "Something happened to a pull request",
        github: true,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            REPOS,
            filter("types", FilterKind::In, "event.action", "What happened"),
            filter("branches", FilterKind::Glob(Subject::Branch), "event.base.branch", "Patterns of the branch it goes into"),
            filter("paths", FilterKind::AnyGlob(Subject::Path), "event.files", "Patterns of changed files"),
            filter("labels", FilterKind::AnyIn, "event.labels", "Labels, any of which will do"),
            filter("forks", FilterKind::Flag, "event.fork", "`true` also lets in those from forks"),
            filter("drafts", FilterKind::Flag, "event.draft", "`false` keeps drafts out"),
        ],
        fields: &[
            field(
                "action",
                "opened|reopened|synchronize|closed|labeled|unlabeled|ready_for_review|converted_to_draft|edited",
                "What happened",
            ),
            field("number", "int", "Number of the pull request"),
            field("title", "text", "Its title"),
            field("body", "text", "Its description"),
            field("draft", "bool", "Is it a draft?"),
            field("merged", "bool", "Was it merged?"),
            field("fork", "bool", "Does it come from another repository?"),
            field("labels", "[string]", "Its labels"),
            field("label", "string?", "The label that was put on or taken off"),
            field("url", "string", "Its page"),
            field("head", "{ branch: text, sha: string, repo: text }", "What it brings"),
            field("base", "{ branch: string, sha: string }", "Where it goes"),
            field("author", "string", "Who opened it"),
            field("files", "[text]", "Files that it changes"),
            PAYLOAD,
        ],
        certain: &[],
        from: GITHUB,
    },
    EventSpec {
        name: "github.command",
        summary: "Somebody wrote a new comment that begins with `/command` on an issue or a pull request",
        github: true,
        declares: Declares::Command,
        reply: None,
        filters: &[REPOS, filter("on", FilterKind::In, "event.on", "Where it was written")],
        fields: &[
            field("command", "string", "The command without `/`"),
            field("on", "pull_request|issue", "Where it was written"),
            field("number", "int", "Number of the issue or pull request"),
            field("title", "text", "Its title"),
            field("comment_id", "int", "Number of the comment"),
            field("comment_url", "string", "Page of the comment"),
            field("fork", "bool?", "Does the pull request come from another repository?"),
            field("head", "{ branch: text, sha: string }?", "What the pull request brings"),
            PAYLOAD,
        ],
        certain: &[
            Certain { field: "head", filter: "on", word: "pull_request" },
            Certain { field: "fork", filter: "on", word: "pull_request" },
        ],
        from: GITHUB,
    },
    EventSpec {
        name: "github.workflow_run",
        summary: "A run of a GitHub Actions workflow ended",
        github: true,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            REPOS,
            filter("workflows", FilterKind::Glob(Subject::Name), "event.workflow", "Patterns of workflow names"),
            filter("branches", FilterKind::Glob(Subject::Branch), "event.branch", "Patterns of branch names"),
            filter("conclusions", FilterKind::In, "event.conclusion", "How it ended"),
        ],
        fields: &[
            field("workflow", "text", "Name of the workflow, as the branch that it ran for calls it"),
            field("conclusion", "success|failure|cancelled|skipped|timed_out|action_required|neutral|stale", "How it ended"),
            field("branch", "text", "Branch it ran for"),
            field("sha", "string", "Commit it ran for"),
            field("event", "string", "GitHub event that started it"),
            field("url", "string", "Page of the run"),
            field("fork", "bool", "Did it run for another repository's branch?"),
            PAYLOAD,
        ],
        certain: &[],
        from: GITHUB,
    },
    EventSpec {
        name: "slack.command",
        summary: "Somebody used a slash command in Slack",
        github: false,
        declares: Declares::Command,
        reply: Some(ReplySpec {
            deadline: Duration::from_secs(3),
            expected: true,
            fields: &[
                field("text", "mrkdwn", "What Slack shows"),
                field("visible-to", "user|channel?", "Who sees it: only the user, unless `channel`"),
            ],
        }),
        filters: &[filter("channels", FilterKind::In, "event.channel.name", "Channels it may come from")],
        fields: &[
            field("command", "string", "The command without `/`"),
            field("text", "text", "What stands behind the command"),
            field("user", "{ id: string, name: text }", "Who used it"),
            field("channel", "{ id: string, name: string }", "Where"),
            field("team", "string", "Id of the workspace"),
        ],
        certain: &[],
        from: &[from("slack")],
    },
    EventSpec {
        name: "slack.action",
        summary: "Somebody pressed a button, chose from a menu, sent a modal or used a shortcut of the Slack app",
        github: false,
        declares: Declares::Nothing,
        reply: Some(ReplySpec {
            deadline: Duration::from_secs(3),
            expected: false,
            fields: &[
                field(
                    "errors",
                    "{ \"*\": plain }?",
                    "What is wrong with a modal's inputs, by the id of their block: it stays open",
                ),
                field("close", "bool?", "`true` closes all windows of the modal; without a reply only the last one closes"),
            ],
        }),
        filters: &[
            filter("types", FilterKind::In, "event.type", "What was used"),
            filter("actions", FilterKind::In, "event.action", "Ids of buttons and menus (`action_id`)"),
            filter("callbacks", FilterKind::In, "event.callback", "Ids of modals and shortcuts (`callback_id`)"),
            filter("channels", FilterKind::In, "event.channel.name", "Channels it may come from"),
        ],
        fields: &[
            field("type", "block_actions|view_submission|view_closed|shortcut|message_action", "What was used"),
            field("action", "string?", "Id of the button or menu, as the app named it"),
            field("value", "text?", "Its value, or what was chosen or entered"),
            field("values", "{ \"*\": any }", "All inputs of the modal or message, by the id of each"),
            field("callback", "string?", "Id of the modal or shortcut, as the app named it"),
            field("user", "{ id: string, name: text }", "Who used it"),
            field("channel", "{ id: string, name: string }?", "Where, if it was in a channel"),
            field("message", "{ ts: string, text: text }?", "The message it belongs to"),
            field("team", "string", "Id of the workspace"),
            field("payload", "any", "What Slack sent, without the addresses and tokens for answers"),
        ],
        certain: &[Certain { field: "action", filter: "types", word: "block_actions" }],
        from: &[from("slack")],
    },
    EventSpec {
        name: "slack.event",
        summary: "Something happened in Slack that the app subscribes to (Events API)",
        github: false,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            filter("types", FilterKind::In, "event.type", "Slack's words for it: `app_mention`"),
            filter("channels", FilterKind::In, "event.channel.id", "Ids of the channels it may come from; Slack tells no names"),
        ],
        fields: &[
            field("type", "string", "Slack's word for it: `message`, `app_mention`, `reaction_added`"),
            field("subtype", "string?", "More about a `message`: `message_changed`"),
            field("user", "{ id: string }?", "Who did it, if it was a person"),
            field("channel", "{ id: string }?", "Where, if it was in a channel"),
            field("text", "text?", "What was written"),
            field("ts", "string?", "The message it is about, as Slack names messages"),
            field("thread", "string?", "The thread that message belongs to"),
            field("team", "string", "Id of the workspace"),
            field("bot", "bool", "Was it written by a bot?"),
            field("payload", "any", "What Slack sent, without its token"),
        ],
        certain: &[],
        from: &[from("slack")],
    },
    EventSpec {
        name: "dialogflow.intent",
        summary: "A Dialogflow agent (ES or CX) asks for fulfillment",
        github: false,
        declares: Declares::Params,
        reply: Some(ReplySpec {
            deadline: Duration::from_secs(5),
            expected: true,
            fields: &[
                field("text", "plain?", "What the bot says"),
                field("texts", "[plain]?", "The same in several messages"),
                field("payload", "any?", "Payload for the channel"),
                field("set-params", "{ \"*\": any }?", "Parameters of the session to set"),
                field("end-session", "bool?", "Does the conversation end?"),
            ],
        }),
        filters: &[
            filter("intents", FilterKind::In, "event.intent", "Display names of intents, or tags of CX webhooks"),
            filter("languages", FilterKind::In, "event.language", "Languages: `en`"),
        ],
        fields: &[
            field("flavor", "es|cx", "Which edition asks"),
            field("intent", "string", "Display name of the intent"),
            field("confidence", "double", "How sure the agent is, 0 to 1"),
            field("query", "text", "What the user said"),
            field("language", "string", "Language of the conversation"),
            field("session", "string", "Name of the session"),
            field("contexts", "[string]", "Active contexts (ES)"),
            field("page", "string?", "Current page (CX)"),
            field("payload", "any", "The whole body"),
        ],
        certain: &[],
        from: &[from("dialogflow-es"), from("dialogflow-cx")],
    },
    EventSpec {
        name: "gcp.image",
        summary: "An image was pushed to or deleted from Artifact Registry",
        github: false,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            filter("images", FilterKind::Glob(Subject::Name), "event.image", "Patterns of images without tag"),
            filter("tags", FilterKind::Glob(Subject::Tag), "event.tag", "Patterns of tags"),
            filter("actions", FilterKind::In, "event.action", "What happened"),
        ],
        fields: &[
            field("action", "INSERT|DELETE", "What happened"),
            field("image", "string", "Image without tag and digest"),
            field("tag", "string?", "Its tag"),
            field("digest", "string?", "Its digest: `sha256:…`; only the removal of a tag has none"),
            field("ref", "string", "Image with its digest, or with its tag where there is none"),
        ],
        certain: &[Certain { field: "digest", filter: "actions", word: "INSERT" }],
        from: &[From { kind: "pubsub-push", format: Some("artifact-registry") }],
    },
    EventSpec {
        name: "gcp.alert",
        summary: "A Cloud Monitoring incident opened or closed",
        github: false,
        declares: Declares::Nothing,
        reply: None,
        filters: &[
            filter("policies", FilterKind::Glob(Subject::Name), "event.policy", "Patterns of policy names"),
            filter("states", FilterKind::In, "event.state", "Did it open or close?"),
            filter("severities", FilterKind::In, "event.severity", "How bad it is"),
        ],
        fields: &[
            field("state", "open|closed", "Did it open or close?"),
            field("policy", "string", "Name of the alerting policy"),
            field("condition", "string", "Name of the condition"),
            field("severity", "CRITICAL|ERROR|WARNING|NO_SEVERITY", "How bad it is"),
            field("summary", "text", "What Monitoring says about it"),
            field("url", "string", "Page of the incident"),
            field("incident_id", "string", "Its id"),
            field("started_at", "timestamp", "When it began"),
            field("resource", "{ type: string, labels: { \"*\": string } }", "What it is about"),
            field("user_labels", "{ \"*\": string }", "Labels of the policy"),
        ],
        certain: &[],
        from: &[From { kind: "pubsub-push", format: Some("monitoring") }, from("google-cloud-monitoring")],
    },
    EventSpec {
        name: "pubsub.message",
        summary: "A message of a Pub/Sub push subscription",
        github: false,
        declares: Declares::Body,
        reply: None,
        filters: &[],
        fields: &[
            field("id", "string", "Id of the message"),
            field("published_at", "timestamp", "When it was published"),
            field("attributes", "{ \"*\": text }", "Its attributes"),
            field("ordering_key", "string?", "Its ordering key"),
        ],
        certain: &[],
        from: &[from("pubsub-push"), From { kind: "pubsub-push", format: Some("message") }],
    },
    EventSpec {
        name: "http.webhook",
        summary: "A verified webhook of any sender",
        github: false,
        declares: Declares::Body,
        reply: Some(ReplySpec {
            deadline: Duration::from_secs(10),
            expected: false,
            fields: &[field("status", "int?", "HTTP status, 200 if not given"), field("body", "any?", "Body, as JSON")],
        }),
        filters: &[
            filter("methods", FilterKind::In, "event.method", "HTTP methods"),
            filter("types", FilterKind::In, "event.type", "The sender's words for kinds of events"),
        ],
        fields: &[
            field("type", "text", "The sender's word for the kind of event"),
            field("method", "GET|POST|PUT", "HTTP method"),
            field("path", "text", "Path of the request"),
            field("query", "{ \"*\": text }", "Parameters of the query"),
            field("headers", "{ \"*\": text }", "Headers, names in lower case"),
        ],
        certain: &[],
        from: &[from("webhook")],
    },
];
