"""The steps of the observation, in order."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import aiohttp

from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.sync_client import SyncClient
from cdc_daemon.model.errors import CdcError
from monitoring.dashboard import filled_in, rows
from sandbox.control import run_program
from sandbox.demo.errors import DemoError
from sandbox.demo.schema import create_schema
from sandbox.demo.stage import Stage
from sandbox.demo.watch import Watch
from sandbox.demo.writer import Writer
from sandbox.errors import SandboxError
from sandbox.observe.picture import TITLES, Graph, Line, draw
from sandbox.prometheus import JOB, Prometheus, Sample
from sandbox.session import connect

DEADLINE = 300.0
"""Seconds that each step may take."""

OUTAGE_ALERT = "CdcElasticsearchUnavailable"
"""Goes off while Elasticsearch is away."""

LATE_ALERT = "CdcLagBudgetBurningFast"
"""Goes off once the changes that waited are shown, late."""

_WORKED_OFF = "min_over_time(cdc_daemon_pending[5s]) < 500 and cdc_daemon_backlog_bytes < 4e6"

_PAUSE = 1.0
_INTERVAL = "30s"

POLL = [{"table": "sunbird.user", "strategy": "scan", "every": "10s", "lag": "0s"}]
"""So that the poller has something to show too. On one machine is one clock: what the tail has shown needs no margin,
within which it would be read, shown and measured once more."""

JOBS = {"audit": {"every": "15s", "sample": 1}}
"""So that rows and documents are compared."""


class Observation:
    """Starts everything on `stage`; reports go to `say`, one line at a time."""

    def __init__(self, stage: Stage, *, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._say = say
        self._seen: dict[str, str] = {}
        self._began = time.monotonic()
        self._prometheus: Prometheus | None = None
        self._scraped = 0.0
        self._outage_times = (0.0, 0.0)

    @property
    def prometheus(self) -> Prometheus:
        """The Prometheus that scrapes the daemon. Raises SandboxError before it is started."""
        if self._prometheus is None:
            raise SandboxError("Prometheus is not started")
        return self._prometheus

    async def run(self, *, rate: int, afterwards: float = 0.0) -> None:
        """Run all steps, then observe for so many seconds. Raises CdcError if something was not seen."""
        await self._stage.start_servers(self._tell)
        ring = self._stage.sandbox["cassandra"]
        with connect(ring["contact_points"], ring["port"]) as session:
            await asyncio.to_thread(create_schema, session)
            await self._start()
            writer = Writer(session, rate=rate, source=random.Random(1))  # noqa: S311 - no secret
            writing = asyncio.create_task(writer.run(), name="writer")
            asking = asyncio.create_task(self._ask_for_rows(), name="asking")
            try:
                await self._dashboard()
                await self._outage()
                await asyncio.sleep(afterwards)
            finally:
                asking.cancel()
                writer.stop()
                await writing

    async def _start(self) -> None:
        stage = self._stage
        await stage.start_daemon(poll=POLL, jobs=JOBS)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as http:
            await _in_time("the daemon to be at work", Watch(stage, http).wait_running())
        self._tell(f"the daemon is at work: {stage.daemon_url}/status")
        self._prometheus = Prometheus(
            stage.directory / "prometheus",
            port=stage.reserve_port(),
            target=stage.daemon_url.removeprefix("http://"),
        )
        command = await asyncio.to_thread(self._prometheus.prepare, self._tell)
        log = stage.directory / "prometheus" / "prometheus.log"
        await asyncio.to_thread(run_program, stage.directory, "prometheus", command, output=log)
        await self._until("Prometheus to answer", self._prometheus.is_ready)
        self._scraped = time.time()
        self._tell(f"Prometheus is up, with the rules: {self._prometheus.url}/alerts")

    async def _ask_for_rows(self) -> None:
        """Request a row now and then, so that there are requests to observe."""
        client = SyncClient(DaemonClient(self._stage.daemon_url, patience=5.0))
        while True:
            with suppress(CdcError):
                await asyncio.to_thread(client.sync, "user", ["user-000001"])
            await asyncio.sleep(2 * _PAUSE)

    async def _dashboard(self) -> None:
        """Run each query of the dashboard until it has a result."""
        waiting = [(panel, query) for panels in rows().values() for panel in panels for query in panel.queries]
        count = len(waiting)

        def ask() -> bool:
            for panel, query in list(waiting):
                if samples := self.prometheus.query(filled_in(query, job=JOB, instance=".+", interval=_INTERVAL)):
                    waiting.remove((panel, query))
                    self._say(f"  {panel.title + ':':<45} {query.legend:<25} {_shown(samples)}")
            return not waiting

        self._tell(f"asking the dashboard's {count} queries")
        try:
            await self._until("every query to have an answer", ask)
        except SandboxError as error:
            without = ", ".join(f"{panel.title} ({query.legend})" for panel, query in waiting)
            raise SandboxError(f"{error}; these have none: {without}") from None
        self._tell(f"each of the {count} queries has an answer")

    async def _outage(self) -> None:
        await asyncio.to_thread(self._alerts)
        self._tell("stopping Elasticsearch; the writer goes on")
        stopped = time.time()
        await self._stage.stop_elasticsearch()
        await self._until(f"{OUTAGE_ALERT} to fire", lambda: self._alerts().get(OUTAGE_ALERT) == "firing")
        self._tell("starting Elasticsearch again")
        await self._stage.start_elasticsearch()
        self._outage_times = (stopped, time.time())
        await self._until(f"{OUTAGE_ALERT} to end", lambda: OUTAGE_ALERT not in self._alerts())
        await self._until(f"{LATE_ALERT} to fire", lambda: self._alerts().get(LATE_ALERT) == "firing")
        await self._until("the backlog to be worked off", lambda: bool(self.prometheus.query(_WORKED_OFF)))
        self._tell("what waited is worked off")

    def picture(self) -> str:
        """Return a picture of the main panels, from Prometheus' own data."""
        begin, end = self._scraped, time.time()
        panels = {panel.title: panel for panels in rows().values() for panel in panels if not panel.number}
        graphs = []
        for title in TITLES:
            lines = []
            for query in panels[title].queries:
                text = filled_in(query, job=JOB, instance=".+", interval=_INTERVAL)
                for labels, points in self.prometheus.history(text, begin=begin, end=end, step=1):
                    named = query.legend.replace("{{instance}}", "").strip()
                    for label, value in labels.items():
                        named = named.replace("{{" + label + "}}", value)
                    lines.append(Line(named or "daemon", [(at - begin, value) for at, value in points]))
            graphs.append(Graph(title, panels[title].unit, lines))
        stopped, started = self._outage_times
        return draw(graphs, seconds=end - begin, outage=(stopped - begin, started - begin))

    def _alerts(self) -> dict[str, str]:
        """Return the active alerts, and report those that have changed."""
        now = self.prometheus.alerts()
        for name in sorted(now.keys() | self._seen.keys()):
            if now.get(name) != self._seen.get(name):
                self._tell(f"  {name} {now.get(name, 'is over')}")
        self._seen = now
        return now

    async def _until(self, what: str, look: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not await asyncio.to_thread(look):
                if not self._stage.daemon_is_alive:
                    raise DemoError("the daemon ended unexpectedly")
                await asyncio.sleep(_PAUSE)

        await _in_time(what, wait())

    def _tell(self, line: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {line}")


async def _in_time(what: str, awaited: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            await awaited
    except TimeoutError:
        raise SandboxError(f"expected {what} within {DEADLINE:.0f} s, found it had not come") from None


def _shown(samples: Iterable[Sample]) -> str:
    values = [f"{sample.value:.4g}" for sample in samples]
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")
