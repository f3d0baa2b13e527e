"""How far polled tables were seen, across restarts."""

from __future__ import annotations

from pathlib import Path

from cdc_daemon.store import Store


def test_a_watermark_of_a_clock_that_was_ahead_is_put_right(tmp_path: Path) -> None:
    """If it stayed, nothing would tell after an outage how far the table was truly seen."""
    store = Store(tmp_path)
    assert store.watermarks.load("shop.orders") is None
    for moment in (5_000, 9_000, 6_000):
        store.watermarks.save("shop.orders", moment)
    store.watermarks.save("shop.users", 7_000)
    store.close()
    assert Store(tmp_path).watermarks.load("shop.orders") == 6_000
