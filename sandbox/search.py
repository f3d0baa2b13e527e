"""The search engine's node of the sandbox: its home folder, its settings, its faults."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.artifacts import ArtifactSet
from sandbox.cache import exclusive
from sandbox.engines import Engine
from sandbox.java import compile_java, java_command
from sandbox.process import Server, ServerProcess
from sandbox.settings import merge

HOST = "127.0.0.1"
_HERE = Path(__file__).parent
_MODULE_LAUNCHER = _HERE / "java" / "ElasticsearchLauncher.java"
_PLUGIN_LAUNCHER = _HERE / "java" / "SearchLauncher.java"
_LOGGING = _HERE / "conf" / "log4j2.properties"
_TRANSPORT = "transport-netty4"
_ANALYSIS = _HERE / "java" / "AnalysisModule.java"
_ANALYSIS_MODULE = "analysis"


@dataclass(frozen=True, slots=True)
class SearchPorts:
    """The TCP ports of the node: HTTP for clients, transport between nodes."""

    http: int
    transport: int


def assemble(engine: Engine) -> Path:
    """Make the home folder that the server expects out of the fetched jars; return the launcher's class folder.

    The launcher and the analysis are compiled once. Where the engine loads modules, the transport and the analysis are
    modules with folders and descriptors of their own, else both are plugins on the class path. All is made only when
    absent or older than its source; several processes may do it at once.
    """
    artifacts = engine.artifacts
    source = _MODULE_LAUNCHER if engine.has_modules else _PLUGIN_LAUNCHER
    launcher = artifacts.directory / f"launcher-{_digest(source)}-{_digest(_ANALYSIS)}"
    if launcher.exists():
        return launcher
    with exclusive(artifacts.directory.with_name("assemble.lock")):
        if launcher.exists():
            return launcher
        analysis = _compile(engine, _ANALYSIS)
        if engine.has_modules:
            _assemble_transport(artifacts)
            _assemble_analysis(artifacts, analysis)
        partial = _compile(engine, source)
        if not engine.has_modules:
            for each in analysis.glob("*.class"):
                each.rename(partial / each.name)
            shutil.rmtree(analysis)
        partial.rename(launcher)
    return launcher


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def _compile(engine: Engine, source: Path) -> Path:
    """Compile a source file, with the engine's own package in place of Elasticsearch's; return the class folder."""
    artifacts = engine.artifacts
    partial = artifacts.directory / f".{source.stem}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    own = partial / source.name
    text = source.read_text(encoding="utf-8").replace("import org.elasticsearch.", f"import {engine.package}.")
    own.write_text(text, encoding="utf-8")
    jars = [*artifacts.library.glob("*.jar"), *artifacts.directory.glob("modules/*/*.jar")]
    compile_java(own, class_path=os.pathsep.join(map(str, jars)), output=partial, classes_for=engine.java)
    own.unlink()
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


def _assemble_analysis(artifacts: ArtifactSet, partial: Path) -> None:
    module = artifacts.directory / "modules" / _ANALYSIS_MODULE
    classes = sorted(partial.glob("*.class"))
    with zipfile.ZipFile(partial / f"{_ANALYSIS.stem}.jar", "w") as packed:
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


class SearchNode(Server):
    """One node of a search engine, a cluster by itself, without security. Ports and data outlive its restarts."""

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        *,
        ports: SearchPorts,
        changes: Mapping[str, Any],
        heap: str,
        java_options: Sequence[str],
    ) -> None:
        self.engine = engine
        self.version = engine.version
        self.directory = directory
        self.host = HOST
        self.port = ports.http
        self.url = f"http://{HOST}:{ports.http}"
        self.log_path = directory / "logs" / f"{engine.name}.log"
        placement = {
            "path.data": str(directory / "data"),
            "path.logs": str(directory / "logs"),
            "network.host": HOST,
            "http.port": ports.http,
            "transport.port": ports.transport,
        }
        types = {} if engine.has_modules else {"http.type": "netty4", "transport.type": "netty4"}
        self.settings = merge(merge({**_DEFAULTS, **types}, changes), placement)
        artifacts = engine.artifacts
        command = java_command(
            heap=heap,
            directory=directory / "tmp",
            options=[*java_options, *_JAVA_OPTIONS],
            class_path=[assemble(engine), f"{artifacts.library}/*"],
            version=engine.java,
        )
        folders = [str(artifacts.directory), str(directory / "config")]
        main = (
            [_MODULE_LAUNCHER.stem, *folders]
            if engine.has_modules
            else [_PLUGIN_LAUNCHER.stem, engine.package, *folders, *engine.plugins, _ANALYSIS.stem]
        )
        self._process = ServerProcess(
            f"{engine.title} on {HOST}:{ports.http}",
            [*command, *main],
            output=directory / "output.log",
            log=self.log_path,
            is_ready=self._is_healthy,
        )

    def describe(self) -> dict[str, Any]:
        """Return the node's place for `up --json`."""
        return {
            "engine": self.engine.name,
            "version": self.version,
            "title": self.engine.title,
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
        (self.directory / "config" / f"{self.engine.name}.yml").write_text(text, encoding="utf-8")
        prefix = "opensearch" if self.engine.name == "opensearch" else "es"
        logging = _LOGGING.read_text(encoding="utf-8").replace("${sys:es.", f"${{sys:{prefix}.")
        logging = logging.replace("/elasticsearch.log", f"/{self.log_path.name}")
        (self.directory / "config" / _LOGGING.name).write_text(logging, encoding="utf-8")

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
    # Elasticsearch 7 and OpenSearch take these from their start scripts.
    "-Des.distribution.type=tar",
    "-Des.distribution.flavor=oss",
    "-Dopensearch.distribution.type=tar",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
)
