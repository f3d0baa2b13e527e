"""`_cdc.idx`: how much of a segment Cassandra has synced to disk, and whether it is complete."""

from __future__ import annotations

from typing import NamedTuple


class CdcIndex(NamedTuple):
    """The content of an index file.

    `offset` counts logical bytes of the segment that are durable (uncompressed, decrypted). After a crash
    Cassandra writes the file's length instead, so it is an upper bound, never a promise of data.
    """

    offset: int
    completed: bool


def parse_index(text: str | bytes) -> CdcIndex | None:
    """Parse an index file's content; None when it is incomplete: read the file again.

    Cassandra truncates the file before it rewrites it (`CommitLogSegment.writeCDCIndexFile`), so empty or half-written
    content is normal. So is a truncated offset: an offset lower than a previous one also means "read again", which
    only the caller can detect.
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
