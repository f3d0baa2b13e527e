"""Real servers on this machine, for the time of a `with` block."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from sandbox.artifacts import ArtifactSet, cassandra_set
from sandbox.cassandra import DATACENTER, CassandraNode, NodePorts
from sandbox.engines import DEFAULT_ENGINE, find_engine
from sandbox.errors import SandboxError
from sandbox.java import STEADY
from sandbox.maven import fetch, silent
from sandbox.ports import PortReservation
from sandbox.process import ServerProcess
from sandbox.search import SearchNode, SearchPorts
from sandbox.security import find_security
from sandbox.session import connect, protocol_of
from sandbox.state import SandboxFolder, open_folder

MAXIMUM_NODES = 9


class Sandbox:
    """A Cassandra ring and a search engine's node, up when the `with` block begins, gone when it ends.

    cassandra      the version: "5.0" (default), "4.1", "4.0", "3.11", or None for none
    nodes          how many nodes, on 127.0.0.1, 127.0.0.2, ... with the same ports
    yaml           changes to cassandra.yaml; mappings are merged, None removes (see `settings`)
    elasticsearch  whether to start a search engine
    search         which one: "elasticsearch" (default), "opensearch:2.19.5", ... (see `engines`)
    secured        whether the search engine demands a login (see `security`)
    elasticsearch_yaml  changes to elasticsearch.yml or opensearch.yml
    directory      where data and logs go, kept afterwards and used again when it holds data; by default a
                   folder in the cache that is removed in the end
    name           the name under which `python -m sandbox status` shows it
    heap, elasticsearch_heap  the largest Java heap of each server
    java_options   options of both servers' Java, STEADY (default) or FAST_START
    deadline       seconds that each server has to come up
    progress       is called with a line for people at each step

    Ports are free ones. Every server dies with this Python process, however that ends. Errors are
    SandboxError, with the last lines of the server's log.
    """

    def __init__(
        self,
        *,
        cassandra: str | None = "5.0",
        nodes: int = 1,
        yaml: Mapping[str, Any] | None = None,
        elasticsearch: bool = True,
        search: str = DEFAULT_ENGINE,
        secured: bool = False,
        elasticsearch_yaml: Mapping[str, Any] | None = None,
        directory: Path | None = None,
        name: str | None = None,
        heap: str = "768m",
        elasticsearch_heap: str = "512m",
        java_options: Sequence[str] = STEADY,
        deadline: float = 120.0,
        progress: Callable[[str], None] = silent,
    ) -> None:
        if cassandra is not None and not 1 <= nodes <= MAXIMUM_NODES:
            raise SandboxError(f"expected 1 to {MAXIMUM_NODES} nodes, found {nodes}")
        self.nodes: list[CassandraNode] = []
        self._cassandra = None if cassandra is None else cassandra_set(cassandra)
        self._node_count = 0 if cassandra is None else nodes
        self._yaml = dict(yaml or {})
        self._engine = find_engine(search) if elasticsearch else None
        self._security = find_security(self._engine) if secured and self._engine is not None else None
        self._elasticsearch_yaml = dict(elasticsearch_yaml or {})
        self._elasticsearch: SearchNode | None = None
        self._directory = directory
        self._name = name
        self._heap = heap
        self._elasticsearch_heap = elasticsearch_heap
        self._java_options = tuple(java_options)
        self._deadline = deadline
        self._progress = progress
        self._ports = PortReservation()
        self._folder: SandboxFolder | None = None
        self._programs: dict[str, ServerProcess] = {}

    @property
    def cassandra(self) -> CassandraNode:
        """The first Cassandra node."""
        if not self.nodes:
            raise SandboxError("this sandbox has no Cassandra, or is not started")
        return self.nodes[0]

    @property
    def elasticsearch(self) -> SearchNode:
        """The node of the search engine, Elasticsearch or another."""
        if self._elasticsearch is None:
            raise SandboxError("this sandbox has no search engine, or is not started")
        return self._elasticsearch

    @property
    def directory(self) -> Path:
        """The folder with the data and logs of all servers."""
        if self._folder is None:
            raise SandboxError("this sandbox is not started")
        return self._folder.path

    @property
    def contact_points(self) -> list[str]:
        """The addresses of all Cassandra nodes."""
        return [node.host for node in self.nodes]

    def start(self) -> None:
        """Start all servers, the search engine beside Cassandra, and return when each of them answers."""
        search = None if self._engine is None else self._engine.artifacts
        security = None if self._security is None else self._security.artifacts
        wanted = [artifacts for artifacts in (self._cassandra, search, security) if artifacts is not None]
        fetch(wanted, progress=self._progress)
        try:
            self._folder = open_folder(name=self._name, directory=self._directory)
            self._start_elasticsearch()
            self._start_nodes()
            if self._elasticsearch is not None:
                self._elasticsearch.wait_ready(self._deadline)
                self._progress(f"{self._elasticsearch.engine.title} answers at {self._elasticsearch.url}")
            self.record()
        except BaseException:
            self.close()
            raise

    def record(self) -> None:
        """Write down what runs now, for `python -m sandbox status`."""
        if self._folder is not None:
            self._folder.write(self.describe())

    def add(self, name: str, command: Sequence[str], *, output: Path) -> ServerProcess:
        """Add a program that ends with the servers; it is not started yet.

        `command` has an absolute program first; `output` gets what it writes.
        """
        if name in self._programs or not name.isidentifier():
            raise SandboxError(f"expected an unused name for a program, found {name!r}")
        program = self._programs[name] = ServerProcess(
            name, list(command), output=output, log=output, is_ready=lambda: program.alive
        )
        return program

    def server(self, name: str) -> CassandraNode | SearchNode | ServerProcess:
        """Return a server by its name for people: `elasticsearch`, `cassandra`, `cassandra-2`, or a program."""
        servers: dict[str, CassandraNode | SearchNode | ServerProcess] = {
            **self._programs,
            **{f"cassandra-{number}": node for number, node in enumerate(self.nodes, start=1)},
        }
        if self.nodes:
            servers["cassandra"] = self.nodes[0]
        if self._elasticsearch is not None:
            servers["elasticsearch"] = self._elasticsearch
        if name not in servers:
            raise SandboxError(f"expected one of {', '.join(sorted(servers))}, found {name!r}")
        return servers[name]

    def close(self) -> None:
        """Kill all servers and remove their data (unless `directory` was given: then they are shut down)."""
        servers: list[CassandraNode | SearchNode | ServerProcess] = [*self._programs.values(), *self.nodes]
        if self._elasticsearch is not None:
            servers.append(self._elasticsearch)
        for server in servers:
            if self._directory is not None:
                server.stop()
            else:
                server.kill()
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        self.nodes = []
        self._elasticsearch = None
        self._programs = {}
        self._ports.close()

    @contextmanager
    def connect(self, keyspace: str | None = None) -> Iterator[Session]:
        """Give a cassandra-driver session on the whole ring; the cluster object is shut down at the end."""
        protocol = protocol_of(self.cassandra.version)
        with connect(self.contact_points, self.cassandra.port, keyspace, protocol=protocol) as session:
            yield session

    def describe(self) -> dict[str, Any]:
        """Return what `up --json` prints: how to reach each server, where its files are, its process id."""
        state: dict[str, Any] = {
            "name": self.directory.name,
            "directory": str(self.directory),
            "pid": os.getpid(),
            "cassandra": None,
            "elasticsearch": None,
        }
        if self.nodes:
            state["cassandra"] = {
                "version": self.cassandra.version,
                "contact_points": self.contact_points,
                "port": self.cassandra.port,
                "datacenter": DATACENTER,
                "nodes": [node.describe() for node in self.nodes],
            }
        if self._elasticsearch is not None:
            state["elasticsearch"] = self._elasticsearch.describe()
        state["programs"] = {
            name: {"pid": program.pid if program.alive else None, "log": str(program.output)}
            for name, program in self._programs.items()
        }
        return state

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_elasticsearch(self) -> None:
        if self._engine is None:
            return
        self._elasticsearch = SearchNode(
            self._engine,
            self.directory / self._engine.name,
            ports=SearchPorts(http=self._ports.reserve(), transport=self._ports.reserve()),
            changes=self._elasticsearch_yaml,
            heap=self._elasticsearch_heap,
            java_options=self._java_options,
            security=self._security,
        )
        self._elasticsearch.start()

    def _start_nodes(self) -> None:
        if self._cassandra is None:
            return
        hosts = [f"127.0.0.{number}" for number in range(1, self._node_count + 1)]
        native, storage = self._ports.reserve(hosts), self._ports.reserve(hosts)
        for host in hosts:
            self._start_node(self._cassandra, host, native, storage, self._yaml)
        if len(self.nodes) > 1:
            self._wait_ring()

    def _start_node(
        self, artifacts: ArtifactSet, host: str, native: int, storage: int, changes: Mapping[str, Any]
    ) -> CassandraNode:
        node = CassandraNode(
            artifacts,
            self.directory / f"cassandra-{len(self.nodes) + 1}",
            host=host,
            ports=NodePorts(native=native, storage=storage, jmx=self._ports.reserve()),
            changes=changes,
            heap=self._heap,
            java_options=self._java_options,
        )
        self.nodes.append(node)
        node.start()
        node.wait_ready(self._deadline)
        self._progress(f"Cassandra {node.version} answers at {host}:{node.port}")
        return node

    def _wait_ring(self) -> None:
        """Wait until every node sees every other one: only then does each token range have its owners."""
        until = time.monotonic() + self._deadline
        with self.connect() as session:
            while True:
                hosts = session.cluster.metadata.all_hosts()
                if len(hosts) == len(self.nodes) and all(host.is_up for host in hosts) and _agree(session):
                    return
                if time.monotonic() > until:
                    raise SandboxError(
                        f"expected a ring of {len(self.nodes)} nodes within {self._deadline:g} s, "
                        f"found {len(hosts)}\n{self.cassandra.directory}"
                    )
                time.sleep(0.2)


def _agree(session: Session) -> bool:
    """Return whether each node knows all others and has the same schema. Before that a node may forget a table."""
    hosts = session.cluster.metadata.all_hosts()
    versions, peers = set(), []
    try:
        for host in hosts:
            versions.add(session.execute("SELECT schema_version FROM system.local", host=host).one().schema_version)
            peers.append(len(list(session.execute("SELECT peer FROM system.peers", host=host))))
    except (DriverException, NoHostAvailable):
        return False
    return len(versions) == 1 and all(count == len(hosts) - 1 for count in peers)
