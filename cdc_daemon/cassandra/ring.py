"""The ring as token ranges: the whole ring, a node's part of it, and pieces of similar size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token

from cdc_daemon.cassandra.query import execute, prepare
from cdc_daemon.model.errors import CdcError, ConfigError
from cdc_daemon.model.signal import TableName

SMALLEST = -(2**63)
"""The value before every token: Murmur3Partitioner never assigns it to a key (`Murmur3Partitioner.normalize`)."""

LARGEST = 2**63 - 1

RING = LARGEST - SMALLEST
"""The number of tokens."""

PARTITIONS_PER_RANGE = 20_000
"""The approximate number of partitions in a piece: the maximum that a crash repeats."""

BYTES_PER_RANGE = 64 * 1024 * 1024
"""The approximate size of a piece in bytes, for large partitions."""

FEWEST_RANGES = 16
"""The minimum number of pieces of the whole ring, as the estimates exclude unflushed data."""

MOST_RANGES = 100_000

_ESTIMATES = (
    "SELECT range_start, range_end, mean_partition_size, partitions_count FROM system.size_estimates "
    "WHERE keyspace_name = ? AND table_name = ?"
)


class TokenRange(NamedTuple):
    """The tokens above `first` up to and including `last`; `first` is less than `last`."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"

    def __contains__(self, token: object) -> bool:
        return isinstance(token, int) and self.first < token <= self.last

    @property
    def width(self) -> int:
        """The number of tokens in the range."""
        return self.last - self.first


WHOLE_RING = TokenRange(SMALLEST, LARGEST)


def parse_range(text: str) -> TokenRange:
    """Parse `FROM:TO`, tokens above FROM up to and including TO. Raises `ConfigError`."""
    first, _, last = text.partition(":")
    try:
        found = TokenRange(int(first), int(last))
    except ValueError:
        found = TokenRange(0, 0)
    if not SMALLEST <= found.first < found.last <= LARGEST:
        raise ConfigError(f"expected tokens FROM:TO of -2^63 to 2^63-1, FROM less than TO, found {text!r}")
    return found


def ranges_between(tokens: Iterable[int]) -> list[TokenRange]:
    """Return the range that ends at each token of a ring, in order. The range that wraps around is split in two."""
    ends = sorted({*tokens, LARGEST})
    return [TokenRange(first, last) for first, last in itertools.pairwise([SMALLEST, *ends]) if first < last]


def overlap(ranges: Iterable[TokenRange], wanted: Iterable[TokenRange]) -> list[TokenRange]:
    """Return the intersection of `ranges` and `wanted`, in order and without duplicates."""
    chosen = merge(wanted)
    return [
        TokenRange(max(each.first, other.first), min(each.last, other.last))
        for each in merge(ranges)
        for other in chosen
        if max(each.first, other.first) < min(each.last, other.last)
    ]


def merge(ranges: Iterable[TokenRange]) -> list[TokenRange]:
    """Return the same tokens in the fewest possible ranges, in order."""
    merged: list[TokenRange] = []
    for each in sorted(ranges):
        if merged and each.first <= merged[-1].last:
            merged[-1] = TokenRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return merged


def split(token_range: TokenRange, pieces: int) -> list[TokenRange]:
    """Split a range into that many pieces of equal width, at most one per token."""
    pieces = max(1, min(pieces, token_range.width))
    cuts = [token_range.first + token_range.width * number // pieces for number in range(pieces + 1)]
    return [TokenRange(first, last) for first, last in itertools.pairwise(cuts)]


class Estimate(NamedTuple):
    """Cassandra's estimate for a table: the partitions of the whole ring, and the bytes of one."""

    partitions: float
    partition_bytes: float

    def pieces(self, token_range: TokenRange) -> int:
        """Return the number of pieces to split a range into."""
        share = token_range.width / RING
        by_partitions = self.partitions * share / PARTITIONS_PER_RANGE
        by_size = self.partitions * share * self.partition_bytes / BYTES_PER_RANGE
        return math.ceil(min(max(by_partitions, by_size, share * FEWEST_RANGES), share * MOST_RANGES))


class Ring:
    """The ring of the connected cluster. Its methods raise `CassandraUnavailableError`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pieces(self, table: TableName, wanted: Sequence[TokenRange] = (WHOLE_RING,)) -> list[TokenRange]:
        """Return the wanted tokens in pieces of similar size. All tokens of a piece have the same replicas."""
        estimate = await self.estimate(table)
        found = [each for owned in self._owned() for each in overlap([owned], wanted)]
        return [piece for each in found for piece in split(each, estimate.pieces(each))]

    def replicated_by(self, keyspace: str, host: Any) -> list[TokenRange]:
        """Return the tokens that a node replicates, its own and its neighbours'."""
        metadata = self._session.cluster.metadata
        return merge(
            each
            for each in self._owned()
            if metadata.token_map is None or host in metadata.token_map.get_replicas(keyspace, Murmur3Token(each.last))
        )

    def primary_of(self, keyspace: str, host: Any) -> list[TokenRange]:
        """Return the tokens for which a node is the first replica in its datacenter.

        The tokens of all nodes of the datacenter together are the ring.
        """
        metadata = self._session.cluster.metadata
        return merge(
            each
            for each in self._owned()
            if metadata.token_map is None
            or next(
                (
                    replica
                    for replica in metadata.token_map.get_replicas(keyspace, Murmur3Token(each.last))
                    if replica.datacenter == host.datacenter
                ),
                None,
            )
            is host
        )

    async def estimate(self, table: TableName) -> Estimate:
        """Return the estimate in `system.size_estimates` of the queried node, which is at most five minutes old."""
        try:
            statement = await prepare(self._session, _ESTIMATES)
            rows = await execute(self._session, statement.bind(table))
        except CdcError:
            rows = []
        width = sum((int(row.range_end) - int(row.range_start)) % 2**64 or 2**64 for row in rows)
        partitions = sum(row.partitions_count for row in rows)
        size = sum(row.partitions_count * row.mean_partition_size for row in rows)
        return Estimate(partitions * RING / width, size / partitions) if width and partitions else Estimate(0.0, 0.0)

    def _owned(self) -> list[TokenRange]:
        metadata = self._session.cluster.metadata
        partitioner = str(metadata.partitioner or "")
        if partitioner and not partitioner.endswith("Murmur3Partitioner"):
            raise ConfigError(
                f"expected a cluster with Murmur3Partitioner, found {partitioner}",
                hint="Amazon Keyspaces can change it for the account: UPDATE system.local SET "
                "partitioner = 'org.apache.cassandra.dht.Murmur3Partitioner' WHERE key = 'local'",
            )
        if metadata.token_map is None:
            return [WHOLE_RING]
        return ranges_between(token.value for token in metadata.token_map.ring)
