"""The changes that were left to other daemons: each keeps its receipt until its owner confirms it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.sources.ring.identity import ChangeIdentity


class LeftChange:
    """A change that another daemon should write.

    `nodes` are the replicas before this one, in the order in which they are asked; `step` is the place of the one that
    is asked now, since the time `since` (seconds of the loop's clock). `read_at` is when the change was read here.
    """

    __slots__ = ("identity", "nodes", "read_at", "receipt", "since", "step", "update")

    def __init__(
        self, update: KeyUpdate, identity: ChangeIdentity, nodes: Sequence[str], receipt: Receipt, now: float
    ) -> None:
        self.update = update
        self.identity = identity
        self.nodes = nodes
        self.receipt = receipt
        self.step = 0
        self.since = self.read_at = now


class LeftChanges:
    """The book of the changes that were left to others, by the node that is asked."""

    def __init__(self) -> None:
        self._asked: dict[str, list[LeftChange]] = defaultdict(list)
        self._count = 0

    def __len__(self) -> int:
        """Return the number of changes that are neither confirmed nor written here."""
        return self._count

    @property
    def nodes(self) -> list[str]:
        """The nodes to which changes were left."""
        return [node for node, changes in self._asked.items() if changes]

    def oldest(self) -> float | None:
        """Return when the oldest change was read here; None if there is none."""
        return min((each.read_at for changes in self._asked.values() for each in changes[:1]), default=None)

    def add(self, changes: Sequence[LeftChange]) -> None:
        """Hold the receipt of each change, and keep it until it is confirmed or written here."""
        for change in changes:
            change.receipt.hold()
            self._asked[change.nodes[0]].append(change)
        self._count += len(changes)

    def take(self, node: str) -> list[LeftChange]:
        """Return the changes for which a node is asked, oldest first. They still count until `settled`."""
        return self._asked.pop(node, [])

    def put_back(self, node: str, changes: Sequence[LeftChange]) -> None:
        """Keep changes that a node has not confirmed, before those that came in the meantime."""
        if changes:
            self._asked[node][:0] = changes

    def ask_next(self, change: LeftChange, now: float) -> bool:
        """Ask the next replica from now on; return False if this node is the next one."""
        change.step += 1
        change.since = now
        if change.step == len(change.nodes):
            return False
        self._asked[change.nodes[change.step]].append(change)
        return True

    def settled(self, changes: Iterable[LeftChange]) -> None:
        """Release the receipts of changes that are written."""
        for change in changes:
            self._count -= 1
            change.receipt.release()
