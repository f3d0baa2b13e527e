"""Whether Elasticsearch accepts writes, and the probes that detect its return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.search.bulk_body import Target, WriteTrouble, encode_guard, guard_failure
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.failure import EngineError, Failure, FailureKind
from cdc_daemon.search.metrics import BulkObserver

log = structlog.get_logger(__name__)

ProbeWrites = Callable[[Sequence[Target]], Awaitable[Failure | Sequence[WriteTrouble]]]
"""Returns the failure of Elasticsearch as a whole, or the trouble of single aliases (possibly empty)."""


class WriteProbe:
    """Probes aliases for writes. A request is abandoned after `seconds`."""

    def __init__(self, engine: SearchEngine, *, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds

    async def __call__(self, targets: Sequence[Target]) -> Failure | Sequence[WriteTrouble]:
        """Check whether each target accepts writes now, without writing anything.

        Returns the trouble of single aliases. A `Failure` is a failure of Elasticsearch as a whole: if a request is
        rejected because of one alias, each target is probed alone to find that alias.
        """
        found = await self._probe(targets)
        if not isinstance(found, Failure) or found.kind is not FailureKind.OPERATOR or len(targets) == 1:
            return found
        alone = [(target, await self._probe([target])) for target in targets]
        if all(isinstance(each, Failure) for _, each in alone):
            return found
        return [
            trouble
            for target, each in alone
            for trouble in ([WriteTrouble(each, (target,))] if isinstance(each, Failure) else each)
        ]

    async def _probe(self, targets: Sequence[Target]) -> Failure | Sequence[WriteTrouble]:
        body = b"\n".join([*map(encode_guard, targets), b""])
        try:
            items = await self._engine.bulk(body, len(targets), seconds=self._seconds)
        except EngineError as error:
            return [] if error.failure.kind is FailureKind.OVERLOAD else error.failure
        found: list[WriteTrouble] = []
        for target, item in zip(targets, items or (), strict=False):
            failure = guard_failure(item)
            if failure is not None and failure.is_of_cluster:
                return failure
            if failure is not None:
                found.append(WriteTrouble(failure, (target,)))
        return found


@dataclass(frozen=True, slots=True)
class ProbePauses:
    """Seconds between probes: the first pause, and the longest while Elasticsearch is down or rejects writes."""

    first: float = 0.1
    down: float = 5.0
    refused: float = 30.0

    def longest(self, failure: Failure) -> float:
        """Return the longest pause for this failure."""
        return self.refused if failure.kind is FailureKind.OPERATOR else self.down


class Availability:
    """The availability of Elasticsearch as a whole. Reported trouble ends it, a successful probe restores it.

    Trouble of single aliases that a probe finds is reported to `on_alias`.
    The pauses between probes keep growing if the trouble returns at once: some trouble (a missing pipeline)
    affects real writes only.
    Do not send a body built before `since` (monotonic seconds): a node that went down forgot
    the deletions that would have rejected an older state (docs/guarantees.md, promise 5).
    """

    def __init__(
        self,
        probe: ProbeWrites,
        *,
        observer: BulkObserver,
        pauses: ProbePauses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.since = float("-inf")
        self.failure: Failure | None = None
        self.on_alias: Callable[[WriteTrouble], None] = lambda _trouble: None
        self._probe = probe
        self._observer = observer
        self._pauses = pauses
        self._clock = clock
        self._backoff = Backoff(first=pauses.first)
        self._targets: dict[str, Target] = {}
        self._probing: asyncio.Task[None] | None = None
        self._looking: dict[str, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return self.failure is None

    def lost(self, trouble: WriteTrouble) -> None:
        """Record trouble; the first report starts the probes."""
        self._targets |= {target.alias: target for target in trouble.targets}
        if self.failure is not None:
            return
        if self._clock() - self.since > self._pauses.longest(trouble.failure):
            self._backoff.reset()
        self._set_unavailable(trouble.failure)
        self._observer.availability_changed(available=False)
        self._probing = asyncio.get_running_loop().create_task(self._probe_until_back())

    def doubt(self, target: Target) -> None:
        """Start a background probe for writes, because something other than a write has failed."""
        if self.failure is None and target.alias not in self._looking:
            task = asyncio.get_running_loop().create_task(self._look(target))
            self._looking[target.alias] = task
            task.add_done_callback(lambda _: self._looking.pop(target.alias, None))

    def keep_targets(self, aliases: Collection[str]) -> None:
        """Stop probing all targets but these; with none left the next probe succeeds."""
        self._targets = {alias: target for alias, target in self._targets.items() if alias in aliases}

    async def wait(self) -> None:
        """Wait until Elasticsearch is available for writes.

        Raises `ElasticsearchUnavailableError` if `close` has stopped the probes.
        """
        while self.failure is not None:
            assert self._probing is not None
            await asyncio.wait({self._probing})
            if self._probing.cancelled():
                raise ElasticsearchUnavailableError("the bulk writer was closed while Elasticsearch was away")
            self._probing.result()

    async def close(self) -> None:
        """Stop the probes."""
        tasks = [*self._looking.values(), *([] if self._probing is None else [self._probing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _set_unavailable(self, failure: Failure) -> None:
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
        found = await self._probe([target])
        if isinstance(found, Failure):
            self.lost(WriteTrouble(found, (target,)))
            return
        for trouble in found:
            self.on_alias(trouble)

    async def _probe_until_back(self) -> None:
        assert self.failure is not None
        started = self._clock()
        while True:
            await asyncio.sleep(self._backoff.next(self._pauses.longest(self.failure)))
            found = await self._probe(list(self._targets.values())) if self._targets else []
            if not isinstance(found, Failure):
                break
            if found.kind is FailureKind.OPERATOR and found.error_type != self.failure.error_type:
                self._set_unavailable(found)
            else:
                self.failure = found
        for trouble in found:
            self.on_alias(trouble)
        self.since = self._clock()
        self.failure = None
        self._targets.clear()
        self._observer.availability_changed(available=True)
        log.info("elasticsearch.available", seconds=round(self.since - started, 3))
