"""A caller that disconnects before it is answered."""

from __future__ import annotations

from starlette.types import Receive


async def left(receive: Receive) -> None:
    """Wait until the caller closes the connection. The request's body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
