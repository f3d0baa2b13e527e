from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import LogSettings
from cdc_daemon.config.redaction import STARS, redact
from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.telemetry import logs

Lines = Callable[[], list[dict[str, Any]]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    logs.configure(LogSettings(format="json"), stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_json_lines(lines: Lines) -> None:
    structlog.get_logger().info("segment_released", segment="CommitLog-7-1.log", bytes=5)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "segment_released", "segment": "CommitLog-7-1.log", "bytes": 5}


def test_the_head_comes_first(stream: io.StringIO) -> None:
    logs.configure(LogSettings(format="json"), stream=stream)
    structlog.get_logger().info("started", a=1)
    assert list(json.loads(stream.getvalue())) == ["timestamp", "level", "event", "a"]


def test_less_severe_events_are_left_out(stream: io.StringIO) -> None:
    logs.configure(LogSettings(format="json", level="warning"), stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_auto_means_text_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        logs.configure(LogSettings(format="auto"), stream=stream)
        structlog.get_logger().info("started")
    assert json.loads(pipe.getvalue())["event"] == "started"
    assert "started" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_console_without_a_terminal_has_no_colours(stream: io.StringIO) -> None:
    logs.configure(LogSettings(format="console"), stream=stream)
    structlog.get_logger().info("started", a=1)
    assert "\x1b" not in stream.getvalue()
    assert "a=1" in stream.getvalue()


def test_our_errors_are_spread_into_fields(lines: Lines) -> None:
    error = ElasticsearchUnavailableError("expected an answer, found none", hint="is it up?", index="users")
    structlog.get_logger().warning("elasticsearch_unavailable", error=error)
    (line,) = lines()
    assert line["error"] == "expected an answer, found none"
    assert line["error_type"] == "ElasticsearchUnavailableError"
    assert line["hint"] == "is it up?"
    assert line["index"] == "users"


def test_other_errors_have_text_and_type(lines: Lines) -> None:
    structlog.get_logger().warning("odd", error=KeyError())
    (line,) = lines()
    assert line["error"] == line["error_type"] == "KeyError"


def test_a_traceback_without_values_of_variables(stream: io.StringIO) -> None:
    for form in ("json", "console"):
        logs.configure(LogSettings(format=form), stream=stream)
        try:
            _fail("hunter" + "2")
        except ValueError:
            structlog.get_logger().exception("broken")
    assert stream.getvalue().count("Traceback") == 2
    assert "hunter2" not in stream.getvalue()


def _fail(hidden: str) -> None:
    raise ValueError(len(hidden))


def test_libraries_come_through_from_warnings_on(lines: Lines) -> None:
    logging.getLogger("cassandra.cluster").info("not shown")
    logging.getLogger("cassandra.cluster").warning("Host %s is down", "10.0.0.1")
    (line,) = lines()
    assert line["event"] == "Host 10.0.0.1 is down"
    assert line["logger"] == "cassandra.cluster"
    assert line["level"] == "warning"


def test_a_librarys_traceback_is_one_field(lines: Lines) -> None:
    try:
        socket.create_connection(("127.0.0.1", 1), timeout=1)
    except OSError:
        logging.getLogger("cassandra.pool").warning("cannot connect", exc_info=True)
    (line,) = lines()
    assert line["error"] == "[Errno 111] Connection refused"
    assert line["error_type"] == "ConnectionRefusedError"
    assert "Traceback" not in json.dumps(line)


def test_a_library_does_not_repeat_itself(lines: Lines) -> None:
    for host in range(5):
        logging.getLogger("cassandra.pool").warning("cannot connect to %s", host)
    logging.getLogger("cassandra.pool").warning("something else")
    assert [line["event"] for line in lines()] == ["cannot connect to 0", "something else"]


def test_what_the_driver_logs_and_raises_is_left_to_who_catches_it(lines: Lines) -> None:
    logging.getLogger("cassandra.cluster").error("Error preparing query:")
    logging.getLogger("cassandra.cluster").error("another")
    assert [line["event"] for line in lines()] == ["another"]


def test_silenced_libraries_say_nothing(lines: Lines) -> None:
    logs.silence_libraries()
    logging.getLogger("cassandra.cluster").error("not shown")
    logging.getLogger("elastic_transport.node").error("not shown")
    assert lines() == []


def test_repeats_are_held_back_and_counted() -> None:
    now = [100.0]
    limit = logs.RateLimit(now=lambda: now[0])

    def tell(event: str = "unavailable", **fields: Any) -> dict[str, Any] | None:
        try:
            return dict(limit(None, "warning", {"event": event, "every": 10, **fields}))
        except structlog.DropEvent:
            return None

    assert tell() == {"event": "unavailable"}
    assert tell() is None
    assert tell() is None
    assert tell("other") == {"event": "other"}
    assert tell(every_key="k.t") == {"event": "unavailable"}
    now[0] += 10
    assert tell() == {"event": "unavailable", "repeats": 2}
    now[0] += 10
    assert tell() == {"event": "unavailable"}


def test_what_is_remembered_of_repeats_is_bounded() -> None:
    limit = logs.RateLimit()
    for number in range(5000):
        limit.admit((f"event {number}", None), 60)
    assert len(limit._seen) <= 1000


def test_events_without_a_limit_all_come_through() -> None:
    limit = logs.RateLimit()
    assert [limit(None, "info", {"event": "x"}) for _ in range(3)] == [{"event": "x"}] * 3


def test_the_second_guard(lines: Lines) -> None:
    structlog.get_logger().info(
        "connecting",
        password="hunter2",
        options={"api_key": "hunter2", "hosts": ["https://elastic:hunter2@es:9200/?auth_token=hunter2&pretty=true"]},
        Authorization="Bearer hunter2",
        token=-9223372036854775808,
        password_set=True,
        secret=None,
    )
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert line["password"] == STARS
    assert line["options"] == {"api_key": STARS, "hosts": [f"https://{STARS}@es:9200/?auth_token={STARS}&pretty=true"]}
    assert line["token"] == -9223372036854775808  # a token of Cassandra's ring is none of the other kind
    assert line["password_set"] is True
    assert line["secret"] is None


_secret_names = st.sampled_from(
    ["password", "PASSWORD", "db_passwd", "api_key", "apiKey", "access_token", "client_secret"]
)


@given(_secret_names, st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_secret_comes_through_however_deep(name: str, outer: object) -> None:
    shown = json.dumps(redact({"outer": [outer, {"inner": {name: "hunter2", "list": [{name: ["hunter2"]}]}}]}))
    assert "hunter2" not in shown or "hunter2" in json.dumps(outer)


def test_the_level_can_be_changed_while_it_runs(lines: Lines) -> None:
    made_before = structlog.get_logger("early")
    made_before.debug("hidden")
    logs.set_level("debug")
    made_before.debug("told")
    structlog.get_logger().debug("told.too")
    logs.set_level("error")
    made_before.warning("hidden")
    logging.getLogger("cassandra").warning("hidden")
    assert [line["event"] for line in lines()] == ["told", "told.too"]


class Failing(io.StringIO):
    """A stream that cannot be written for a while."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), ValueError("I/O on closed file")],
    ids=["reader gone", "disk full", "closed"],
)
def test_whoever_logs_does_not_fail_because_of_the_log(error: Exception) -> None:
    stream = Failing(error)
    logs.configure(LogSettings(format="json"), stream=stream)
    structlog.get_logger().warning("lost")
    logging.getLogger("cassandra").warning("lost too")
    stream.error = None
    structlog.get_logger().warning("kept")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["kept"]
