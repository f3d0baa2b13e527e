"""The owner's daemon knows which changes it has written: exactly those, for some minutes, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.sources.ring.identity import ChangeIdentity, identity_of, packed, unpacked
from cdc_daemon.sources.ring.noted import GENERATION_SECONDS, NotedChanges
from cdc_daemon.sources.ring.owned import ChangeState, OwnedChanges

WORDS = st.integers(0, 2**64 - 1)
IDENTITIES = st.builds(ChangeIdentity, WORDS, WORDS)
ONE, OTHER, THIRD = (identity_of(b"t" * 16, token, 1_700_000_000_000_000, 7) for token in (-5, 6, 7))


@given(st.lists(IDENTITIES))
def test_identities_are_read_as_they_were_sent(identities: list[ChangeIdentity]) -> None:
    assert list(unpacked(packed(identities))) == identities


def test_bytes_that_are_no_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="found 17 bytes"):
        unpacked(b"x" * 17)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**55), st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_another_checksum_time_key_or_table_is_another_change(token: int, time: int, checksum: int, more: int) -> None:
    identity = identity_of(b"a" * 16, token, time, checksum)
    assert all(0 <= word < 2**64 for word in identity)
    others = [
        identity_of(b"a" * 16, token, time, checksum ^ more),
        identity_of(b"a" * 16, token, time + more, checksum),
        identity_of(b"a" * 16, token ^ more, time, checksum),
        identity_of(b"a" * 15 + b"b", token, time, checksum),
    ]
    assert identity not in others


@given(st.lists(st.tuples(IDENTITIES, st.integers(1, 99)), max_size=200), IDENTITIES)
def test_each_noted_change_is_found_and_no_other(
    noted: list[tuple[ChangeIdentity, int]], other: ChangeIdentity
) -> None:
    changes = NotedChanges()
    for identity, sequence in noted:
        changes.note(identity, sequence)
    expected = dict(noted)
    assert {identity: changes.find(identity) for identity in expected} == expected
    assert changes.find(other) == expected.get(other, 0)


@pytest.mark.slow
def test_the_newest_changes_are_kept_and_the_table_does_not_grow() -> None:
    changes = NotedChanges(slots=1 << 14)
    identities = [ChangeIdentity(number * 0x9E3779B97F4A7C15 % 2**64, number) for number in range(100_000)]
    for sequence, identity in enumerate(identities, start=1):
        changes.note(identity, sequence)
    assert changes.size <= 2 * (1 << 14)
    assert all(changes.find(identity) for identity in identities[-8_000:])
    assert not any(changes.find(identity) for identity in identities[:50_000])
    assert 1 < changes.first <= 100_000 - 8_000


def test_old_changes_are_forgotten_after_two_generations() -> None:
    now = 0.0
    changes = NotedChanges(now=lambda: now)
    changes.note(ONE, 1)
    now = GENERATION_SECONDS
    changes.note(OTHER, 2)
    assert (changes.find(ONE), changes.find(OTHER)) == (1, 2)
    now = 2 * GENERATION_SECONDS
    changes.note(THIRD, 3)
    assert (changes.find(ONE), changes.find(OTHER), changes.find(THIRD)) == (0, 2, 3)
    assert changes.first == 2


def test_a_change_is_in_flight_until_the_receipt_of_its_portion_is_done() -> None:
    owned, done = OwnedChanges(state_id=b"s" * 16), []
    receipt = owned.open([ONE], lambda: done.append(1))
    receipt.hold()
    receipt.release()
    assert [owned.state(each) for each in (ONE, OTHER)] == [ChangeState.IN_FLIGHT, ChangeState.UNKNOWN]
    later = owned.open([OTHER], lambda: done.append(2))
    later.release()
    assert owned.answer(packed([ONE, OTHER, THIRD])) == b"s" * 16 + bytes(
        [ChangeState.IN_FLIGHT, ChangeState.SETTLED, ChangeState.UNKNOWN]
    )
    receipt.release()
    assert owned.state(ONE) is ChangeState.SETTLED
    assert done == [2, 1]


def test_a_change_that_is_read_again_is_in_flight_again() -> None:
    owned = OwnedChanges()
    owned.open([ONE], lambda: None).release()
    owned.open([ONE], lambda: None)
    assert owned.state(ONE) is ChangeState.IN_FLIGHT


def test_what_only_the_state_directory_holds_is_not_confirmed() -> None:
    stored = True
    owned = OwnedChanges(stores=lambda: stored)
    receipt = owned.open([ONE], lambda: None)
    receipt.stored = True
    receipt.release()
    assert owned.answer(packed([ONE]))[16:] == bytes([ChangeState.STORED])
    stored = False
    assert owned.answer(packed([ONE]))[16:] == bytes([ChangeState.SETTLED])


def test_the_others_process_the_change_of_a_dead_letter_themselves() -> None:
    owned = OwnedChanges()
    receipt = owned.open([ONE], lambda: None)
    receipt.stored = receipt.set_aside = True
    receipt.release()
    assert owned.answer(packed([ONE]))[16:] == bytes([ChangeState.UNKNOWN])


@pytest.mark.parametrize("mark", ["stored", "set_aside"])
def test_a_marked_portion_is_kept_as_long_as_its_changes_are_remembered(mark: str) -> None:
    now = 0.0
    owned = OwnedChanges(stores=lambda: True, now=lambda: now)
    receipt = owned.open([ONE], lambda: None)
    setattr(receipt, mark, True)
    receipt.release()
    marked = owned.state(ONE)
    assert marked is not ChangeState.SETTLED
    now = GENERATION_SECONDS
    owned.open([OTHER], lambda: None).release()
    assert owned.state(ONE) is marked
    now = 2 * GENERATION_SECONDS
    owned.open([THIRD], lambda: None).release()
    assert [owned.state(each) for each in (ONE, OTHER, THIRD)] == [
        ChangeState.UNKNOWN,
        ChangeState.SETTLED,
        ChangeState.SETTLED,
    ]
