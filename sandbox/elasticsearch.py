"""The Elasticsearch node of the sandbox: its home folder, its settings, its faults."""

from __future__ import annotations

import hashlib
import http.client
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.artifacts import ArtifactSet
from sandbox.cache import exclusive
from sandbox.java import compile_java, java_command
from sandbox.process import Server, ServerProcess
from sandbox.settings import merge

HOST = "127.0.0.1"
_HERE = Path(__file__).parent
_LAUNCHER = _HERE / "java" / "ElasticsearchLauncher.java"
_LOGGING = _HERE / "conf" / "log4j2.properties"
_TRANSPORT = "transport-netty4"


@dataclass(frozen=True, slots=True)
class ElasticsearchPorts:
    """The TCP ports of the node: HTTP for clients, transport between nodes."""

    http: int
    transport: int


def assemble(artifacts: ArtifactSet) -> Path:
    """Make the home folder that the server expects out of the fetched jars; return the launcher's class folder.

    The transport is a module with a folder and a descriptor of its own, the launcher is compiled once.
    Both are made only when absent or older than the source; several processes may do it at once.
    """
    source = _LAUNCHER.read_bytes()
    launcher = artifacts.directory / f"launcher-{hashlib.sha256(source).hexdigest()[:12]}"
    if launcher.exists():
        return launcher
    with exclusive(artifacts.directory.with_name("assemble.lock")):
        _assemble_transport(artifacts)
        if not launcher.exists():
            partial = artifacts.directory / ".launcher.partial"
            shutil.rmtree(partial, ignore_errors=True)
            compile_java(_LAUNCHER, class_path=f"{artifacts.library}/*", output=partial)
            partial.rename(launcher)
    return launcher


def _assemble_transport(artifacts: ArtifactSet) -> None:
    module = artifacts.directory / "modules" / _TRANSPORT
    module.mkdir(parents=True, exist_ok=True)
    descriptor = {
        "name": _TRANSPORT,
        "description": "HTTP and transport over Netty",
        "version": artifacts.version,
        "elasticsearch.version": artifacts.version,
        "java.version": "17",
        "classname": "org.elasticsearch.transport.netty4.Netty4Plugin",
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (module / "plugin-descriptor.properties").write_text(text, encoding="utf-8")
    for pattern in ("netty-*.jar", f"{_TRANSPORT}-*.jar"):
        for jar in artifacts.library.glob(pattern):
            jar.rename(module / jar.name)


class Elasticsearch(Server):
    """One node, a cluster by itself, without security. Ports and data outlive its restarts."""

    def __init__(
        self,
        artifacts: ArtifactSet,
        directory: Path,
        *,
        ports: ElasticsearchPorts,
        changes: Mapping[str, Any],
        heap: str,
        java_options: Sequence[str],
    ) -> None:
        self.version = artifacts.version
        self.directory = directory
        self.host = HOST
        self.port = ports.http
        self.url = f"http://{HOST}:{ports.http}"
        self.log_path = directory / "logs" / "elasticsearch.log"
        placement = {
            "path.data": str(directory / "data"),
            "path.logs": str(directory / "logs"),
            "network.host": HOST,
            "http.port": ports.http,
            "transport.port": ports.transport,
        }
        self.settings = merge(merge(_DEFAULTS, changes), placement)
        command = java_command(
            heap=heap,
            directory=directory / "tmp",
            options=[*java_options, *_JAVA_OPTIONS],
            class_path=[assemble(artifacts), f"{artifacts.library}/*"],
        )
        self._process = ServerProcess(
            f"Elasticsearch {artifacts.version} on {HOST}:{ports.http}",
            [*command, _LAUNCHER.stem, str(artifacts.directory), str(directory / "config")],
            output=directory / "output.log",
            log=self.log_path,
            is_ready=self._is_healthy,
        )

    def describe(self) -> dict[str, Any]:
        """Return the node's place for `up --json`."""
        return {
            "version": self.version,
            "url": self.url,
            "port": self.port,
            "pid": self._process.pid if self._process.alive else None,
            "data_directory": str(self.directory / "data"),
            "log": str(self.log_path),
        }

    def _prepare(self) -> None:
        for folder in ("config", "data", "logs", "tmp"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.settings, sort_keys=False)
        (self.directory / "config" / "elasticsearch.yml").write_text(text, encoding="utf-8")
        shutil.copyfile(_LOGGING, self.directory / "config" / _LOGGING.name)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


_DEFAULTS: Mapping[str, Any] = {
    "cluster.name": "sandbox",
    "node.name": "sandbox",
    "discovery.type": "single-node",
    "cluster.routing.allocation.disk.threshold_enabled": False,  # a full laptop must not make indices read-only
}

_JAVA_OPTIONS = (
    "-Des.networkaddress.cache.ttl=60",
    "-Djna.nosys=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
)
