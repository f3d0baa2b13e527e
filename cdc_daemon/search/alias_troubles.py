"""Aliases that reject writes while Elasticsearch itself is available, and the probes until they accept writes again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, ElasticsearchUnavailableError
from cdc_daemon.search.availability import Availability, ProbePauses, ProbeWrites
from cdc_daemon.search.bulk_body import Target, WriteTrouble
from cdc_daemon.search.failure import Failure, FailureKind

log = structlog.get_logger(__name__)

_LONGEST_REASON = 300
"""The number of characters of a reason that are shown."""

NOT_READY = "index_not_ready"
"""The error type of an alias that accepts writes but lacks something that its documents need."""

Prepare = Callable[[str], Awaitable[None]]
"""Checks and completes what an alias needs before writes resume. Raises `CdcError` if it cannot."""


async def prepare_nothing(_alias: str) -> None:
    """Require nothing of an alias."""


@dataclass(frozen=True, slots=True)
class AliasTrouble:
    """Why an alias rejects writes: the last error of Elasticsearch, and the start time (seconds since epoch)."""

    alias: str
    failure: Failure
    since: float
    hint: str | None = None

    @property
    def reason(self) -> str:
        """The reason in a form safe to publish: Elasticsearch's own text may name nodes, documents and logins."""
        if self.failure.error_type == "security_exception":
            return "the login may not write to it"
        if self.failure.kind is not FailureKind.OPERATOR:
            return "its shard is not active"
        reason = self.failure.reason
        return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"

    def plain(self) -> dict[str, Any]:
        """Return plain values that are safe to publish."""
        return {
            "error_type": self.failure.error_type,
            "reason": self.reason,
            "hint": self.hint or self.failure.hint,
            "since": self.since,
        }


class _Probing:
    """The probe task and the pauses of one alias. It outlives the trouble, which may come back."""

    __slots__ = ("backoff", "ended", "task")

    def __init__(self, first: float) -> None:
        self.backoff = Backoff(first=first)
        self.ended = float("-inf")
        self.task: asyncio.Task[None] | None = None


class AliasTroubles:
    """The aliases in trouble. A report puts an alias in trouble, a successful probe ends the trouble.

    Each alias has its own pauses, which keep growing if the trouble returns at once. No alias is probed while
    Elasticsearch as a whole is unavailable. `changed` is called after each change of the aliases in trouble.
    """

    def __init__(
        self,
        probe: ProbeWrites,
        cluster: Availability,
        *,
        pauses: ProbePauses,
        prepare: Prepare = prepare_nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._back: dict[str, float] = {}
        self._probe = probe
        self._cluster = cluster
        self._pauses = pauses
        self._prepare = prepare
        self._clock = clock
        self._troubles: dict[str, AliasTrouble] = {}
        self._probings: dict[str, _Probing] = {}

    @property
    def aliases(self) -> Collection[str]:
        """The aliases in trouble, always as they are now."""
        return self._troubles.keys()

    @property
    def failures(self) -> Mapping[str, Failure]:
        """The last failure of each alias in trouble."""
        return {alias: trouble.failure for alias, trouble in self._troubles.items()}

    def get(self, alias: str) -> AliasTrouble | None:
        """Return the trouble of an alias, or None."""
        return self._troubles.get(alias)

    def back_since(self, moment: float) -> Mapping[str, float]:
        """Return when (monotonic seconds) each alias that rejected writes at `moment` accepted them again.

        Do not send a body built before that time: a closed index forgets its deletions
        (docs/guarantees.md, promise 5).
        """
        if self._back:
            self._back = {alias: since for alias, since in self._back.items() if since > moment}
        return self._back

    def report(self, trouble: WriteTrouble) -> None:
        """Record the trouble of aliases; the first report of an alias starts its probes."""
        for target in trouble.targets:
            self._begin(target, trouble.failure, None)

    def report_error(self, alias: str, error: CdcError) -> None:
        """Record that an error prevents writes to an alias."""
        self._begin(Target(alias, alias), _refusal_of(error), error.hint)

    def keep(self, aliases: Collection[str]) -> None:
        """Delete the trouble of all aliases but these: the others are no longer written to."""
        for alias in [alias for alias in self._probings if alias not in aliases]:
            probing = self._probings.pop(alias)
            if probing.task is not None:
                probing.task.cancel()
            self._back.pop(alias, None)
            if self._troubles.pop(alias, None) is not None:
                self.changed()

    async def close(self) -> None:
        """Stop the probes."""
        tasks = [each.task for each in self._probings.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, target: Target, failure: Failure, hint: str | None) -> None:
        alias = target.alias
        if alias in self._troubles:
            return
        probing = self._probings.setdefault(alias, _Probing(self._pauses.first))
        if self._clock() - probing.ended > self._pauses.longest(failure):
            probing.backoff.reset()
        self._enter(AliasTrouble(alias, failure, time.time(), hint))
        probing.task = asyncio.get_running_loop().create_task(self._probe_until_back(target, probing))
        self.changed()

    def _enter(self, trouble: AliasTrouble) -> None:
        """Record the current trouble; log it if it differs from the previous one."""
        before = self._troubles.get(trouble.alias)
        self._troubles[trouble.alias] = trouble
        if before is None or before.failure.error_type != trouble.failure.error_type:
            _log_unavailable(trouble)

    async def _probe_until_back(self, target: Target, probing: _Probing) -> None:
        alias = target.alias
        while True:
            trouble = self._troubles[alias]
            await asyncio.sleep(probing.backoff.next(self._pauses.longest(trouble.failure)))
            await self._cluster.wait()
            found = await self._look(target)
            if isinstance(found, Failure):
                self._cluster.lost(WriteTrouble(found, (target,)))
            elif found is None:
                break
            else:
                self._enter(replace(found, since=trouble.since))
        probing.ended = self._back[alias] = self._clock()
        probing.task = None
        del self._troubles[alias]
        _log_available(trouble)
        self.changed()

    async def _look(self, target: Target) -> AliasTrouble | Failure | None:
        """Return the trouble of an alias, or a `Failure` of Elasticsearch as a whole, or None."""
        unprepared: CdcError | None = None
        try:
            await self._prepare(target.alias)
        except CdcError as error:
            unprepared = error
        # Probe in any case: if Elasticsearch does not answer at all, that is the failure to report.
        found = await self._probe([target])
        if isinstance(found, Failure):
            return found
        if found:
            return AliasTrouble(target.alias, found[0].failure, 0.0, None if unprepared is None else unprepared.hint)
        if unprepared is not None:
            return AliasTrouble(target.alias, _refusal_of(unprepared), 0.0, unprepared.hint)
        return None


def track_failures(before: Mapping[str, AliasTrouble], failures: Mapping[str, CdcError]) -> Mapping[str, AliasTrouble]:
    """Return the trouble found by checks of the aliases, with its start time; log each start and each end."""
    now = {
        alias: before.get(alias) or AliasTrouble(alias, _refusal_of(error), time.time(), error.hint)
        for alias, error in failures.items()
    }
    for alias in now.keys() - before.keys():
        _log_unavailable(now[alias])
    for alias in before.keys() - now.keys():
        _log_available(before[alias])
    return now


def _refusal_of(error: CdcError) -> Failure:
    return Failure(503 if isinstance(error, ElasticsearchUnavailableError) else 400, NOT_READY, error.message)


def _log_unavailable(trouble: AliasTrouble) -> None:
    log.warning(
        "elasticsearch.alias_unavailable",
        alias=trouble.alias,
        error_type=trouble.failure.error_type,
        reason=trouble.failure.reason,
        hint=trouble.hint or trouble.failure.hint,
        status=trouble.failure.status,
    )


def _log_available(trouble: AliasTrouble) -> None:
    log.info("elasticsearch.alias_available", alias=trouble.alias, seconds=round(time.time() - trouble.since, 3))
