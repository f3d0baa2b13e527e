"""Only a daemon that follows a commit log must be on the machine of its node."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_daemon.cli.checks.cassandra import _where


@pytest.mark.parametrize(
    ("address", "tail", "status"),
    [
        ("127.0.0.1", True, "ok"),
        ("127.0.0.1", False, "ok"),
        ("203.0.113.7", True, "warn"),
        ("203.0.113.7", False, "ok"),  # a poller, whose contact point may be a Service
    ],
)
def test_where_the_node_is(address: str, status: str, *, tail: bool) -> None:
    node = SimpleNamespace(address=address, datacenter="dc1")
    assert _where(node, tail=tail).status == status
