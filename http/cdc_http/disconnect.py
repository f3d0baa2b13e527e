"""A caller that goes away before it is answered."""

from __future__ import annotations

from starlette.types import Receive


async def left(receive: Receive) -> None:
    """Return when the caller has closed the connection. The request's body has to be read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
