"""The node's commit log settings: compression and encryption."""

from __future__ import annotations

import re

from cdc_daemon.cassandra.node import NodeSettings


def compressor(node: NodeSettings) -> str | None:
    """Return the class that compresses the node's commit log, without its package; None without compression."""
    found = node.text("commitlog_compression.class_name", "commitlog_compression")
    if found is None:
        return None
    # 4.0 and 4.1 may show the whole ParameterizedClass: class_name='LZ4Compressor', parameters=null
    inner = re.search(r"class_name\s*[=:]\s*'?([\w.$]+)", found)
    return (found if inner is None else inner[1]).rpartition(".")[2]


def is_encrypted(node: NodeSettings) -> bool:
    """Return whether the node encrypts its commit log."""
    return bool(node.flag("transparent_data_encryption_options.enabled", "transparent_data_encryption_options_enabled"))
