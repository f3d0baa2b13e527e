"""The two indices of an alias while it has two: the live one, and one that is being built or is kept for a rollback.

Elasticsearch itself stores that state in aliases, so every daemon sees the same state and no coordination is needed:

    user               the live index
    user-building      the index that will replace the live one
    user-kept          the previous live index
    user-dropping      an index that is about to be deleted
    user-behind        an index that lacks changes because writes to it failed
    INDEX-direct       a name of one index that no swap moves: writes to both indices use it

A change of aliases is atomic, so there is no intermediate state, even if a daemon is killed. Writes to both
indices use their `-direct` names: they reach both indices before, after and during a swap.
`require_alias` prevents a late write from creating a deleted index again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cdc_daemon.search.engine import Aliases


class Phase(StrEnum):
    """The purpose of the other index."""

    BUILDING = "building"
    """It is filled and receives writes, and will replace the live one."""

    KEPT = "kept"
    """It is the previous live index. It still receives writes and can be made live again."""

    DROPPING = "dropping"
    """It is about to be deleted."""


BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class AliasIndices:
    """The indices of one alias.

    `live` is the write index of the alias, None if there is no such alias. `shared` is true if the alias has
    more than one index. `other` is the second index with its `phase`. `behind` is true if the other one lacks
    changes. `both_written` is true if both receive writes.
    """

    alias: str
    live: str | None = None
    shared: bool = False
    other: str | None = None
    phase: Phase | None = None
    aliases: Mapping[str, Aliases] = field(default_factory=dict)

    @property
    def behind(self) -> bool:
        """Whether the other index lacks changes."""
        return self._has(self.other, marker(self.alias, BEHIND))

    @property
    def live_behind(self) -> bool:
        """Whether the live index lacks changes that it rejected just before it became live."""
        return self._has(self.live, marker(self.alias, BEHIND))

    @property
    def named(self) -> bool:
        """Whether the live index has its own name for writes."""
        return self.live is not None and self._has(self.live, direct(self.live))

    @property
    def both_written(self) -> bool:
        """Whether both indices receive writes."""
        return self.named and self.phase in {Phase.BUILDING, Phase.KEPT} and self.writable

    @property
    def writable(self) -> bool:
        """Whether the other index has its own name for writes."""
        return self.other is not None and self._has(self.other, direct(self.other))

    def is_marker(self, name: str) -> bool:
        """Return whether an alias stores this state."""
        markers = {marker(self.alias, phase) for phase in (*Phase, BEHIND)}
        return name in markers or name in {direct(index) for index in self.aliases}

    def plain(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "alias": self.alias,
            "live": self.live,
            "other": self.other,
            "phase": None if self.phase is None else self.phase.value,
            "written": self.both_written,
            "behind": self.behind,
        }

    def _has(self, index: str | None, name: str) -> bool:
        return index is not None and name in self.aliases.get(index, {})


def direct(index: str) -> str:
    """Return the alias that always points to this index, even after a swap."""
    return f"{index}-direct"


def marker(alias: str, what: str) -> str:
    """Return the alias that marks the role of an index for another alias."""
    return f"{alias}-{what}"


def alias_names(aliases: Iterable[str]) -> list[str]:
    """Return the names that cover all indices of these aliases."""
    return [name for alias in aliases for name in (alias, *(marker(alias, phase) for phase in Phase))]


def read_alias_indices(alias: str, indices: Mapping[str, Aliases]) -> AliasIndices:
    """Return the state of an alias, read from the aliases of indices.

    If one index is being built and another is about to be deleted, the one being built counts.
    """
    behind = {index: names[alias] for index, names in indices.items() if alias in names}
    live = write_index(behind)
    for phase in Phase:
        for index, names in sorted(indices.items()):
            if marker(alias, phase) in names and index != live:
                known = {each: indices[each] for each in (index, live) if each is not None}
                return AliasIndices(alias, live, len(behind) > 1, index, phase, known)
    known = {} if live is None else {live: indices[live]}
    return AliasIndices(alias, live, len(behind) > 1, aliases=known)


def write_index(behind: Aliases) -> str | None:
    """Return the write index of an alias, chosen as Elasticsearch does; None if it would reject writes."""
    flagged = [index for index, options in behind.items() if options.get("is_write_index") is True]
    if flagged:
        return flagged[0] if len(flagged) == 1 else None
    if len(behind) == 1:
        (only,) = behind
        return None if behind[only].get("is_write_index") is False else only
    return None


def following_names(alias: str, live: str, count: int = 100) -> Sequence[str]:
    """Return names for the index after this one: `user-000002` after `user-000001`."""
    match = re.fullmatch(r"(.+-)(\d{1,18})", live)
    stem, digits = match.groups() if match else (f"{alias.lower()}-", "000001")
    return [f"{stem}{int(digits) + more:0{len(digits)}}" for more in range(1, count + 1)]


def exchange_actions(indices: AliasIndices) -> list[dict[str, Any]]:
    """Return the alias actions that make the other index live and keep the live one, as one request.

    All other aliases of the live index move with their options. Elasticsearch applies all actions, or none if
    this state is out of date.
    """
    live, other, phase = indices.live, indices.other, indices.phase
    assert live is not None
    assert other is not None
    assert phase is not None
    actions: list[dict[str, Any]] = []
    for name, options in indices.aliases[live].items():
        if name == indices.alias or not indices.is_marker(name):
            written = {"is_write_index": True} if name == indices.alias else {}
            actions += [
                {"remove": {"index": live, "alias": name, "must_exist": True}},
                {"add": {"index": other, "alias": name, **options, **written}},
            ]
    actions += [
        {"remove": {"index": other, "alias": marker(indices.alias, phase), "must_exist": True}},
        {"add": {"index": live, "alias": marker(indices.alias, Phase.KEPT), "is_hidden": True}},
    ]
    if indices.behind:
        actions.append({"remove": {"index": other, "alias": marker(indices.alias, BEHIND), "must_exist": True}})
    if not indices.both_written:
        # Until every daemon has seen the change, the previous live index may miss changes written meanwhile.
        actions.append({"add": {"index": live, "alias": marker(indices.alias, BEHIND), "is_hidden": True}})
        actions += [{"add": {"index": each, "alias": direct(each), "is_hidden": True}} for each in (live, other)]
    return actions
