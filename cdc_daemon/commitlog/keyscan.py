"""Where the hot modules are compiled, plain mutations are taken by `keyscan.pyx`; otherwise `keys` does it itself."""

from __future__ import annotations

from collections.abc import Callable

from cdc_daemon.commitlog.keyupdate import KeyUpdate
from cdc_daemon.commitlog.layout import TableLayout
from cdc_daemon.commitlog.section import Section

__all__ = ["scan_plain"]

scan_plain: Callable[[Section, int, dict[bytes, TableLayout], list[KeyUpdate], int | None], tuple[int, int]] | None
scan_plain = None
"""Takes the plain mutations of tables in the given layouts from a logical position on, at most as many as given.

It appends their updates, and returns how many they are and the position after them. Of everything else, damage
included, it takes nothing.
"""
