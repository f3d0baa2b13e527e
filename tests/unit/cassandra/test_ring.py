"""Ranges of tokens: none left out, none twice."""

from __future__ import annotations

import itertools
import uuid
from types import SimpleNamespace

import pytest
from cassandra.metadata import KeyspaceMetadata, Metadata
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cassandra.ring import (
    FEWEST_RANGES,
    LARGEST,
    PARTITIONS_PER_RANGE,
    SMALLEST,
    WHOLE_RING,
    Estimate,
    Ring,
    TokenRange,
    merge,
    overlap,
    parse_range,
    ranges_between,
    split,
)
from cdc_daemon.model.errors import ConfigError

tokens = st.integers(SMALLEST, LARGEST)


@st.composite
def ranges(draw: st.DrawFn) -> TokenRange:
    first, last = sorted(draw(st.lists(tokens, min_size=2, max_size=2, unique=True)))
    return TokenRange(first, last)


def assert_adjacent(pieces: list[TokenRange], whole: TokenRange) -> None:
    assert pieces[0].first == whole.first
    assert pieces[-1].last == whole.last
    assert all(one.last == other.first for one, other in itertools.pairwise(pieces))
    assert all(piece.first < piece.last for piece in pieces)


@given(st.lists(tokens, max_size=20))
def test_a_ring_is_covered_once(ring: list[int]) -> None:
    pieces = ranges_between(ring)
    assert_adjacent(pieces, WHOLE_RING)
    assert {piece.last for piece in pieces} == {*ring, LARGEST} - {SMALLEST}


@given(ranges(), st.integers(1, 100))
def test_a_split_range_is_covered_once(whole: TokenRange, pieces: int) -> None:
    parts = split(whole, pieces)
    assert_adjacent(parts, whole)
    assert len(parts) == min(pieces, whole.width)


@given(st.lists(ranges(), max_size=5), st.lists(ranges(), max_size=5), tokens)
def test_an_overlap_has_what_is_in_both(some: list[TokenRange], others: list[TokenRange], token: int) -> None:
    both = any(token in each for each in some) and any(token in each for each in others)
    assert sum(token in each for each in overlap(some, others)) == both
    assert sum(token in each for each in merge(some)) == any(token in each for each in some)


@given(ranges())
def test_a_range_reads_as_it_is_spelt(one: TokenRange) -> None:
    assert parse_range(str(one)) == one


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":1", "2:1", "1:1", "a:b", "1:2:3", f"0:{LARGEST + 1}", f"{SMALLEST - 1}:0"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ConfigError, match="FROM:TO"):
        parse_range(text)


def test_each_token_is_primarily_one_nodes_in_each_datacenter() -> None:
    metadata = Metadata()
    strategy = {"here": "2", "there": "1"}
    metadata.keyspaces = {"k": KeyspaceMetadata("k", True, "NetworkTopologyStrategy", strategy)}
    hosts = []
    for number in range(6):
        host = Host(f"127.0.0.{number + 1}", SimpleConvictionPolicy, host_id=uuid.uuid4())
        host.set_location_info("here" if number % 2 else "there", "rack")
        hosts.append(host)
    tokens_of = {
        host: [str(number * 10**17 - 3 * 10**18 + at) for number in range(60) if number % 6 == at]
        for at, host in enumerate(hosts)
    }
    metadata.rebuild_token_map("org.apache.cassandra.dht.Murmur3Partitioner", tokens_of)
    ring = Ring(SimpleNamespace(cluster=SimpleNamespace(metadata=metadata)))
    for datacenter in ("here", "there"):
        of_each = [ring.primary_of("k", host) for host in hosts if host.datacenter == datacenter]
        assert all(of_each)
        assert merge(each for several in of_each for each in several) == [WHOLE_RING]
        assert sum(each.width for several in of_each for each in several) == WHOLE_RING.width
    replicated = [ring.replicated_by("k", host) for host in hosts if host.datacenter == "here"]
    assert sum(each.width for several in replicated for each in several) == 2 * WHOLE_RING.width


def test_pieces_are_of_about_one_size() -> None:
    assert Estimate(0, 0).pieces(WHOLE_RING) == FEWEST_RANGES
    assert Estimate(100 * PARTITIONS_PER_RANGE, 100).pieces(WHOLE_RING) == 100
    assert Estimate(1000, 64 * 1024 * 1024).pieces(WHOLE_RING) == 1000
    assert Estimate(1e15, 1e6).pieces(WHOLE_RING) == 100_000
    assert Estimate(0, 0).pieces(TokenRange(0, 10)) == 1
