"""Placeholder for `keyscan.pyx`, which reads plain mutations when compiled; otherwise `keys` reads them itself."""

from __future__ import annotations

from collections.abc import Callable

from cdc_daemon.commitlog.keyupdate import KeyUpdate
from cdc_daemon.commitlog.layout import TableLayout
from cdc_daemon.commitlog.section import Section

__all__ = ["scan_plain"]

scan_plain: Callable[[Section, int, dict[bytes, TableLayout], list[KeyUpdate], int | None], tuple[int, int]] | None
scan_plain = None
"""Reads plain mutations of tables in the given layouts from a logical position on, up to the given number.

It appends their updates, and returns their number and the position after them. It reads nothing else and leaves
damage to the caller.
"""
