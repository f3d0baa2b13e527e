"""A request for a job on whole tables, in plain values that can be stored."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange, parse_range

Kind = Literal["backfill", "reconcile"]
Origin = Literal["operator", "gap", "possible_gap", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job for the tables of some object types.

    `ranges` are the tokens to process, the whole ring where there are none, and `sample` is the random fraction of them
    that is processed, 0 to 1. `rate` limits the rows a second. A backfill with `dry_run` counts only; with `new_index`
    it fills a new index beside the live one, compares it with the rows, and swaps it in. A reconcile with `repair`
    repairs each difference, and then closes the `requests` for it.
    """

    kind: Kind
    types: tuple[str, ...]
    origin: Origin = "operator"
    ranges: tuple[TokenRange, ...] = ()
    rate: float | None = None
    dry_run: bool = False
    new_index: bool = False
    repair: bool = False
    sample: float = 1.0
    requests: tuple[int, ...] = ()

    @property
    def wanted(self) -> Sequence[TokenRange]:
        """The tokens to process, before a sample is taken of them."""
        return self.ranges or (WHOLE_RING,)

    def options(self) -> Mapping[str, Any]:
        """Return the options as plain values."""
        plain: dict[str, Any] = {"types": list(self.types), "ranges": [str(each) for each in self.ranges]}
        plain |= {"rate": self.rate}
        if self.kind == "backfill":
            return plain | {"dry_run": self.dry_run} | ({"new_index": True} if self.new_index else {})
        plain |= {"repair": self.repair, "sample": self.sample}
        return plain | {"requests": list(self.requests)} if self.requests else plain

    @classmethod
    def of(cls, kind: Kind, origin: Origin, options: Mapping[str, Any]) -> Self:
        """Return the request for `options`. Raises `ConfigError` for invalid ranges."""
        return cls(
            kind=kind,
            types=tuple(options["types"]),
            origin=origin,
            ranges=tuple(parse_range(each) for each in options.get("ranges") or ()),
            rate=options.get("rate"),
            dry_run=bool(options.get("dry_run", False)),
            new_index=bool(options.get("new_index", False)),
            repair=bool(options.get("repair", False)),
            sample=float(options.get("sample", 1.0)),
            requests=tuple(options.get("requests") or ()),
        )


def take_sample(token_range: TokenRange, part: float, chance: random.Random) -> TokenRange:
    """Return a randomly placed piece of a range that has this fraction of its tokens."""
    width = max(1, min(token_range.width, round(token_range.width * part)))
    first = token_range.first + chance.randint(0, token_range.width - width)
    return TokenRange(first, first + width)
