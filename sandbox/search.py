"""The search engine's node of the sandbox: its home folder, its settings, its faults."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.engines import Engine
from sandbox.java import java_command
from sandbox.process import Server, ServerProcess
from sandbox.search_home import ANALYSIS, MODULE_LAUNCHER, PLUGIN_LAUNCHER, assemble, assemble_security
from sandbox.security import PASSWORD, USER, Security, write_logins
from sandbox.settings import merge

HOST = "127.0.0.1"
_LOGGING = Path(__file__).parent / "conf" / "log4j2.properties"


@dataclass(frozen=True, slots=True)
class SearchPorts:
    """The TCP ports of the node: HTTP for clients, transport between nodes."""

    http: int
    transport: int


class SearchNode(Server):
    """One node of a search engine, a cluster by itself. Ports and data outlive its restarts.

    It has no security, unless one is given: then every request needs the `login`.
    """

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        *,
        ports: SearchPorts,
        changes: Mapping[str, Any],
        heap: str,
        java_options: Sequence[str],
        security: Security | None = None,
    ) -> None:
        self.engine = engine
        self.login = None if security is None else (USER, PASSWORD)
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
        secured = {} if security is None else security.settings
        self.settings = merge(merge(merge({**_DEFAULTS, **types}, secured), changes), placement)
        artifacts = engine.artifacts
        launcher = assemble(engine)
        self._home = artifacts.directory if security is None else assemble_security(engine, security)
        class_path: list[Path | str] = [launcher, f"{artifacts.library}/*"]
        plugins = [*engine.plugins, ANALYSIS.stem]
        if security is not None and not engine.has_modules:
            class_path.append(f"{self._home}/*")
            plugins.append(security.plugin)
        command = java_command(
            heap=heap,
            directory=directory / "tmp",
            options=[*java_options, *_JAVA_OPTIONS],
            class_path=class_path,
            version=engine.java,
        )
        config = str(directory / "config")
        main = (
            [MODULE_LAUNCHER.stem, str(self._home), config]
            if engine.has_modules
            else [PLUGIN_LAUNCHER.stem, engine.package, str(artifacts.directory), config, *plugins]
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
        if self.login is not None:
            write_logins(self.engine, self._home, self.directory / "config")

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s", headers=self._headers())
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        if self.login is None:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(':'.join(self.login).encode()).decode()}"}


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
