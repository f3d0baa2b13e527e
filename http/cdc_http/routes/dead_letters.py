"""Dead letters over HTTP: list, replay, drop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from cdc_daemon.sources.dead_letters.replay import MOST_AT_ONCE, ReplayedLetter, ReplayOutcome
from cdc_daemon.sources.dead_letters.reporting import dead_letter_as_json
from cdc_daemon.store.dead_letter_filter import KINDS, DeadLetterFilter
from cdc_http.access_log import note
from cdc_http.daemon_view import ControlView
from cdc_http.responses import RequestError
from cdc_http.routes.operators import read_flag, read_limit, read_parameter

_LARGEST = 2**63 - 1
_LATEST = 9e9
"""Seconds since 1970: the year 2255. Milliseconds given by mistake exceed it."""


async def list_dead_letters(request: Request, control: ControlView) -> Any:
    """Answer with the newest letters that match the query, and with the values they can be filtered by."""
    wanted, limit = _filter(request), read_limit(request, MOST_AT_ONCE)
    letters = await control.dead_letters(limit, wanted)
    total = await control.count_dead_letters(wanted)
    whole = replace(wanted, above=None, below=None)
    return {
        "dead_letters": [dead_letter_as_json(letter) for letter in letters],
        "total": total,
        "kinds": await control.count_dead_letters_by(replace(whole, kind=None), "kind"),
        "reasons": await control.count_dead_letters_by(replace(whole, reason=None), "reason"),
        "tables": await control.count_dead_letters_by(replace(whole, table=None), "table"),
    }


async def replay_dead_letters(request: Request, control: ControlView) -> Any:
    """Replay the oldest letters that match the query; with `dry_run` only return their number."""
    wanted, limit = _filter(request), read_limit(request, MOST_AT_ONCE)
    total = await control.count_dead_letters(wanted)
    if read_flag(request, "dry_run"):
        return {"total": total, "replayed": 0, "failed": 0, "waiting": 0, "letters": [], "next": None}
    replay = await control.replay(wanted, limit)
    return {
        "total": total,
        **{ending.value: replay.count(ending) for ending in ReplayOutcome},
        "letters": [_replayed_as_json(letter) for letter in replay.letters],
        "next": replay.letters[-1].id if replay.more else None,
    }


async def replay_dead_letter(request: Request, control: ControlView) -> Any:
    """Replay one letter."""
    identity = _identity(request)
    replayed = await control.replay_one(identity)
    if replayed is None:
        raise _unknown(identity)
    return _replayed_as_json(replayed)


async def drop_dead_letters(request: Request, control: ControlView) -> Any:
    """Delete the letters that match the query; with `dry_run` only return their number."""
    wanted = _filter(request)
    if wanted.is_everything != read_flag(request, "all"):
        raise RequestError(400, "", "all: expected a filter, or all=true, and not both")
    if read_flag(request, "dry_run"):
        return {"dropped": await control.count_dead_letters(wanted), "dry_run": True}
    dropped = await control.drop_dead_letters(wanted)
    note(request, dropped=dropped)
    return {"dropped": dropped, "dry_run": False}


async def drop_dead_letter(request: Request, control: ControlView) -> Any:
    """Delete one letter."""
    identity = _identity(request)
    if not await control.drop_dead_letter(identity):
        raise _unknown(identity)
    return {"dropped": identity}


def _replayed_as_json(letter: ReplayedLetter) -> Mapping[str, Any]:
    return {"id": letter.id, "outcome": letter.outcome.value, "reason": letter.reason, "message": letter.message}


def _filter(request: Request) -> DeadLetterFilter:
    kind = read_parameter(request, "kind")
    if kind not in {None, *KINDS}:
        raise RequestError(400, "", f"kind: expected one of {', '.join(KINDS)}")
    return DeadLetterFilter(
        kind=kind,
        reason=read_parameter(request, "reason"),
        table=read_parameter(request, "table"),
        before=_moment(request, "before"),
        since=_moment(request, "since"),
        above=_number(request, "above"),
        below=_number(request, "below"),
    )


def _moment(request: Request, name: str) -> int | None:
    given = read_parameter(request, name)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LATEST:
        raise RequestError(400, "", f"{name}: expected seconds since 1970, 0 to {_LATEST:.0f}")
    return int(seconds * 1e6)


def _number(request: Request, name: str) -> int | None:
    given = read_parameter(request, name)
    return None if given is None else _whole(name, given)


def _identity(request: Request) -> int:
    return _whole("id", str(request.path_params["id"]))


def _whole(name: str, given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 19 and int(given) <= _LARGEST):
        raise RequestError(400, "", f"{name}: expected the number of a letter")
    return int(given)


def _unknown(identity: int) -> RequestError:
    return RequestError(404, "", f"There is no dead letter {identity}.")
