"""What happens after accepting: from a push in to the first byte of the action out, runs from end to end, a restart with a long queue, and accepting
while something else goes on.

    benches/accept/journeys.py --declic PATH --limits PATH [--only NAME,NAME] [--queued 100000]     `make bench-journeys` builds both

The service is pinned to one core and everything else to the other. Every part compares with a run of its own a moment before: quote ratios.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import CLIENT_CORE, ROOT, SERVER_CORE, Sender, cpu_of, free_port, push, status, table
from servers import SECRET, SETTINGS, Server

STEP = "{ uses: http/request, with: { connection: sink, method: POST, path: /act, body: { sha: '${{ event.sha }}' } } }"
QUEUED = "concurrency: { group: all, mode: queue-all }"


def settings(sink: int, store: str = "") -> str:
    """Settings with a connection to a port of this machine."""
    plain = "\n".join(line for line in SETTINGS.splitlines() if not line.startswith("connections:"))
    address = f"127.0.0.1:{sink}"
    connection = f'{{ type: http, base-url: "http://{address}", methods: [POST] }}'
    return f'{plain}\nconnections: {{ sink: {connection} }}\negress: {{ allow: ["{address}"] }}\nworkers: 64\n{store}'


def rules(steps: int, *, reasons: int = 0, more: str = "") -> str:
    """One rule of so many steps for the push, or none; and so many that look at it and do not match."""
    text = "version: 1\nrules:\n"
    for number in range(reasons):
        text += f"  other-{number}: {{ on: {{ github.push: {{ branches: [none] }} }}, steps: [{STEP}] }}\n"
    if steps or not reasons:
        branch = "main" if steps else "none"
        listed = "".join(f"      - {STEP}\n" for _ in range(max(steps, 1)))
        text += f"  act:\n    on: {{ github.push: {{ branches: [{branch}] }} }}\n{'    ' + more if more else ''}\n    steps:\n{listed}"
    return text


class Service:
    """A running Declic in a folder of its own."""

    def __init__(self, declic: str, folder: Path, files: dict[str, str], core: int = SERVER_CORE):
        command = [declic, "serve", "--config", "declic.yaml", "--listen", "127.0.0.1:PORT"]
        self.server = Server("declic", command, environment={"DECLIC_GITHUB_SECRET": SECRET}, files=files)
        self.folder, self.port, self.core = folder, free_port(), core
        self.server.prepare(folder, self.port)

    def start(self, sender: Sender) -> float:
        """Answers milliseconds until the first delivery was taken in."""
        begun = time.perf_counter()
        self.running = self.server.start(self.folder, self.port, self.core)
        while not sender.once(self.server, self.port):
            if self.running.poll() is not None or time.perf_counter() - begun > 60:
                raise SystemExit(f"declic does not take deliveries:\n{(self.folder / 'log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.0005)
        return (time.perf_counter() - begun) * 1e3

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        self.running.send_signal(how)
        self.running.wait(30)

    def load(self, sender: Sender, seconds: int, connections: int = 64) -> dict[str, float]:
        """Deliveries as fast as it goes."""
        return sender.load(self.server, self.port, self.running.pid, connections, seconds)

    def ended(self) -> int:
        """How many runs are over."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return sum(int(float(count)) for count in re.findall(r"^declic_runs_total\{[^}]*\} (\S+)$", text, re.M))


class Bench:
    """What all parts need."""

    def __init__(self, options: argparse.Namespace, work: Path):
        self.options, self.work, self.count = options, work, 0
        self.sender = Sender(push(7700), work)

    @contextlib.contextmanager
    def service(self, files: dict[str, str]) -> Iterator[Service]:
        """One in a new folder, started."""
        self.count += 1
        folder = self.work / f"service-{self.count}"
        service = Service(self.options.declic, folder, files)
        service.start(self.sender)
        try:
            yield service
        finally:
            if service.running.poll() is None:
                service.stop()
            shutil.rmtree(folder)

    @contextlib.contextmanager
    def sink(self) -> Iterator[int]:
        """A server that answers every request at once."""
        port = free_port()
        running = subprocess.Popen(["taskset", "-c", str(CLIENT_CORE), self.options.limits, "hyper", str(port)], cwd=self.work)
        try:
            time.sleep(0.2)
            yield port
        finally:
            running.terminate()
            running.wait(10)


def first_byte(bench: Bench) -> list[list[str]]:
    """One push at a time: from its first byte sent to the first byte of the action's request."""
    arrived: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(connection: socket.socket) -> None:
            with connection:
                while connection.recv(65536):
                    arrived.append(time.perf_counter())
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        files = {"declic.yaml": settings(listener.getsockname()[1]), "rules.yaml": rules(1)}
        took = []
        with bench.service(files) as service:
            for number in range(330):
                before, begun = len(arrived), time.perf_counter()
                bench.sender.once(service.server, service.port)
                while len(arrived) == before:
                    time.sleep(0.00005)
                if number >= 30:
                    took.append((arrived[before] - begun) * 1e3)
                time.sleep(0.005)
    took.sort()
    return [["push in to first byte out", f"{statistics.median(took):.2f} ms", f"p99 {took[int(len(took) * 0.99)]:.2f} ms", ""]]


def end_to_end(bench: Bench) -> list[list[str]]:
    """Deliveries for some seconds; how long until all of their runs are over."""
    rows = []
    with bench.sink() as sink:
        for steps in (1, 4):
            with bench.service({"declic.yaml": settings(sink), "rules.yaml": rules(steps)}) as service:
                cpu, begun = cpu_of(service.running.pid), time.perf_counter()
                row = service.load(bench.sender, bench.options.seconds)
                sent = round(row["accepted/s"] * bench.options.seconds)
                while (ended := service.ended()) < sent and time.perf_counter() - begun < 300:
                    time.sleep(0.2)
                took, cpu = time.perf_counter() - begun, cpu_of(service.running.pid) - cpu
                memory = status(service.running.pid, "VmHWM")
            cells = [f"{ended / took:,.0f} runs a second", f"{cpu / max(ended, 1) * 1e6:,.0f} us of CPU each", f"{memory:.0f} MiB at most"]
            rows.append([f"runs of {steps} step{'s' if steps > 1 else ''}, end to end", *cells])
    return rows


def restart(bench: Bench) -> list[list[str]]:
    """Killed with a long queue of runs, of which none can go on; then with an empty one."""
    rows = []
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        for queued in (0, bench.options.queued):
            files = {"declic.yaml": settings(deaf.getsockname()[1]), "rules.yaml": rules(1, more=QUEUED)}
            with bench.service(files) as service:
                taken = 0.0
                while taken < queued:
                    taken += service.load(bench.sender, 10)["accepted/s"] * 10
                service.stop(signal.SIGKILL)
                took = service.start(bench.sender)
                time.sleep(2)
                memory = status(service.running.pid, "VmRSS")
            rows.append([f"restart with {taken:,.0f} queued runs", f"{took:.0f} ms to the first delivery", f"{memory:.0f} MiB", ""])
    return rows


def beside(
    bench: Bench, name: str, files: dict[str, str], meanwhile: Callable[[Service, threading.Event], None], at: float = 0.0
) -> list[str]:
    """Accepting without and with something else going on, which begins so many seconds after the start."""
    with bench.service(files) as service:
        begun = time.monotonic()
        service.load(bench.sender, bench.options.seconds)
        alone = service.load(bench.sender, bench.options.seconds)
        time.sleep(max(0.0, begun + at - time.monotonic()))
        over = threading.Event()
        other = threading.Thread(target=meanwhile, args=(service, over))
        other.start()
        busy = service.load(bench.sender, bench.options.seconds)
        over.set()
        other.join()
    cells = [f"{busy[column] / alone[column]:.2f}" for column in ("accepted/s", "CPU us", "p99 us")]
    return [name, f"{cells[0]} of the rate", f"{cells[1]} of the CPU each", f"{cells[2]} of the p99"]


def meanwhile(bench: Bench) -> list[list[str]]:
    """A backup, retention, and consoles with live updates, each under load."""

    def backup(service: Service, over: threading.Event) -> None:
        while not over.is_set():
            command = ["taskset", "-c", str(CLIENT_CORE), bench.options.declic, "store", "backup", "copy.db", "--force"]
            subprocess.run(command, cwd=service.folder, env={**os.environ, "DECLIC_GITHUB_SECRET": SECRET}, check=True, capture_output=True)

    def consoles(service: Service, over: threading.Event) -> None:
        streams = []
        for _ in range(10):
            stream = socket.create_connection(("127.0.0.1", service.port))
            stream.sendall(b"GET /api/v1/changes HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
            stream.setblocking(False)
            streams.append(stream)
        while not over.is_set():
            for stream in streams:
                with contextlib.suppress(BlockingIOError):
                    stream.recv(1 << 20)
            time.sleep(0.02)
        for stream in streams:
            stream.close()

    def nothing(_: Service, over: threading.Event) -> None:
        over.wait()

    small = settings(9).replace("version: 1", "version: 1\nstore: { sqlite: declic.db, max-size: 32MiB }", 1)
    files = {"declic.yaml": settings(9), "rules.yaml": rules(0)}
    return [
        beside(bench, "nothing else", files, nothing),
        beside(bench, "a backup, again and again", files, backup),
        # It is looked after three seconds after the start, and then every minute.
        beside(bench, "the store brought down to 32 MiB", {**files, "declic.yaml": small}, nothing, at=62),
        beside(bench, "ten open consoles", files, consoles),
    ]


def reasons(bench: Bench) -> list[list[str]]:
    """Rules that look at the push and do not match: each leaves its reason."""
    rows, first = [], None
    for count in (1, 10, 100):
        with bench.service({"declic.yaml": settings(9), "rules.yaml": rules(0, reasons=count)}) as service:
            service.load(bench.sender, 2)
            row = service.load(bench.sender, bench.options.seconds)
        first = first or row
        cells = [f"{row[column] / first[column]:.2f}" for column in ("accepted/s", "CPU us")]
        rows.append([f"reasons of {count} rules", f"{cells[0]} of the rate", f"{cells[1]} of the CPU each", ""])
    return rows


def postgres(bench: Bench) -> list[list[str]]:
    """Runs of one step with a PostgreSQL that syncs: one replica, then three on the same core."""
    rows = []
    port = free_port()
    script = subprocess.Popen([ROOT / "scripts/test-postgres", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "TEST_POSTGRES_FSYNC": "on"})  # fmt: skip
    try:
        if not script.stdout.readline().strip():
            raise SystemExit("PostgreSQL does not start: scripts/test-packages installs it")
        for replicas in (1, 3):
            rows.append(of_postgres(bench, port, replicas))
    finally:
        script.stdin.close()
        script.wait(30)
    return rows


def of_postgres(bench: Bench, port: int, replicas: int) -> list[str]:
    store = f"store: {{ postgres: 'postgres://declic@127.0.0.1:{port}/postgres', schema: bench{replicas}, tls: off }}\n"
    with bench.sink() as sink, contextlib.ExitStack() as open_ones:
        files = {"declic.yaml": settings(sink, store), "rules.yaml": rules(1)}
        services = [open_ones.enter_context(bench.service(files)) for _ in range(replicas)]
        begun, before = time.perf_counter(), sum(cpu_of(service.running.pid) for service in services)
        rates: list[float] = []
        senders = [threading.Thread(target=lambda one=one: rates.append(one.load(bench.sender, bench.options.seconds, 64 // replicas)["accepted/s"])) for one in services]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        sent = round(sum(rates) * bench.options.seconds)
        while (ended := sum(service.ended() for service in services)) < sent and time.perf_counter() - begun < 300:
            time.sleep(0.2)
        took, cpu = time.perf_counter() - begun, sum(cpu_of(service.running.pid) for service in services) - before
    cells = [f"{sum(rates):,.0f} accepted a second", f"{ended / took:,.0f} runs a second", f"{cpu / max(ended, 1) * 1e6:,.0f} us of CPU each"]
    return [f"PostgreSQL, {replicas} replica{'s' if replicas > 1 else ''}", *cells]


PARTS = {"first-byte": first_byte, "end-to-end": end_to_end, "reasons": reasons, "meanwhile": meanwhile, "restart": restart, "postgres": postgres}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--declic", required=True)
    parser.add_argument("--limits", required=True)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--only", default="", help=f"of {', '.join(PARTS)}, separated by commas")
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name] or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        for name in chosen:
            print(f"  {name}: {PARTS[name].__doc__.splitlines()[0]}", flush=True)
            rows += PARTS[name](bench)
    print("\n" + table(["", "", "", ""], rows))


if __name__ == "__main__":
    main()
