"""A protocol handler: a value that cannot be decoded fails only its query, not the connection."""

from __future__ import annotations

from typing import Any

from cassandra import DriverException
from cassandra.protocol import ProtocolHandler

_VALUE_FAILURE = "Failed decoding result column"
"""The start of the driver's error for a value that a type rejects (`protocol.py` and `obj_parser.pyx`, driver 3.29)."""


class ForgivingProtocolHandler(ProtocolHandler):  # type: ignore[misc]
    """The driver's own handler, except for values that Python cannot represent, such as a year beyond 9999.

    If decoding raises, the driver closes the connection as broken (`Connection.process_msg`). All other queries
    on it fail, and the host is marked down. One such row would stop everything, again and again.
    An exception that is returned instead becomes the result of its query alone (`ResponseFuture._set_result`).
    Any other decoding error still closes the connection, as its bytes may be out of step.
    """

    @classmethod
    def decode_message(cls, *arguments: Any) -> Any:
        """Decode a message, or return the error for a value that cannot be decoded."""
        try:
            return super().decode_message(*arguments)
        except DriverException as error:
            if str(error).startswith(_VALUE_FAILURE):
                return error
            raise
