//! `declic check`: is everything right with settings and rules?

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::{USAGE, WRONG, colour, complain};
use crate::rule_files::{self, Found};
use crate::rules::check::{Checked, Ground, Repository, check, counted};
use crate::rules::diagnostic::{self, Diagnostic, Severity, Source};
use crate::rules::load::{clashes, too_many};
use crate::rules::model::{Rule, RuleFile};
use crate::rules::requested::{Request, requested};
use crate::settings::{Environment, Mode, RepositorySettings, Settings, load};

/// Arguments of `declic check`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic check                              the settings, and the rule files that they name
  declic check rules/web.yaml 'more/*.yaml'
  declic check --repository acme/web .declic    a repository's own rules, and what they may use
  git show HEAD:rules/web.yaml | declic check -
  declic check --format sarif > declic.sarif

Exit status: 0 nothing is wrong, 1 a rule is, 2 the settings or the command are.")]
pub struct Arguments {
    /// Rule files, folders, patterns, or - for standard input
    paths: Vec<String>,
    /// The operator's settings; without them names of targets, connections and sources are not checked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check as rules of this repository (GitHub's number of it, or its name), against what the settings grant it
    #[arg(long, alias = "repo", value_name = "ID|OWNER/NAME")]
    repository: Option<String>,
    /// How faults are shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How faults are shown.
#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum)]
enum Format {
    /// For people, with the lines they are on
    #[default]
    Text,
    /// One JSON document
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// Checks and says what is wrong.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    // `declic check declic.yaml` means the settings, not a rule file of that name.
    let (named, paths): (Vec<&String>, Vec<&String>) = arguments.paths.iter().partition(|path| is_settings(path, arguments));
    let config = arguments.config.as_deref().or_else(|| named.first().map(Path::new));
    let settings = match Operator::read(config, environment) {
        Ok(settings) => settings,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let paths: Vec<String> = paths.into_iter().cloned().collect();
    let only_settings = paths.is_empty() && !named.is_empty();
    let files = match if only_settings { Ok(Vec::new()) } else { found(&paths, &settings) } {
        Ok(files) => files,
        Err(why) => return complain(USAGE, why),
    };
    let repository = match granted(arguments.repository.as_deref(), settings.settings.as_ref()) {
        Ok(repository) => repository,
        Err(why) => return complain(USAGE, why),
    };
    let report = Report::new(&settings, files, repository, paths.is_empty() || !named.is_empty());
    report.show(arguments.format);
    if report.settings_wrong {
        return ExitCode::from(USAGE);
    }
    let wrong = report.faults.iter().any(|fault| fault.severity == Severity::Error);
    ExitCode::from(if wrong { WRONG } else { 0 })
}

fn is_settings(path: &str, arguments: &Arguments) -> bool {
    let path = Path::new(path);
    match &arguments.config {
        Some(config) => path == config,
        None => path.file_name().is_some_and(|name| name == "declic.yaml"),
    }
}

/// The operator's file, as far as it is there.
pub(crate) struct Operator {
    /// The settings; `None` if there is no file and none was named, or if it is wrong.
    pub settings: Option<Settings>,
    /// Where rule patterns begin.
    pub folder: PathBuf,
    path: String,
    /// As it was read; `None` if there is no file.
    text: Option<String>,
    faults: Vec<Diagnostic>,
}

impl Operator {
    /// Reads the named file, or `declic.yaml` if it is there. Faults in it are for the report.
    pub fn read(named: Option<&Path>, environment: &Environment) -> Result<Self, String> {
        let path = named.unwrap_or(Path::new("declic.yaml"));
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let shown = path.to_string_lossy().into_owned();
        if named.is_none() && !path.exists() {
            return Ok(Self { settings: None, folder, path: shown, text: None, faults: Vec::new() });
        }
        match load(path, Mode::Names, environment) {
            Ok(loaded) => Ok(Self {
                settings: Some(loaded.settings),
                folder,
                path: shown,
                text: Some(loaded.text),
                faults: loaded.warnings,
            }),
            Err(unusable) if unusable.unreadable.is_some() => Err(unusable.render(false)),
            Err(unusable) => {
                Ok(Self { settings: None, folder, path: shown, text: Some(unusable.text), faults: unusable.diagnostics })
            }
        }
    }

    /// The file, its text and its faults, if anything is wrong with it: for commands that need it right.
    pub fn usable(named: Option<&Path>, environment: &Environment) -> Result<Self, String> {
        let operator = Self::read(named, environment)?;
        if operator.faults.iter().any(|fault| fault.severity == Severity::Error) {
            let shown = diagnostic::render(&operator.faults, &[operator.source()], false);
            return Err(format!("the settings are wrong\n\n{shown}"));
        }
        Ok(operator)
    }

    fn source(&self) -> Source<'_> {
        Source { path: &self.path, text: self.text.as_deref().unwrap_or_default() }
    }
}

/// The rule files that are meant, each once: those named, or those that the settings name.
pub(crate) fn files(paths: &[String], operator: &Operator) -> Result<Vec<RuleFile>, String> {
    found(paths, operator)?.into_iter().map(Found::readable).collect()
}

/// The same with those that cannot be read, which are faults of their own.
pub(crate) fn found(paths: &[String], operator: &Operator) -> Result<Vec<Found>, String> {
    if !paths.is_empty() {
        let mut files: Vec<Found> = Vec::new();
        for path in paths {
            let found = match path.as_str() {
                "-" => vec![standard_input()?],
                // The folder of the settings has more in it than rules: the settings say which files those are.
                path if operator.text.is_some() && same(path, &operator.folder) => from_settings(operator)?,
                _ => rule_files::find(Path::new(""), std::slice::from_ref(path))?,
            };
            for one in found {
                if !files.iter().any(|other| same(&other.file.path, Path::new(&one.file.path))) {
                    files.push(one);
                }
            }
        }
        return Ok(files);
    }
    from_settings(operator)
}

/// Do both paths mean the same file or folder, however they are written?
fn same(path: &str, other: &Path) -> bool {
    let whole = |path: &Path| if path.as_os_str().is_empty() { Path::new(".").canonicalize() } else { path.canonicalize() };
    Path::new(path) == other || matches!((whole(Path::new(path)), whole(other)), (Ok(one), Ok(two)) if one == two)
}

fn from_settings(operator: &Operator) -> Result<Vec<Found>, String> {
    match &operator.settings {
        Some(settings) => rule_files::find(&operator.folder, &settings.rules),
        None if operator.text.is_none() => {
            Err("there is no declic.yaml here: name rule files, or the settings with --config, or begin with `declic init`"
                .to_owned())
        }
        // What is wrong with the settings is said; which rules they would name is not known.
        None => Ok(Vec::new()),
    }
}

fn standard_input() -> Result<Found, String> {
    const LARGEST: u64 = 4 * 1024 * 1024;
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err("standard input has more than 4 MiB: that is no rule file".to_owned());
    }
    Ok(Found::new("-".to_owned(), Ok(bytes)))
}

fn granted<'a>(wanted: Option<&str>, settings: Option<&'a Settings>) -> Result<Option<&'a RepositorySettings>, String> {
    let Some(wanted) = wanted else { return Ok(None) };
    let settings = settings.ok_or("--repository needs settings that are right: they say what the repository may use")?;
    let repository = settings.repository(wanted);
    repository
        .map(Some)
        .ok_or_else(|| format!("the settings do not list {wanted} under `repositories:`, so no rules are read from it"))
}

struct Report<'a> {
    operator: &'a Operator,
    settings_wrong: bool,
    /// The settings were asked about too.
    with_settings: bool,
    files: Vec<RuleFile>,
    checked: Vec<Checked>,
    /// What the rules use, beside what their repository was granted; none for the operator's rules.
    requests: Option<Vec<Request>>,
    faults: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    fn new(operator: &'a Operator, files: Vec<Found>, granted: Option<&'a RepositorySettings>, with_settings: bool) -> Self {
        let settings_wrong = operator.faults.iter().any(|fault| fault.severity == Severity::Error);
        let with_settings = (with_settings && operator.text.is_some()) || settings_wrong;
        let repository = granted.map(|one| Repository { name: &one.name, grant: &one.grant });
        let ground = Ground { offer: operator.settings.as_ref().map(|settings| &settings.offer), repository };
        let mut checked: Vec<Checked> = files.iter().map(|found| checked(found, &ground)).collect();
        let files: Vec<RuleFile> = files.into_iter().map(|found| found.file).collect();
        let mut clashes = clashes(&files, &checked);
        clashes.extend(granted.and_then(|one| too_many(&files, &checked, one.max_rules?)));
        let requests = granted.map(|one| {
            // Without grants: rules that reach beyond theirs are not among those that were checked.
            let all = files.iter().map(|file| check(&file.path, &file.text, &Ground { repository: None, ..ground }));
            let rules: Vec<Rule> = all.flat_map(|checked| checked.rules).collect();
            requested(rules.iter(), &one.grant)
        });
        for (file, checked) in files.iter().zip(&mut checked) {
            checked.diagnostics.extend(clashes.iter().filter(|fault| fault.file == file.path).cloned());
        }
        let mut faults = if with_settings { operator.faults.clone() } else { Vec::new() };
        faults.extend(checked.iter().flat_map(|checked| checked.diagnostics.clone()));
        Self { operator, settings_wrong, with_settings, files, checked, requests, faults }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let files = self.files.iter().map(|file| Source { path: &file.path, text: &file.text });
        std::iter::once(self.operator.source()).chain(files).collect()
    }

    fn show(&self, format: Format) {
        let sources = self.sources();
        match format {
            Format::Text => self.text(&sources),
            Format::Github => out!("{}", diagnostic::github(&self.faults, &sources)),
            Format::Sarif => outln!("{:#}", diagnostic::sarif(&self.faults, &sources)),
            Format::Json => {
                let files: Vec<_> =
                    self.files.iter().zip(&self.checked).map(|(file, checked)| summary(&file.path, checked)).collect();
                let mut document = json!({ "files": files, "diagnostics": diagnostic::json(&self.faults, &sources) });
                if let (Some(requests), Some(fields)) = (&self.requests, document.as_object_mut()) {
                    fields.insert("requests".to_owned(), json!(requests));
                }
                outln!("{document:#}");
            }
        }
    }

    fn text(&self, sources: &[Source<'_>]) {
        let show = |faults: &[Diagnostic]| out!("{}", diagnostic::render(faults, sources, colour()));
        if self.with_settings {
            let faults = &self.operator.faults;
            show(faults);
            let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
            let warnings = faults.len() - errors;
            outln!("{}: {}, {}", self.operator.path, counted(errors, "error"), counted(warnings, "warning"));
        }
        for (file, checked) in self.files.iter().zip(&self.checked) {
            show(&checked.diagnostics);
            outln!("{}: {}", file.path, checked.counts());
        }
        for Request { what, name, granted } in self.requests.iter().flatten() {
            outln!("{} {what} {name}", if *granted { "granted    " } else { "not granted" });
        }
        if self.operator.settings.is_none() && !self.settings_wrong {
            eprintln!("declic: without declic.yaml (--config) names of targets, connections and sources were not checked");
        }
    }
}

/// What is in the file, or why it cannot be known.
pub(crate) fn checked(found: &Found, ground: &Ground<'_>) -> Checked {
    match &found.unreadable {
        None => check(&found.file.path, &found.file.text, ground),
        Some(fault) => Checked::unreadable(fault.clone()),
    }
}

fn summary(path: &str, checked: &Checked) -> serde_json::Value {
    json!({
        "file": path,
        "rules": checked.names.len(),
        "tests": checked.case_count,
        "errors": checked.errors(),
        "warnings": checked.warnings(),
    })
}
