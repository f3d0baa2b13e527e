"""One run: load and faults, then quiescence, then the comparison."""

from __future__ import annotations

import json
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.torture.changes import MOST_TTL, Changes
from bench.torture.comparison import Compared, compare, request
from bench.torture.faults import ALONE, Faults
from bench.torture.load import Load
from bench.torture.plan import KINDS, Fault, make_plan
from bench.torture.scene import Scene, SceneError, new_scene
from bench.torture.shapes import KEYSPACE, alias_of
from bench.torture.watch import Account, Sample, Watch
from cdc_daemon import __version__
from sandbox.cache import cache_directory

CAUGHT_UP = 1.0
"""Seconds of lag below which the daemon has recovered from a fault."""

SETTLING = 600.0
"""Seconds that the daemon may take, after load and faults, until nothing is left to do."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Event:
    """A fault as it happened, in seconds since the run began. `recovered` is None while the lag is above a second."""

    fault: Fault
    on: str = ""
    began: float = 0.0
    ended: float = 0.0
    recovered: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Outcome:
    """All that is known after a run."""

    seed: int
    minutes: float
    versions: dict[str, str]
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What makes the run fail, beside tables that differ."""

    changes: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    largest_lag: float = 0.0
    settled_after: float = 0.0
    dead_letters: dict[str, int] = field(default_factory=dict)
    state_disk: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether the run proves what it should."""
        return bool(self.compared) and not self.problems and all(each.is_equal for each in self.compared)


def run(
    *, minutes: float, seed: int, search: str, cassandra: str, rate: float, say: Say, kinds: Sequence[str] = KINDS
) -> Outcome:
    """Carry out the plan of a seed on real servers; return what came of it."""
    plan = make_plan(seed, minutes * 60, kinds)
    with new_scene(search=search, cassandra=cassandra, say=say) as scene:
        versions = {
            "cdc-daemon": __version__,
            "Cassandra": scene.box.cassandra.version,
            scene.box.elasticsearch.engine.title: "",
            "Python": platform.python_version(),
        }
        outcome = Outcome(seed, minutes, versions, state_disk=scene.state_disk is not None)
        try:
            _run(scene, plan, outcome, rate=rate, say=say)
        except SceneError as error:
            outcome.problems.append(str(error))
        finally:
            kept = cache_directory() / f"torture-{outcome.seed}.log"
            if scene.daemon.output.exists():
                shutil.copy(scene.daemon.output, kept)
                outcome.problems.extend(_complaints(kept))
            say(f"the daemon's log is kept: {kept}")
    return outcome


def _run(scene: Scene, plan: Sequence[Fault], outcome: Outcome, *, rate: float, say: Say) -> None:
    scene.start()
    scene.wait(lambda: scene.status().get("state") == "running", "the daemon to run")
    load = Load(scene.session, Changes(scene.shapes), rate=rate, seed=outcome.seed)
    with Watch(scene) as watch:
        try:
            with load:
                _Director(scene, watch, outcome.events, say).carry_out(plan, outcome.minutes * 60)
                _sleep_until(watch, outcome.minutes * 60)
            say(f"load ended: {load.made:,} changes; waiting until nothing is left to do")
            began = time.monotonic()
            time.sleep(MOST_TTL + 2.0)  # until the last row has expired
            watch.end_probe()
            _settle(scene, watch, outcome)
            outcome.settled_after = time.monotonic() - began
            say(f"settled after {outcome.settled_after:.0f} s; comparing")
            outcome.compared = [compare(scene.session, scene.search_url, each) for each in (*scene.shapes, scene.probe)]
        finally:
            outcome.samples, outcome.accounts = watch.samples, list(watch.accounts.values())
            outcome.changes, outcome.largest_lag = load.made, watch.largest_lag
            outcome.failed, outcome.refused = dict(load.failed), dict(load.refused)
            outcome.problems += [f"the daemon ended by itself {each}" for each in watch.ended]
            outcome.problems += [f"the counters do not add up {each}" for each in watch.mistakes[:5]]
            outcome.problems += [
                f"{each.fault.kind} on {each.on}: {each.error}" for each in outcome.events if each.error
            ]


class _Director:
    """Begins each fault at its time, each in a thread, and measures when the daemon has caught up."""

    def __init__(self, scene: Scene, watch: Watch, events: list[Event], say: Say) -> None:
        self._scene = scene
        self._watch = watch
        self._events = events
        self._say = say
        self._faults = Faults(scene)
        self._active: list[tuple[Event, threading.Thread]] = []

    def carry_out(self, plan: Sequence[Fault], seconds: float) -> None:
        """Return when all faults have ended. What a slow machine has not begun after so many seconds is left out."""
        for fault in plan:
            _sleep_until(self._watch, fault.at)
            self._wait_for_others(fault)
            if self._watch.now > seconds:
                break
            event = Event(fault, began=self._watch.now)
            self._events.append(event)
            self._say(f"{event.began:5.0f} s  {fault.number:3}  {fault.kind}")
            thread = threading.Thread(target=self._apply, args=(event,), name=fault.kind)
            self._active.append((event, thread))
            thread.start()
        self._join(lambda _: True)

    def _wait_for_others(self, fault: Fault) -> None:
        """Wait for the faults that this one must not meet: of the same resource, and all if either stands alone."""

        def meets(other: Event) -> bool:
            kinds = (fault.kind, other.fault.kind)
            return (
                any(kind.startswith(ALONE) for kind in kinds) or len({kind.rpartition(".")[0] for kind in kinds}) == 1
            )

        self._join(meets)

    def _join(self, meets: Callable[[Event], bool]) -> None:
        for event, thread in self._active:
            if meets(event):
                thread.join()
        self._active = [(event, thread) for event, thread in self._active if thread.is_alive()]

    def _apply(self, event: Event) -> None:
        try:
            event.on = self._faults.apply(event.fault)
        except Exception as error:  # noqa: BLE001 -- any of them is a result of the run
            event.error = f"{type(error).__name__}: {error}"
            self._say(f"{self._watch.now:5.0f} s  {event.fault.number:3}  failed: {event.error}")
        event.ended = self._watch.now
        threading.Thread(target=self._measure, args=(event,), daemon=True).start()

    def _measure(self, event: Event) -> None:
        while self._watch.now - event.ended < SETTLING:
            status = self._scene.status()
            if self._watch.lag < CAUGHT_UP and self._is_complete(status):
                event.recovered = self._watch.now
                return
            time.sleep(0.25)

    def _is_complete(self, status: dict[str, Any]) -> bool:
        """Return whether the daemon runs and each alias has an index that takes writes."""
        if status.get("state") != "running" or troubles(status):
            return False
        try:
            found = request(self._scene.search_url, "GET", f"/_alias/{KEYSPACE}-*")
        except OSError:
            return False
        names = {alias for index in found.values() for alias in index["aliases"]}
        return names >= {alias_of(shape.name) for shape in (*self._scene.shapes, self._scene.probe)}


def troubles(status: dict[str, Any]) -> list[str]:
    """Return the aliases that take no writes."""
    return [index["alias"] for index in status.get("indices", ()) if index.get("trouble")]


def _settle(scene: Scene, watch: Watch, outcome: Outcome) -> None:
    """Return when nothing is left to do, also in a second look. Raises `SceneError`."""
    left: list[str] = ["the daemon answers"]
    until = time.monotonic() + SETTLING
    quiet = 0
    while quiet < 2:
        left = list(_left(scene, watch))
        quiet = 0 if left else quiet + 1
        if time.monotonic() > until:
            raise SceneError(f"not settled within {SETTLING:g} s: {', '.join(left)}")
        time.sleep(1.0)
    metrics = scene.get("/metrics", 30.0).decode()
    outcome.dead_letters = {"kept": int(_metric(metrics, "dead_letters_kept"))}


def _left(scene: Scene, watch: Watch) -> Iterator[str]:
    """Return what is left to do."""
    status = scene.status(30.0)
    try:
        metrics = scene.get("/metrics", 30.0).decode()
    except OSError:
        metrics = ""
    if status.get("state") != "running" or not metrics:
        yield f"the daemon is {status.get('state', 'silent')}"
        return
    if watch.lag > 0:
        yield f"the probe lags {watch.lag:.0f} s"
    yield from (f"{alias} takes no writes" for alias in troubles(status))
    if any(copy.get("state") != "done" for copy in status.get("first_copies", ())):
        yield "a first copy"
    for name in _MUST_BE_ZERO:
        if value := _metric(metrics, name):
            yield f"{name} {value:g}"


_MUST_BE_ZERO = (
    "spooled_keys",
    "suspect_documents",
    "reconcile_requests",
    "open_jobs",
    "expiries_waiting",
    "dependents_waiting",
)


def _metric(text: str, name: str) -> float:
    """Return the sum of a metric's samples."""
    lines = [line for line in text.splitlines() if line.startswith((f"cdc_daemon_{name} ", f"cdc_daemon_{name}{{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def _complaints(log: Path) -> Iterator[str]:
    """Return the lines of the daemon's log that must not be there."""
    seen = set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = {"event": "text", "text": line}
        name = str(event.get("event"))
        if name == "daemon.failed" or "Traceback" in line:
            short = line[-1500:]
            if (key := short[-300:]) not in seen:
                seen.add(key)
                yield f"the daemon's log has {name}: {short}"


def _sleep_until(watch: Watch, moment: float) -> None:
    while (left := moment - watch.now) > 0:
        time.sleep(min(left, 1.0))
