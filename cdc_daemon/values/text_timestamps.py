"""Timestamps in a text column, by a declared pattern and zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from cdc_daemon.model.errors import ConfigError

_TOKEN = re.compile(r"(?P<letters>([A-Za-z])\2*)|'(?P<quoted>(?:[^']|'')*)'|(?P<literal>[^A-Za-z']+|')")
_OFFSET = r"(?P<zone>[+-]\d{2}:?\d{2}|Z)"
_LETTERS = {
    "yyyy": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d{2})",
    "dd": r"(?P<day>\d{2})",
    "HH": r"(?P<hour>\d{2})",
    "mm": r"(?P<minute>\d{2})",
    "ss": r"(?P<second>\d{2})",
    "SSS": r"(?P<fraction>\d{3})",
    "SSSSSS": r"(?P<fraction>\d{6})",
    "Z": _OFFSET,
    "XX": _OFFSET,
    "XXX": _OFFSET,
}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000
"""Microseconds in a day."""


class TextTimestamps:
    """Parses and formats times by a pattern in the letters of Java's `SimpleDateFormat`, as Sunbird's services do.

    `zone` applies to patterns without one. `finest` is the smallest difference, in microseconds, that two texts can
    express. Raises `ConfigError` for unknown letters.
    """

    def __init__(self, pattern: str, zone: str = "UTC") -> None:
        self._zone = ZoneInfo(zone)
        self._parts: list[tuple[str, bool]] = []
        parts = []
        seen: list[str] = []
        for match in _TOKEN.finditer(pattern):
            letters = match["letters"]
            if letters is None:
                quoted = match["quoted"]
                literal = match["literal"] if quoted is None else quoted.replace("''", "'") or "'"
                self._parts.append((literal, False))
                parts.append(re.escape(literal))
            elif letters in _LETTERS and _name_of(letters) not in seen:
                seen.append(_name_of(letters))
                self._parts.append((letters, True))
                parts.append(_LETTERS[letters])
            else:
                raise ConfigError(
                    f"expected a moment's pattern, found {letters!r} in {pattern!r}",
                    hint=f"the letters are {', '.join(_LETTERS)}, each once; other text stands in single quotes",
                )
        if not {"year", "month", "day"} <= set(seen):
            raise ConfigError(
                f"expected a moment's pattern with year, month and day, found {pattern!r}",
                hint="such as yyyy-MM-dd HH:mm:ss:SSSZ",
            )
        self._expression = re.compile("".join(parts), re.ASCII)
        self.finest = next(
            size
            for name, size in (
                ("SSSSSS", 1),
                ("SSS", 1000),
                ("ss", 1_000_000),
                ("mm", 60_000_000),
                ("HH", 3_600_000_000),
                ("yyyy", _DAY),
            )
            if (name, True) in self._parts
        )

    def read(self, text: str) -> int | None:
        """Return the moment in microseconds since epoch, or None if the text does not match the pattern.

        When clocks are set back, an hour of local time occurs twice. The later one is returned, so that a change is
        checked twice rather than missed.
        """
        match = self._expression.fullmatch(text.strip())
        if match is None:
            return None
        found = match.groupdict()
        fraction = found.get("fraction") or ""
        try:
            local = datetime(
                int(found["year"]),
                int(found["month"]),
                int(found["day"]),
                int(found.get("hour") or 0),
                int(found.get("minute") or 0),
                int(found.get("second") or 0),
                int(fraction.ljust(6, "0")),
                tzinfo=_offset(found["zone"]) if found.get("zone") else self._zone,
            )
            # A local day may have more than 24 hours: a text for a whole day is represented by the end of the day.
            days = timedelta(days=self.finest // _DAY)
            moments = [((local + days).replace(fold=fold) - _BEGINNING - days) // _MICROSECOND for fold in (0, 1)]
        except (ValueError, OverflowError):
            return None
        return max(moments)

    def write(self, moment: int) -> str:
        """Format a moment, given in microseconds since epoch, in the pattern's zone; finer digits are truncated."""
        local = (_BEGINNING + timedelta(microseconds=moment)).astimezone(self._zone)
        return "".join([_spell(part, local) if letters else part for part, letters in self._parts])


def _name_of(letters: str) -> str:
    match = re.search(r"\?P<(\w+)>", _LETTERS[letters])
    assert match is not None
    return match[1]


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _spell(letters: str, local: datetime) -> str:
    match letters:
        case "yyyy":
            return f"{local.year:04}"
        case "SSS":
            return f"{local.microsecond // 1000:03}"
        case "SSSSSS":
            return f"{local.microsecond:06}"
        case "Z" | "XX":
            return local.strftime("%z")
        case "XXX":
            offset = local.strftime("%z")
            return f"{offset[:3]}:{offset[3:]}"
    directives = {"MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
    return local.strftime(directives[letters])
