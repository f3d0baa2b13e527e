"""Damaged and truncated segments cause a clear error or end early. They never cause a wrong update."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_daemon.commitlog.descriptor import read_descriptor
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.markers import recover_descriptor
from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.section import SectionReader
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError, UnsupportedSegmentError
from tests.unit.commitlog.samples import load, sections
from tests.unit.commitlog.writer import segment

pytestmark = pytest.mark.slow

NAME = "CommitLog-7-1795461419811.log"
LARGEST = 300
EACH = 2
"""Bytes of a mutation, and mutations of a table, where every byte of a segment is tried."""

Read = tuple[list[KeyUpdate], list[PartitionUpdate], list[CommitLogError]]


def read_all(data: bytes) -> Read:
    """Read everything that is readable, as the tail does."""
    schema = load("cassandra-5.0").schema
    keys: list[KeyUpdate] = []
    updates: list[PartitionUpdate] = []
    problems: list[CommitLogError] = []
    try:
        descriptor = read_descriptor(data, segment=NAME)
    except UnsupportedSegmentError as error:
        return keys, updates, [error]
    except DamagedSegmentError as error:
        problems.append(error)
        descriptor = recover_descriptor(data, segment=NAME)
    if descriptor is None:
        return keys, updates, problems
    reader = SectionReader(data, descriptor, segment=NAME)
    for _ in range(10_000):
        try:
            section = reader.next()
        except DamagedSegmentError as error:
            problems.append(error)
            if reader.resynchronise() is None and not reader.has_rest:
                break
            continue
        if section is None:
            unread = reader.unread(len(data))
            if unread is None:
                break
            problems.append(unread)
            if reader.resynchronise() is None and not reader.has_rest:
                break
            continue
        batch = read_keys(section, schema, segment=NAME)
        keys += batch.updates
        problems += batch.problems
        updates += read_updates(section, schema, segment=NAME, problems=[])
    return keys, updates, problems


@cache
def real_segment() -> bytes:
    return load("cassandra-5.0").segments[NAME]


@cache
def small_segment() -> bytes:
    """Some small mutations of each table of the real segments, in four sections."""
    chosen: dict[bytes, list[bytes]] = {}
    for name, data in load("cassandra-5.0").segments.items():
        for section in sections(data, segment=name):
            for payload, _ in read_entries(section, segment=name, problems=[]):
                if payload[0] > 1 or load("cassandra-5.0").schema.get(payload[1:17]):
                    of_table = chosen.setdefault(payload[:17], [])
                    if len(payload) < LARGEST and len(of_table) < EACH:
                        of_table.append(payload)
    mutations = [payload for of_table in chosen.values() for payload in of_table]
    return segment([mutations[each::4] for each in range(4)], segment_id=1795461419811) + bytes(64)


@cache
def truth(data: bytes) -> Read:
    found = read_all(data)
    assert not found[2]
    return found


def check(data: bytes, whole: bytes) -> Read:
    keys, updates, problems = read_all(data)
    true_keys, true_updates, _ = truth(whole)
    assert all(any(update == true for true in true_keys) for update in keys)
    assert all(any(update == true for true in true_updates) for update in updates)
    return keys, updates, problems


def test_truncation_at_every_byte() -> None:
    whole = small_segment()
    complete = truth(whole)[0]
    assert len(complete) > 2
    for length in range(len(whole)):
        keys, updates, _ = read_all(whole[:length])
        assert keys == [key for key in complete if key.position <= length], "whole entries before the cut"
        assert len(updates) == len(keys)


def test_a_file_cut_short_in_what_is_durable_is_said() -> None:
    whole = real_segment()
    end = max(section.end for section in sections(whole, segment=NAME))
    for length in range(1000, end, 50_001):
        _, _, problems = check(whole[:length], whole)
        assert problems
        assert all(problem.where["segment"] == NAME for problem in problems)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flipped_bits(data: st.DataObject) -> None:
    whole = real_segment()
    end = max(section.end for section in sections(whole, segment=NAME))
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    keys, _, problems = check(bytes(broken), whole)
    assert problems or bytes(broken) == whole or len(keys) == len(truth(whole)[0])


def test_a_flipped_bit_in_every_byte_of_a_small_segment_is_noticed() -> None:
    whole = small_segment()
    complete = len(truth(whole)[0])
    for at in range(len(whole) - 72):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        keys, _, problems = read_all(bytes(broken))
        # A header whose length points past the end of the file counts as not written yet.
        assert problems or (at in {12, 13} and not keys)
        assert len(keys) <= complete


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_zeroed_pages(data: st.DataObject) -> None:
    whole = real_segment()
    end = max(section.end for section in sections(whole, segment=NAME))
    page = data.draw(st.integers(0, end // 4096 - 1)) * 4096
    length = 4096 * data.draw(st.integers(1, 4))
    broken = whole[:page] + bytes(length) + whole[page + length :]
    keys, _, problems = check(broken, whole)
    if page:
        assert problems
        before = [update for update in truth(whole)[0] if update.position <= page]
        assert keys[: len(before)] == before


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_garbage_after_a_good_header(noise: bytes) -> None:
    read_all(real_segment()[:20] + noise)


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_garbage_alone(noise: bytes) -> None:
    read_all(noise)
