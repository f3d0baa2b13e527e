"""The two indices of an alias while it has two: the live one, and one that is being built or is kept for a rollback.

Elasticsearch itself holds that state, in aliases, so that every daemon sees the same and nothing has to be agreed upon:

    user               the live index
    user-building      the index that is to take its place
    user-kept          the index that was in its place
    user-dropping      an index that is about to be deleted
    user-behind        an index that lacks changes, as it could not be written
    INDEX-direct       an index by a name of its own that no swap moves: what both are written through

One change of aliases is atomic, so there is no state in between, whenever a daemon is killed. Whatever is written to
both indices goes by their `-direct` names: it reaches both whether the swap comes before it, after it or between the
two, and `require_alias` keeps a late write from making an index again that was deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Aliases = Mapping[str, Mapping[str, Any]]
"""The aliases of one index: name to options, as Elasticsearch tells them."""


class Phase(StrEnum):
    """What the other index is there for."""

    BUILDING = "building"
    """It is filled, and written to, and is to take the live one's place."""

    KEPT = "kept"
    """It was live, is written to all the same, and can take its place again."""

    DROPPING = "dropping"
    """It is about to be deleted."""


BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class IndexPair:
    """The indices of one alias.

    `live` is the index written to behind the alias, None where there is no such alias; `shared` tells that more than
    one index is behind it. `other` is the second index with its `phase`. `behind` tells that the other one lacks
    changes. `paired` tells that both are to be written to.
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
        """Whether the live index lacks changes that it refused just before it was put in place."""
        return self._has(self.live, marker(self.alias, BEHIND))

    @property
    def named(self) -> bool:
        """Whether the live index can be written to by a name of its own."""
        return self.live is not None and self._has(self.live, direct(self.live))

    @property
    def paired(self) -> bool:
        """Whether both indices are to be written to."""
        return self.named and self.phase in {Phase.BUILDING, Phase.KEPT} and self.writable

    @property
    def writable(self) -> bool:
        """Whether the other index can be written to by a name of its own."""
        return self.other is not None and self._has(self.other, direct(self.other))

    def is_own(self, name: str) -> bool:
        """Tell whether an alias is one of those that hold the state."""
        markers = {marker(self.alias, phase) for phase in (*Phase, BEHIND)}
        return name in markers or name in {direct(index) for index in self.aliases}

    def plain(self) -> dict[str, Any]:
        """Tell it in plain values."""
        return {
            "alias": self.alias,
            "live": self.live,
            "other": self.other,
            "phase": None if self.phase is None else self.phase.value,
            "written": self.paired,
            "behind": self.behind,
        }

    def _has(self, index: str | None, name: str) -> bool:
        return index is not None and name in self.aliases.get(index, {})


def direct(index: str) -> str:
    """Return the alias that leads to this index whatever is swapped."""
    return f"{index}-direct"


def marker(alias: str, what: str) -> str:
    """Return the alias that says what an index is to another alias."""
    return f"{alias}-{what}"


def asked_for(aliases: Iterable[str]) -> list[str]:
    """Return the names behind which all indices of these aliases are."""
    return [name for alias in aliases for name in (alias, *(marker(alias, phase) for phase in Phase))]


def read_pair(alias: str, indices: Mapping[str, Aliases]) -> IndexPair:
    """Read the state of an alias from the aliases of indices.

    Where an index was being built beside one that is to be dropped, the one that is built counts.
    """
    behind = {index: names[alias] for index, names in indices.items() if alias in names}
    live = write_index(behind)
    for phase in Phase:
        for index, names in sorted(indices.items()):
            if marker(alias, phase) in names and index != live:
                known = {each: indices[each] for each in (index, live) if each is not None}
                return IndexPair(alias, live, len(behind) > 1, index, phase, known)
    known = {} if live is None else {live: indices[live]}
    return IndexPair(alias, live, len(behind) > 1, aliases=known)


def write_index(behind: Aliases) -> str | None:
    """Choose the index that writes to an alias go to, as Elasticsearch does; None when it would refuse them."""
    flagged = [index for index, options in behind.items() if options.get("is_write_index") is True]
    if flagged:
        return flagged[0] if len(flagged) == 1 else None
    if len(behind) == 1:
        (only,) = behind
        return None if behind[only].get("is_write_index") is False else only
    return None


def following_names(alias: str, live: str, count: int = 100) -> Sequence[str]:
    """Return names for the index that comes after this one: `user-000002` after `user-000001`."""
    match = re.fullmatch(r"(.+-)(\d{1,18})", live)
    stem, digits = match.groups() if match else (f"{alias.lower()}-", "000001")
    return [f"{stem}{int(digits) + more:0{len(digits)}}" for more in range(1, count + 1)]


def exchange_actions(pair: IndexPair) -> list[dict[str, Any]]:
    """Return the one change of aliases that puts the other index in the live one's place, and keeps that.

    Every other alias of the live index goes along with its options. Elasticsearch does all of it or, where something
    is not any more as this state says, nothing.
    """
    live, other, phase = pair.live, pair.other, pair.phase
    assert live is not None
    assert other is not None
    assert phase is not None
    actions: list[dict[str, Any]] = []
    for name, options in pair.aliases[live].items():
        if name == pair.alias or not pair.is_own(name):
            written = {"is_write_index": True} if name == pair.alias else {}
            actions += [
                {"remove": {"index": live, "alias": name, "must_exist": True}},
                {"add": {"index": other, "alias": name, **options, **written}},
            ]
    actions += [
        {"remove": {"index": other, "alias": marker(pair.alias, phase), "must_exist": True}},
        {"add": {"index": live, "alias": marker(pair.alias, Phase.KEPT), "is_hidden": True}},
    ]
    if pair.behind:
        actions.append({"remove": {"index": other, "alias": marker(pair.alias, BEHIND), "must_exist": True}})
    if not pair.paired:
        # Until each daemon has seen the change, what was live may miss what is written meanwhile.
        actions.append({"add": {"index": live, "alias": marker(pair.alias, BEHIND), "is_hidden": True}})
        actions += [{"add": {"index": each, "alias": direct(each), "is_hidden": True}} for each in (live, other)]
    return actions
