"""The text of a configuration: with a comment for each choice, or as short as possible."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cdc_daemon.cli.init_tools.discovery import EngineReport, NodeReport, cql_name
from cdc_daemon.cli.init_tools.proposals import JoinProposal, Proposal
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config.yaml_file import YamlFile

_PLAIN: Final = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)
_WIDTH: Final = 118
_USUAL_PORT: Final = 9042
_COMMIT_LOG: Final = "/var/lib/cassandra/commitlog"
_CDC_RAW: Final = "/var/lib/cassandra/cdc_raw"


@dataclass(frozen=True, slots=True)
class Login:
    """A user of a server. The password is in a file or in an environment variable; it is never written down."""

    username: str
    password_file: str | None
    variable: str

    def lines(self) -> Iterator[str]:
        """Return the keys of the login."""
        yield f"  username: {_text(self.username)}"
        if self.password_file is not None:
            yield f"  password_file: {_text(self.password_file)}"
        else:
            yield f"  password: ${{{self.variable}}}"


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """How the servers are reached, and the state directory."""

    contact_points: Sequence[str]
    port: int
    login: Login | None
    search_hosts: Sequence[str]
    search_login: Login | None
    search_ca_file: str | None
    state_directory: str

    def cassandra(self, comment: str = "") -> Iterator[str]:
        """Return the section `cassandra`."""
        yield "cassandra:"
        yield f"  contact_points: {_list(self.contact_points)}{comment}"
        if self.port != _USUAL_PORT:
            yield f"  port: {self.port}"
        if self.login is not None:
            yield from self.login.lines()

    def search(self) -> Iterator[str]:
        """Return the section `search`."""
        yield "search:"
        yield f"  hosts: {_list(self.search_hosts)}"
        if self.search_login is not None:
            yield from self.search_login.lines()
        if self.search_ca_file is not None:
            yield f"  ca_file: {_text(self.search_ca_file)}"

    def provisional(self) -> str:
        """Return a valid configuration with these servers, from which the sections for connecting can be read."""
        mapping = ["tail: off", "mappings: {none: {table: none.none, alias: none}}", "state: {directory: none}"]
        return "\n".join([*self.cassandra(), *self.search(), *mapping])


def render(
    node: NodeReport, engine: EngineReport, connection: ServerAddresses, proposals: Sequence[Proposal], *, minimal: bool
) -> str:
    """Return the whole configuration, with comments unless it shall be `minimal`."""
    lines = list(_whole(node, engine, connection, proposals))
    if minimal:
        bare = (re.sub(r"\s+# .*$", "", line) for line in lines)
        lines = [line for line in bare if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(lines) + "\n"


def render_mappings(proposals: Sequence[Proposal], *, tail: bool) -> list[str]:
    """Return the lines of mappings, as they stand below `mappings:`."""
    return [line for proposal in proposals for line in _mapping(proposal, tail=tail)]


def add_mappings(text: str, lines: Sequence[str]) -> str | None:
    """Return a configuration with mappings added at its end, or None if they cannot be added there.

    The result is read again: it must hold what was there before, and the new mappings, and nothing else.
    """
    before, added = YamlFile(text).value, YamlFile("mappings:\n" + "\n".join(lines)).value
    if not isinstance(before, dict) or not isinstance(before.get("mappings"), dict):
        return None
    result = "\n".join([text.rstrip("\n"), *lines, ""])
    wanted = {**before, "mappings": {**before["mappings"], **added["mappings"]}}
    return result if YamlFile(result).value == wanted else None


def _whole(
    node: NodeReport, engine: EngineReport, connection: ServerAddresses, proposals: Sequence[Proposal]
) -> Iterator[str]:
    found = engine.title or f"it did not answer: {engine.error}"
    yield from (
        "# The configuration of cdc-daemon. `cdc-daemon check` says what is missing, `cdc-daemon run` starts it.",
        "# config.example.yaml of the distribution explains every key.",
        "",
        *connection.cassandra(f"  # {_one_line(f'{node.title}, datacenter {node.datacenter}')}"),
        "",
    )
    if node.follows_log:
        yield "commit_log:"
        yield f"  # {_about_cdc(node)}"
        yield f"  cdc_raw_directory: {_text(node.cdc_raw_directory or _CDC_RAW)}"
        if node.moves_segments:
            yield "  # The segment that is written is here, and comes to cdc_raw when it is complete."
            yield f"  commitlog_directory: {_text(_COMMIT_LOG)}"
    else:
        yield f"# The daemon cannot read the commit log of {node.title}, so the tables are polled (see poll below)."
        yield "tail: off"
    yield from (
        "",
        f"# {_one_line(found)}",
        *connection.search(),
        "",
        "# The checkpoint, dead letters and everything else that must survive a restart: a directory on a local disk.",
        "state:",
        f"  directory: {_text(connection.state_directory)}",
        "",
    )
    if not node.follows_log:
        yield "# How changes are found, and how often removed rows are searched for (docs/polling.md)."
        yield "poll:"
        for proposal in proposals:
            yield f"  - {{table: {_table(proposal.table)}, strategy: scan, every: 1m, deletes: {{every: 1h}}}}"
        yield ""
    yield "# Each table and the alias of the index that shows its rows. Rows that are there are copied when the daemon"
    yield "# creates the index."
    yield "mappings:"
    yield from render_mappings(proposals, tail=node.follows_log)


def _mapping(proposal: Proposal, *, tail: bool) -> Iterator[str]:
    table = proposal.table
    yield f"  # {_one_line(_columns(table))}"
    yield f"  {_text(proposal.name)}:"
    yield f"    table: {_table(table)}"
    yield f"    alias: {_text(proposal.alias)}"
    if tail and not table.cdc:
        yield f"    # It needs: ALTER TABLE {cql_name(table)} WITH cdc = true;"
    keys = [column.name for column in (*table.partition_key, *table.clustering)]
    if len(keys) > 1:
        yield f"    # The _id is made of all key columns: {_one_line(', '.join(keys))}. Or choose them, such as:"
        yield f"    # id: {_one_line(json.dumps('_'.join(f'{{{key}}}' for key in keys)))}"
    if proposal.joins:
        yield "    # Rows that may belong into this document:"
        yield "    # joins:"
        yield from (f"    #   {_printable(_join(join))}" for join in proposal.joins)


def _join(join: JoinProposal) -> str:
    on = f"{{{_text(join.child_column)}: {_text(join.parent_column)}}}"
    return f"{_text(join.field)}: {{table: {_table(join.child)}, on: {on}, exclude: [{_text(join.child_column)}]}}"


def _columns(table: TableMetadata) -> str:
    columns = [
        *(f"{column.name} {column.type} (partition key)" for column in table.partition_key),
        *(f"{column.name} {column.type} (clustering)" for column in table.clustering),
        *(f"{column.name} {column.type} (static)" for column in table.static),
        *(f"{column.name} {column.type}" for column in sorted(table.regular, key=lambda column: column.name)),
    ]
    return f"{table.keyspace}.{table.name}: {', '.join(columns)}"


def _about_cdc(node: NodeReport) -> str:
    if node.cdc_enabled is None:
        return "The node does not report its settings. This is the cdc_raw_directory of its cassandra.yaml, by default:"
    if not node.cdc_enabled:
        return "The node writes no CDC segments: set cdc_enabled: true in cassandra.yaml, and restart the node."
    return "The node reports this directory. The daemon deletes segments there once they are complete and written."


def _table(table: TableMetadata) -> str:
    return _text(f"{table.keyspace}.{table.name}")


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(json.dumps(value, ensure_ascii=False) for value in values)}]"


def _text(value: str) -> str:
    """Return a text as YAML: plain if it can be read as nothing else."""
    if _PLAIN.fullmatch(value) and isinstance(YamlFile(value).value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _one_line(text: str) -> str:
    line = _printable(text)
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _printable(text: str) -> str:
    """Return a text that YAML allows in a comment."""
    return "".join(character if character.isprintable() else " " for character in text)
