"""A Cassandra node of the sandbox: its files, its command line, its faults."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox import cql
from sandbox.artifacts import DEFAULT_CASSANDRA, ArtifactSet, cassandra_set
from sandbox.errors import SandboxError
from sandbox.java import REQUIRED_VERSION, java_command, java_program
from sandbox.maven import fetch
from sandbox.process import Server, ServerProcess
from sandbox.settings import cassandra_settings

DATACENTER = "datacenter1"
"""The one datacenter of SimpleSnitch."""

_NOT_GREETED = "Unable to gossip with any peers", "Unable to contact any seeds"
_GREETING_TRIES = 5

_LOGBACK = Path(__file__).with_name("conf") / "logback.xml"
LOGBACK_TOOLS = _LOGBACK.with_name("logback-tools.xml")

_EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)
"""What Cassandra's conf/jvm17-server.options and, for 4.0 and 4.1, conf/jvm11-server.options open."""

_OPENS_FOR_OLD_JAMM = (
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.time",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.security.provider",
    "java.base/sun.util.calendar",
)
"""4.0 and 4.1 measure objects with jamm 0.3, which reads private fields of any class it meets. Java 11 let it."""

_JAVA_11_EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
)
_JAVA_11_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
)
"""What 3.11, which was made for Java 8, needs on Java 11."""


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The TCP ports of a node: CQL, internode, JMX. All nodes of a ring share the first two."""

    native: int
    storage: int
    jmx: int


class CassandraNode(Server):
    """One node. Its ports and its data stay the same when it is killed or stopped and started again.

    With `commitlog_sync: periodic` a start after a kill replays up to the last sync marker, which is written about
    every 100 ms: what was acknowledged after it is lost, as on any real node. `batch` loses nothing.
    """

    def __init__(
        self,
        artifacts: ArtifactSet,
        directory: Path,
        *,
        host: str,
        ports: NodePorts,
        changes: Mapping[str, Any],
        heap: str,
        java_options: Sequence[str],
    ) -> None:
        self.host = host
        self.port = ports.native
        self.ports = ports
        self.version = artifacts.version
        self.directory = directory
        self.data_directory = directory / "data"
        self.commitlog_directory = directory / "commitlog"
        self.cdc_raw_directory = directory / "cdc_raw"
        self.log_path = directory / "system.log"
        self._library = artifacts.library
        self._java = java_version(artifacts.version)
        # 3.11 knows no ports in addresses of seeds: all nodes share one.
        seed = "127.0.0.1" if artifacts.version.startswith("3.") else f"127.0.0.1:{ports.storage}"
        placement = {
            "data_file_directories": [str(self.data_directory)],
            "commitlog_directory": str(self.commitlog_directory),
            "cdc_raw_directory": str(self.cdc_raw_directory),
            "hints_directory": str(directory / "hints"),
            "saved_caches_directory": str(directory / "saved_caches"),
            "listen_address": host,
            "rpc_address": host,
            "native_transport_port": ports.native,
            "storage_port": ports.storage,
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": seed}],
                }
            ],
        }
        self.settings = cassandra_settings(artifacts.version, changes, placement)
        encryption = self.settings.get("client_encryption_options", {})
        self._tls = bool(encryption.get("enabled")) and not encryption.get("optional")
        self._process = ServerProcess(
            f"Cassandra {artifacts.version} on {host}:{ports.native}",
            self._command(heap, java_options),
            output=directory / "output.log",
            log=self.log_path,
            is_ready=lambda: cql.answers(host, ports.native, tls=self._tls),
        )

    def start_replaced(self) -> None:
        """Start a node that is down as a new machine at the same address: without its files, it streams its share."""
        if self.alive:
            raise SandboxError(f"expected the node at {self.host} to be down, found it running")
        shutil.rmtree(self.directory)
        self.settings["auto_bootstrap"] = True
        option = f"-Dcassandra.replace_address_first_boot={self.host}"
        if option not in self._process.command:
            self._process.command.insert(-1, option)
        self.start()

    def wait_ready(self, deadline: float = 120.0) -> None:
        """Return when the node answers. One that no other node greeted in time is started again.

        With the short `ring_delay_ms` below, a node of a ring waits a second for the first answer, which is too
        little on a busy machine.
        """
        for _ in range(_GREETING_TRIES):
            try:
                return super().wait_ready(deadline)
            except SandboxError as error:
                if self.alive or not any(message in str(error) for message in _NOT_GREETED):
                    raise
            self._process.start()
        return super().wait_ready(deadline)

    @property
    def log_folders(self) -> dict[str, str]:
        """The section `commit_log` of a daemon's configuration: 3.11 also needs the commit-log folder."""
        folders = {"cdc_raw_directory": str(self.cdc_raw_directory)}
        if self.version.startswith("3."):
            folders["commitlog_directory"] = str(self.commitlog_directory)
        return folders

    def nodetool(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run Cassandra's nodetool on this node, e.g. `nodetool("flush", "keyspace")`; return what it prints.

        3.11's own runs on Java 8 only, so that of the default version is used, which knows `flush` and `drain` there.
        Raises SandboxError with its messages when it fails.
        """
        library = self._library
        if self._java != REQUIRED_VERSION:
            tools = cassandra_set(DEFAULT_CASSANDRA)
            fetch([tools])
            library = tools.library
        command = [
            str(java_program()),
            *module_options(),
            f"-Duser.home={self.directory}",  # nodetool keeps a history there
            f"-Dcassandra.storagedir={self.directory}",
            f"-Dlogback.configurationFile={LOGBACK_TOOLS.as_uri()}",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{library}/*",
            "org.apache.cassandra.tools.NodeTool",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.ports.jmx),
            *arguments,
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if result.returncode != 0:
            said = (result.stdout + result.stderr).strip()
            raise SandboxError(f"nodetool {' '.join(arguments)} ended with code {result.returncode}: {said}")
        return result.stdout

    def describe(self) -> dict[str, Any]:
        """Return the node's place for `up --json`."""
        return {
            "host": self.host,
            "port": self.port,
            "storage_port": self.ports.storage,
            "jmx_port": self.ports.jmx,
            "pid": self._process.pid if self._process.alive else None,
            "data_directory": str(self.data_directory),
            "commitlog_directory": str(self.commitlog_directory),
            "cdc_raw_directory": str(self.cdc_raw_directory),
            "log": str(self.log_path),
        }

    def _prepare(self) -> None:
        for folder in ("data", "commitlog", "cdc_raw", "hints", "saved_caches", "triggers", "tmp"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.settings, sort_keys=False)
        (self.directory / "cassandra.yaml").write_text(text, encoding="utf-8")

    def _command(self, heap: str, java_options: Sequence[str]) -> list[str]:
        home = self.directory
        agents = sorted(self._library.glob("jamm-*.jar"))
        options = [
            *java_options,
            *module_options(self._java),
            *(f"-javaagent:{jar}" for jar in agents),
            f"-Dcassandra.config={(home / 'cassandra.yaml').as_uri()}",
            f"-Dcassandra.storagedir={home}",
            f"-Dcassandra.logdir={home}",
            f"-Dcassandra.triggers_dir={home / 'triggers'}",
            f"-Dlogback.configurationFile={_LOGBACK.as_uri()}",
            f"-Dcassandra.jmx.local.port={self.ports.jmx}",
            "-Dcassandra-foreground=yes",
            # ServerWaits that matter only in a cluster with traffic from elsewhere.
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra.consistent.rangemovement=false",
            "-Dio.netty.tryReflectionSetAccessible=true",
            "-Dio.netty.allocator.useCacheForAllThreads=true",
            "-Dio.netty.allocator.maxOrder=11",
        ]
        command = java_command(
            heap=heap,
            directory=home / "tmp",
            options=options,
            class_path=[f"{self._library}{os.sep}*"],
            version=self._java,
        )
        return [*command, "org.apache.cassandra.service.CassandraDaemon"]


def java_version(version: str) -> int:
    """Return the version of Java for an exact version of Cassandra."""
    return 11 if version.startswith("3.") else 17


def module_options(java: int = 17) -> list[str]:
    """Return the options without which no part of Cassandra runs on a version of Java."""
    exports, opens = (_JAVA_11_EXPORTS, _JAVA_11_OPENS) if java == 11 else (_EXPORTS, (*_OPENS, *_OPENS_FOR_OLD_JAMM))
    return [
        "-Djdk.attach.allowAttachSelf=true",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in exports),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in opens),
    ]
