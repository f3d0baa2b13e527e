"""The CRC-32 of entries: zlib's, or a compiled one that uses the processor's carry-less multiplication."""

from __future__ import annotations

from zlib import crc32

__all__ = ["crc32"]
