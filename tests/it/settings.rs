//! `declic.yaml`: what is a fault, where, and what the environment decides.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use declic::rules::diagnostic::{Source, position};
use declic::settings::{Environment, Mode, Settings, load, read};

const FILE: &str = "declic.yaml";

fn faults(text: &str) -> Vec<String> {
    let (_, faults) = read(Path::new(FILE), text, Mode::Names, &Environment::given([]));
    faults
        .iter()
        .map(|fault| {
            let (line, column) = position(text, fault.span.start);
            let help = fault.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{line}:{column} {}: {}{help}", fault.code, fault.message)
        })
        .collect()
}

/// The settings in a text that has no faults.
fn settings(text: &str, environment: &Environment) -> Settings {
    let (settings, faults) = read(Path::new(FILE), text, Mode::Names, environment);
    settings.unwrap_or_else(|| panic!("{faults:?}"))
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = faults(text);
    assert_eq!(found, expected, "\n{text}\n");
}

#[test]
fn the_example_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/examples/declic.yaml");
    let text = fs::read_to_string(&path).expect("the example");
    check(&text, &[]);
    let settings = settings(&text, &Environment::given([]));
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.public_url.as_deref(), Some("https://declic.example.dev"));
    assert_eq!(settings.sources.len(), 7);
    assert_eq!(settings.sources[1].path, "/hooks/slack");
    assert_eq!(settings.offer.targets["web_staging"]["service"], "web");
    assert_eq!(settings.repositories[0].grant.targets, ["web_staging", "web_preview"]);
    assert_eq!(settings.rules, ["/etc/declic/rules/*.yaml"]);
    assert_eq!(settings.to_fetch().len(), 5, "everything in Secret Manager is fetched at start");
}

#[test]
fn what_declic_init_writes_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/init/declic.yaml");
    check(&fs::read_to_string(path).expect("the starter file"), &[]);
}

#[test]
fn typing_mistakes_are_found_where_they_are() {
    check("version: 1\nlisen: 1\n", &["2:1 unknown-key: the settings file has no `lisen` (did you mean `listen`?)"]);
    check(
        "version: 1\nsecrets: { a: { from: env, name: A } }\nsources:\n  gh: { type: githb, secret: a }\n  gi: { type: github, secrt: a }\n",
        &[
            "4:15 name: `sources` has no type `githb` (did you mean `github`?)",
            "5:3 missing: `gi` needs `secret` (without it nothing could be verified, and nothing unverified is taken in)",
            "5:23 unknown-key: the type `github` has no `secrt` (did you mean `secret`?)",
        ],
    );
    check(
        "version: 1\nsecrets: { hook: { from: env, name: A } }\nsources:\n  gh: { type: github, secret: hok }\n",
        &["4:31 name: `secret` does not name an entry of `secrets:` (did you mean `hook`?)"],
    );
    check("version: 2\n", &["1:10 version: only version 1 is known here (write `version: 1`)"]);
    check(
        "listen: localhost\n",
        &[
            "1:1 missing: the settings file needs `version: 1`",
            "1:9 type: `listen` must be an address and a port (such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address of this machine)",
        ],
    );
    check("version: 1\nversion: 1\n", &["2:1 duplicate-key: `version` is given twice"]);
    check("version: 1\nworkers: 0\n", &["2:10 type: `workers` must be a number from 1 to 256"]);
    check("version: 1\nlog: jsn\n", &["2:6 type: `log` is auto or text or json (did you mean `json`?)"]);
    check(
        "version: 1\ndispatch: cloud-tasks\n",
        &[
            "2:11 name: `dispatch` is local, or a mapping with `cloud-tasks` or `pubsub` (say which: `dispatch: { cloud-tasks: projects/…, account: … }`)",
        ],
    );
    check(
        "version: 1\npublic-url: https://x.example\ndispatch: { pubsub: projects/p/topics, account: a@b }\n",
        &["3:21 value: this is no full name of a queue or topic (projects/…/topics/…)"],
    );
    check(
        "version: 1\ndispatch: { pubsub: projects/p/topics/t, account: a@b }\n",
        &["2:21 value: a queue needs an address to call (set `public-url`)"],
    );
    check(
        "version: 1\npublic-url: https://x.example\ndispatch: { pubsub: projects/p/topics/t }\n",
        &["3:11 value: `dispatch` needs `account`: anybody can get a token for our address (the service account that calls)"],
    );
    check("version: 1\nstore: postgre\n", &["2:8 name: there is no store `postgre` (did you mean `postgres`?)"]);
    check(
        "version: 1\nstore: postgres\n",
        &[
            "2:8 name: `store: postgres` does not say where (name the server: `store: { postgres: postgres://USER@HOST/DATABASE }`)",
        ],
    );
    check(
        "version: 1\nstore: { postgres: \"postgres://declic:hunter2@db/x\" }\n",
        &[
            "2:20 value: this is no address of a PostgreSQL server (a password does not belong there: name an entry of `secrets:` in `password`)",
        ],
    );
    check(
        "version: 1\nstore: { postgres: \"postgres://declic@db/x\", tls: ful, connections: 1 }\n",
        &[
            "2:51 value: `tls` is full or issuer or off (did you mean `full`?)",
            "2:69 value: `connections` must be a number from 2 to 1000 (10 is enough for most)",
        ],
    );
    check(
        "version: 1\nstore: { sqlite: x.db, ca: x.pem }\n",
        &["2:28 value: `ca` belongs to a server (name the server in `postgres`, or take it out)"],
    );
    check(
        "version: 1\nstore: { sqlite: x.db, keep: 30 }\n",
        &["2:30 type: `keep` must be a duration, this is an int (such as 30s, 5m, 2h)"],
    );
    check(
        "version: 1\npublic-url: declic.example.dev\n",
        &["2:13 type: `public-url` must be an address such as https://example.com"],
    );
    check(
        "version: 1\negress: { allow: [\"http://x\"] }\n",
        &["2:9 name: `http://x` is no host (write `host` or `host:port`, without scheme, path and patterns)"],
    );
}

#[test]
fn a_secret_written_out_is_refused_and_not_repeated() {
    let found = faults("version: 1\nsecrets: { a: hunter2 }\nsources: { gh: { type: github, secret: hunter3 } }\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("2:15 plain-secret:"), "{found:?}");
    assert!(found.iter().all(|fault| !fault.contains("hunter")), "{found:?}");
}

#[test]
fn two_sources_cannot_share_a_path() {
    let text = "version: 1\nsecrets: { a: { from: env, name: A } }\nsources:\n  x: { type: github, secret: a, path: /h }\n  \
                y: { type: github, secret: a, path: /h }\n  z: { type: github, secret: a, path: /metrics }\n";
    check(
        text,
        &[
            "5:39 name: the path `/h` is that of `x` too (every source needs a path of its own)",
            "6:39 name: the path `/metrics` is taken by Declic itself",
        ],
    );
}

#[test]
fn one_way_to_authenticate_must_be_chosen() {
    let text = "version: 1\nsecrets: { a: { from: env, name: A } }\nsources:\n  x: { type: webhook, auth: {} }\n  y: { type: webhook }\n";
    let found = faults(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("4:23 auth: `auth` needs exactly one of"), "{found:?}");
    assert!(found[1].starts_with("5:3 missing: `y` needs `auth`"), "{found:?}");
}

#[test]
fn grants_name_what_there_is() {
    let text = "version: 1\nrepositories:\n  - name: acme/web\n    id: 1\n    grant: { events: [github.psh], actions: [cloud-run/*, githb/*], targets: [web] }\n";
    check(
        text,
        &[
            "5:23 name: there is no event `github.psh` (did you mean `github.push`?)",
            "5:59 name: there is no action `githb/*` (did you mean `github/*`?)",
            "5:79 name: there is no target `web`",
        ],
    );
}

#[test]
fn the_environment_decides_port_and_credentials() {
    let text = "version: 1\nlisten: 127.0.0.1:8080\n";
    let plain = settings(text, &Environment::given([]));
    assert_eq!((plain.listen.to_string().as_str(), plain.listen_by_environment), ("127.0.0.1:8080", false));
    assert_eq!(plain.google.metadata_host, "metadata.google.internal");
    let port = settings(
        text,
        &Environment::given([("PORT", "9000"), ("GCE_METADATA_HOST", "h:1"), ("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")]),
    );
    assert_eq!((port.listen.to_string().as_str(), port.listen_by_environment), ("127.0.0.1:9000", true));
    assert_eq!(port.google.metadata_host, "h:1");
    assert_eq!(port.google.credentials.as_deref(), Some(Path::new("/k.json")));
    let run = settings(text, &Environment::given([("PORT", "9000"), ("K_SERVICE", "declic")]));
    assert_eq!(run.listen.to_string(), "0.0.0.0:9000");
    assert!(run.on_cloud_run);
}

#[test]
fn paths_are_relative_to_the_file() {
    let (settings, _) = read(
        Path::new("/etc/declic/declic.yaml"),
        "version: 1\nstore: { sqlite: data/x.db }\n",
        Mode::Names,
        &Environment::given([]),
    );
    let file = settings.and_then(|settings| settings.store.place.file().map(Path::to_owned));
    assert_eq!(file, Some("/etc/declic/data/x.db".into()));
}

const WITH_SECRETS: &str = "version: 1
secrets:
  hook: { from: env, name: HOOK, previous: OLD_HOOK }
  token: { from: file, path: token, previous: token.old }
sources: { gh: { type: github, secret: hook } }
github: { token: token, api-url: \"https://ghe.example/api/v3/\" }
";

#[test]
fn secrets_are_read_only_when_they_are_needed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(FILE);
    fs::write(&path, WITH_SECRETS).expect("a written file");
    let names = load(&path, Mode::Names, &Environment::given([])).expect("names are enough for check");
    assert!(names.settings.secrets.is_empty());

    let missing = load(&path, Mode::Resolved, &Environment::given([])).expect_err("the values are not there").render(false);
    assert!(missing.contains("the secret `hook` is not there: the variable HOOK is not set"), "{missing}");
    assert!(missing.contains("declic.yaml:3:3"), "{missing}");
    assert!(missing.contains("the secret `token` is not there"), "{missing}");

    fs::write(folder.path().join("token"), "tkn\n").expect("a written file");
    let empty = load(&path, Mode::Resolved, &Environment::given([("HOOK", "")])).expect_err("an empty secret").render(false);
    assert!(empty.contains("an empty secret would let everybody in"), "{empty}");
}

#[test]
fn several_previous_values_are_kept_in_their_order_and_one_that_is_missing_is_pointed_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(FILE);
    let text = WITH_SECRETS.replace("previous: OLD_HOOK", "previous: [A, B, C]").replace(", previous: token.old", "");
    fs::write(&path, text).expect("a written file");
    fs::write(folder.path().join("token"), "tkn").expect("a written file");
    fs::set_permissions(folder.path().join("token"), fs::Permissions::from_mode(0o600)).expect("permissions");
    let environment = Environment::given([("HOOK", "new"), ("A", "a"), ("C", "c")]);
    let loaded = load(&path, Mode::Resolved, &environment).expect("the newest is there");
    let values: Vec<&[u8]> = loaded.settings.secrets["hook"].iter().map(|secret| secret.expose()).collect();
    assert_eq!(values, [b"new" as &[u8], b"a", b"c"]);
    let warned: Vec<&str> = loaded.warnings.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(warned, ["the previous value of the secret `hook` is not there: the variable B is not set"]);
    for (previous, why) in [("[[A]]", "`previous` must be a string"), ("{ name: A }", "`previous` must be a string")] {
        let text = WITH_SECRETS.replace("previous: OLD_HOOK", &format!("previous: {previous}"));
        fs::write(&path, text).expect("a written file");
        let said = load(&path, Mode::Names, &Environment::given([])).expect_err(previous).render(false);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_rotated_secret_has_two_values_and_a_careless_file_is_pointed_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(FILE);
    fs::write(&path, WITH_SECRETS).expect("a written file");
    let token = folder.path().join("token");
    fs::write(&token, "tkn\n").expect("a written file");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("permissions");
    let environment = Environment::given([("HOOK", "new"), ("OLD_HOOK", "old")]);
    let loaded = load(&path, Mode::Resolved, &environment).expect("everything is there");
    let values = |name: &str| -> Vec<&[u8]> { loaded.settings.secrets[name].iter().map(|secret| secret.expose()).collect() };
    assert_eq!(values("hook"), [b"new" as &[u8], b"old"]);
    assert_eq!(values("token"), [b"tkn" as &[u8]], "the line break at the end is not part of it");
    assert_eq!(loaded.settings.github.token.as_ref().map(|token| token.expose()), Some(b"tkn" as &[u8]));
    assert_eq!(loaded.settings.github.api_url, "https://ghe.example/api/v3");
    assert!(!format!("{:?}", loaded.settings).contains("tkn"), "settings can be logged");
    let warnings = |loaded: &declic::settings::Loaded| -> Vec<String> {
        loaded.warnings.iter().map(|fault| fault.message.clone()).collect()
    };
    let before = warnings(&loaded);
    assert_eq!(before.len(), 1, "the previous file is not there: {before:?}");

    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).expect("permissions");
    let loaded = load(&path, Mode::Resolved, &environment).expect("everything is there");
    assert!(
        warnings(&loaded).iter().any(|message| message.contains("everybody on this machine can read")),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn a_file_that_is_not_there_is_said_plainly() {
    let error = load(Path::new("/nowhere/declic.yaml"), Mode::Names, &Environment::given([])).expect_err("no such file");
    assert!(error.render(false).contains("declic init"), "{}", error.render(false));
}

#[test]
fn the_default_store_goes_where_state_belongs() {
    let text = "version: 1\nsources: {}\nrules: rules/*.yaml\n";
    let path = |environment: &declic::settings::Environment| {
        let (settings, _) =
            declic::settings::read(std::path::Path::new("etc/declic.yaml"), text, declic::settings::Mode::Names, environment);
        settings.expect("settings that can be used").store.place.file().map(Path::to_owned).expect("a file")
    };
    let beside = declic::settings::Environment::given([]);
    let given = declic::settings::Environment::given([("STATE_DIRECTORY", "var/lib/declic")]);
    assert_eq!(path(&beside), std::path::Path::new("etc/declic.db"));
    assert_eq!(path(&given), std::path::Path::new("var/lib/declic/declic.db"));
}

#[test]
fn a_server_takes_its_password_from_a_secret() {
    let text = "version: 1\nsecrets: { db: { from: env, name: DB } }\nstore: { postgres: \"postgres://declic@db.example/x\", password: db, tls: issuer, keep: 7d }\n";
    for (environment, known) in [(Environment::given([("DB", "open sesame")]), true), (Environment::given([]), false)] {
        let store = settings(text, &environment).store;
        let declic::journal::place::Place::Server(server) = &store.place else { panic!("a server: {store:?}") };
        assert_eq!(server.password.is_some(), known, "commands that look into the store read this one secret");
        assert_eq!(store.place.to_string(), "PostgreSQL, x on db.example");
        assert!(!format!("{store:?}").contains("sesame"));
    }
}

#[test]
fn an_address_with_a_credential_in_it_is_refused() {
    let start = "version: 1\nconnections:\n  a: { type: dialogflow-fulfillment, url: \"";
    for address in ["https://u:p@bot.example/", "https://bot.example/?api_key=x", "https://bot.example/?v=1&access-token=x"] {
        let advice = "put the credential into `auth:`; addresses are shown in logs and listings";
        check(&format!("{start}{address}\" }}\n"), &[&format!("3:43 plain-secret: `url` holds a credential ({advice})")]);
    }
    check(&format!("{start}https://bot.example/?version=2\" }}\n"), &[]);
    let found = faults("version: 1\nconnections:\n  a: { type: http, base-url: \"https://token@api.example\" }\n");
    assert!(found.len() == 1 && found[0].contains("`base-url` holds a credential"), "{found:?}");
}

#[test]
fn a_value_where_the_name_of_a_secret_belongs_is_not_shown() {
    let value = "ghp_0123456789abcdef";
    for text in [
        format!("version: 1\ngithub: {{ token: {value} }}\n"),
        format!("version: 1\ngithub: {{ tokne: \"{value}\" }}\n"),
        format!("version: 1\nsecrets:\n  a: {value}\n"),
        format!("version: 1\nsources:\n  gh: {{ type: github, secret: {value}, pth: /x }}\n"),
        format!("version: 1\nconnections:\n  a: {{ type: http, base-url: \"https://x.example\", auth: {value} }}\n"),
        format!(
            "version: 1\nconnections:\n  a: {{ type: http, base-url: \"https://x.example\", auth: {{ bearer: {value} }} }}\n"
        ),
        format!("version: 1\nconnections:\n  a: {{ type: http, base-url: \"https://{value}@x.example\" }}\n"),
        format!("version: 1\nsources:\n  gh:\n    type: github\n    secret: |\n      {value}\n      {value}\n    pth: /é\n"),
    ] {
        let (_, found) = read(Path::new(FILE), &text, Mode::Names, &Environment::given([]));
        assert!(!found.is_empty(), "{text}");
        let shown = declic::rules::diagnostic::render(&found, &[Source { path: FILE, text: &text }], false);
        assert!(!shown.contains("0123456789"), "{text}\n{shown}");
        assert!(shown.contains('…'), "{text}\n{shown}");
    }
}

#[test]
fn people_need_a_way_in_and_somebody_who_may_come() {
    let begin = |text: &str, expected: &[&str]| {
        let found = faults(text);
        let as_expected = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(found.len() == expected.len() && as_expected, "{text}\n{found:#?}");
    };
    let people = "admin:\n  oidc: { issuer: \"https://accounts.google.com\", client-id: c }\n";
    begin(
        &format!("version: 1\n{people}"),
        &["3:3 missing: `oidc` needs `public-url`", "3:3 admin: nobody may come in this way"],
    );
    let public = "version: 1\npublic-url: https://declic.example.dev\n";
    begin(&format!("{public}{people}  viewers: {{ domains: [acme.example] }}\n"), &[]);
    begin(
        &format!("{public}{people}  operators: {{ emails: [ann], domains: [\"*\"] }}\n"),
        &["5:14 name: `ann` is no e-mail address", "5:14 name: `*` is no domain: write it as example.com"],
    );
    begin(
        &format!("{public}admin: {{ oidc: {{ issuer: \"http://idp.example\", client-id: c }}, viewers: {{ groups: [g] }} }}\n"),
        &["3:26 type: `issuer` must be reached over https"],
    );
    begin(
        &format!("{public}admin: {{ operators: {{ groups: [g] }} }}\n"),
        &["3:10 admin: this is about people, and none can sign in"],
    );
    begin(
        &format!(
            "{public}{people}  viewers: {{ groups: [g] }}\n  visibility: {{ permission: reed, logins: {{ a@b.example: \"../x\" }} }}\n"
        ),
        &["6:29 type: `permission` is read or triage"],
    );
    begin(
        &format!("{public}{people}  viewers: {{ groups: [g] }}\n  visibility: {{ logins: {{ a@b.example: \"../x\" }} }}\n"),
        &["6:3 admin: GitHub cannot be asked who may see what", "6:15 name: `../x` cannot be a login at GitHub"],
    );
}
