"""HTTP/1.1 as h11 parses it, with the checks of RFC 9112 that h11 leaves to the server.

A proxy between a caller and the daemon must not interpret a request differently from the daemon.
"""

from __future__ import annotations

import re
from typing import Any, Final

import h11

MAX_HEAD_BYTES: Final = 16 * 1024
"""Limit on the bytes of a request's line and headers."""

MAX_CHUNKS_PER_ROUND: Final = 64
"""Limit on the pieces of a body that are parsed in one iteration of the event loop. h11 needs 14 µs for each."""

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]+)([/?].*)?", re.IGNORECASE)
"""A target in absolute form (RFC 9112, 3.2.2), its authority, and the rest."""


class StrictH11(h11.Connection):
    """A server's side of a connection. `refusal` is the status for a request that could not be read.

    `held` is true when a round has parsed its maximum of pieces and there may be more. `begin_round` continues.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.refusal = 400
        self.held = False
        self._left = MAX_CHUNKS_PER_ROUND

    def begin_round(self) -> None:
        """Start a new round of reading."""
        self.held = False
        self._left = MAX_CHUNKS_PER_ROUND

    def next_event(self) -> Any:
        """Return the next event; a request has its target in origin form. Raises `h11.RemoteProtocolError`."""
        if not self._left:
            self.held = True
            return h11.NEED_DATA
        before = len(self.trailing_data[0]) if self.their_state is h11.IDLE else 0
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                return _checked(event, before - len(self.trailing_data[0]))
        except h11.RemoteProtocolError as error:
            self.refusal = error.error_status_hint
            raise
        if isinstance(event, h11.Data):
            self._left -= 1
        return event


def _checked(request: h11.Request, size: int) -> h11.Request:
    # h11 limits the bytes of an incomplete head only; a head that arrives at once is complete.
    if size > MAX_HEAD_BYTES:
        raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
    if not request.http_version.startswith(b"1."):
        raise h11.RemoteProtocolError("expected HTTP/1.0 or HTTP/1.1", error_status_hint=505)
    names = {name for name, _ in request.headers}
    # Two ways to determine where a body ends: the next server may use the other one (RFC 9112, 6.1).
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("expected one length of the body")
    if request.target.startswith(b"/") or request.target == b"*":
        return request
    found = _ABSOLUTE.fullmatch(request.target)
    if found is None:
        raise h11.RemoteProtocolError("expected a path or a URL")
    authority, rest = found[1], found[2] or b"/"
    others = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=rest if rest.startswith(b"/") else b"/" + rest,
        headers=[(b"host", authority), *others],
        http_version=request.http_version,
    )
