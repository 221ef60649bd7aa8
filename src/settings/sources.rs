//! Types of sources until `crate::sources` lists them.

use declic_actions::action::Field;
use declic_actions::targets::SettingKind;

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

const MAX_AGE: Field = field("max-age", "duration?", "How old a signature may be");
const DEADLINE: Field = field("deadline", "duration?", "How long the sender waits for an answer");

/// Every type, with its keys.
pub static KINDS: &[SettingKind] = &[
    SettingKind {
        name: "github-app",
        summary: "Webhooks of a GitHub App",
        fields: &[
            field("app-id", "int", "Number of the App"),
            field("key", "secret", "Private key of the App (PEM)"),
            field("secret", "secret", "Webhook secret"),
        ],
    },
    SettingKind {
        name: "github",
        summary: "Webhooks of a GitHub repository or organisation",
        fields: &[field("secret", "secret", "Webhook secret")],
    },
    SettingKind {
        name: "slack",
        summary: "Slash commands and events of a Slack app",
        fields: &[field("signing-secret", "secret", "Signing secret of the app"), MAX_AGE],
    },
    SettingKind {
        name: "dialogflow-es",
        summary: "Fulfillment of a Dialogflow ES agent",
        fields: &[field("auth", "{ basic: secret? }", "How the agent proves itself"), DEADLINE],
    },
    SettingKind {
        name: "dialogflow-cx",
        summary: "Webhook of a Dialogflow CX agent",
        fields: &[
            field("auth", "{ basic: secret?, oidc: { audience: string, email: string }? }", "How the agent proves itself"),
            DEADLINE,
        ],
    },
    SettingKind {
        name: "pubsub-push",
        summary: "A Pub/Sub push subscription",
        fields: &[
            field("format", "artifact-registry|monitoring|message?", "What the messages are"),
            field("auth", "{ oidc: { audience: string, email: string }? }", "How the subscription proves itself"),
        ],
    },
    SettingKind {
        name: "webhook",
        summary: "Any sender that signs",
        fields: &[
            field(
                "auth",
                "{ hmac: { secret: secret, header: string, algorithm: sha256|sha1|sha512?, prefix: string?, encoding: hex|base64?, \
                 timestamp-header: string?, max-age: duration? }?, basic: secret?, token: { header: string, secret: secret }?, \
                 oidc: { audience: string, email: string }? }",
                "How the sender proves itself",
            ),
            DEADLINE,
        ],
    },
];
