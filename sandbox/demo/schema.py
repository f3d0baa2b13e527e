"""The keyspaces and tables that the demo writes to, and the configuration of a daemon that follows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cassandra.cluster import Session

from cdc_daemon.config.yaml_file import YamlFile
from sandbox.cache import CHECKOUT
from sandbox.demo.others import ORGANISATION, organisations

ALIAS = "user_alias"
"""The alias that the example's user mapping writes through."""

_SCHEMA = Path(__file__).with_name("schema.cql")
_EXAMPLE = CHECKOUT / "config.example.yaml"


def create_schema(session: Session) -> None:
    """Create the keyspaces, the tables, and the organisations that users belong to."""
    for statement in statements(_SCHEMA.read_text(encoding="utf-8")):
        session.execute(statement)
    for values in organisations():
        session.execute(ORGANISATION, values)


def statements(text: str) -> list[str]:
    """Return the statements of a CQL file; comments stand on lines of their own."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def make_config(sandbox: dict[str, Any], *, state_directory: Path, port: int) -> dict[str, Any]:
    """Return the daemon's configuration for a sandbox's description, with the example's own mappings.

    The indices are cut down to one machine: one shard, no replica. `port` is the daemon's HTTP port.
    """
    ring = sandbox["cassandra"]
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    node = ring["nodes"][0]
    commit_log = {"cdc_raw_directory": node["cdc_raw_directory"]}
    if ring["version"].startswith("3."):
        commit_log["commitlog_directory"] = node["commitlog_directory"]
    mappings = {
        name: {**mapping, "settings_file": None, "settings": settings} for name, mapping in example_mappings().items()
    }
    return {
        "cassandra": {"contact_points": ring["contact_points"], "port": ring["port"]},
        "commit_log": commit_log,
        "elasticsearch": {"hosts": [sandbox["elasticsearch"]["url"]]},
        "state": {"directory": str(state_directory)},
        "http": {"port": port},
        "log": {"format": "console"},
        "mappings": mappings,
    }


def example_mappings(indices: str = "plain") -> dict[str, Any]:
    """Return the example's mappings, with the set of index files so called; their paths are whole."""
    text = _EXAMPLE.read_text(encoding="utf-8").replace("${SUNBIRD_INDICES:-plain}", indices)
    whole: Any = YamlFile(text.replace("_file: examples/", f"_file: {CHECKOUT}/examples/")).value
    found: dict[str, Any] = whole["mappings"]
    return found
