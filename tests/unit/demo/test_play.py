from __future__ import annotations

import asyncio

import pytest

from sandbox.demo import play
from sandbox.demo.errors import DemoError
from sandbox.errors import SandboxError


async def test_what_takes_too_long_is_a_failure_that_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "DEADLINE", 0.01)

    with pytest.raises(DemoError, match="expected the daemon to drain within"):
        await play._in_time("drain", asyncio.sleep(60))


def test_our_own_error_is_told_and_not_the_group_around_it() -> None:
    ours, other = SandboxError("Elasticsearch did not start"), ValueError("else")

    assert play._foremost(ExceptionGroup("", [other, ours])) is ours
    group = ExceptionGroup("", [other])
    assert play._foremost(group) is group
