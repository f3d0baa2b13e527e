"""The Elasticsearch node of the sandbox: its home folder, its settings, its faults."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import zipfile
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
_ANALYSIS = _HERE / "java" / "AnalysisModule.java"
_ANALYSIS_MODULE = "analysis"


@dataclass(frozen=True, slots=True)
class ElasticsearchPorts:
    """The TCP ports of the node: HTTP for clients, transport between nodes."""

    http: int
    transport: int


def assemble(artifacts: ArtifactSet) -> Path:
    """Make the home folder that the server expects out of the fetched jars; return the launcher's class folder.

    The transport and the analysis are modules with folders and descriptors of their own; the launcher and the analysis
    are compiled once. All is made only when absent or older than its source; several processes may do it at once.
    """
    launcher = artifacts.directory / f"launcher-{_digest(_LAUNCHER)}"
    analysis = f"{_ANALYSIS.stem}-{_digest(_ANALYSIS)}.jar"
    if launcher.exists() and (artifacts.directory / "modules" / _ANALYSIS_MODULE / analysis).exists():
        return launcher
    with exclusive(artifacts.directory.with_name("assemble.lock")):
        _assemble_transport(artifacts)
        _assemble_analysis(artifacts, analysis)
        if not launcher.exists():
            _compile(artifacts, _LAUNCHER).rename(launcher)
    return launcher


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def _compile(artifacts: ArtifactSet, source: Path) -> Path:
    partial = artifacts.directory / f".{source.stem}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    compile_java(source, class_path=f"{artifacts.library}/*", output=partial)
    return partial


def _assemble_transport(artifacts: ArtifactSet) -> None:
    module = artifacts.directory / "modules" / _TRANSPORT
    module.mkdir(parents=True, exist_ok=True)
    _describe(
        artifacts,
        module,
        _TRANSPORT,
        "HTTP and transport over Netty",
        "org.elasticsearch.transport.netty4.Netty4Plugin",
    )
    for pattern in ("netty-*.jar", f"{_TRANSPORT}-*.jar"):
        for jar in artifacts.library.glob(pattern):
            jar.rename(module / jar.name)


def _assemble_analysis(artifacts: ArtifactSet, jar: str) -> None:
    module = artifacts.directory / "modules" / _ANALYSIS_MODULE
    if (module / jar).exists():
        return
    partial = _compile(artifacts, _ANALYSIS)
    classes = sorted(partial.glob("*.class"))
    with zipfile.ZipFile(partial / jar, "w") as packed:
        for each in classes:
            packed.write(each, each.name)
    for each in classes:
        each.unlink()
    _describe(artifacts, partial, _ANALYSIS_MODULE, "What custom analyzers are made of", _ANALYSIS.stem)
    shutil.rmtree(module, ignore_errors=True)
    partial.rename(module)


def _describe(artifacts: ArtifactSet, module: Path, name: str, description: str, class_name: str) -> None:
    descriptor = {
        "name": name,
        "description": description,
        "version": artifacts.version,
        "elasticsearch.version": artifacts.version,
        "java.version": "17",
        "classname": class_name,
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (module / "plugin-descriptor.properties").write_text(text, encoding="utf-8")


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
