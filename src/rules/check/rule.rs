//! One rule.

use super::file::Variables;
use super::steps::Block;
use super::trigger::Heard;
use super::trust::Guard;
use super::{Checker, advice, keys as known, scope};
use crate::rules::expr::{Expression, Scope};
use crate::rules::model::{Allow, Concurrency, Environment, Mode, Rule, Step, Trigger};
use crate::rules::registry;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::types::Type;
use crate::rules::values::keys;
use crate::rules::yaml::{Entry, Node};

impl Checker<'_> {
    /// Checks one rule. What is returned must not be used if a fault was added.
    pub fn rule(&mut self, entry: &Entry, shared: &Variables) -> Option<Rule> {
        self.rule_name(entry);
        let entries = keys(&mut self.faults, &entry.value, "a rule", known::RULE, advice::rule);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let heard = match find("on") {
            Some(on) => self.triggers(on),
            None => {
                let help = "on: { github.push: { branches: [main] } }".to_owned();
                self.faults.error("missing", entry.span.clone(), "a rule needs `on`", Some(help));
                Vec::new()
            }
        };
        if find("steps").is_none() && find("reply").is_none() {
            self.faults.error("missing", entry.span.clone(), "a rule needs `steps` or `reply`", None);
        }
        let mut vars = shared.clone();
        let text = self.text.get(entry.span.start..entry.value.span.end).unwrap_or_default();
        let mut start = self.scope(&heard, &vars.types, text);
        if let Some(own) = find("vars") {
            self.variables(own, &start, &mut vars);
            start.names.insert("vars".to_owned(), Type::Object(vars.types.clone()));
        }
        let condition = find("if").and_then(|entry| self.condition(&entry.value, &start));
        if let Some(condition) = &condition {
            start = start.assuming(condition);
        }
        let mut allow = find("allow").map(|entry| self.allow(&entry.value, &heard)).unwrap_or_default();
        // Commands are for people who may write, unless the rule says otherwise.
        let says_permission = find("allow").is_some_and(|entry| entry.value.get("permission").is_some());
        if !says_permission && hears(&heard, "github.command") {
            allow.permission = Some("write".to_owned());
        }
        let concurrency = find("concurrency").and_then(|entry| self.concurrency(&entry.value, &start));
        let collapse = find("collapse").and_then(|entry| self.collapse(&entry.value, &start));
        let timeout = find("timeout").and_then(|entry| self.duration(&entry.value, "timeout"));

        let block = |checker: &mut Self, key: &str, scope: &Scope| {
            find(key).map_or_else(|| Block::empty(scope), |entry| checker.steps(&entry.value, key, scope))
        };
        let steps = block(self, "steps", &start);
        let failed = block(self, "on-failure", &scope::on_failure(&steps.after));
        let last = block(self, "finally", &scope::finally(&steps.after));
        let environment = find("environment").and_then(|entry| self.environment(&entry.value, &heard, &start, &steps.after));
        let reply = self.reply(find("reply"), entry, &heard, &start, &steps);
        if let (Some(entry), Some(collapse)) = (find("collapse"), &collapse) {
            let beside = ["concurrency", "environment", "reply"].into_iter().filter_map(find).collect::<Vec<_>>();
            self.collapsed(entry, collapse, &beside, steps.steps.iter().chain(&last.steps));
        }
        let guard =
            Guard { allow_entry: find("allow"), allow: &allow, condition_entry: find("if"), condition: condition.as_ref() };
        self.trust(entry, &heard, &guard, &[&steps, &failed, &last]);

        let enabled = find("enabled").is_none_or(|entry| self.flag(&entry.value, "enabled").unwrap_or(true));
        let dry_run = find("dry-run").is_some_and(|entry| self.flag(&entry.value, "dry-run").unwrap_or(true));
        let description = find("description").and_then(|entry| self.plain_text(&entry.value, "description"));
        let mut rule = Rule {
            name: entry.key.clone(),
            owner: self.ground.repository.map(|repository| repository.name.to_owned()),
            place: self.place(entry.span.start),
            description,
            enabled,
            dry_run,
            triggers: heard.into_iter().filter_map(|heard| heard.trigger).collect::<Vec<Trigger>>(),
            condition,
            allow: (allow != Allow::default()).then(|| Box::new(allow)),
            environment: environment.map(Box::new),
            concurrency: concurrency.map(Box::new),
            collapse: collapse.map(Box::new),
            timeout,
            vars: vars.values,
            steps: steps.steps,
            // Who waits is answered by a rule that does something.
            reply: reply.filter(|_| !dry_run).map(Box::new),
            on_failure: failed.steps,
            finally: last.steps,
            reads_payload: false,
            reads_permission: false,
            reads_id: false,
        };
        let reads = |path: &[&str]| expressions(&rule).iter().any(|expression| expression.reads(path));
        (rule.reads_payload, rule.reads_permission) = (reads(&["event", "payload"]), reads(&["actor", "permission"]));
        rule.reads_id = deciding(&rule).iter().any(|expression| expression.reads(&["delivery", "id"]));
        Some(rule)
    }

    fn rule_name(&mut self, entry: &Entry) {
        let name = &entry.key;
        let fits = (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.starts_with('-');
        if !fits {
            self.faults.error("id", entry.span.clone(), "a rule name has lower-case letters, digits and `-`", None);
        }
    }

    fn allow(&mut self, node: &Node, heard: &[Heard]) -> Allow {
        let entries = keys(&mut self.faults, node, "`allow`", known::ALLOW, |_| None);
        let mut allow = Allow::default();
        for entry in entries {
            let slack = entry.key.starts_with("slack-");
            let meant = heard
                .iter()
                .filter_map(|heard| heard.spec)
                .any(|spec| if slack { spec.name.starts_with("slack.") } else { spec.github });
            if known::ALLOW.contains(&entry.key.as_str()) && !meant && heard.iter().all(|heard| heard.spec.is_some()) {
                let events: Vec<&str> = heard.iter().filter_map(|heard| heard.spec).map(|spec| spec.name).collect();
                let message = format!("`{}` says nothing about `{}`", entry.key, events.join("`, `"));
                self.faults.error("allow", entry.span.clone(), message, None);
            }
            let texts = |checker: &mut Self| checker.texts(&entry.value, &entry.key).into_iter().map(|(_, text)| text).collect();
            match entry.key.as_str() {
                "permission" => allow.permission = self.permission(&entry.value),
                "teams" => allow.teams = texts(self),
                "users" => allow.users = texts(self),
                "slack-users" => allow.slack_users = texts(self),
                "slack-groups" => {
                    allow.slack_groups = texts(self);
                    self.groups_are_known(entry, heard);
                }
                _ => {}
            }
        }
        allow
    }

    /// Who belongs to a group is asked of Slack, by a bot; without one nobody would ever be let in.
    fn groups_are_known(&mut self, entry: &Entry, heard: &[Heard]) {
        let Some(offer) = self.ground.offer else { return };
        let sources = heard.iter().filter_map(|heard| heard.source.as_deref());
        let unknown: Vec<&str> = sources
            .filter(|source| offer.sources.get(*source).is_some_and(|settings| settings["type"] == "slack"))
            .filter(|source| offer.slack_of(source).is_none())
            .collect();
        for source in unknown {
            let message = format!("no connection can tell who belongs to a group in the workspace of `{source}`");
            let help = "name an entry of `connections:` of type slack as `connection:` of the source".to_owned();
            self.faults.error("allow", entry.span.clone(), message, Some(help));
        }
    }

    fn permission(&mut self, node: &Node) -> Option<String> {
        let word = self.plain_text(node, "permission")?;
        if !known::PERMISSIONS.contains(&word.as_str()) {
            let help = did_you_mean(&word, known::PERMISSIONS.iter().copied())
                .unwrap_or_else(|| format!("it is one of {}", known::PERMISSIONS.join(", ")));
            self.faults.error("type", node.span.clone(), format!("there is no permission `{word}`"), Some(help));
        }
        (word != "anyone").then_some(word)
    }

    fn concurrency(&mut self, node: &Node, scope: &Scope) -> Option<Concurrency> {
        if node.scalar().is_some_and(|scalar| !scalar.is_null()) {
            let help = "write `concurrency: { group: name, mode: queue-latest }`".to_owned();
            let message = format!("`concurrency` must be a mapping, this is {}", node.kind());
            self.faults.error("type", node.span.clone(), message, Some(help));
            return None;
        }
        let entries = keys(&mut self.faults, node, "`concurrency`", known::CONCURRENCY, advice::concurrency);
        let mut mode = Mode::default();
        if let Some(entry) = entries.iter().find(|entry| entry.key == "mode")
            && let Some(word) = self.plain_text(&entry.value, "mode")
        {
            match known::MODES.iter().find(|(name, _)| *name == word) {
                Some((_, found)) => mode = *found,
                None => {
                    let names = || known::MODES.iter().map(|(name, _)| *name);
                    let help = did_you_mean(&word, names())
                        .unwrap_or_else(|| format!("it is one of {}", names().collect::<Vec<_>>().join(", ")));
                    self.faults.error("type", entry.value.span.clone(), format!("there is no mode `{word}`"), Some(help));
                }
            }
        }
        let Some(group) = entries.iter().find(|entry| entry.key == "group") else {
            let message = "`concurrency` needs `group`";
            self.faults.error(
                "missing",
                node.span.clone(),
                message,
                Some("the name of what must not be done twice at a time".to_owned()),
            );
            return None;
        };
        Some(Concurrency { group: self.template(&group.value, &Type::String, scope, "group")?, mode })
    }

    fn environment(&mut self, node: &Node, heard: &[Heard], start: &Scope, end: &Scope) -> Option<Environment> {
        let entries = keys(&mut self.faults, node, "`environment`", known::ENVIRONMENT, |_| None);
        if let Some(spec) = heard.iter().filter_map(|heard| heard.spec).find(|spec| !spec.github) {
            let message = format!("`environment` makes a GitHub deployment, and `{}` does not come from GitHub", spec.name);
            self.faults.error("environment", node.span.clone(), message, None);
        }
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let url = find("url").and_then(|entry| self.template(&entry.value, &Type::String, end, "url"));
        let sha = find("sha").and_then(|entry| self.template(&entry.value, &Type::String, start, "sha"));
        let transient = find("transient").and_then(|entry| self.flag(&entry.value, "transient")).unwrap_or(false);
        let no_commit = matches!(start.names.get("event"), Some(Type::Object(fields)) if !fields.contains_key("sha"));
        let command = hears(heard, "github.command");
        let general = heard.iter().filter_map(|heard| heard.spec).any(registry::is_general);
        if sha.is_none() && find("sha").is_none() && no_commit && (command || general) {
            let help = if general {
                "sha: ${{ … }}, a commit of `event.payload`"
            } else {
                "sha: ${{ event.head.sha }}, with `on: [pull_request]`"
            }
            .to_owned();
            self.faults.error(
                "missing",
                node.span.clone(),
                "`environment` needs `sha`: the event names no commit of its own",
                Some(help),
            );
        }
        let Some(name) = find("name") else {
            self.faults.error("missing", node.span.clone(), "`environment` needs `name`", Some("name: staging".to_owned()));
            return None;
        };
        Some(Environment { name: self.template(&name.value, &Type::String, start, "name")?, url, sha, transient })
    }
}

fn hears(heard: &[Heard], event: &str) -> bool {
    heard.iter().filter_map(|heard| heard.spec).any(|spec| spec.name == event)
}

/// Every expression of a rule.
fn expressions(rule: &Rule) -> Vec<&Expression> {
    let steps = || rule.steps.iter().chain(&rule.on_failure).chain(&rule.finally);
    let mut templates: Vec<&Template> = Vec::new();
    templates.extend(rule.environment.iter().flat_map(|environment| {
        [Some(&environment.name), environment.url.as_ref(), environment.sha.as_ref()].into_iter().flatten()
    }));
    templates.extend(steps().map(|step: &Step| &step.with));
    templates.extend(rule.reply.iter().flat_map(|reply| std::iter::once(&reply.with).chain(&reply.on_error)));
    let mut all: Vec<&Expression> = templates.into_iter().flat_map(Template::expressions).collect();
    all.extend(deciding(rule));
    all.extend(steps().filter_map(|step| step.condition.as_ref()));
    all
}

/// Those of them that are evaluated before a run starts.
fn deciding(rule: &Rule) -> Vec<&Expression> {
    let mut templates: Vec<&Template> = rule.vars.iter().map(|(_, template)| template).collect();
    templates.extend(rule.concurrency.iter().map(|concurrency| &concurrency.group));
    templates.extend(rule.collapse.iter().flat_map(|collapse| std::iter::once(&collapse.key).chain(&collapse.state)));
    templates.into_iter().flat_map(Template::expressions).chain(&rule.condition).collect()
}
