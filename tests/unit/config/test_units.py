from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cdc_daemon.config.units import (
    DURATION_UNITS,
    SIZE_UNITS,
    ByteSize,
    Duration,
    DurationOrZero,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

durations = TypeAdapter(Duration)
sizes = TypeAdapter(ByteSize)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("2 s", 2.0),
        ("0s", 0.0),
        ("1d", 86400),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("512KiB", 524288), ("4MB", 4_000_000), ("64MiB", 67108864), ("1.5KiB", 1536), ("2 GiB", 2 << 30)],
)
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "s", "2", "2x", "2S", "-1s", "1m30s", "1e3s", "٢s", "2ss", "9999999999d", "NaNs"])
def test_what_is_no_duration_is_refused_with_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "KiB", "2", "2K", "64mib", "-1B", "1.5B", "9EiB", "99999999999TiB"])
def test_what_is_no_size_is_refused_with_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected"):
        parse_size(text)


@given(st.integers(0, 10**12).map(lambda microseconds: microseconds / 1e6))
def test_a_spelt_duration_reads_back_as_itself(seconds: float) -> None:
    if seconds <= 86400 * 3650:
        assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 2**63 - 1))
def test_a_spelt_size_reads_back_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 1000), st.sampled_from(sorted(DURATION_UNITS)))
def test_every_unit_of_time(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == float(number * DURATION_UNITS[unit])


@given(st.integers(1, 1000), st.sampled_from(sorted(SIZE_UNITS)))
def test_every_unit_of_size(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * SIZE_UNITS[unit]


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    assert _outcome(parse_duration, text).startswith(("expected", "at least zero"))


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    assert _outcome(parse_size, text).startswith(("expected", "at least zero"))


def _outcome(parse: Callable[[str], float], text: str) -> str:
    try:
        return "at least zero" if parse(text) >= 0 else "negative"
    except ValueError as error:
        return str(error)


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_a_plain_number_in_a_file_is_refused(number: float) -> None:
    for adapter in (durations, sizes):
        with pytest.raises(ValidationError):
            adapter.validate_python(number, context={})


def test_code_may_give_plain_numbers() -> None:
    assert durations.validate_python(2) == 2.0
    assert sizes.validate_python(512) == 512


@pytest.mark.parametrize("value", [True, None, [], b"2s"])
def test_other_values_are_refused_in_code_too(value: object) -> None:
    for adapter in (durations, sizes):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_zero_only_where_it_makes_sense() -> None:
    assert TypeAdapter(DurationOrZero).validate_python("0s") == 0
    with pytest.raises(ValidationError):
        durations.validate_python("0s")
    with pytest.raises(ValidationError):
        sizes.validate_python("0B")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.05, "50ms"), (10, "10s"), (90, "90s"), (3600, "1h"), (0.0005, "0.5ms")]
)
def test_spelling_of_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1023, "1023B"), (4 << 20, "4MiB"), (4_000_000, "4MB")])
def test_spelling_of_sizes(size: int, text: str) -> None:
    assert format_size(size) == text
