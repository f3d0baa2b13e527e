"""Decoding a commit log: ours, key-first and fully, beside Cassandra's own reader on the same files."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from bench.figures import Figures
from cdc_daemon.cli.segment_tools.reading import SegmentReading
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.errors import CommitLogError
from sandbox import Sandbox
from sandbox.cassandra import CassandraNode
from sandbox.reader import reader_command

KEYSPACE = "bench"
TABLE = """
CREATE TABLE bench.user (
    id text PRIMARY KEY, channel text, countrycode text, createdby text, createddate text, email text,
    firstname text, lastname text, flagsvalue int, isdeleted boolean, maskedphone text, profiledetails text,
    rootorgid text, status int, updateddate text, username text
) WITH cdc = true
"""
"""Sixteen columns of Sunbird's user table: about 650 bytes a mutation."""

PORTION = 2000
"""Mutations decoded at once, so that memory does not depend on the section."""


@dataclass
class DecodeFigures:
    """Mutations a second of each reader, run by run, and the peak resident sizes in MiB."""

    mutations: int
    megabytes: float
    java: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    java_peak: float = 0.0
    python_peak: float = 0.0

    def rows(self) -> dict[str, Figures]:
        """Return every figure by its name."""
        size = self.megabytes / self.mutations
        return {
            "Cassandra's reader, mutations/s": Figures(self.java),
            "key-first, mutations/s": Figures(self.keys),
            "full, mutations/s": Figures(self.full),
            "Cassandra's reader, MB/s": Figures([value * size for value in self.java]),
            "key-first, MB/s": Figures([value * size for value in self.keys]),
            "full, MB/s": Figures([value * size for value in self.full]),
            "key-first / Cassandra's reader": Figures(_ratios(self.keys, self.java)),
            "full / Cassandra's reader": Figures(_ratios(self.full, self.java)),
            "Cassandra's reader, peak MiB": Figures([self.java_peak]),
            "ours, peak MiB": Figures([self.python_peak]),
        }


def measure(*, mutations: int, runs: int, say: Callable[[str], None]) -> DecodeFigures:
    """Write a log through a real server, then read it with each reader in alternation, warm, one thread each."""
    yaml = {"commitlog_segment_size": "32MiB", "commitlog_total_space": "4096MiB", "cdc_total_space": "4096MiB"}
    with Sandbox(elasticsearch=False, yaml=yaml, heap="1g") as box:
        with box.connect() as session:
            say(f"writing {mutations} mutations")
            write(session, mutations)
            schema = snapshot(session)
        node = box.cassandra
        segments = sorted(node.cdc_raw_directory.glob("*.log"))
        node.kill()
        segments = [path for path in segments if count_keys([path], schema)]
        figures = DecodeFigures(count_keys(segments, schema), sum(path.stat().st_size for path in segments) / 1e6)
        with java_reader(node, segments) as java:
            for number in range(runs + 2):  # the first two warm the JVM up
                took_java, found, figures.java_peak = java()
                took_keys, ours = timed(lambda: count_keys(segments, schema))
                took_full, fully = timed(lambda: count_updates(segments, schema))
                if not found == ours == fully:
                    raise RuntimeError(f"expected equal counts, found {found} by Cassandra, {ours} and {fully} by us")
                say(f"run {number}: {found / took_java:,.0f} {ours / took_keys:,.0f} {fully / took_full:,.0f}")
                if number >= 2:
                    figures.java.append(found / took_java)
                    figures.keys.append(ours / took_keys)
                    figures.full.append(fully / took_full)
        figures.python_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return figures


def write(session: Session, mutations: int) -> None:
    """Insert rows of about 650 bytes."""
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    session.execute(TABLE)
    columns = [column.strip().split()[0] for column in TABLE.split("(", 1)[1].rsplit(")", 1)[0].split(",")]
    marks = ", ".join("?" * len(columns))
    insert = session.prepare(f"INSERT INTO bench.user ({', '.join(columns)}) VALUES ({marks})")  # noqa: S608 - constants
    rows = (_row(number) for number in range(mutations))
    for success, result in execute_concurrent_with_args(session, insert, rows, concurrency=128, results_generator=True):
        if not success:
            raise result


def _row(number: int) -> tuple[object, ...]:
    name = f"{number:08d}"
    details = f'{{"profile":"{name * 12}","framework":{{"board":["{name}"]}}}}'
    return (
        f"5a587cc1-e018-4859-a0a8-{number:012d}", "dikshacustodian", "+91", f"creator-{name}",
        "2026-01-02 03:04:05:678+0000", f"{name * 4}@yopmail.com", f"First {name}", f"Last {name}", number % 8,
        number % 7 == 0, "******7890", details, "0126796199493140480", 1, "2026-02-03 04:05:06:789+0000",
        f"user_{name}",
    )  # fmt: skip


def snapshot(session: Session) -> Schema:
    """Return the schema as the readers need it."""
    return Schema.from_rows(
        **{
            table: [row._asdict() for row in session.execute(f"SELECT * FROM system_schema.{table}")]  # noqa: S608
            for table in ("tables", "columns", "types")
        }
    )


def count_keys(segments: Sequence[Path], schema: Schema) -> int:
    """Read every key; return the number of updates of the bench's keyspace."""
    wanted = {table.id for table in schema if table.keyspace == KEYSPACE}
    found = 0
    for path in segments:
        with SegmentReading(path) as reading:
            for section in reading.sections():
                position = 0
                while True:
                    batch = read_keys(
                        section, schema, segment=path.name, from_position=position, limit=PORTION, only=wanted
                    )
                    found += len(batch.updates)
                    if batch.end >= section.end or batch.end == position:
                        break
                    position = batch.end
    return found


def count_updates(segments: Sequence[Path], schema: Schema) -> int:
    """Decode everything; return the number of updates of the bench's keyspace."""
    problems: list[CommitLogError] = []
    found = 0
    for path in segments:
        with SegmentReading(path) as reading:
            for section in reading.sections():
                for update in read_updates(section, schema, segment=path.name, problems=problems):
                    found += update.table.keyspace == KEYSPACE
    return found


@contextmanager
def java_reader(node: CassandraNode, segments: Sequence[Path]) -> Iterator[Callable[[], tuple[float, int, float]]]:
    """Give a function that makes Cassandra's reader pass over the segments: seconds, updates, peak MiB."""
    command = reader_command(node, Path(__file__).with_name("CommitLogSpeed.java"))
    with subprocess.Popen(
        [*command, KEYSPACE, *map(str, segments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        answers = (line.split() for line in process.stdout if line.startswith(("ready", "pass")))
        if next(answers, None) is None:
            raise RuntimeError("Cassandra's reader did not start")

        def run() -> tuple[float, int, float]:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            answer = next(answers, None)
            if answer is None:
                raise RuntimeError("Cassandra's reader ended")
            return float(answer[1]), int(answer[2]), int(answer[3]) / 1024

        yield run
        process.stdin.close()


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """Return the seconds a work took, and what it returned."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]
