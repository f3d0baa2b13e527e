"""`_cdc.idx`: how far Cassandra has forced a segment to disk, and whether it is complete."""

from __future__ import annotations

from typing import NamedTuple


class CdcIndex(NamedTuple):
    """What an index file says.

    `offset` counts logical bytes of the segment that are durable (uncompressed, decrypted). After a crash
    Cassandra writes the file's length instead, so it is an upper bound, never a promise of data.
    """

    offset: int
    completed: bool


def parse_index(text: str | bytes) -> CdcIndex | None:
    """Read an index file's content; None where there is nothing to be read yet: read the file again.

    Cassandra rewrites the file by truncating it first (`CommitLogSegment.writeCDCIndexFile`), so an empty or
    a half-written content is ordinary. So is an offset cut short: an offset lower than one read before means
    "again" too, which only the caller can see.
    """
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    offset, newline, rest = text.partition("\n")
    if not (offset.isascii() and offset.isdigit()) or len(offset) > _DIGITS:
        return None
    if newline and rest.strip() != "COMPLETED":
        return None
    return CdcIndex(int(offset), bool(newline))


_DIGITS = 19
