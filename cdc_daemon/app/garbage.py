"""Tunes Python's cyclic garbage collector so that it does not block the event loop.

A full collection visits every container object, about 0.2 µs each: tenths of a second with large requests
in flight. Reference counts free nearly all of the daemon's objects, so full collections may be rare.
"""

from __future__ import annotations

import gc
from typing import Final

_MEDIUM_BEFORE_FULL: Final = 1000
"""Collections of the second generation before a full one (10 by default)."""


def tune() -> None:
    """Make full collections rare, and exclude existing objects from them: modules, classes and functions."""
    gc.collect()
    gc.freeze()
    young, medium, _ = gc.get_threshold()
    gc.set_threshold(young, medium, _MEDIUM_BEFORE_FULL)
