//! What can stand under `sources:`: the types and their keys. A type of the catalogue has a file of the same name there.

use declic_actions::action::Field;
use declic_actions::targets::SettingKind;

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

/// The ways in which a request proves where it comes from.
macro_rules! ways {
    () => {
        "hmac?: { secret: secret, header?: string, query?: string, algorithm?: sha256|sha384|sha512|sha1, prefix?: string, label?: string, \
         separator?: string, encoding?: hex|hex-any-case|base64|base64url, signed?: string, timestamp-header?: string, \
         timestamp-query?: string, timestamp-label?: string, timestamp-field?: string, timestamp-unit?: seconds|milliseconds|rfc3339, \
         max-age?: duration, key?: text|base64|whsec|hex, public-url?: string }, \
         standard-webhooks?: { secret: secret, headers?: string, max-age?: duration }, \
         ed25519?: { secret: secret, header?: string, query?: string, prefix?: string, label?: string, separator?: string, \
         encoding?: hex|hex-any-case|base64|base64url, signed?: string, timestamp-header?: string, timestamp-query?: string, \
         timestamp-label?: string, timestamp-field?: string, timestamp-unit?: seconds|milliseconds|rfc3339, max-age?: duration, \
         public-url?: string }, \
         ecdsa-p256?: { secret: secret, header?: string, query?: string, prefix?: string, label?: string, separator?: string, \
         encoding?: hex|hex-any-case|base64|base64url, signed?: string, timestamp-header?: string, timestamp-query?: string, \
         timestamp-label?: string, timestamp-field?: string, timestamp-unit?: seconds|milliseconds|rfc3339, max-age?: duration, \
         public-url?: string }, \
         oidc?: { audience: [string]|string, email?: string, issuers?: [string], keys-url?: string }, \
         basic?: secret, bearer?: secret, path?: secret, token?: { header: string, prefix?: string, secret: secret }, \
         query?: { name: string, secret: secret }, field?: { path: string, secret: secret }"
    };
}

/// Ways in which only a sender that is not in the list may prove it.
macro_rules! further_ways {
    () => {
        "items?: { secret: secret, list?: string, item?: string, signature: string, signed: [string], join?: string, \
         algorithm?: sha256|sha384|sha512|sha1, encoding?: hex|hex-any-case|base64|base64url, key?: text|base64|whsec|hex, \
         timestamp-field?: string, timestamp-unit?: seconds|milliseconds|rfc3339, max-age?: duration }, \
         sns?: { topic-arn: [string]|string }"
    };
}

/// A request proves where it comes from in one of these ways.
const AUTH: Field = field("auth", concat!("{ ", ways!(), " }"), "How the sender proves who it is: one of these.");
/// The same with all ways there are.
const EVERY_AUTH: Field = field(
    "auth",
    concat!("{ ", ways!(), ", ", further_ways!(), ", any?: [{ ", ways!(), ", ", further_ways!(), " }] }"),
    "How the sender proves who it is: one of these, or `any` of several.",
);
/// An ownership challenge.
macro_rules! challenge {
    () => {
        "{ method?: GET|POST|PUT|OPTIONS, unsigned?: bool, if?: { \"*\": [string]|string }, unless?: string, token?: string, \
         shown?: { at: string, secret: secret }, mac?: hex|hex-any-case|base64|base64url, algorithm?: sha256|sha384|sha512|sha1, \
         key?: text|base64|whsec|hex, secret?: secret, status?: int, content-type?: string, text?: string, json?: { \"*\": any }, \
         headers?: { \"*\": string }, then-get?: string }"
    };
}

/// What a sender gets back.
macro_rules! answer {
    () => {
        "{ outcome?: [accepted|duplicate|unverified|malformed|busy|down], if?: { \"*\": [string]|string }, status: int, \
         content-type?: string, text?: string, json?: any, headers?: { \"*\": string } }"
    };
}
const SECRET: Field = field("secret", "secret", "The webhook's secret.");
const MAX_AGE: Field = field("max-age", "duration?", "How old a request may be; 5m if not set.");
const PUBLIC_URL: Field =
    field("public-url", "string?", "The address the provider was told, which it signs; the service's own if not set.");
const DEADLINE: Field =
    field("deadline", "duration?", "How long the sender waits for an answer; what the provider allows if not set.");
const GITHUB_DEDUP: Field = field("dedup", "id|both?", "By what a repeated delivery is known; id if not set.");
const GITHUB_PULL: Field = field(
    "pull",
    "bool?",
    "Take everything in from GitHub's delivery log: nothing has to reach this service, so it needs no public address.",
);
const GITHUB_SWEEP: Field =
    field("sweep", "duration?", "How often GitHub's delivery log is looked at; 5m if not set, 30s with `pull`, at least 5s.");
const DEDUP: Field = field("dedup", "id|body|both|none?", "By what a repeated delivery is known.");

/// Values of `type:` under `sources:` and their keys besides `type` and `path`.
pub static KINDS: &[SettingKind] = &[
    SettingKind {
        name: "github-app",
        summary: "Deliveries of a GitHub App.",
        fields: &[
            field("app-id", "int", "The App's number."),
            field("key", "secret", "The App's private key, PEM."),
            field("secret", "secret", "The App's webhook secret."),
            GITHUB_DEDUP,
            GITHUB_PULL,
            GITHUB_SWEEP,
        ],
    },
    SettingKind {
        name: "github",
        summary: "A webhook of a GitHub repository or organisation.",
        fields: &[
            SECRET,
            GITHUB_DEDUP,
            field(
                "hooks",
                "[{ repository: string?, organization: string?, id: int }]?",
                "The hooks behind this source, whose delivery log is looked at for what did not arrive: `repository: owner/name` or \
                 `organization: name`, and GitHub's number of the hook. Needs `github.token`.",
            ),
            GITHUB_PULL,
            GITHUB_SWEEP,
        ],
    },
    SettingKind {
        name: "slack",
        summary: "Events, slash commands and interactivity of a Slack app.",
        fields: &[
            field("signing-secret", "secret", "The app's signing secret."),
            field(
                "connection",
                "connection?",
                "Entry of `connections:` whose bot is asked who belongs to a group of `allow: slack-groups`; the only one of type slack if \
                 left out.",
            ),
            MAX_AGE,
            DEADLINE,
            DEDUP,
        ],
    },
    SettingKind { name: "dialogflow-es", summary: "Dialogflow ES fulfillment.", fields: &[AUTH, DEADLINE, DEDUP] },
    SettingKind { name: "dialogflow-cx", summary: "Dialogflow CX fulfillment.", fields: &[AUTH, DEADLINE, DEDUP] },
    SettingKind {
        name: "pubsub-push",
        summary: "A Pub/Sub push subscription.",
        fields: &[
            AUTH,
            field("format", "artifact-registry|monitoring|message?", "What the messages hold; message if not set."),
            DEDUP,
        ],
    },
    SettingKind {
        name: "webhook",
        summary: "Any other sender, described by how it signs.",
        fields: &[
            EVERY_AUTH,
            field(
                "methods",
                "[POST|PUT|GET]?",
                "Methods that deliveries come by; POST if not set. What comes by GET is all in the query.",
            ),
            field("require", "{ \"*\": string }?", "Headers that must be there, and what must be in them."),
            field("body", "json|form|either|any?", "What the body is; any if not set."),
            field("payload", "string?", "The field that holds the JSON if the body is a form."),
            field(
                "event",
                "[string]|string?",
                "Where the type of event is: {header:x-event} or {body:event.type}; of several, the first that is there.",
            ),
            field("event-names", "{ \"*\": string }?", "Types that are numbers or codes, and their names."),
            field(
                "delivery-id",
                "[string]|string?",
                "Where the id of the delivery is: {header:x-id} or {body:id}; of several, the first that is there.",
            ),
            field("challenge", concat!(challenge!(), "?"), "How the sender asks whether the address is ours."),
            field("challenges", concat!("[", challenge!(), "]?"), "The same, if it asks in several ways."),
            field("answer", concat!(answer!(), "?"), "What the sender gets back; 202 and our id of the delivery if not set."),
            field("answers", concat!("[", answer!(), "]?"), "The same for several outcomes; the first that fits."),
            DEADLINE,
            DEDUP,
        ],
    },
    SettingKind {
        name: "adyen",
        summary: "Standard notifications of Adyen.",
        fields: &[field("secret", "secret", "The HMAC key, in hexadecimal."), DEDUP],
    },
    SettingKind { name: "alertmanager", summary: "Prometheus Alertmanager; it signs nothing.", fields: &[AUTH, DEDUP] },
    SettingKind {
        name: "aws-sns",
        summary: "Messages of Amazon SNS topics.",
        fields: &[
            field("topic-arn", "[string]", "Topics that may speak. Anybody at Amazon can sign: this is the authorisation."),
            DEDUP,
        ],
    },
    SettingKind { name: "azure-devops", summary: "Service hooks of Azure DevOps.", fields: &[AUTH, DEDUP] },
    SettingKind { name: "bitbucket", summary: "Webhooks of Bitbucket.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "cloudevents",
        summary: "CloudEvents over HTTP.",
        fields: &[
            field("secret", "secret", "The token of the sender."),
            field("allowed-origins", "[string]?", "Origins that may be allowed to send; none is if left out."),
            DEDUP,
        ],
    },
    SettingKind {
        name: "discord",
        summary: "Interactions and webhook events of a Discord app.",
        fields: &[field("public-key", "secret", "The app's public key, in hexadecimal."), DEDUP],
    },
    SettingKind {
        name: "dockerhub",
        summary: "Webhooks of Docker Hub; the secret is the last part of the path.",
        fields: &[field("secret", "secret", "The last part of the path."), DEDUP],
    },
    SettingKind {
        name: "dropbox",
        summary: "Webhooks of a Dropbox app.",
        fields: &[field("secret", "secret", "The app secret."), DEDUP],
    },
    SettingKind { name: "forgejo", summary: "Webhooks of Forgejo.", fields: &[SECRET, DEDUP] },
    SettingKind { name: "gitea", summary: "Webhooks of Gitea.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "gitlab",
        summary: "Webhooks of GitLab.",
        fields: &[
            field("secret", "secret", "The secret token, or the signing token."),
            field("scheme", "token|signing?", "Which of the two; token if not set."),
            DEDUP,
        ],
    },
    SettingKind { name: "gogs", summary: "Webhooks of Gogs.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "google-chat",
        summary: "Events of a Google Chat app.",
        fields: &[
            field("audience", "string", "The endpoint's address, or the project's number."),
            field("mode", "url|project-number?", "Which of the two; url if not set."),
            DEADLINE,
            DEDUP,
        ],
    },
    SettingKind {
        name: "google-cloud-monitoring",
        summary: "Incidents of Cloud Monitoring, by a webhook channel.",
        fields: &[AUTH, DEDUP],
    },
    SettingKind { name: "google-cloud-scheduler", summary: "Jobs of Cloud Scheduler.", fields: &[AUTH, DEDUP] },
    SettingKind { name: "google-cloud-tasks", summary: "Tasks of Cloud Tasks.", fields: &[AUTH, DEDUP] },
    SettingKind {
        name: "grafana",
        summary: "Alerts of Grafana.",
        fields: &[
            SECRET,
            field("header", "string?", "The header with the signature, as set in the contact point; Grafana's own if not set."),
            field("timestamp-header", "string?", "The header with the time, as set in the contact point."),
            DEDUP,
        ],
    },
    SettingKind {
        name: "hubspot",
        summary: "Webhooks of a HubSpot app, signature version 3.",
        fields: &[field("secret", "secret", "The app's client secret."), PUBLIC_URL, DEDUP],
    },
    SettingKind { name: "jira", summary: "Webhooks of Jira Cloud.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "line",
        summary: "The Messaging API of LINE.",
        fields: &[field("secret", "secret", "The channel secret."), DEDUP],
    },
    SettingKind { name: "linear", summary: "Webhooks of Linear.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "meta",
        summary: "Webhooks of WhatsApp, Messenger and Instagram.",
        fields: &[
            field("secret", "secret", "The app secret."),
            field("verify-token", "secret?", "The token that the handshake must show."),
            DEDUP,
        ],
    },
    SettingKind {
        name: "microsoft-graph",
        summary: "Change notifications of Microsoft Graph.",
        fields: &[field("secret", "secret", "The clientState of the subscription."), DEDUP],
    },
    SettingKind {
        name: "ms-teams",
        summary: "Outgoing webhooks of Microsoft Teams.",
        fields: &[field("secret", "secret", "The security token, in base64."), DEDUP],
    },
    SettingKind {
        name: "notion",
        summary: "Webhooks of a Notion integration.",
        fields: &[
            field(
                "secret",
                "secret?",
                "The verification token. Left out, the source only takes in that token, and shows it once.",
            ),
            DEDUP,
        ],
    },
    SettingKind { name: "paddle", summary: "Notifications of Paddle Billing.", fields: &[SECRET, DEDUP] },
    SettingKind { name: "pagerduty", summary: "Webhooks of PagerDuty, version 3.", fields: &[SECRET, DEDUP] },
    SettingKind { name: "razorpay", summary: "Webhooks of Razorpay.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "sendgrid",
        summary: "The signed event webhook of SendGrid.",
        fields: &[field("public-key", "secret", "The verification key, in base64."), DEDUP],
    },
    SettingKind {
        name: "sentry",
        summary: "Webhooks of a Sentry integration.",
        fields: &[field("secret", "secret", "The client secret."), DEDUP],
    },
    SettingKind {
        name: "shopify",
        summary: "Webhooks of a Shopify app.",
        fields: &[field("secret", "secret", "The client secret."), DEDUP],
    },
    SettingKind {
        name: "square",
        summary: "Webhooks of Square.",
        fields: &[field("secret", "secret", "The signature key."), PUBLIC_URL, DEDUP],
    },
    SettingKind {
        name: "standard-webhooks",
        summary: "Any sender that follows Standard Webhooks.",
        fields: &[field("secret", "secret", "whsec_… or whpk_…"), MAX_AGE, DEDUP],
    },
    SettingKind {
        name: "stripe",
        summary: "Webhooks of Stripe.",
        fields: &[field("secret", "secret", "The endpoint's whsec_…"), MAX_AGE, DEDUP],
    },
    SettingKind {
        name: "svix",
        summary: "Any sender that uses Svix.",
        fields: &[field("secret", "secret", "The endpoint's whsec_…"), DEDUP],
    },
    SettingKind {
        name: "telegram",
        summary: "Updates of a Telegram bot.",
        fields: &[field("secret", "secret", "The secret_token given to setWebhook."), DEDUP],
    },
    SettingKind {
        name: "twilio",
        summary: "Messages and calls of Twilio.",
        fields: &[
            field("secret", "secret", "The auth token, or the shared key."),
            field("algorithm", "sha1|sha256?", "sha256 for a shared key; sha1 if not set."),
            PUBLIC_URL,
            DEADLINE,
            DEDUP,
        ],
    },
    SettingKind { name: "vercel", summary: "Webhooks of Vercel.", fields: &[SECRET, DEDUP] },
    SettingKind {
        name: "x",
        summary: "The Account Activity API of X.",
        fields: &[field("secret", "secret", "The consumer secret."), DEDUP],
    },
    SettingKind {
        name: "zoom",
        summary: "Webhooks of a Zoom app.",
        fields: &[field("secret", "secret", "The app's secret token."), DEDUP],
    },
];
