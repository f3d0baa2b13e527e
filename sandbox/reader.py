"""Cassandra's own commit-log reader, as a program of ours on the class path of a node's version."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import yaml

from sandbox.artifacts import cassandra_set
from sandbox.cassandra import LOGBACK_TOOLS, CassandraNode, module_options
from sandbox.java import compile_java, java_command
from sandbox.maven import fetch

_SHARED: Final = Path(__file__).parent / "java" / "CassandraReader.java"


def reader_command(node: CassandraNode, source: Path) -> list[str]:
    """Compile a program that uses `CassandraReader`; return its command line, up to and with its main class.

    It has the configuration and the folders of `node`, which has to be stopped. Raises SandboxError when it does not
    compile.
    """
    # Java 11 comes without a compiler; 4.0 reads the segments of 3.11, as it has to after an upgrade.
    artifacts = cassandra_set("4.0" if node.version.startswith("3.") else node.version)
    fetch([artifacts])
    libraries = artifacts.library
    class_path = f"{libraries}{os.sep}*"
    classes = node.directory / "classes"
    compile_java(source, _SHARED, class_path=class_path, output=classes)
    # Tools are configured before the commit log's folder is known, and then refuse direct I/O.
    # 4.0 refuses the setting of 3.11 for Thrift.
    unknown = {"commitlog_disk_access_mode", "start_rpc"}
    settings = {name: value for name, value in node.settings.items() if name not in unknown}
    config = classes / "cassandra.yaml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    options = [
        *module_options(),
        *(f"-javaagent:{jar}" for jar in libraries.glob("jamm-*.jar")),
        f"-Dcassandra.config={config.as_uri()}",
        f"-Dcassandra.storagedir={node.directory}",
        f"-Dlogback.configurationFile={LOGBACK_TOOLS.as_uri()}",
    ]
    command = java_command(
        heap="512m", directory=node.directory / "tmp", options=options, class_path=[str(classes), class_path]
    )
    return [*command, source.stem]
