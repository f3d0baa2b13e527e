"""The part that runs the scheduled tasks of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cdc_daemon.app.part import Context, Part


class SchedulePart(Part):
    """Runs the schedule, to which the other parts add their tasks when they are built."""

    name = "schedule"

    def __init__(self, context: Context) -> None:
        self._schedule = context.schedule
        self._metrics = context.metrics

    async def run(self) -> None:
        """Run the tasks when they are due."""
        await self._schedule.run()

    def status(self) -> Mapping[str, Any]:
        """Return the status of each task."""
        jobs = self._schedule.jobs.items()
        return {"schedule": [{**asdict(job), "next": self._schedule.next_run(name)} for name, job in jobs]}

    def measure(self) -> None:
        """Update the gauge of tasks that fail."""
        for job in self._schedule.jobs.values():
            self._metrics.scheduled_work_failing.labels(job.name).set(job.error is not None)
