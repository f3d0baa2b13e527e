"""Changes of a table, as the simulations make them: the signal of each, and its effect on Cassandra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from cdc_daemon.model.signal import Clustering, Scope, Signal, TableName
from tests.simulation.servers import Cassandra

TABLE = TableName("keyspace", "table")
PARTITIONS = st.sampled_from([b"a", b"b"])
CLUSTERINGS = st.tuples(st.sampled_from([b"1", b"2"]), st.sampled_from([b"x", b"y"]))


@dataclass(frozen=True)
class Change:
    kind: str
    partition: bytes
    clustering: Clustering
    pause: float


CHANGES = st.builds(
    Change,
    kind=st.sampled_from(
        [
            *("write", "write", "write", "remove row", "remove prefix", "remove partition", "static"),
            *("sync row", "sync row", "sync partition", "truncate", "backfill", "backfill"),
        ]
    ),
    partition=PARTITIONS,
    clustering=CLUSTERINGS,
    pause=st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.06]),
)


def signal_of(change: Change, time: int) -> Signal:
    match change.kind:
        case "write":
            return Signal(TABLE, change.partition, Scope.ROW, change.clustering, written=time)
        case "remove row":
            return Signal(TABLE, change.partition, Scope.ROW, change.clustering, removed=time)
        case "remove prefix":
            return Signal(TABLE, change.partition, Scope.RANGE, change.clustering[:1], removed=time)
        case "remove partition":
            return Signal(TABLE, change.partition, Scope.PARTITION, removed=time)
        case _:
            return Signal(TABLE, change.partition, Scope.STATIC, written=time)


def is_logged(change: Change) -> bool:
    return not change.kind.startswith(("sync", "truncate", "backfill"))


def effect_of(change: Change, time: int, cassandra: Cassandra) -> Callable[[], None]:
    def apply() -> None:
        match change.kind:
            case "write":
                cassandra.write(change.partition, change.clustering, f"v{time}", time)
            case "remove row":
                cassandra.remove(change.partition, change.clustering, time)
            case "remove prefix":
                cassandra.remove(change.partition, change.clustering[:1], time)
            case "remove partition":
                cassandra.remove(change.partition, (), time)
                cassandra.remove_statics(change.partition, time)
            case _:
                cassandra.set_static(change.partition, f"s{time}", time)
        for look in cassandra.onlookers:
            look()

    return apply
