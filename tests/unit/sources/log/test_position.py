from __future__ import annotations

from cdc_daemon.sources.log.position import START, Position


def test_positions_compare_in_the_order_of_the_log() -> None:
    positions = [Position(8, 0), Position(7, 100), START, Position(8, 5), Position(7, 0)]
    assert sorted(positions) == [START, Position(7, 0), Position(7, 100), Position(8, 0), Position(8, 5)]


def test_positions_are_printed_with_a_colon() -> None:
    assert str(Position(1795461419810, 28)) == "1795461419810:28"
