//! What an operator can declare under `targets:` and `connections:`: the kinds and the fields of each.

use crate::action::Field;

/// One value of `type:` under `targets:` or `connections:`.
#[derive(Debug)]
pub struct SettingKind {
    /// The value of `type:`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// Its keys besides `type`, in the shape language; a `secret` is the name of an entry of `secrets:`.
    pub fields: &'static [Field],
}

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

/// How a request to a connection is authenticated: one of these, or nothing.
const AUTH: Field = field(
    "auth",
    "{ bearer?: secret, basic?: secret, google-id-token?: string, standard-webhooks?: secret }?",
    "One of: a bearer token, `user:password`, a Google ID token for this audience, or a signature as of Standard Webhooks; nothing if left out",
);
const API_URL: Field = field("api-url", "string?", "Base address of the API, where it is not the service's own");
const PROJECT: Field = field("project", "string", "Id of the Google Cloud project");
const ACT_AS: Field = field("act-as", "string?", "E-mail address of the service account to impersonate, instead of Declic's own");

const IMAGES: Field =
    field("images", "[string]", "Patterns of image names that may be deployed; `*` stays within one path segment, `**` does not");
const DEPLOY_AS: Field =
    field("deploy-as", "string?", "E-mail address of the service account to impersonate, instead of Declic's own");
const ENV: Field = field("env", "[string]?", "Environment variables that a step may set; none if left out");
const SECRETS: Field =
    field("secrets", "[string]?", "Secrets of Secret Manager that those variables may refer to; none if left out");
const BUILDS: Field = field(
    "builds",
    "{ triggers: [string]?, source: string?, service-account: string?, region: string? }?",
    "What `build:` may start: Cloud Build triggers by name, or builds of `source` (a connected repository's resource name, or an https address of a git repository)",
);

/// Kinds of `targets:`: what a deploy may touch.
pub static TARGETS: &[SettingKind] = &[
    SettingKind {
        name: "cloud-run",
        summary: "A Cloud Run service that exists; a deploy changes its image, its labels, its traffic and the variables under `env`, and nothing else",
        fields: &[
            PROJECT,
            field("region", "string", "Region of the service, such as `europe-west1`"),
            field("service", "string", "Name of the service"),
            IMAGES,
            DEPLOY_AS,
            field("tags-only", "bool?", "Only previews: revisions with a tag and no traffic"),
            field("max-tags", "int?", "Most tags the service may have"),
            field(
                "when-full",
                "refuse|remove-oldest?",
                "What a new tag beyond `max-tags` does: it is refused (the default), or takes the place of the oldest preview",
            ),
            field("container", "string?", "Name of the container whose image is changed, where the service has several"),
            field(
                "health-auth",
                "none|id-token?",
                "What health checks carry: nothing, or an ID token where the service needs IAM",
            ),
            ENV,
            SECRETS,
            BUILDS,
        ],
    },
    SettingKind {
        name: "cloud-run-job",
        summary: "A Cloud Run job that exists; it is run, and a deploy changes its image, its labels and the variables under `env`",
        fields: &[
            PROJECT,
            field("region", "string", "Region of the job, such as `europe-west1`"),
            field("job", "string", "Name of the job"),
            IMAGES,
            DEPLOY_AS,
            field("container", "string?", "Name of the container whose image is changed, where the job has several"),
            field("overrides", "[args|tasks|timeout]?", "What a step may set for one run besides `env`; nothing if left out"),
            ENV,
            SECRETS,
            BUILDS,
        ],
    },
];

/// Kinds of `connections:`: what an action may talk to.
pub static CONNECTIONS: &[SettingKind] = &[
    SettingKind {
        name: "slack",
        summary: "A Slack workspace, through a bot",
        fields: &[
            field("token", "secret", "Bot token with `chat:write`, and `usergroups:read` where rules have `allow: slack-groups`"),
            field("channels", "[string]", "Channels that may be written to, by name with `#` or by id"),
            API_URL,
        ],
    },
    SettingKind {
        name: "discord",
        summary: "A channel on Discord, through a webhook of it",
        fields: &[field("webhook", "secret", "The whole address of the webhook")],
    },
    SettingKind {
        name: "google-chat",
        summary: "A space in Google Chat, through an incoming webhook of it",
        fields: &[field("webhook", "secret", "The whole address of the webhook, with `key` and `token`")],
    },
    SettingKind {
        name: "x",
        summary: "An account on X",
        fields: &[
            field(
                "auth",
                "secret",
                "JSON with `consumer_key`, `consumer_secret`, `token`, `token_secret` (OAuth 1.0a), or with `access_token` (OAuth 2.0)",
            ),
            field(
                "max-posts-per-day",
                "int?",
                "Most posts within 24 hours, at most 100; the account's posts are counted before each",
            ),
            API_URL,
        ],
    },
    SettingKind {
        name: "bigquery",
        summary: "A BigQuery dataset",
        fields: &[
            PROJECT,
            field("dataset", "string", "Name of the dataset"),
            field("tables", "[string]", "Tables that may be written to"),
            ACT_AS,
        ],
    },
    SettingKind { name: "fcm", summary: "Firebase Cloud Messaging of a project", fields: &[PROJECT, ACT_AS] },
    SettingKind {
        name: "pubsub",
        summary: "Pub/Sub topics of a project",
        fields: &[PROJECT, field("topics", "[string]", "Topics that may be published to"), ACT_AS],
    },
    SettingKind {
        name: "cloud-tasks",
        summary: "Cloud Tasks queues whose tasks call one HTTP API",
        fields: &[
            PROJECT,
            field("location", "string", "Location of the queues, such as `europe-west1`"),
            field("queues", "[string]", "Queues that tasks may be put into"),
            field("base-url", "string", "Address that every task's request stays below"),
            field("oidc-account", "string?", "Service account whose ID token the tasks carry; none if left out"),
            field("audience", "string?", "Audience of that token; the address of the task if left out"),
            ACT_AS,
        ],
    },
    SettingKind {
        name: "dialogflow",
        summary: "A Dialogflow agent, ES or CX",
        fields: &[
            PROJECT,
            field("flavor", "es|cx?", "Dialogflow ES (the default) or CX"),
            field("location", "string?", "Location of the agent; `global` if left out"),
            field("agent", "string?", "Id of the agent, which CX needs"),
            field("environment", "string?", "Environment of the agent; its draft if left out"),
            field("language", "string?", "Language code that is sent; `en` if left out"),
            ACT_AS,
        ],
    },
    SettingKind {
        name: "http",
        summary: "An HTTP API below one address",
        fields: &[
            field("base-url", "string", "Address that every request stays below"),
            field("methods", "[GET|POST|PUT|PATCH|DELETE]?", "Methods that may be used; all if left out"),
            AUTH,
        ],
    },
    SettingKind {
        name: "command",
        summary: "A command on this machine that `exec/run` may run, exactly as it is written here. Without one, nothing can be run",
        fields: &[
            field("program", "string", "Absolute path of the program"),
            field("arguments", "[string]?", "Its first arguments"),
            field("more-arguments", "int?", "How many arguments a rule may add behind them, none if left out"),
            field("options", "bool?", "May arguments of rules begin with `-`? Then an outsider's word in them can be an option"),
            field("environment", "{ \"*\": string }?", "Its environment; there is nothing else in it"),
            field("secrets", "{ \"*\": secret }?", "Variables of its environment that hold a secret"),
            field("folder", "string?", "Its working directory, `/` if left out"),
            field("output", "int?", "Bytes that are kept of each of its outputs, 65536 if left out, at most 1048576"),
        ],
    },
    SettingKind {
        name: "dialogflow-fulfillment",
        summary: "An endpoint that answers Dialogflow's webhook requests",
        fields: &[
            field("url", "string", "Its address"),
            field("flavor", "es|cx?", "Form of the requests: Dialogflow ES (the default) or CX"),
            field("language", "string?", "Language code that is sent; `en` if left out"),
            AUTH,
        ],
    },
];
