from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from cdc_daemon.cassandra import identity
from cdc_daemon.cassandra.identity import identify_node
from cdc_daemon.cassandra.node import find_node, remember_node
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError

A, B, C = (str(UUID(int=number)) for number in (1, 2, 3))


class Ring:
    """A ring of three nodes, as the driver and the nodes themselves show it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.local = {"10.0.0.1"}
        self.hosts = [
            SimpleNamespace(host_id=UUID(node), address=address, endpoint=SimpleNamespace(address=address))
            for node, address in ((A, "10.0.0.1"), (B, "10.0.0.2"), (C, "10.0.0.3"))
        ]
        self.answers: dict[str, str] = {host.address: str(host.host_id) for host in self.hosts}
        metadata = SimpleNamespace(all_hosts=lambda: self.hosts)
        self.session: Any = SimpleNamespace(cluster=SimpleNamespace(metadata=metadata))
        monkeypatch.setattr(identity, "is_local", lambda address: address in self.local)
        monkeypatch.setattr(identity, "execute", self.execute)
        monkeypatch.setattr(identity, "_resolve", lambda name: frozenset({name} if name[0].isdigit() else ()))

    async def execute(self, _session: Any, _statement: Any, *, host: Any, **_options: Any) -> Sequence[Any]:
        if host.address not in self.answers:
            raise CassandraUnavailableError("the node is down")
        return [SimpleNamespace(host_id=UUID(self.answers[host.address]))]

    async def identify(self, *contact_points: str, remembered: str | None = None) -> str | None:
        host = await identify_node(self.session, contact_points or ("10.0.0.1", "cassandra"), remembered)
        return None if host is None else str(host.host_id)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    return Ring(monkeypatch)


async def test_the_node_at_an_address_of_this_machine_is_its_own(ring: Ring) -> None:
    assert await ring.identify() == A
    assert await ring.identify("10.0.0.2") == A


async def test_a_node_that_is_down_is_known_by_its_address(ring: Ring) -> None:
    del ring.answers["10.0.0.1"]
    assert await ring.identify() == A
    assert await ring.identify(remembered=A) == A


async def test_a_node_that_is_down_and_whose_pod_has_a_new_address_is_remembered(ring: Ring) -> None:
    ring.local = {"10.0.0.9"}
    assert await ring.identify("10.0.0.9", "cassandra", remembered=A) == A


async def test_without_any_evidence_no_node_is_its_own(ring: Ring) -> None:
    ring.local = {"10.0.0.9"}
    assert await ring.identify("10.0.0.9", "cassandra") is None
    assert await ring.identify("cassandra") is None


async def test_another_node_than_that_of_the_state_is_an_error(ring: Ring) -> None:
    with pytest.raises(ConfigError, match=f"expected the node {B}.*found the node {A}") as caught:
        await ring.identify(remembered=B)
    assert caught.value.hint is not None
    assert "state.directory" in caught.value.hint


async def test_the_node_itself_knows_better_than_an_old_view_of_the_ring(ring: Ring) -> None:
    ring.answers["10.0.0.1"] = C
    assert await ring.identify() == C
    with pytest.raises(ConfigError):
        await ring.identify(remembered=A)


async def test_the_first_contact_point_decides_among_nodes_of_one_machine(ring: Ring) -> None:
    ring.local = {"10.0.0.1", "10.0.0.2"}
    assert await ring.identify("10.0.0.2", "10.0.0.1") == B
    assert await ring.identify("10.0.0.3") is None
    assert await ring.identify("10.0.0.3", remembered=B) == B


async def test_in_another_container_than_the_node_the_first_contact_point_decides(ring: Ring) -> None:
    ring.local = {"10.0.0.9"}
    assert await ring.identify("10.0.0.3") == C


async def test_the_own_node_stays_while_the_ring_does_not_show_it(ring: Ring) -> None:
    own = ring.hosts[1]
    remember_node(ring.session, own)
    assert find_node(ring.session, ("10.0.0.1",)) is own
    del ring.hosts[1]
    assert find_node(ring.session, ("10.0.0.1",)) is own
