"""Completion of names in a shell. The names come from the configuration file; no server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from cdc_daemon.cli.common import find_config


def complete_type(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of mappings that begin with a text."""
    return _beginning(incomplete, _mappings(_configuration(context)))


def complete_table(context: typer.Context, incomplete: str) -> list[str]:
    """Return the tables in the configuration that begin with a text: mapped, joined, looked up and polled ones."""
    return _beginning(incomplete, set(_tables(_configuration(context))))


def complete_keyspace(context: typer.Context, incomplete: str) -> list[str]:
    """Return the keyspaces of these tables that begin with a text."""
    keyspaces = {table.partition(".")[0] for table in _tables(_configuration(context))}
    return _beginning(incomplete, keyspaces)


def _beginning(incomplete: str, names: Mapping[str, Any] | set[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _configuration(context: typer.Context) -> Any:
    """Return the content of the configuration file, which may be wrong in part, or None. A completion never fails."""
    import yaml  # noqa: PLC0415  commands start fast

    named = context.params.get("config")
    try:
        return yaml.safe_load(find_config(Path(named) if named else None).read_text(encoding="utf-8"))
    except Exception:  # noqa: BLE001  whatever is wrong with the file: there is nothing to complete then
        return None


def _mappings(content: Any) -> dict[str, Any]:
    mappings = content.get("mappings") if isinstance(content, dict) else None
    return {str(name): each for name, each in mappings.items()} if isinstance(mappings, dict) else {}


def _tables(content: Any) -> Iterator[str]:
    """Return each value of a key `table`, at any depth."""
    if isinstance(content, dict):
        if isinstance(table := content.get("table"), str):
            yield table
        for inner in content.values():
            yield from _tables(inner)
    elif isinstance(content, list):
        for inner in content:
            yield from _tables(inner)
