"""Makes a configuration, or adds to one, and switches CDC on: asks first, and checks what it writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable, Session

from cdc_daemon.cassandra.session import connected
from cdc_daemon.cli.files import write_file
from cdc_daemon.cli.init_tools.discovery import look_at_engine, look_at_node, read_tables, statements
from cdc_daemon.cli.init_tools.proposals import Proposal, choose, propose
from cdc_daemon.cli.init_tools.text import ServerAddresses, add_mappings, render, render_mappings
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config import CassandraSettings, Settings, load
from cdc_daemon.config.loading import parse
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError

_USUAL_STATE: Final = Path("/var/lib/cdc-daemon")
_STATE_HERE: Final = "cdc-daemon-state"
_CONTENT: Final = "the configuration"
_SECONDS: Final = 10.0
"""The timeout of a request. It is short because a person is waiting."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration shall contain, and what may be changed without a question."""

    file: Path
    keyspaces: Sequence[str]
    tables: Sequence[str]
    minimal: bool
    enable_cdc: bool
    yes: bool


class Maker:
    """Makes a configuration. `tell` writes a line for the user, and `ask` returns whether the user agrees."""

    def __init__(self, wanted: Wanted, *, tell: Callable[[str], None], ask: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._tell = tell
        self._ask = ask

    def make(self, connection: ServerAddresses) -> None:
        """Write a new configuration, or only print the shortest one.

        Raises `ConfigError` for tables or files that cannot be used, and `CassandraUnavailableError`.
        """
        wanted = self._wanted
        settings = parse(connection.provisional(), file=wanted.file)
        with connected(_quick(settings.cassandra)) as session:
            node = look_at_node(session, settings.cassandra)
            every = read_tables(session)
            proposals = propose(choose(every, keyspaces=wanted.keyspaces, names=wanted.tables), every=every)
            if not proposals:
                raise ConfigError("expected tables, found none", hint="create the tables first")
            engine = look_at_engine(settings.elasticsearch.model_copy(update={"request_timeout": _SECONDS}))
            text = render(node, engine, connection, proposals, minimal=wanted.minimal)
            parse(text, file=wanted.file)  # a configuration that the daemon refuses is never written
            if wanted.minimal:
                self._tell(text.rstrip("\n"))
            else:
                write_file(wanted.file, text, what=_CONTENT, make_folder=True)
                self._tell(f"{wanted.file}: {len(proposals)} mappings, for the tables of {node.title}")
                self._tell(f"the search engine: {engine.title or f'{engine.error}, check its URL'}")
            if node.follows_log:
                self._switch_cdc_on(session, [each.table for each in proposals], node_has_cdc=node.cdc_enabled)

    def extend(self) -> None:
        """Add mappings of tables that an existing configuration does not show. Raises as `make` does."""
        wanted = self._wanted
        settings = load(wanted.file)
        shown = {table for mapping in settings.mappings.values() for table in (mapping.table, *mapping.joined_tables)}
        with connected(_quick(settings.cassandra)) as session:
            node = look_at_node(session, settings.cassandra)
            every = read_tables(session)
            chosen = choose(every, keyspaces=wanted.keyspaces, names=wanted.tables)
            proposals = propose(
                [table for table in chosen if (table.keyspace, table.name) not in shown],
                every=every,
                taken_names=settings.mappings,
                taken_aliases={mapping.alias for mapping in settings.mappings.values()},
            )
            if proposals:
                self._add(proposals, settings)
            else:
                self._tell(f"{wanted.file} shows all these tables; there is nothing to add")
            if settings.tail:
                self._switch_cdc_on(session, chosen, node_has_cdc=node.cdc_enabled)

    def _add(self, proposals: Sequence[Proposal], settings: Settings) -> None:
        file = self._wanted.file
        lines = render_mappings(proposals, tail=settings.tail)
        self._tell("\n".join(["mappings:", *lines]))
        # A polled table also needs an entry in `poll`, which only the user can choose.
        text = add_mappings(file.read_text(encoding="utf-8"), lines) if settings.tail else None
        if text is None:
            self._tell(
                f"add these mappings to {file}" + ("" if settings.tail else ", and each table to its section poll")
            )
        elif self._ask(f"add these {len(proposals)} mappings to {file}?"):
            parse(text, file=file)
            write_file(file, text, what=_CONTENT)
            self._tell(f"{file}: {len(proposals)} mappings added; a running daemon reads them at its next start")

    def _switch_cdc_on(self, session: Session, tables: Sequence[TableMetadata], *, node_has_cdc: bool | None) -> None:
        needed = statements(tables)
        if not needed or self._wanted.minimal:
            return
        self._tell("\n".join(["CDC is off for these tables; their changes are not in the log until you run:", *needed]))
        if node_has_cdc is False:
            self._tell("The node has cdc_enabled: false; set it to true in cassandra.yaml and restart the node first.")
            return
        if not self._wanted.enable_cdc:
            self._tell("Or run this command with --enable-cdc.")
            return
        if not self._ask(f"run these {len(needed)} statements now?"):
            return
        for statement in needed:
            try:
                session.execute(statement.rstrip(";"))
            except (DriverException, OperationTimedOut, NoHostAvailable) as error:
                raise CassandraRefusedError(
                    f"Cassandra refused {statement} ({error})", hint="the role needs ALTER on the table"
                ) from error
            self._tell(f"done: {statement}")


def _quick(options: CassandraSettings) -> CassandraSettings:
    return options.model_copy(update={"request_timeout": min(options.request_timeout, _SECONDS)})


def state_directory() -> str:
    """Return the usual state directory, or one beside the configuration if this user cannot create the usual one."""
    place = _USUAL_STATE if _USUAL_STATE.exists() else _USUAL_STATE.parent
    return str(_USUAL_STATE) if os.access(place, os.W_OK) else _STATE_HERE


def can_ask() -> bool:
    """Return whether a person can answer a question."""
    return sys.stdin.isatty()
