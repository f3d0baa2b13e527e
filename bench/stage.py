"""The scene of a measurement: real servers, one table of 16 columns, and the daemon as a process of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import yaml
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from bench import workload
from cdc_daemon.config import load
from sandbox import Sandbox
from sandbox.artifacts import DEFAULT_CASSANDRA
from sandbox.compare import compare
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess

PATIENCE = 600.0
"""Seconds after which a measurement that does not end has failed."""

SERVERS = {"commitlog_segment_size": "32MiB", "commitlog_total_space": "4096MiB", "cdc_total_space": "4096MiB"}
"""Cassandra's own sizes, and room for a backlog."""


class NotEqualError(Exception):
    """Rows and documents differ, so the figures of the run mean nothing."""


class Cpu:
    """Seconds of processor time, user and system, of a process with all its threads."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def __call__(self) -> float:
        """Return the seconds so far."""
        times = self._process.cpu_times()
        return times.user + times.system


class Stage:
    """Servers, a table and its daemon. `programs` are the daemons that take turns, by name: one at a time runs."""

    def __init__(self, box: Sandbox, session: Session, port: int, programs: Mapping[str, Path]) -> None:
        self.box = box
        self.session = session
        self.port = port
        self.insert = session.prepare(workload.INSERT)
        self._config = _write_config(box, port)
        self._log = self._config.with_name("daemon.log")
        self._daemons = {
            name: box.add(name, [str(program), "run", "--config", str(self._config)], output=self._log)
            for name, program in programs.items()
        }
        self._daemon: ServerProcess | None = None

    @property
    def daemon(self) -> ServerProcess:
        """The daemon that runs."""
        assert self._daemon is not None
        return self._daemon

    @property
    def server_cpus(self) -> Mapping[str, Cpu]:
        """The meters of both servers."""
        return {"Cassandra": Cpu(self.box.cassandra.pid), "search engine": Cpu(self.box.elasticsearch.pid)}

    def start(self, name: str) -> None:
        """Start a daemon and return when it runs."""
        self._daemon = self._daemons[name]
        self._daemon.start()
        self.wait(lambda: self.status().get("state") == "running", "the daemon to run", pause=0.02)

    def stop(self) -> None:
        """Stop the daemon as an operator does."""
        self.daemon.stop()

    def write(self, numbers: Iterable[int], run: int) -> None:
        """Insert rows."""
        rows = (workload.row(number, run) for number in numbers)
        execute_concurrent_with_args(self.session, self.insert, rows, concurrency=64, results_generator=False)

    def status(self) -> dict[str, Any]:
        """Return the daemon's /status; nothing while it does not listen yet."""
        try:
            return self._get("127.0.0.1", self.port, "/status")
        except OSError:
            return {}

    def search(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Return an answer of the search engine."""
        address = urlsplit(self.box.elasticsearch.url)
        return self._get(address.hostname or "", address.port or 0, path, method)

    def shown(self, number: int) -> int:
        """Return the run in which the document of a row was written last, -1 without a document."""
        found = self.search(f"/{workload.ALIAS}/_doc/{workload.identity(number)}?_source_includes=run")
        return int(found["_source"]["run"]) if found.get("found") else -1

    def wait_settled(self, number: int, run: int) -> None:
        """Return when the row that was written last is shown, and the daemon has nothing left to do."""
        self.wait(lambda: self.shown(number) == run, "the document of the last row")
        self.wait(lambda: self.status().get("pending") == 0, "nothing pending")

    def check_run(self, count: int, run: int, index: str = workload.ALIAS) -> None:
        """Raise `NotEqualError` unless so many documents are of a run."""
        self.search(f"/{index}/_refresh", "POST")
        found = self.search(f"/{index}/_count?q=run:{run}")["count"]
        if found != count:
            raise NotEqualError(f"expected {count} documents of run {run} in {index}, found {found}")

    def check_equal(self) -> None:
        """Compare each row with its document. Raises `NotEqualError`."""
        for comparison in asyncio.run(compare(load(self._config))):
            if not comparison.is_equal:
                raise NotEqualError(str(comparison))

    def wait(self, is_so: Callable[[], bool], what: str, *, pause: float = 0.05) -> None:
        """Wait for a condition. Raises `TimeoutError`."""
        until = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > until or not self.daemon.alive:
                raise TimeoutError(f"expected {what} within {PATIENCE:g} s\n{self.daemon.log_tail()}")
            time.sleep(pause)

    @staticmethod
    def _get(host: str, port: int, path: str, method: str = "GET") -> dict[str, Any]:
        with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
            connection.request(method, path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer


@contextmanager
def on_stage(
    search: str, against: Path | None = None, cassandra: str = DEFAULT_CASSANDRA
) -> Iterator[tuple[Stage, tuple[str, ...]]]:
    """Start servers, create the table and the index; give the stage, and the names of the daemons that take turns."""
    programs = {"daemon": Path(sys.executable).with_name("cdc-daemon")}
    if against is not None:
        programs["other"] = against
    with (
        closing(PortReservation()) as ports,
        Sandbox(cassandra=cassandra, search=search, yaml=SERVERS, elasticsearch_heap="1g") as box,
        box.connect() as session,
    ):
        workload.create_table(session)
        stage = Stage(box, session, ports.reserve(), programs)
        for name in programs:
            stage.start(name)
            stage.write([0], 0)
            stage.wait_settled(0, 0)
            stage.stop()
        yield stage, tuple(programs)


def peak_memory(pid: int) -> float:
    """Return the largest resident size of a process so far in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


def _write_config(box: Sandbox, port: int) -> Path:
    directory = box.directory / "daemon"
    directory.mkdir()
    content = {
        "cassandra": {"contact_points": box.contact_points, "port": box.cassandra.port},
        "commit_log": box.cassandra.log_folders,
        "elasticsearch": {"hosts": [box.elasticsearch.url]},
        "state": {"directory": str(directory / "state")},
        "http": {"port": port},
        "mappings": {
            "person": {"table": workload.TABLE, "alias": workload.ALIAS, "settings": workload.INDEX_SETTINGS},
        },
    }
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    return config
