"""Whether Elasticsearch is believed to take writes, and the probing that finds out when it does again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from cdc_daemon.elastic.batch import Target
from cdc_daemon.elastic.failure import Failure, Kind
from cdc_daemon.elastic.observer import BulkObserver
from cdc_daemon.elastic.settlement import Trouble
from cdc_daemon.errors import ElasticsearchUnavailableError
from cdc_daemon.pipeline.backoff import Backoff

log = structlog.get_logger(__name__)

Probe = Callable[[Sequence[Target]], Awaitable[Failure | None]]


@dataclass(frozen=True, slots=True)
class ProbePauses:
    """Seconds between probes: the first pause, and the longest while Elasticsearch is down or refuses."""

    first: float = 0.1
    down: float = 5.0
    refused: float = 30.0


class Availability:
    """Elasticsearch is available until trouble is reported, and again when a probe passes.

    The pauses between probes go on growing where trouble comes back at once: some of it (a pipeline that
    does not exist) shows in real writes only.
    A body that was built before `since` (monotonic seconds) must not be sent: a node that went down forgot
    the deletions which would have stopped an older state (architecture, promise 5).
    """

    def __init__(
        self,
        probe: Probe,
        *,
        observer: BulkObserver,
        pauses: ProbePauses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.since = float("-inf")
        self.failure: Failure | None = None
        self._probe = probe
        self._observer = observer
        self._pauses = pauses
        self._clock = clock
        self._backoff = Backoff(first=pauses.first)
        self._targets: dict[str, Target] = {}
        self._probing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return self.failure is None

    def lost(self, trouble: Trouble) -> None:
        """Take note of trouble; the first report starts the probing."""
        self._targets |= {target.alias: target for target in trouble.targets}
        if self.failure is not None:
            return
        if self._clock() - self.since > self._longest_pause(trouble.failure):
            self._backoff.reset()
        self._say_unavailable(trouble.failure)
        self._observer.availability_changed(available=False)
        self._probing = asyncio.get_running_loop().create_task(self._probe_until_back())

    def doubt(self, target: Target) -> None:
        """Look, in the background, whether it takes writes: something other than a write has failed."""
        if self.failure is None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look(target))

    def keep_targets(self, aliases: Collection[str]) -> None:
        """Probe no target that is not among these; with none left the next probe passes."""
        self._targets = {alias: target for alias, target in self._targets.items() if alias in aliases}

    async def wait(self) -> None:
        """Wait until Elasticsearch is believed to take writes.

        Raises `ElasticsearchUnavailableError` when nothing probes any more because of `close`.
        """
        while self.failure is not None:
            assert self._probing is not None
            await asyncio.wait({self._probing})
            if self._probing.cancelled():
                raise ElasticsearchUnavailableError("the bulk writer was closed while Elasticsearch was away")
            self._probing.result()

    async def close(self) -> None:
        """Stop probing."""
        for task in (self._looking, self._probing):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _longest_pause(self, failure: Failure) -> float:
        return self._pauses.refused if failure.kind is Kind.OPERATOR else self._pauses.down

    def _say_unavailable(self, failure: Failure) -> None:
        self.failure = failure
        log.warning(
            "elasticsearch.unavailable",
            error_type=failure.error_type,
            reason=failure.reason,
            hint=failure.hint,
            status=failure.status,
            indices=sorted(self._targets),
        )

    async def _look(self, target: Target) -> None:
        failure = await self._probe([target])
        if failure is not None:
            self.lost(Trouble(failure, (target,)))

    async def _probe_until_back(self) -> None:
        assert self.failure is not None
        started = self._clock()
        while True:
            await asyncio.sleep(self._backoff.next(self._longest_pause(self.failure)))
            failure = await self._probe(list(self._targets.values())) if self._targets else None
            if failure is None:
                break
            if failure.kind is Kind.OPERATOR and failure.error_type != self.failure.error_type:
                self._say_unavailable(failure)
            else:
                self.failure = failure
        self.since = self._clock()
        self.failure = None
        self._targets.clear()
        self._observer.availability_changed(available=True)
        log.info("elasticsearch.available", seconds=round(self.since - started, 3))
