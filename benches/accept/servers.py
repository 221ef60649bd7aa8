"""The servers that `bench.py` compares: how each is set up as its own documents advise, started, and how much it does.

Every one of them gets the same signed push. "miss": the push starts nothing. "acts": it starts /bin/true.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SECRET = "a secret of this bench"
HERE = Path(__file__).parent

SETTINGS = """version: 1
secrets: { github_webhook: { from: env, name: DECLIC_GITHUB_SECRET } }
sources: { github: { type: github, secret: github_webhook } }
connections: { truth: { type: command, program: /bin/true } }
rules: rules.yaml
"""
RULES = """version: 1
rules:
  staging:
    on: { github.push: { branches: [BRANCH] } }
    steps: [{ uses: exec/run, with: { connection: truth } }]
"""
QHOOK = """database: { driver: sqlite }
server: { port: PORT, host: 127.0.0.1, allow_private_urls: true }
sources: { github: { type: webhook, verify: github, secret: "SECRET" } }
handlers:
  on-push: { source: github, events: [push], url: "http://127.0.0.1:9/deploy", filter: "$.ref == refs/heads/none" }
"""


@dataclass
class Server:
    """One server: `command` may hold PORT; `path` is where it takes deliveries."""

    name: str
    command: list[str]
    path: str = "/hooks/github"
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    keeps: str = "nothing"
    limit: bool = False

    def prepare(self, folder: Path, port: int) -> None:
        """Writes its files."""
        folder.mkdir(exist_ok=True)
        for name, text in self.files.items():
            (folder / name).write_text(text.replace("PORT", str(port)), encoding="utf-8")

    def start(self, folder: Path, port: int, core: int) -> subprocess.Popen:
        """Starts it on a core of its own."""
        command = ["taskset", "-c", str(core), *[word.replace("PORT", str(port)) for word in self.command]]
        with open(folder / "log", "ab") as log:
            return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **self.environment, "PORT": str(port)})


def declic(binary: str, name: str, branch: str) -> Server:
    return Server(
        name,
        [binary, "serve", "--config", "declic.yaml", "--listen", "127.0.0.1:PORT"],
        environment={"DECLIC_GITHUB_SECRET": SECRET},
        files={"declic.yaml": SETTINGS, "rules.yaml": RULES.replace("BRANCH", branch)},
        keeps="delivery, reasons, runs",
    )


def webhook(name: str, branch: str) -> Server:
    signature = {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}
    ref = {"type": "value", "value": f"refs/heads/{branch}", "parameter": {"source": "payload", "name": "ref"}}
    match = lambda rule: {"match": rule}  # noqa: E731
    hooks = [{"id": "github", "execute-command": "/bin/true", "trigger-rule": {"and": [match(signature), match(ref)]}}]
    command = ["webhook", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", "PORT", "-urlprefix", "hooks"]
    return Server(name, command, files={"hooks.json": json.dumps(hooks)})


def all_servers(binary: str, limits: str, peers: Path, qhook: str | None) -> list[Server]:
    """In the order in which they are measured."""
    servers = [
        declic(binary, "declic, miss", "none"),
        declic(binary, "declic, acts", "main"),
        webhook("webhook, miss", "none"),
        webhook("webhook, acts", "main"),
    ]
    octokit = {"WEBHOOK_SECRET": SECRET, "NODE_ENV": "production"}
    servers.append(Server("@octokit/webhooks", ["node", str(peers / "octokit.js")], environment=octokit))
    key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    probot = {**octokit, "APP_ID": "1", "PRIVATE_KEY": key, "LOG_LEVEL": "fatal", "WEBHOOK_PATH": "/hooks/github", "HOST": "127.0.0.1"}
    command = ["node", str(peers / "node_modules/probot/bin/probot.js"), "run", str(peers / "probot.js")]
    servers.append(Server("probot", command, environment=probot))
    if qhook:
        files = {"qhook.yaml": QHOOK.replace("SECRET", SECRET)}
        servers.append(Server("qhook", [qhook, "start"], "/webhooks/github", {"RUST_LOG": "warn"}, files, "delivery"))
    for kind, name, keeps in [
        ("file", "plain appended file", "body"),
        ("poem", "poem and signature", "nothing"),
        ("hyper", "bare hyper", "nothing"),
    ]:
        servers.append(Server(name, [limits, kind, "PORT"], keeps=keeps, limit=True))
    return servers


def versions(binary: str, peers: Path, qhook: str | None) -> list[str]:
    """What is compared, as it calls itself."""

    def said(*command: str) -> str:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        return (told.stdout or told.stderr).strip().splitlines()[0]

    packages = json.loads((peers / "package.json").read_text(encoding="utf-8"))["dependencies"]
    found = [said(binary, "--version"), said("webhook", "-version"), f"node {said('node', '--version')}"]
    found += [f"{name} {version}" for name, version in packages.items()]
    if qhook:
        # It has no option that tells; this is what `run` installs.
        found.append("qhook 0.6.1")
    return [re.sub(r"\s+", " ", text) for text in found]
