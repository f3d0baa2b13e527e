from __future__ import annotations

import asyncio

import pytest

from sandbox.demo.others import ORGANISATIONS, organisations
from sandbox.demo.renames import Renames
from tests.unit.demo.fakes import FakeSession, wait_until


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


async def test_each_organisation_gets_a_name_that_none_had_before(session: FakeSession) -> None:
    renames = Renames(session, every=0.001)
    running = asyncio.create_task(renames.run())
    await wait_until(lambda: renames.done > 2 * ORGANISATIONS)
    renames.stop()
    await running
    assert renames.done == len(session.executed)
    values = [values for _, values in session.executed]
    assert {identity for _, identity in values} == {identity for identity, *_ in organisations()}
    names = [name for name, _ in values]
    assert len(set(names)) == len(names)
    assert not {*names} & {name for _, name, *_ in organisations()}


async def test_it_ends_at_once(session: FakeSession) -> None:
    renames = Renames(session, every=3600)
    renames.stop()
    await asyncio.wait_for(renames.run(), 10)
    assert renames.done == 0


async def test_what_is_not_acknowledged_is_not_counted_and_others_follow(session: FakeSession) -> None:
    session.fail = True
    renames = Renames(session, every=0.001)
    running = asyncio.create_task(renames.run())
    await wait_until(lambda: len(session.executed) > 2)
    assert renames.done == 0
    session.fail = False
    await wait_until(lambda: renames.done > 0)
    renames.stop()
    await running
