//! Actions that rules may already name although nothing does them yet. An entry leaves this list when its file in
//! `declic_actions::kinds` is there.

use std::time::Duration;

use declic_actions::action::{Class, Field, Repeat, Spec};

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

/// The specs, in the order of the reference.
pub static PLANNED: &[Spec] = &[
    Spec {
        name: "github/react",
        summary: "Reacts to the comment of the event",
        class: Class::Plain,
        parameters: &[field("reaction", "+1|-1|eyes|rocket|confused|heart|hooray|laugh", "Which one")],
        outputs: &[field("id", "int", "Its id")],
        example: "reaction: eyes\n",
        deadline: Duration::from_secs(15),
        repeat: Repeat::Idempotent,
        repeat_how: "GitHub keeps one reaction of a kind for each account",
    },
    Spec {
        name: "github/pull-request",
        summary: "Reads a pull request with the state of its checks",
        class: Class::Plain,
        parameters: &[field("number", "int", "Number of the issue or pull request")],
        outputs: &[
            field("head", "{ branch: text, sha: string }", "What it brings"),
            field("base", "{ branch: string, sha: string }", "Where it goes"),
            field("draft", "bool", "Is it a draft?"),
            field("fork", "bool", "Does it come from another repository?"),
            field("mergeable", "bool?", "Can it be merged?"),
            field("checks", "success|failure|pending|none", "State of all checks together"),
            field("approved", "bool", "Is it approved?"),
            field("labels", "[string]", "Labels of the revision"),
            field("author", "string", "Who opened it"),
        ],
        example: "number: ${{ event.number }}\n",
        deadline: Duration::from_secs(15),
        repeat: Repeat::Idempotent,
        repeat_how: "It only reads",
    },
    Spec {
        name: "slack/post",
        summary: "Posts or edits a message in Slack",
        class: Class::Plain,
        parameters: &[
            field("connection", "connection", "Entry of `connections:`"),
            field("channel", "string", "Channel: `#deploys`"),
            field("text", "mrkdwn", "The text"),
            field("thread", "string?", "`ts` of the message to answer"),
            field("update", "string?", "`ts` of the message to edit"),
        ],
        outputs: &[field("ts", "string", "Id of the message"), field("channel", "string", "Channel: `#deploys`")],
        example: "connection: slack_eng\nchannel: \"#deploys\"\ntext: Done.\n",
        deadline: Duration::from_secs(15),
        repeat: Repeat::Found,
        repeat_how: "The message's metadata holds the call's key",
    },
    Spec {
        name: "slack/respond",
        summary: "Answers a slash command after its deadline",
        class: Class::Plain,
        parameters: &[field("text", "mrkdwn", "The text"), field("visible-to", "user|channel?", "Who sees it")],
        outputs: &[],
        example: "text: Done.\n",
        deadline: Duration::from_secs(15),
        repeat: Repeat::AtLeastOnce,
        repeat_how: "Slack offers no way to tell",
    },
    Spec {
        name: "x/post",
        summary: "Posts on X",
        class: Class::Plain,
        parameters: &[
            field("connection", "connection", "Entry of `connections:`"),
            field("text", "plain", "The text"),
            field("in-reply-to", "string?", "Id of the post to answer"),
        ],
        outputs: &[field("id", "string", "Its id"), field("url", "string", "Its address")],
        example: "connection: x_acme\ntext: Done.\n",
        deadline: Duration::from_secs(20),
        repeat: Repeat::Found,
        repeat_how: "X refuses a repeated text, and the account's newest posts are looked through",
    },
    Spec {
        name: "fcm/send",
        summary: "Sends a push message through Firebase Cloud Messaging",
        class: Class::Plain,
        parameters: &[
            field("connection", "connection", "Entry of `connections:`"),
            field("topic", "string?", "Name of the topic"),
            field("token", "string?", "Registration token of one device"),
            field("title", "plain", "Title"),
            field("body", "plain", "What is written"),
            field("data", "{ \"*\": any }?", "Data, as JSON"),
            field("priority", "normal|high?", "How urgent"),
        ],
        outputs: &[field("message_id", "string", "Id of the message")],
        example: "connection: mobile\ntopic: news\ntitle: News\nbody: There is news.\n",
        deadline: Duration::from_secs(15),
        repeat: Repeat::AtLeastOnce,
        repeat_how: "FCM offers no way to tell",
    },
    Spec {
        name: "bigquery/insert",
        summary: "Adds a row to a BigQuery table",
        class: Class::Plain,
        parameters: &[
            field("connection", "connection", "Entry of `connections:`"),
            field("table", "string", "Name of the table"),
            field("row", "{ \"*\": any }", "Columns by name"),
            field("insert-id", "any?", "What makes the row the same row"),
        ],
        outputs: &[field("inserted", "int", "Rows added")],
        example: "connection: warehouse\ntable: deploys\nrow: { at: \"${{ delivery.received_at }}\" }\n",
        deadline: Duration::from_secs(30),
        repeat: Repeat::Idempotent,
        repeat_how: "The insert id lets BigQuery drop the second one",
    },
    Spec {
        name: "pubsub/publish",
        summary: "Publishes a message to a Pub/Sub topic",
        class: Class::Plain,
        parameters: &[
            field("connection", "connection", "Entry of `connections:`"),
            field("topic", "string", "Name of the topic"),
            field("data", "any", "Data, as JSON"),
            field("attributes", "{ \"*\": any }?", "Attributes"),
            field("ordering-key", "any?", "Messages of one key stay in order"),
        ],
        outputs: &[field("message_id", "string", "Id of the message")],
        example: "connection: bus\ntopic: deploy-finished\ndata: { id: \"${{ delivery.id }}\" }\n",
        deadline: Duration::from_secs(30),
        repeat: Repeat::AtLeastOnce,
        repeat_how: "The message carries the call's key as an attribute, for subscribers to drop the second one",
    },
];
