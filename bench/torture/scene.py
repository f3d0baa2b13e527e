"""The servers of a run, the proxies on the way to them, and the daemon as a process of its own."""

from __future__ import annotations

import hashlib
import json
import resource
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from bench.torture.load import FAILURES
from bench.torture.proxy import Proxy
from bench.torture.shapes import BULK, KEYSPACE, TYPES, probe_shape, shapes
from sandbox import Sandbox
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess
from sandbox.session import protocol_of

PATIENCE = 240.0
"""Seconds that a busy machine may take for what takes moments on an idle one."""

STATE_DISK = 24 << 20
"""Bytes of the file system of the state directory, if one can be mounted."""

SERVERS = {"commitlog_segment_size": "2MiB", "commitlog_total_space": "64MiB"}
_BULK_ROW = b"x" * 900_000


class SceneError(Exception):
    """A server, or the daemon, did not do within its time what a run waits for."""


class Scene:
    """What a run works on. The servers are reached past the proxies; only the daemon goes through them."""

    def __init__(
        self, box: Sandbox, session: Session, proxies: dict[str, Proxy], port: int, state_disk: Path | None
    ) -> None:
        self.box = box
        self.session = session
        self.proxies = proxies
        self.shapes = list(shapes(vectors=box.cassandra.version >= "5"))
        self.probe = probe_shape()
        self.port = port
        self.state_disk = state_disk
        self.token = secrets.token_hex(32)
        self.expected = False
        """Whether the daemon should run: it is not stopped, killed or frozen by a fault."""

        folder = box.directory / "daemon"
        folder.mkdir()
        self.state = (state_disk or folder) / "state"
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(self._configuration(), sort_keys=False), encoding="utf-8")
        program = Path(sys.executable).with_name("cdc-daemon")
        command = [str(program), "run", "--config", str(self.config)]
        self.daemon: ServerProcess = box.add("daemon", command, output=folder / "daemon.log")

    @property
    def search_url(self) -> str:
        """The address of the search engine itself."""
        return self.box.elasticsearch.url

    def _configuration(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.token.encode()).hexdigest()
        return {
            "cassandra": {
                "contact_points": [self.box.cassandra.host],
                "port": self.proxies["cassandra"].port,
                "request_timeout": "4s",
            },
            "commit_log": self.box.cassandra.log_folders,
            "search": {
                "hosts": [f"http://127.0.0.1:{self.proxies['search'].port}"],
                "request_timeout": "4s",
                "late_request_limit": "60s",
            },
            "jobs": {"audit": {"every": "0s"}},  # it would find what a run should find
            "dead_letters": {"retry_every": "10s"},
            "state": {"directory": str(self.state)},
            "http": {
                "port": self.port,
                "auth": {"tokens": [{"name": "torture", "hash": f"sha256:{digest}", "scopes": ["admin"]}]},
            },
            "mappings": {shape.name: shape.declare() for shape in (*self.shapes, self.probe)},
        }

    def make_tables(self) -> None:
        """Create the keyspace with its types and tables."""
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        self.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        for statement in TYPES:
            self.execute(statement)
        for shape in (*self.shapes, self.probe):
            self.execute(shape.create())
        self.execute(f"CREATE TABLE {{ks}}.{BULK} (id int PRIMARY KEY, v blob) WITH cdc = true")

    def execute(self, statement: str, values: Sequence[Any] | None = None) -> Any:
        """Run a statement in which {ks} stands for the keyspace, as soon as Cassandra takes it."""

        def run() -> tuple[Any] | None:
            try:
                return (self.session.execute(statement.replace("{ks}", KEYSPACE), values, timeout=20.0),)
            except FAILURES as error:
                if type(error).__name__ in ("InvalidRequest", "SyntaxException", "AlreadyExists"):
                    raise
                return None

        return self.wait(run, f"Cassandra to take {statement[:60]}")[0]

    def complete_segment(self) -> None:
        """Write more than a segment of the commit log holds, to a table that no mapping names."""
        statement = self.session.prepare(f"INSERT INTO {KEYSPACE}.{BULK} (id, v) VALUES (?, ?)")  # noqa: S608 -- constants
        for number in range(3):
            self.session.execute(statement, [number, _BULK_ROW], timeout=20.0)

    def start(self) -> None:
        """Start the daemon and return at once."""
        if not self.daemon.alive:
            self.daemon.start()
        self.expected = True

    def stop(self) -> None:
        """Stop the daemon as an operator does."""
        self.expected = False
        self.daemon.stop()

    def kill(self) -> None:
        """Kill the daemon as kill -9 does."""
        self.expected = False
        self.daemon.kill()

    def status(self, timeout: float = 5.0) -> dict[str, Any]:
        """Return the daemon's /status; nothing if it does not answer."""
        try:
            status: dict[str, Any] = json.loads(self.get("/status", timeout))
        except (OSError, ValueError):
            return {}
        return status

    def get(self, path: str, timeout: float = 5.0) -> bytes:
        """GET a path of the daemon. Raises `OSError`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
            body: bytes = answer.read()
            return body

    def wait(self, look: Callable[[], Any], what: str, *, seconds: float = PATIENCE, pause: float = 0.1) -> Any:
        """Return the first true answer. Raises `SceneError`."""
        until = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > until:
                raise SceneError(f"waited {seconds:g} s for {what}")
            time.sleep(pause)
        return found

    def limit_files(self, size: int) -> None:
        """Limit the size of each file that the daemon writes: a full disk where no file system can be mounted."""
        limit = resource.RLIM_INFINITY if size < 0 else size
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@contextmanager
def new_scene(*, search: str, cassandra: str, say: Callable[[str], None]) -> Iterator[Scene]:
    """Start the servers and create the tables; the daemon is not started yet."""
    with ExitStack() as stack:
        ports = stack.enter_context(closing(PortReservation()))
        box = stack.enter_context(Sandbox(search=search, cassandra=cassandra, yaml=SERVERS, progress=say))
        cluster = Cluster(
            box.contact_points,
            port=box.cassandra.port,
            protocol_version=protocol_of(box.cassandra.version),
            reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
            execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy(), request_timeout=10.0)},
        )
        stack.callback(cluster.shutdown)
        session = cluster.connect()
        proxies = {
            "cassandra": stack.enter_context(Proxy(box.cassandra.host, box.cassandra.port)),
            "search": stack.enter_context(Proxy(box.elasticsearch.host, box.elasticsearch.port)),
        }
        disk = stack.enter_context(_state_disk(box.directory / "state-disk"))
        scene = Scene(box, session, proxies, ports.reserve(), disk)
        scene.make_tables()
        yield scene


@contextmanager
def _state_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small file system in memory for the time of the block; give None if this user may not."""
    folder.mkdir()
    mount = shutil.which("mount")
    made = (
        mount is not None
        and not subprocess.run(
            [mount, "-t", "tmpfs", "-o", f"size={STATE_DISK}", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield folder if made else None
    finally:
        if made:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
