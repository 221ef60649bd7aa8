//! The files of `deploy/` are held to what reads them: Prometheus' own tool, systemd's, the types of Kubernetes, the Compose specification,
//! the APIs behind Terraform's resources, and `declic check`. `scripts/test-packages` installs what is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use declic::report::metrics::{
    AttemptLabels, DeliveryLabels, HoldLabels, Metrics, RecoveryLabels, RunLabels, SecretLabels, TargetLabels,
};
use regex::Regex;
use serde_json::Value;

use crate::support::binary::declic;
use crate::support::packages;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy that a test may change.
fn copied(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(deploy().join(folder)).expect("a folder of deploy/") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("a copied file");
    }
    copy
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn tool(program: &str, folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).current_dir(folder).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}: run scripts/test-packages (make test does) and try again"));
    (output.status.success(), said(&output))
}

/// One of each, as they are asked for in PromQL: name, kind, and labels in their order. A family without a sample is not shown at all.
fn served() -> BTreeSet<(String, String, String)> {
    let metrics = Metrics::new();
    let source = || "github".to_owned();
    let target = || "github".to_owned();
    metrics.deliveries.get_or_create(&DeliveryLabels { source: source(), outcome: "accepted" }).inc();
    metrics.accept_seconds.observe(0.001);
    metrics.runs.get_or_create(&RunLabels { rule: "staging".to_owned(), state: "succeeded" }).inc();
    metrics.attempts.get_or_create(&AttemptLabels { action: "log".to_owned(), outcome: "succeeded" }).inc();
    metrics.secrets.get_or_create(&SecretLabels { source: source(), secret: 0 }).inc();
    metrics.secret_last_matched.get_or_create(&SecretLabels { source: source(), secret: 0 }).set(1);
    metrics.recovered.get_or_create(&RecoveryLabels { source: source(), outcome: "recovered" }).inc();
    metrics.sweeps.get_or_create(&RecoveryLabels { source: source(), outcome: "done" }).inc();
    metrics.breaker_open.get_or_create(&TargetLabels { target: target() }).set(1);
    metrics.breaker_openings.get_or_create(&TargetLabels { target: target() }).inc();
    metrics.holds.get_or_create(&HoldLabels { target: target(), why: "breaker" }).inc();
    let shown = metrics.render();
    let label = Regex::new(r#"(\w+)=""#).expect("a pattern");
    let mut served = BTreeSet::new();
    for (name, kind) in shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let sample = shown.lines().find(|line| line.starts_with(name)).expect("a sample of each");
        let labels: Vec<&str> =
            label.captures_iter(sample).filter_map(|found| found.get(1)).map(|found| found.as_str()).collect();
        let labels: Vec<String> = labels.into_iter().filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        served.insert((name, kind.to_owned(), labels.join(", ")));
    }
    let registered =
        text(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/metrics.rs")).matches("registry.register(").count();
    assert_eq!(served.len(), registered, "this test gives every metric a sample");
    served
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let row = Regex::new(r"(?m)^\| `(declic_\w+)` \| (\w+) \|([^|]*)\|").expect("a pattern");
    let page = text(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"));
    let documented: BTreeSet<_> =
        row.captures_iter(&page).map(|row| (row[1].to_owned(), row[2].to_owned(), row[3].trim().to_owned())).collect();
    assert_eq!(documented, served(), "docs/metrics.md beside /metrics");
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let name = Regex::new(r"declic_\w+").expect("a pattern");
    let served: BTreeSet<String> = served().into_iter().map(|(name, ..)| name).collect();
    let mut asked = BTreeSet::new();
    for file in ["prometheus/alerts.yaml", "grafana/declic.json"] {
        for found in name.find_iter(&text(deploy().join(file))) {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| found.as_str().strip_suffix(end));
            let plain = plain.filter(|plain| served.contains(*plain)).unwrap_or(found.as_str()).to_owned();
            assert!(served.contains(&plain), "{file}: {} is no metric", found.as_str());
            asked.insert(plain);
        }
    }
    assert_eq!(asked, served, "the dashboard shows every metric");
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    let folder = copied("prometheus");
    for arguments in
        [["check", "rules", "alerts.yaml"], ["check", "config", "prometheus.yaml"], ["test", "rules", "alerts.test.yaml"]]
    {
        let (fine, said) = tool("promtool", folder.path(), &arguments);
        assert!(fine, "promtool {arguments:?}\n{said}");
    }
    let alerts = folder.path().join("alerts.yaml");
    for (was, is) in
        [("== 0", "== 2"), ("state=~\"failed|dead\"", "state=\"gone\""), ("> 0.5 *", "> 1.5 *"), ("for: 10m", "for: 1h")]
    {
        let right = text(deploy().join("prometheus/alerts.yaml"));
        assert!(right.contains(was), "{was}");
        fs::write(&alerts, right.replace(was, is)).expect("a written file");
        assert!(!tool("promtool", folder.path(), &["test", "rules", "alerts.test.yaml"]).0, "{was} as {is} is noticed");
    }
}

#[test]
fn prometheus_understands_every_expression_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&text(deploy().join("grafana/declic.json"))).expect("JSON");
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    let mut ids = BTreeSet::new();
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "ids are there once");
        assert!(panel["gridPos"]["x"].as_u64().expect("a place") + panel["gridPos"]["w"].as_u64().expect("a width") <= 24);
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
            let number = rules.matches("record:").count();
            rules.push_str(&format!("      - record: dashboard:{number}\n        expr: {expression:?}\n"));
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("rules.yaml"), &rules).expect("a written file");
    let (fine, said) = tool("promtool", folder.path(), &["check", "rules", "rules.yaml"]);
    assert!(fine && said.contains(&format!("{} rules found", rules.matches("record:").count())), "{said}");
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_locked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("declic.service");
    // systemd looks whether the command is there.
    let command = env!("CARGO_BIN_EXE_declic");
    let installed = text(deploy().join("systemd/declic.service")).replace("/usr/local/bin/declic", command);
    assert!(installed.contains(&format!("ExecStart={command} serve --config /etc/declic/declic.yaml")));
    let verified = |unit_text: &str| {
        fs::write(&unit, unit_text).expect("a written file");
        let (fine, said) = tool("systemd-analyze", folder.path(), &["verify", "./declic.service"]);
        (fine && said.is_empty(), said)
    };
    let (fine, said) = verified(&installed);
    assert!(fine, "{said}");
    let (fine, said) =
        tool("systemd-analyze", folder.path(), &["security", "--offline=true", "--threshold=20", "./declic.service"]);
    assert!(fine, "{said}");
    assert!(!verified(&installed.replace("ProtectSystem=strict", "ProtectSystme=strict")).0, "a typing mistake is noticed");
}

/// What `check.py` says to the files below `folder`.
fn checked(folder: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deploying/check.py");
    let packages = packages::folder().join("python");
    let arguments = [&script, folder, &packages].map(|path| path.to_str().expect("a path"));
    tool("python3", folder, &arguments)
}

#[test]
fn kubernetes_compose_and_terraform_files_fit_what_reads_them() {
    let (fine, said) = checked(&deploy());
    assert!(fine, "{said}");
    for (file, was, is) in [
        ("kubernetes/statefulset.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("kubernetes/statefulset.yaml", "mountPath: /tmp", "mountPaht: /tmp"),
        ("kubernetes/service.yaml", "port: 80", "prot: 80"),
        ("compose/compose.yaml", "stop_grace_period", "stop_grace"),
        ("terraform/main.tf", "max_backoff", "most_backoff"),
        ("terraform/main.tf", "cpu_idle ", "cpu_idel "),
        ("terraform/main.tf", "var.database_tier", "var.databse_tier"),
        ("terraform/accounts.tf", "cloudtasks.enqueuer", "cloudtasks.admin"),
        ("terraform/accounts.tf", "google_cloud_tasks_queue.declic.name", "google_cloud_tasks_queue.declik.name"),
    ] {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for folder in ["kubernetes", "compose", "terraform"] {
            fs::create_dir(copy.path().join(folder)).expect("a folder");
            for entry in fs::read_dir(deploy().join(folder)).expect("a folder of deploy/") {
                let path = entry.expect("an entry").path();
                fs::copy(&path, copy.path().join(folder).join(path.file_name().expect("a name"))).expect("a copied file");
            }
        }
        let right = text(copy.path().join(file));
        assert!(right.contains(was), "{file}: {was}");
        fs::write(copy.path().join(file), right.replace(was, is)).expect("a written file");
        let (fine, said) = checked(copy.path());
        assert!(!fine && !said.contains("Traceback"), "{file}: {is} is noticed: {said}");
    }
}

#[test]
fn settings_and_rules_of_every_deployment_check_clean() {
    for (folder, rules) in [("kubernetes", "rules"), ("terraform", "declic-rules")] {
        let place = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(place.path().join(rules)).expect("a folder");
        let settings = text(deploy().join(folder).join("declic.yaml"));
        // Where Cloud Run mounts the rules there is nothing on this machine.
        let settings = settings.replace("/etc/declic-rules/", &format!("{}/", place.path().join(rules).display()));
        fs::write(place.path().join("declic.yaml"), settings).expect("a written file");
        fs::write(place.path().join(rules).join("staging.yaml"), text(deploy().join(folder).join("staging.yaml")))
            .expect("a written file");
        let output = declic(place.path(), &["check"]);
        let shown = said(&output);
        assert!(
            output.status.success() && shown.contains("staging.yaml: 1 rule, 0 tests, 0 errors, 0 warnings"),
            "{folder}: {shown}"
        );
    }
}
