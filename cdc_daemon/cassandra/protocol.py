"""Answers whose values cannot be decoded cost their query, not the connection."""

from __future__ import annotations

from typing import Any

from cassandra import DriverException
from cassandra.protocol import ProtocolHandler

_VALUE_FAILURE = "Failed decoding result column"
"""How the driver's parsers begin when a type refuses a value (`protocol.py` and `obj_parser.pyx`, driver 3.29)."""


class ForgivingProtocolHandler(ProtocolHandler):  # type: ignore[misc]
    """The driver's own handler, but for values that Python has no room for, such as a year beyond 9999.

    When decoding raises, the driver takes the connection for broken and closes it (`Connection.process_msg`): with
    it go all other queries on it, and the host counts as down. One such row would stop everything, again and again.
    An exception that is returned instead is set as the result of its query alone (`ResponseFuture._set_result`).
    Whatever else goes wrong while decoding still costs the connection, as its bytes may be out of step.
    """

    @classmethod
    def decode_message(cls, *arguments: Any) -> Any:
        """Decode a message, or return the failure to decode a value of it."""
        try:
            return super().decode_message(*arguments)
        except DriverException as error:
            if str(error).startswith(_VALUE_FAILURE):
                return error
            raise
