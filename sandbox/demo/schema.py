"""The keyspace and table that the demo writes to, and the configuration of a daemon that follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from cassandra.cluster import Session

from sandbox.cache import CHECKOUT

ALIAS = "user_alias"
"""The alias that the example's user mapping writes through."""

_SCHEMA = Path(__file__).with_name("schema.cql")
_EXAMPLE = CHECKOUT / "config.example.yaml"


def create_schema(session: Session) -> None:
    """Create the keyspace and the table."""
    for statement in statements(_SCHEMA.read_text(encoding="utf-8")):
        session.execute(statement)


def statements(text: str) -> list[str]:
    """Return the statements of a CQL file; comments stand on lines of their own."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def make_config(sandbox: dict[str, Any], *, state_directory: Path, port: int) -> dict[str, Any]:
    """Return the daemon's configuration for a sandbox's description, with the example's own user mapping.

    The index is cut down to one machine: one shard, no replica. `port` is the daemon's HTTP port.
    """
    ring = sandbox["cassandra"]
    mapping = yaml.safe_load(_EXAMPLE.read_text(encoding="utf-8"))["mappings"]["user"]
    return {
        "cassandra": {"contact_points": ring["contact_points"], "port": ring["port"]},
        "commit_log": {"cdc_raw_directory": ring["nodes"][0]["cdc_raw_directory"]},
        "elasticsearch": {"hosts": [sandbox["elasticsearch"]["url"]]},
        "state": {"directory": str(state_directory)},
        "http": {"port": port},
        "log": {"format": "console"},
        "mappings": {"user": {**mapping, "settings": {"number_of_shards": 1, "number_of_replicas": 0}}},
    }
