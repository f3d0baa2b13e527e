"""No logged value steers a terminal, forges a line, or reorders what a reader sees."""

from __future__ import annotations

import io
import json
import logging
from pathlib import PurePosixPath
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import LogSettings
from cdc_daemon.model.text import printable
from cdc_daemon.telemetry import logs

ATTACKS = {
    "\x1b]0;owned\x07": r"\x1b]0;owned\x07",
    "\x9b31m": r"\x9b31m",
    "a\u202eb\u2066c\u200fd\u061ce": r"a\u202eb\u2066c\u200fd\u061ce",
    "one\nlevel=info\rforged": r"one\nlevel=info\rforged",
    "\x7f\x85\u2028": r"\x7f\x85\u2028",
    "lone \ud800 surrogate": r"lone \ud800 surrogate",
}


def _fail(text: str) -> None:
    raise ValueError(text)


class Hostile:
    """An object whose text is an attack."""

    def __str__(self) -> str:
        return "\x1b[2J\u202e"

    __repr__ = __str__


def written(form: Any, *arguments: Any, **fields: Any) -> str:
    stream = io.StringIO()
    logs.configure(LogSettings(format=form), stream=stream)
    structlog.get_logger().warning(*arguments, **fields)
    stream.getvalue().encode()
    return stream.getvalue()


def assert_harmless(text: str) -> None:
    assert text == printable(text, keep="\n\t"), "something came through raw"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_values_are_escaped_wherever_they_stand(form: str, attack: str) -> None:
    shown = written(form, attack, path=attack, deep={"list": [attack, {attack: attack}]}, pair=(attack,), **{attack: 1})
    assert_harmless(shown)
    assert shown.count("\n") == 1


@pytest.mark.parametrize(("attack", "harmless"), ATTACKS.items())
def test_a_reader_of_json_finds_escapes_as_well(attack: str, harmless: str) -> None:
    line = json.loads(written("json", attack, path=attack, deep=[{attack: (attack,)}]))
    assert (line["event"], line["path"], line["deep"]) == (harmless, harmless, [{harmless: [harmless]}])


@pytest.mark.parametrize("form", ["json", "console"])
def test_other_objects_are_escaped(form: str) -> None:
    assert_harmless(written(form, "odd", value=Hostile(), values=[Hostile()], place=PurePosixPath("a\u202eb\x9b")))


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_text_of_an_error_is_escaped_and_its_traceback_keeps_its_lines(form: Any) -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format=form), stream=stream)
    try:
        _fail("\x1b[31m\u202e\x9b")
    except ValueError as error:
        structlog.get_logger().exception("broken", error=error)
        logging.getLogger("asyncio").warning("library \x1b[31m %s", "\x9b")
    shown = stream.getvalue()
    assert_harmless(shown)
    if form == "json":
        traceback = json.loads(shown.splitlines()[0])["exception"]
        assert traceback.splitlines()[0] == "Traceback (most recent call last):"
        assert traceback.endswith(r"ValueError: \x1b[31m\u202e\x9b")
    else:
        assert "\nTraceback (most recent call last):\n" in shown


def test_colours_of_our_own_stay() -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.configure(LogSettings(format="console"), stream=stream)
    structlog.get_logger().info("started", a="\x1b[31m")
    assert "\x1b[" in stream.getvalue()
    assert "\x1b[31mstarted" not in stream.getvalue()
    assert r"\x1b[31m" in stream.getvalue()


def test_numbers_and_plain_text_are_left_as_they_are() -> None:
    line = json.loads(written("json", "x", number=5, none=None, flag=True, text="Grüße, नमस्ते, 你好"))
    assert (line["number"], line["none"], line["flag"], line["text"]) == (5, None, True, "Grüße, नमस्ते, 你好")


@given(st.text())
def test_what_is_printable_stays(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    shown.encode()
    if text.isprintable():
        assert shown == text
    assert printable(text, keep="\n").count("\n") == text.count("\n")
