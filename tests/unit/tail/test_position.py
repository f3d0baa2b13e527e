from __future__ import annotations

from cdc_daemon.tail.position import START, Position


def test_positions_compare_in_the_order_of_the_log() -> None:
    in_order = [START, Position(7, 0), Position(7, 100), Position(8, 0), Position(8, 5)]
    assert sorted(in_order[::-1]) == in_order


def test_positions_are_printed_with_a_colon() -> None:
    assert str(Position(1795461419810, 28)) == "1795461419810:28"
