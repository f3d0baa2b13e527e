"""The face of every running part of the daemon, and what each part is built from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cdc_daemon.app.schedule import Schedule
from cdc_daemon.app.startup import ReportWait
from cdc_daemon.config import Settings
from cdc_daemon.peers.questions import PeerQuestions
from cdc_daemon.store import Store
from cdc_daemon.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Context:
    """What all parts share: the daemon's configuration, store and metrics, their schedule, and two callbacks."""

    settings: Settings
    store: Store
    metrics: Metrics
    beat: Callable[[str], None]
    """Called with the name of a loop to show that the loop is alive."""
    report_wait: ReportWait
    """Called with the server or table that the start waits for."""
    schedule: Schedule = field(default_factory=Schedule)
    """Each part adds its scheduled tasks."""
    questions: PeerQuestions = field(default_factory=PeerQuestions)
    """Each part registers the questions of other daemons that it answers."""


class Part:
    """A running part of the daemon.

    A part overrides the methods that it needs: one that only adds tasks to the schedule has no `run` of its own.
    """

    name: ClassVar[str]

    async def run(self) -> None:
        """Work until cancelled. An error that is raised ends the daemon."""

    def status(self) -> Mapping[str, Any]:
        """Return the part's keys of `/status` in plain values, without I/O."""
        return {}

    def measure(self) -> None:
        """Update the part's gauges."""

    async def drain(self, seconds: float) -> None:
        """Accept no more work, and wait at most `seconds` for the work in flight."""


async def run_together(**runs: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run several loops of one part, each as a task of the given name, until cancelled or until one of them fails."""
    async with asyncio.TaskGroup() as tasks:
        for name, run in runs.items():
            tasks.create_task(run(), name=name)


async def supervise(last: Part, others: Sequence[Part]) -> None:
    """Run parts until `last` has ended, then cancel the others.

    Raises the error of a part that fails, in an exception group, after all others are cancelled.
    """
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part.run(), name=part.name) for part in others]
        await last.run()
        for task in running:
            task.cancel()
