"""Threads beside a block: they end with it, and their errors are not lost."""

from __future__ import annotations

import threading

import pytest

from sandbox.threads import BackgroundThreads, background


def test_the_work_runs_during_the_block_and_ends_with_it() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        began.set()
        stop.wait()
        ended.set()

    with background(work):
        assert began.wait(60)
        assert not ended.is_set()
    assert ended.is_set()


def fail(_stop: threading.Event) -> None:
    raise ValueError("broken work")


def test_an_error_of_the_work_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(ValueError, match="broken work"), background(fail):
        pass


def test_an_error_of_the_block_comes_first() -> None:
    with pytest.raises(KeyError), background(fail):
        raise KeyError("block")


def test_several_works_are_stopped_together_before_the_block_ends() -> None:
    counted: list[str] = []

    def count(name: str) -> None:
        threads.stopping.wait()
        counted.append(name)

    threads = BackgroundThreads({"a": lambda: count("a"), "b": lambda: count("b")})
    with threads:
        threads.stop()
        assert sorted(counted) == ["a", "b"]
    assert threads.broken == []


def test_a_stop_before_the_start_returns() -> None:
    BackgroundThreads({"a": lambda: None}).stop()
