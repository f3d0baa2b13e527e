from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox.artifacts import cassandra_set
from sandbox.cassandra import CassandraNode, NodePorts
from sandbox.errors import SandboxError


class Process:
    """A process that ends with these messages, one at each start, and then answers."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        self.starts = 0
        self.alive = False

    def start(self) -> None:
        self.starts += 1

    def wait_ready(self, _deadline: float) -> None:
        if self.messages:
            raise SandboxError(self.messages.pop(0))


def node_of(process: Any, directory: Path) -> CassandraNode:
    ports = NodePorts(native=20001, storage=20002, jmx=20003)
    node = CassandraNode(
        cassandra_set("5.0"), directory, host="127.0.0.2", ports=ports, changes={}, heap="1m", java_options=()
    )
    node._process = process
    return node


def test_a_node_that_no_other_node_greets_in_time_is_started_again(tmp_path: Path) -> None:
    process = Process("code 3\nUnable to gossip with any peers", "code 3\nUnable to contact any seeds: [/127.0.0.1]")
    node_of(process, tmp_path).wait_ready()
    assert process.starts == 2


def test_a_node_that_ends_for_another_reason_or_too_often_is_an_error(tmp_path: Path) -> None:
    process = Process("ended with code 1")
    with pytest.raises(SandboxError, match="code 1"):
        node_of(process, tmp_path).wait_ready()
    assert process.starts == 0
    with pytest.raises(SandboxError, match="gossip"):
        node_of(Process(*["Unable to gossip with any peers"] * 9), tmp_path).wait_ready()


def test_only_a_node_that_is_down_is_replaced(tmp_path: Path) -> None:
    process = Process()
    process.alive = True
    with pytest.raises(SandboxError, match="to be down"):
        node_of(process, tmp_path).start_replaced()
