"""Accepting side by side: the same signed push, a new delivery id each time, to Declic and to each of its peers in turn.

    benches/accept/bench.py [--rounds 3] [--seconds 5] [--only NAME,NAME]      `make bench-accept` installs what it needs

Server and client are pinned to a core each. Each round starts and measures every server once, so that a noisy neighbour meets all of
them. Printed are medians, ratios pair by pair (ours / theirs, of one round), CPU time of the server for each delivery taken in, and how much of
the machine's time went to neither of the two. Absolute numbers mean little: quote ratios.
"""

import argparse
import copy
import hashlib
import hmac
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from servers import SECRET, Server, all_servers, versions

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, CLIENT_CORE = 0, 1


def push(size: int) -> bytes:
    """A push of about so many bytes: the example of `declic init`, with as many commits as that takes."""
    payload = json.loads((ROOT / "src/cli/init/push.json").read_text(encoding="utf-8"))
    commit = payload["commits"][0]
    while len(json.dumps(payload)) < size:
        another = copy.deepcopy(commit)
        another["id"] = f"{len(payload['commits']):040x}"
        payload["commits"].append(another)
    return json.dumps(payload).encode()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_of(process: int) -> float:
    """Seconds that a process and its ended children have taken."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1].split()
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICKS


def busy() -> float:
    """Seconds that the machine was busy, all cores together."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def status(process: int, name: str) -> float:
    """A figure of /proc/PID/status, in MiB."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) / 1024


class Sender:
    """Signs and sends."""

    def __init__(self, body: bytes, work: Path):
        self.body, self.work = body, work
        self.signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        (work / "push.json").write_bytes(body)
        self.runs = 0

    def once(self, server: Server, port: int) -> bool:
        """One delivery; true if it was taken in."""
        self.runs += 1
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": f"once-{os.getpid()}-{self.runs}",
            "X-Hub-Signature-256": f"sha256={self.signature}",
        }
        request = urllib.request.Request(f"http://127.0.0.1:{port}{server.path}", self.body, headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status < 300
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{server.name} refused the push with {error.code}: {error.read()[:300]!r}") from error
        except OSError:
            return False

    def load(self, server: Server, port: int, process: int, connections: int, seconds: int) -> dict[str, float]:
        """So many connections as fast as it goes."""
        self.runs += 1
        environment = {"BODY": str(self.work / "push.json"), "SIGNATURE": self.signature, "RUN": f"{os.getpid()}-{self.runs}"}
        client = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "push.lua")]
        before, all_before, children = cpu_of(process), busy(), os.times()
        command = ["taskset", "-c", str(CLIENT_CORE), *client, f"http://127.0.0.1:{port}{server.path}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment}).stdout
        took, all_took, after = cpu_of(process) - before, busy() - all_before, os.times()
        own = after.children_user + after.children_system - children.children_user - children.children_system
        duration, good, p50, p99, refused = map(float, re.search(r"^RESULT (.*)", told, re.M).group(1).split())
        return {
            "accepted/s": good / duration,
            "CPU us": took * 1e6 / max(good, 1),
            "p50 us": p50,
            "p99 us": p99,
            "refused": refused,
            "foreign": max(0.0, all_took - took - own) / (duration * os.cpu_count()),
        }


def measure(server: Server, sender: Sender, work: Path, options: argparse.Namespace) -> dict[str, float]:
    """Starts it, measures it, ends it."""
    folder, port = work / re.sub(r"\W+", "-", server.name), free_port()
    server.prepare(folder, port)
    begun = time.perf_counter()
    running = server.start(folder, port, SERVER_CORE)
    try:
        while not sender.once(server, port):
            if running.poll() is not None or time.perf_counter() - begun > 30:
                raise SystemExit(f"{server.name} does not take deliveries:\n{(folder / 'log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.0005)
        row = {"start ms": (time.perf_counter() - begun) * 1e3, "idle MiB": status(running.pid, "VmRSS")}
        row |= sender.load(server, port, running.pid, 64, options.seconds)
        row["peak MiB"] = status(running.pid, "VmHWM")
        row["alone p50 us"] = sender.load(server, port, running.pid, 1, max(1, options.seconds // 2))["p50 us"]
        return row
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(servers: list[Server], rounds: dict[str, list[dict[str, float]]]) -> str:
    """The tables of docs/benchmarks.md."""
    columns = ["accepted/s", "CPU us", "p50 us", "p99 us", "alone p50 us", "start ms", "idle MiB", "peak MiB", "refused"]
    middle = lambda name, column: statistics.median(row[column] for row in rounds[name])  # noqa: E731
    absolute = [
        [server.name, server.keeps, *[f"{middle(server.name, column):,.{1 if 'MiB' in column or 'ms' in column else 0}f}" for column in columns]]
        for server in servers
    ]
    text = table(["server", "keeps", *columns], absolute)
    ours = [server.name for server in servers if server.name.startswith("declic")]
    pairs = []
    for server in servers:
        own = next((name for name in ours if name.split(", ")[-1] == server.name.split(", ")[-1]), ours[0] if ours else None)
        if own is None or server.name in ours:
            continue
        cells = []
        for column in ("accepted/s", "CPU us"):
            ratios = [mine[column] / theirs[column] for mine, theirs in zip(rounds[own], rounds[server.name]) if theirs[column]]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        pairs.append([f"{own} / {server.name}", *cells])
    foreign = [row["foreign"] for rows in rounds.values() for row in rows]
    text += "\n\n" + table(["ratio, pair by pair", "accepted/s", "CPU each"], pairs)
    return text + f"\n\nForeign load: {statistics.median(foreign):.0%} of the machine at the median, {max(foreign):.0%} at most.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", default="", help="names of servers, or beginnings of them, separated by commas")
    parser.add_argument("--declic", required=True)
    parser.add_argument("--limits", required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--qhook")
    options = parser.parse_args()
    only = tuple(filter(None, options.only.split(",")))
    servers = [
        server
        for server in all_servers(options.declic, options.limits, options.peers, options.qhook)
        if not only or server.name.startswith(only)
    ]
    print(", ".join(versions(options.declic, options.peers, options.qhook)))
    rounds: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    with tempfile.TemporaryDirectory() as folder:
        sender = Sender(push(7700), Path(folder))
        for number in range(options.rounds):
            for server in servers:
                row = measure(server, sender, Path(folder), options)
                rounds[server.name].append(row)
                told = "  ".join(f"{name} {value:,.1f}" for name, value in row.items() if name != "foreign")
                print(f"  round {number + 1}: {server.name:20} {told}", file=sys.stderr, flush=True)
    print("\n" + report(servers, rounds))


if __name__ == "__main__":
    main()
