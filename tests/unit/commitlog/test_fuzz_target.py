"""The fuzzer's target accepts its own seeds, and variations of them by Hypothesis."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.target import seeds, try_bytes


@cache
def some_seeds() -> list[bytes]:
    return list(seeds())[::97]


def test_the_seeds_hold() -> None:
    assert len(some_seeds()) > 5
    for seed in some_seeds():
        try_bytes(seed)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_garbled_seeds_hold(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(some_seeds())))
    for _ in range(data.draw(st.integers(1, 4))):
        seed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(seed)))
    try_bytes(bytes(seed[:cut]))
