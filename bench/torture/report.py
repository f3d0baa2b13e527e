"""The report of a run, as a page and as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.torture.picture import draw
from bench.torture.run import Event, Outcome
from bench.torture.watch import Account

MEGABYTE = 1_000_000


def plain(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as plain values."""
    return {**asdict(outcome), "equal": outcome.is_equal, "sum": asdict(total(outcome))}


def total(outcome: Outcome) -> Account:
    """Return the sum of the counters of all lives of the daemon, each up to its last answer."""
    summed = Account()
    for account in outcome.accounts:
        for name in ("decoded", "taken", "coalesced", "rows", "partitions", "forgotten", "pending"):
            setattr(summed, name, getattr(summed, name) + getattr(account, name))
        summed.outcomes = dict(Counter(summed.outcomes) + Counter(account.outcomes))
    return summed


def write(outcome: Outcome, page: Path) -> None:
    """Write the page, and its picture beside it."""
    picture = page.with_suffix(".svg")
    picture.write_text(draw_outcome(outcome), encoding="utf-8")
    page.write_text("\n".join(_page(outcome, picture.name)), encoding="utf-8")


def draw_outcome(outcome: Outcome) -> str:
    """Return the picture of a run."""
    alive = [sample for sample in outcome.samples if sample.resident]
    charts = (
        ("Lag of the probe, seconds", [(sample.at, sample.lag) for sample in outcome.samples]),
        ("Resident memory of the daemon, MB", [(sample.at, sample.resident / MEGABYTE) for sample in alive]),
        ("Open file descriptors of the daemon", [(sample.at, float(sample.descriptors)) for sample in alive]),
    )
    marks = [(event.began, event.ended) for event in outcome.events]
    return draw(f"Torture, seed {outcome.seed}: the red spans are faults", charts, marks)


def _page(outcome: Outcome, picture: str) -> Iterator[str]:
    yield "# Torture"
    yield ""
    yield "Written by `make torture`: real servers, a mixed load, and faults from a seeded plan. At the end each row is"
    yield "compared with its document, both ways, by a projection that shares no code with the daemon. The same seed"
    yield "gives the same plan (`python -m bench.torture --plan --seed N`). When a fault meets the load differs."
    yield ""
    yield f"**{'EQUAL' if outcome.is_equal else 'NOT EQUAL'}**: {outcome.minutes:g} minutes, seed {outcome.seed}."
    yield ""
    yield from _about(outcome)
    yield ""
    yield f"![Lag, memory and descriptors over time]({picture})"
    yield ""
    yield "## Rows and documents"
    yield ""
    yield "| table | rows | documents | missing | surplus | different |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in outcome.compared:
        counts = (each.rows, each.documents, len(each.missing), len(each.surplus), len(each.different))
        yield f"| {each.table} | {' | '.join(f'{count:,}' for count in counts)} |"
    yield ""
    yield from (f"- {problem.splitlines()[0]}" for problem in outcome.problems)
    yield from _sum(outcome)
    yield "## Faults"
    yield ""
    yield "The recovery time runs from the end of a fault until the lag of the probe is below a second and every index"
    yield "takes writes. A fault that begins meanwhile lengthens it."
    yield ""
    yield "| kind | times | recovery, median | recovery, longest |"
    yield "| --- | --- | --- | --- |"
    yield from _recoveries(outcome.events)
    yield ""


def _about(outcome: Outcome) -> Iterator[str]:
    yield f"- Versions: {', '.join(f'{name} {version}'.strip() for name, version in outcome.versions.items())}."
    lost = sum(outcome.failed.values())
    kinds = len({event.fault.kind for event in outcome.events})
    yield f"- {outcome.changes:,} changes were made; {lost:,} more failed, because Cassandra did not answer in time."
    yield f"- {len(outcome.events)} faults and changes of the schema, of {kinds} kinds."
    yield f"- The largest lag was {outcome.largest_lag:.1f} s."
    yield f"- {outcome.settled_after:.0f} s after the load, nothing was left to do."
    alive = [sample for sample in outcome.samples if sample.resident]
    if alive:
        yield (
            f"- Memory at most {max(each.resident for each in alive) / MEGABYTE:.0f} MB, "
            f"descriptors at most {max(each.descriptors for each in alive)}."
        )
    kept = outcome.dead_letters.get("kept", 0)
    yield f"- Dead letters at the end: {kept}."
    disk = "a file system of 24 MiB in memory" if outcome.state_disk else "a limit on the size of files (RLIMIT_FSIZE)"
    yield f"- The full disk is {disk}. Steps of the clock are not part of a run: they need libfaketime."


def _sum(outcome: Outcome) -> Iterator[str]:
    account = total(outcome)
    yield "## The accounting sum"
    yield ""
    yield f"Over {len(outcome.accounts)} lives of the daemon, each up to its last answer, and checked at each answer:"
    yield ""
    yield f"- {account.decoded:,} changes were decoded from the log. With rows of changed partitions, repairs and"
    yield f"  retries of dead letters, the pipeline took {account.taken:,} signals."
    yield (
        f"- {account.taken:,} taken = {account.coalesced:,} coalesced + {account.rows:,} rows + "
        f"{account.partitions:,} partitions + {account.forgotten:,} forgotten + {account.pending:,} pending at a kill."
    )
    outcomes = " + ".join(f"{count:,} {name.replace('_', '-')}" for name, count in sorted(account.outcomes.items()))
    yield f"- {account.rows:,} rows = {outcomes}."
    yield ""


def _recoveries(events: list[Event]) -> Iterator[str]:
    kinds: dict[str, list[float]] = {}
    for event in events:
        found = kinds.setdefault(event.fault.kind, [])
        if event.recovered is not None:
            found.append(event.recovered - event.ended)
    times = Counter(event.fault.kind for event in events)
    for kind, found in sorted(kinds.items()):
        shown = f"{median(found):.1f} s | {max(found):.1f} s" if found else "not before the end | "
        yield f"| {kind} | {times[kind]} | {shown} |"
