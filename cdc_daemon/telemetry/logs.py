"""The daemon's log: events with stable names and fields, as JSON lines for machines or as text for people.

The daemon's events go through structlog. Library records of the standard `logging`, from level warning on, take
the same path. An event that may repeat has `every=SECONDS`: one is written per interval, and the next one has the
number of suppressed repeats in `repeats`.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cdc_daemon.config import LogSettings
from cdc_daemon.config.redaction import redact
from cdc_daemon.model.errors import CdcError
from cdc_daemon.model.text import printable

LIBRARIES = ("asyncio", "cassandra", "elastic_transport", "elasticsearch", "uvicorn", "watchfiles")
"""The loggers of libraries with warnings that are useful to an operator."""

_RAISED_TOO = ("cassandra.cluster", "Error preparing query:")
"""What the Cassandra driver logs as an error just before it raises it. The caller logs it, if it is one."""

_LIBRARY_REPEAT_SECONDS = 30.0
_MOST_EVENTS = 1000


def configure(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process; `stream` defaults to standard error."""
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    as_json = settings.format == "json" or (settings.format == "auto" and not stream.isatty())
    render = _json_renderer() if as_json else _console_renderer(colors=stream.isatty())
    stream = cast("TextIO", _Forgiving(stream))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        RateLimit(),
        describe_errors,
        redact_event,
    ]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                *shared[:3],
                _short_traceback,
                describe_errors,
                redact_event,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    handler.addFilter(lambda record: (record.name, record.msg) != _RAISED_TOO)
    handler.addFilter(_RepeatFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def set_level(level: str) -> None:
    """Set the minimum level of events to write, as named in the configuration."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))
    logging.getLogger().setLevel(max(number, logging.WARNING))


def quiet_logs() -> None:
    """Write the log of a command to standard error, warnings and errors only, and silence the libraries."""
    silence_libraries()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def silence_libraries() -> None:
    """Disable the logging of libraries, for commands that report errors themselves."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class _Forgiving(io.TextIOBase):
    """A stream that drops output it cannot write: its reader is gone, or its disk is full.

    Logging must never fail the caller.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


class RateLimit:
    """A processor that suppresses repeats of events with `every`, a number of seconds.

    Events are distinguished by name and, if given, by `every_key`.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: dict[tuple[str, Any], tuple[float, int]] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return the event with the number of repeats suppressed before it, or drop it."""
        seconds = event.pop("every", None)
        key = (str(event.get("event")), event.pop("every_key", None))
        if seconds is None:
            return event
        repeats = self.admit(key, seconds)
        if repeats is None:
            raise structlog.DropEvent
        if repeats:
            event["repeats"] = repeats
        return event

    def admit(self, key: tuple[str, Any], seconds: float) -> int | None:
        """Return the number of events suppressed before this one, or None if this one must be suppressed too."""
        now = self._now()
        if len(self._seen) >= _MOST_EVENTS:
            self._seen.clear()
        last, held = self._seen.get(key, (None, 0))
        if last is not None and now - last < seconds:
            self._seen[key] = (last, held + 1)
            return None
        self._seen[key] = (now, 0)
        return held


class _RepeatFilter(logging.Filter):
    """Suppresses repeated library messages. They are distinguished by their text before formatting."""

    def __init__(self) -> None:
        super().__init__()
        self._limit = RateLimit()

    def filter(self, record: logging.LogRecord) -> bool:
        return self._limit.admit((record.name, str(record.msg)), _LIBRARY_REPEAT_SECONDS) is not None


def describe_errors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Expand an exception in `error` into fields: its text, type, hint and place."""
    error = event.get("error")
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        event["error"] = str(error) or type(error).__name__
    if isinstance(error, CdcError):
        event["error"] = error.message
        if error.hint is not None:
            event["hint"] = error.hint
        for name, value in error.where.items():
            event.setdefault(name, value)
    return event


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask values that look like secrets with stars. No code should log a secret; this is a second safeguard."""
    return {name: redact(value, name) for name, value in event.items()}


def _short_traceback(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Reduce a library's traceback to its error; the calls inside the library are not useful."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord) and record.exc_info and (error := record.exc_info[1]) is not None:
        record.exc_info = record.exc_text = None
        event.pop("exc_info", None)
        event["error"] = error
    return event


def escape_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape terminal control, line breaks and text reordering in every name and every value, at any depth.

    It runs immediately before the renderer, so no value bypasses it. A traceback keeps its lines.
    """
    return {
        printable(name): printable(value, keep="\n\t") if name in _OF_SEVERAL_LINES else _escaped(value)
        for name, value in event.items()
    }


_OF_SEVERAL_LINES = frozenset({"exception", "stack"})
"""Fields that structlog generates from tracebacks."""


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    # The JSON renderer writes the object's `str`, the console renderer its `repr`.
    shown = str(value)
    return value if shown.isprintable() and repr(value).isprintable() else printable(shown)


def _json_renderer() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        escape_event,
        _head_first,
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    ]


def _head_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    head = {name: event[name] for name in ("timestamp", "level", "event") if name in event}
    return {**head, **event}


def _console_renderer(*, colors: bool) -> list[Processor]:
    # The traceback is formatted first, so that its text is escaped too. It is a plain one: richer ones show the values
    # of local variables, including secrets.
    return [
        structlog.processors.format_exc_info,
        escape_event,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]
