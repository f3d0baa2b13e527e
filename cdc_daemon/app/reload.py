"""Reads the configuration again while the daemon runs: it is applied as a whole, or refused with all its mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

import structlog

from cdc_daemon.app.config_change import ConfigChange, compare
from cdc_daemon.app.config_files import ConfigFile
from cdc_daemon.app.generations import Generations, SupersededError
from cdc_daemon.app.parts.tables import make_mapping
from cdc_daemon.app.serving import Listeners
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import MappingSettings
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, ConfigError
from cdc_daemon.pipeline.routing import find_routes
from cdc_daemon.telemetry import logs
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 45.0
"""Seconds after which a reload is answered, even if the parts still wait for a server."""

WATCH_SECONDS = 5.0
"""Seconds between two checks of the files."""

RETRY_SECONDS = 30.0
"""Seconds after which a refused configuration is read again: a file that it names may have arrived."""

_FILES_CHANGED = "a change of its files"

Result = Literal["applied", "unchanged", "pending", "refused"]


class Reloader:
    """Reloads the configuration of a daemon, one reload at a time.

    A configuration with mistakes changes nothing. A good one changes the log level, the tokens, the limits and the
    certificates in place. If more has changed, the parts are drained and composed anew, as at a restart. `applied` is
    called with each change that is in use from then on.
    """

    def __init__(
        self,
        file: ConfigFile,
        generations: Generations,
        listeners: Listeners,
        metrics: Metrics,
        *,
        applied: Callable[[ConfigChange], None],
    ) -> None:
        self._file = file
        self._generations = generations
        self._listeners = listeners
        self._metrics = metrics
        self._applied = applied
        self._one_at_a_time = asyncio.Lock()
        self._applying: asyncio.Task[Mapping[str, Any]] | None = None
        self._number = 1
        self._error: str | None = None
        self._restart_needed: tuple[str, ...] = ()
        metrics.config_generation.set(1)
        metrics.config_last_reload_successful.set(True)
        for result in ("applied", "unchanged", "refused"):
            metrics.config_reloads.labels(result)

    def status(self) -> Mapping[str, Any]:
        """Return the number of the configuration, why the last one was refused, and what waits for a restart."""
        return {
            "config": {
                "generation": self._number,
                "refused": self._error,
                "restart_needed": list(self._restart_needed),
            }
        }

    async def reload(self, by: str) -> Mapping[str, Any]:
        """Read the configuration again and use it. `by` is who asked for it.

        Return the result in plain values. `pending` means that the parts wait for a server with the new configuration.
        """
        async with self._one_at_a_time:
            try:
                settings = await asyncio.to_thread(self._file.load)
                change = compare(self._generations.settings, settings)
                await self._check(change)
                use = self._listeners.prepare(change.settings.http)
            except ConfigError as error:
                return self._refuse(error, by)
            pending = self._applying is not None and not self._applying.done()
            self._restart_needed = change.restart_needed
            if change.settings == change.old and not pending:
                return self._report_unchanged(change, by)
            self._applying = asyncio.create_task(self._apply(change, use, by, pending=pending), name="reload")
            applying = self._applying
        done, _ = await asyncio.wait({applying}, timeout=ANSWER_SECONDS)
        return applying.result() if done else self._report("pending", change)

    async def watch(self) -> None:
        """Reload when the file, or a file that it names, has changed.

        The first check reads the file in any case: it may have changed since the start.
        """
        stamps: Mapping[Any, Any] = {}
        waited = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            waited += WATCH_SECONDS
            found = await self._read_stamps()
            if found != stamps or (self._error is not None and waited >= RETRY_SECONDS):
                stamps, waited = found, 0.0
                await self.reload(_FILES_CHANGED)

    async def _read_stamps(self) -> Mapping[Any, Any]:
        return await asyncio.to_thread(self._file.stamps, self._generations.settings)

    async def _check(self, change: ConfigChange) -> None:
        """Check the new mappings against the live schema, if it is known. Raises `ConfigError` with all mistakes."""
        parts = self._generations.composition
        if parts is None or not change.changed_mappings or change.old.cassandra != change.settings.cassandra:
            return
        mistakes = await find_misfits(change.changed_mappings, parts.cassandra.schema)
        if mistakes:
            text = mistakes[0] if len(mistakes) == 1 else "\n  ".join([f"{len(mistakes)} mistakes", *mistakes])
            raise ConfigError(text, file=str(self._file.path))

    async def _apply(
        self, change: ConfigChange, use: Callable[[], None], by: str, *, pending: bool
    ) -> Mapping[str, Any]:
        try:
            if change.needs_new_parts or pending:
                await self._generations.replace(change.settings)
            else:
                self._generations.settings = change.settings
        except SupersededError as error:
            return self._report("refused", change, error=str(error))
        except ConfigError as error:
            return self._refuse(error, by)
        use()
        if change.settings.log != change.old.log:
            logs.configure(change.settings.log)
        self._applied(change)
        self._number += 1
        self._metrics.config_generation.set(self._number)
        self._succeed("applied")
        log.info("config.reloaded", by=by, generation=self._number, **change.plain())
        self._warn_of_restart()
        return self._report("applied", change)

    def _report_unchanged(self, change: ConfigChange, by: str) -> Mapping[str, Any]:
        self._succeed("unchanged")
        if by != _FILES_CHANGED:
            log.info("config.unchanged", by=by)
            self._warn_of_restart()
        return self._report("unchanged", change)

    def _warn_of_restart(self) -> None:
        if self._restart_needed:
            log.warning(
                "config.restart_needed",
                keys=list(self._restart_needed),
                hint="these changes are not applied; restart the daemon",
            )

    def _succeed(self, result: Result) -> None:
        self._error = None
        self._metrics.config_last_reload_successful.set(True)
        self._metrics.config_reloads.labels(result).inc()

    def _refuse(self, error: ConfigError, by: str) -> Mapping[str, Any]:
        again = by == _FILES_CHANGED and str(error) == self._error
        self._error = str(error)
        self._metrics.config_last_reload_successful.set(False)
        self._metrics.config_reloads.labels("refused").inc()
        if not again:
            hint = error.hint or "correct it and reload; the daemon goes on with its previous configuration"
            log.error("config.refused", by=by, error=error, hint=hint)
        return {"result": "refused", "generation": self._number, "error": str(error)}

    def _report(self, result: Result, change: ConfigChange, **more: Any) -> Mapping[str, Any]:
        return {"result": result, "generation": self._number, **change.plain(), **more}


async def find_misfits(declared: Mapping[str, MappingSettings], schema: SchemaSource) -> list[str]:
    """Return the mistakes of mappings that do not fit the live schema; none if Cassandra does not answer now."""
    try:
        await schema.refresh()
    except CdcError:
        return []
    mistakes = []
    for name, mapping in declared.items():
        try:
            find_routes([make_mapping(name, mapping, schema)], schema.known)
        except (ConfigError, CassandraRefusedError) as error:
            mistakes.append(f"mappings.{name}: {error}")
    return mistakes
