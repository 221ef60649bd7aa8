//! What people write who come from GitHub Actions, and what to write here.

/// Keys of a rule file.
pub fn file(key: &str) -> Option<&'static str> {
    Some(match key {
        "jobs" => "there are no jobs: a rule has `steps`, and everything that can go on at the same time is a rule of its own",
        "on" | "if" | "steps" | "concurrency" | "environment" | "permissions" => {
            "this belongs into a rule: rules: { name: { on: …, steps: … } }"
        }
        "env" => "write `vars:` and use ${{ vars.name }}",
        "name" => "a rule has its name as key: rules: { deploy-staging: … }",
        "defaults" | "run-name" => "there is nothing like it: remove it",
        "anchors" | "x-templates" | "include" | "extends" => "nothing is included: write it out, or put it in `vars:`",
        _ => return None,
    })
}

/// Keys of a rule.
pub fn rule(key: &str) -> Option<&'static str> {
    Some(match key {
        "runs-on" | "container" | "services" => "nothing runs on a machine of yours: remove it",
        "jobs" | "needs" => "a rule has `steps`, which run in order; what does not depend on them is a rule of its own",
        "strategy" | "matrix" => "there is no matrix: write one rule for each case",
        "permissions" => "what rules may do is the operator's decision, in declic.yaml",
        "env" => "write `vars:` and use ${{ vars.name }}",
        "name" => "the key is the name; write `description:` for a text about it",
        "timeout-minutes" => "write a duration: timeout: 25m",
        "continue-on-error" => "write `on-error: continue` at the step",
        "outputs" => "outputs of a step are read as ${{ steps.id.outputs.name }}",
        "run" | "uses" | "with" => "this belongs into a step: steps: [{ uses: …, with: … }]",
        "when" | "where" | "condition" => "write `if:`",
        "always" => "write `finally:`",
        "catch" | "on-error" | "on_failure" => "write `on-failure:`",
        _ => return None,
    })
}

/// Keys of a step.
pub fn step(key: &str) -> Option<&'static str> {
    Some(match key {
        "run" | "shell" | "working-directory" => {
            "there is no shell: use one of the actions, or http/request to call a service of yours"
        }
        "env" => "give values in `with:`, or put them in `vars:`",
        "timeout-minutes" => "write a duration: timeout: 10m",
        "continue-on-error" => "write `on-error: continue`",
        "retries" | "max-attempts" => "write `retry: 3`",
        "needs" => "steps run in the order written",
        "on-failure" => "`on-failure` belongs to the rule; at a step write `on-error: continue`",
        _ => return None,
    })
}

/// Keys of an event in `on:`.
pub fn trigger(key: &str) -> Option<&'static str> {
    Some(match key {
        "branches-ignore" => "write `branches: [\"**\", \"!name\"]`: a later pattern wins",
        "tags-ignore" => "write `tags: [\"**\", \"!name\"]`: a later pattern wins",
        "paths-ignore" => "write `paths: [\"**\", \"!name\"]`: a later pattern wins",
        "types-ignore" => "list the types that shall start it",
        "branch" => "write `branches:`",
        "if" => "`if:` belongs to the rule, beside `on:`",
        _ => return None,
    })
}

/// Keys of the reply to an event.
pub fn reply(event: &str, key: &str) -> Option<&'static str> {
    let advice = "Slack shows no text in the answer to a button or a modal: send it with a step, `uses: slack/respond`";
    (event == "slack.action" && matches!(key, "text" | "visible-to")).then_some(advice)
}

/// Keys of `concurrency:`.
pub fn concurrency(key: &str) -> Option<&'static str> {
    Some(match key {
        "cancel-in-progress" => "write `mode: supersede`",
        "queue" => "write `mode: queue-all`",
        _ => return None,
    })
}

/// Keys of `collapse:`.
pub fn collapse(key: &str) -> Option<&'static str> {
    Some(match key {
        "group" => "write `key:`",
        "on-change" => "write `state:`, with `repeats: drop`",
        "window" | "for" => "write `quiet:`",
        _ => return None,
    })
}

/// Names of events.
pub fn event(name: &str) -> Option<&'static str> {
    Some(match name {
        "schedule" | "cron" => "there are no schedules: let Cloud Scheduler publish to Pub/Sub, and use `pubsub.message`",
        "workflow_dispatch" => "start it by a comment: `github.command`",
        "repository_dispatch" => "write `github.repository_dispatch`, or start it by a comment: `github.command`",
        "workflow_call" => "rules do not call rules: put what they share in `vars:`",
        "pull_request_target" => {
            "write `github.pull_request`: rules are always read from the default branch, and forks are out unless `forks: true`"
        }
        "issue_comment" => "write `github.command` for comments such as /deploy, `github.issue_comment` for all",
        _ => return None,
    })
}
