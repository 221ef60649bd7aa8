//! `exec/run`: a command that the operator allows, with a list of arguments, never through a shell.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, STOPPED, Spec, Why};
use crate::given::{self, all, every, invalid, refuse_if};
use crate::http::shown;
use crate::kinds::auth::secret;
use crate::secret::Secret;

/// Bytes that are kept of each of standard output and standard error, unless the operator says otherwise, and at most.
const KEPT: i64 = 64 << 10;
const MOST_KEPT: i64 = 1 << 20;
/// Bytes of standard input, and of one argument.
const MOST_STDIN: usize = 1 << 20;
const LONGEST_ARGUMENT: usize = 8 << 10;
/// A command that is told to stop has so long before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// `EX_TEMPFAIL`: the command says that trying again may help.
const TEMPORARY: i32 = 75;

/// The action.
pub struct ExecRun;

static SPEC: Spec = Spec {
    name: "exec/run",
    summary: "Runs a command that declic.yaml allows under `connections:`; for operators' rules only",
    class: Class::Deploy,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The command, by its name under `connections:`" },
        Field {
            name: "arguments",
            shape: "[plain]?",
            summary: "Arguments behind the operator's own, as many as the operator allows; none is looked at by a shell",
        },
        Field { name: "stdin", shape: "any?", summary: "Standard input: text as it is, anything else as JSON" },
    ],
    outputs: &[
        Field { name: "stdout", shape: "text", summary: "What it wrote to standard output, up to the cap" },
        Field { name: "stderr", shape: "text", summary: "What it wrote to standard error, up to the cap" },
        Field { name: "truncated", shape: "bool", summary: "Was more written than was kept?" },
    ],
    example: "connection: restart_web\narguments: [web-1]\n",
    deadline: Duration::from_secs(60),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "Nobody knows what a command did before it was cut off: after a crash it is run again. Write it so that this does no harm",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    program: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Variable -> name of the secret.
    secrets: BTreeMap<String, String>,
    folder: String,
    stdin: Option<String>,
    kept: usize,
}

#[async_trait]
impl Action for ExecRun {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_here(&self) -> bool {
        true
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "command")?;
        let stdin = match given.value("stdin") {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => Some(value.to_string()),
        };
        let long = stdin.as_ref().is_some_and(|stdin| stdin.len() > MOST_STDIN);
        let (program, arguments, _, kept, environment, secrets, folder) = all((
            program(&connection),
            arguments(&given, &connection),
            refuse_if(long, || invalid(format!("`with.stdin` is longer than {MOST_STDIN} bytes"))),
            connection.int_within("output", 0, MOST_KEPT),
            variables(&connection, "environment"),
            variables(&connection, "secrets"),
            connection.optional_text("folder"),
        ))?;
        let plan = Plan {
            program: program.to_owned(),
            arguments,
            environment,
            secrets,
            folder: folder.unwrap_or("/").to_owned(),
            stdin,
            kept: usize::try_from(kept.unwrap_or(KEPT)).unwrap_or_default(),
        };
        let words: Vec<String> = plan.arguments.iter().map(|argument| format!("{:?}", shown(argument))).collect();
        let summary = format!("run {} {}", plan.program, words.join(" ")).trim_end().to_owned();
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let mut concealed = Vec::new();
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).env_clear().envs(&plan.environment).current_dir(&plan.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what it starts ends with it.
        command.process_group(0).kill_on_drop(true);
        for (variable, name) in &plan.secrets {
            let value = secret(context, name)?;
            let text = value.expose_text().ok_or_else(|| Failure::last("invalid", format!("The secret `{name}` is not text")))?;
            command.env(variable, text);
            concealed.push(value.clone());
        }
        let child = command
            .spawn()
            .map_err(|error| Failure::last("not-started", format!("{} cannot be started: {error}", plan.program)))?;
        let mut running = Running::new(child);
        let ended = tokio::select! {
            ended = running.see(plan.stdin.as_deref(), plan.kept) => ended,
            () = tokio::time::sleep_until(context.deadline.into()) => {
                return Err(Failure::last("timeout", format!("{} did not end in time; it was killed with all it had started", plan.program)));
            }
            () = context.stop.asked() => {
                running.terminate().await;
                return Err(Failure::last(STOPPED, format!("{} was stopped: its run is no longer wanted", plan.program)));
            }
        };
        let (status, stdout, stderr) = ended.map_err(|error| Failure::last("internal", error.to_string()))?;
        let text = |kept: &Kept| conceal(&String::from_utf8_lossy(&kept.bytes), &concealed);
        let (out, err) = (text(&stdout), text(&stderr));
        let code = status.code();
        if code == Some(0) {
            let truncated = stdout.more || stderr.more;
            let outputs = json!({ "stdout": out, "stderr": err, "truncated": truncated });
            return Ok(Outcome { outputs, summary: format!("{} ended well", plan.program), url: None });
        }
        let how = code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with status {code}"));
        let last = err.trim_end().lines().last().or_else(|| out.trim_end().lines().last()).unwrap_or_default();
        let message = format!("{} {how}: {}", plan.program, shown(last));
        if code == Some(TEMPORARY) {
            Err(Failure::retry("temporary", message))
        } else {
            Err(Failure::last("exit-status", message))
        }
    }
}

/// An argument of a rule. One that begins with a dash would be an option, and so could be an outsider's word.
fn program<'a>(connection: &given::Given<'a>) -> Result<&'a str, Why> {
    let program = connection.text("program")?;
    let fits = program.starts_with('/') && !program.contains('\0');
    if fits { Ok(program) } else { Err(invalid("`connection.program` is an absolute path: nothing is looked for")) }
}

/// The operator's, and behind them those of the rule.
fn arguments(given: &given::Given<'_>, connection: &given::Given<'_>) -> Result<Vec<String>, Faults> {
    let (own, more, allowed, options) = all((
        connection.optional_texts("arguments"),
        given.optional_texts("arguments"),
        connection.int_within("more-arguments", 0, 100),
        connection.flag("options"),
    ))?;
    let (more, allowed) = (more.unwrap_or_default(), allowed.unwrap_or(0));
    let message = || format!("the operator allows {allowed} arguments for this command, not {}", more.len());
    all((
        refuse_if(more.len() as i64 > allowed, || Why::new("not-allowed", message())),
        every::<(), _, ()>(more.iter().map(|argument| checked(argument, options))),
    ))?;
    Ok(own.unwrap_or_default().into_iter().chain(more).map(str::to_owned).collect())
}

fn checked(argument: &str, options: bool) -> Result<(), Why> {
    if argument.contains('\0') || argument.len() > LONGEST_ARGUMENT {
        return Err(invalid(format!("an argument has no NUL and at most {LONGEST_ARGUMENT} bytes")));
    }
    if argument.starts_with('-') && !options {
        let message = format!("`{}` would be an option; options belong to the operator's own `arguments`", shown(argument));
        return Err(Why::new("not-allowed", message));
    }
    Ok(())
}

fn variables(connection: &given::Given<'_>, name: &str) -> Result<BTreeMap<String, String>, Faults> {
    let pair = |(variable, value): (&String, &Value)| {
        let fits = !variable.is_empty() && variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let value = value.as_str().filter(|value| fits && !value.contains('\0'));
        value
            .map(|value| (variable.clone(), value.to_owned()))
            .ok_or_else(|| invalid(format!("`connection.{name}` maps names of variables to text")))
    };
    every(connection.optional_object(name)?.into_iter().flatten().map(pair))
}

/// Output that repeats a secret is journaled without it.
fn conceal(text: &str, secrets: &[Secret]) -> String {
    secrets
        .iter()
        .filter_map(Secret::expose_text)
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

/// A command with all it starts: whatever ends this value ends them.
struct Running {
    child: Child,
    group: Option<Pid>,
}

struct Kept {
    bytes: Vec<u8>,
    more: bool,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Self { child, group }
    }

    /// Feeds it and reads it until it ends. What it left behind in its group ends with it: it would hold the pipes open.
    async fn see(&mut self, stdin: Option<&str>, kept: usize) -> std::io::Result<(std::process::ExitStatus, Kept, Kept)> {
        let input = self.child.stdin.take();
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let feed = async move {
            if let (Some(mut input), Some(text)) = (input, stdin) {
                // A command that does not read all of it has its reasons.
                drop(input.write_all(text.as_bytes()).await);
            }
        };
        let group = self.group;
        let wait = async {
            let status = self.child.wait().await;
            kill(group, Signal::SIGKILL);
            status
        };
        let ((), out, err, status) = tokio::join!(feed, read(stdout, kept), read(stderr, kept), wait);
        self.group = None;
        Ok((status?, out?, err?))
    }

    async fn terminate(&mut self) {
        kill(self.group, Signal::SIGTERM);
        // Those that do not end by themselves are killed by `drop`.
        drop(tokio::time::timeout(GRACE, self.child.wait()).await);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill(self.group, Signal::SIGKILL);
    }
}

/// A group that is gone already is no error.
fn kill(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _: Result<(), _> = killpg(group, signal);
    }
}

/// All of it, of which the beginning is kept.
async fn read(from: Option<impl AsyncRead + Unpin>, kept: usize) -> std::io::Result<Kept> {
    let (mut bytes, mut more) = (Vec::new(), false);
    if let Some(mut from) = from {
        let mut buffer = [0; 8192];
        loop {
            let count = from.read(&mut buffer).await?;
            let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
            let room = kept.saturating_sub(bytes.len());
            more |= part.len() > room;
            bytes.extend(part.iter().take(room));
        }
    }
    Ok(Kept { bytes, more })
}
