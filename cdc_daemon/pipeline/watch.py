"""Who waits for keys: told of each what became of its documents, and of what holds it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.model.trouble import Trouble

if TYPE_CHECKING:
    from cdc_daemon.model.key import Key


class DocumentOutcome(NamedTuple):
    """What became of one document of a key. `alias` and `id` are empty where it could not even be built.

    `existed` is false of a deletion that found nothing to delete.
    """

    alias: str
    id: str
    outcome: Outcome
    error_type: str | None = None
    reason: str | None = None
    existed: bool = True


class Watch(Protocol):
    """Somebody who asked for keys and waits for each of them.

    What is watched is urgent: it has workers of its own and goes past the pending limit. A watch that is
    `closed` waits no more, and what nobody else wants is then forgotten.
    """

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Take note that a key is settled: read after it was asked for, and its documents written or set aside.

        A partition is settled after each of its rows, which are told as keys of their own; it has no documents.
        """
        ...

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Take note that a key has to be tried again."""
        ...

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        """Note that a key waits for aliases that take no writes: `troubles` tells why, by alias.

        `documents` are those under other aliases, which are settled. Nothing more is told of the key to this watch.
        """
        ...
