from __future__ import annotations

import struct

import pytest
from cassandra import DriverException, ProtocolVersion
from cassandra.protocol import ResultMessage

from cdc_daemon.cassandra.session import ForgivingProtocolHandler

_ROWS = 2
_GLOBAL_TABLE = 1
_TIMESTAMP = 0x000B


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def result(milliseconds: int) -> bytes:
    """A result of one row with one timestamp (native protocol 5, section 4.2.5.2)."""
    return b"".join(
        [
            struct.pack(">iii", _ROWS, _GLOBAL_TABLE, 1),
            *map(text, ("keyspace", "table", "at")),
            struct.pack(">H", _TIMESTAMP),
            struct.pack(">iiq", 1, 8, milliseconds),
        ]
    )


def decode(body: bytes) -> object:
    return ForgivingProtocolHandler.decode_message(ProtocolVersion.V5, {}, 0, 0, ResultMessage.opcode, body, None, None)


def test_values_are_decoded() -> None:
    message = decode(result(0))
    assert isinstance(message, ResultMessage)
    ((moment,),) = message.parsed_rows
    assert moment.isoformat() == "1970-01-01T00:00:00"


@pytest.mark.parametrize("milliseconds", [10**15, -(10**15), 2**63 - 1, -(2**63)])
def test_a_value_that_python_has_no_room_for_is_the_query_s_failure_alone(milliseconds: int) -> None:
    answer = decode(result(milliseconds))
    assert isinstance(answer, DriverException)
    assert '"at" of type timestamp' in str(answer)


@pytest.mark.parametrize("end", [3, 10, 25])
def test_an_answer_that_cannot_be_read_still_costs_the_connection(end: int) -> None:
    with pytest.raises(Exception, match=r".*") as caught:
        decode(result(0)[:end])
    assert not str(caught.value).startswith("Failed decoding result column")
