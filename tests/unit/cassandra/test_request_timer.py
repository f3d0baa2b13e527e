"""Timers of requests: they run once, and an answered request is freed without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from cdc_daemon.cassandra.request_timer import RequestTimer


class DriverTimer:
    """A timer that stays in the driver's queue although it is cancelled."""

    def __init__(self, timeout: float, callback: Callable[[], None]) -> None:
        self.timeout = timeout
        self.callback = callback
        self.canceled = False

    def cancel(self) -> None:
        self.canceled = True


class Driver:
    def __init__(self) -> None:
        self.queue: list[DriverTimer] = []

    def create(self, timeout: float, callback: Callable[[], None]) -> DriverTimer:
        self.queue.append(DriverTimer(timeout, callback))
        return self.queue[-1]


class Request:
    """A request refers to its timer, and its timer to the request."""

    def __init__(self, driver: Driver) -> None:
        self.timeouts = 0
        self.timer = RequestTimer(driver.create, 10.0, self.time_out)

    def time_out(self) -> None:
        self.timeouts += 1


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collector")
def test_a_request_is_freed_once_its_timer_is_cancelled() -> None:
    driver = Driver()
    request = Request(driver)
    freed = weakref.ref(request)
    request.timer.cancel()
    del request
    assert freed() is None
    assert driver.queue[0].canceled


def test_the_timer_calls_its_request() -> None:
    driver = Driver()
    request = Request(driver)
    assert driver.queue[0].timeout == 10.0
    driver.queue[0].callback()
    assert request.timeouts == 1


def test_a_timer_that_fires_while_it_is_cancelled_calls_nothing() -> None:
    driver = Driver()
    request = Request(driver)
    request.timer.cancel()
    request.timer.cancel()
    driver.queue[0].callback()
    assert request.timeouts == 0
