"""The interface of callers that wait for keys: they receive each key's outcome and the cause of a delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.model.trouble import Trouble

if TYPE_CHECKING:
    from cdc_daemon.model.key import Key


class DocumentOutcome(NamedTuple):
    """The outcome of one document of a key. `alias` and `id` are empty if it could not be built.

    `existed` is false for a deletion that found nothing to delete.
    """

    alias: str
    id: str
    outcome: Outcome
    error_type: str | None = None
    reason: str | None = None
    existed: bool = True


class Watch(Protocol):
    """A caller that asked for keys and waits for each of them.

    Watched keys are urgent: they have their own workers and pass the pending limit. A `closed` watch
    waits no more; keys that nobody else needs are then removed.
    """

    @property
    def closed(self) -> bool:
        """Return whether nobody waits any more."""
        ...

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Record that a key is settled: read after the request, and its documents written or set aside.

        A partition is settled after each of its rows, which are reported as keys of their own; it has no documents.
        """
        ...

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Record that a key has to be retried."""
        ...

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        """Record that a key waits for aliases that take no writes: `troubles` holds the reasons by alias.

        `documents` are those under other aliases, which are settled. This watch gets no further calls for the key.
        """
        ...
