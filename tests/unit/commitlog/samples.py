"""Real segments and the expected output for each, from tests/data/commitlog."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cdc_daemon.commitlog.descriptor import read_descriptor
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.keystore import Keystore
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.section import Section, SectionReader

PASSWORD = "cassandra"
"""Opens the keystores that belong to the encrypted samples; they hold nothing but these samples' keys."""
DATA = Path(__file__).parents[2] / "data" / "commitlog"


@dataclass(frozen=True)
class Sample:
    """One folder of segments, with the schema and the output of Cassandra's own reader."""

    name: str
    segments: dict[str, bytes]
    schema: Schema
    expected: list[dict[str, Any]]
    keyring: Keyring | None


def names() -> list[str]:
    """The folders with expected output."""
    return sorted(path.parent.name for path in DATA.glob("*/expected.jsonl.gz"))


@cache
def load(name: str) -> Sample:
    folder = DATA / name
    segments = {
        path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.log.gz"))
    }
    packed = folder / "schema.json.gz"
    snapshot = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "schema.json").read_bytes()
    schema = Schema.from_rows(**json.loads(snapshot))
    lines = gzip.decompress((folder / "expected.jsonl.gz").read_bytes()).splitlines()
    keystore = folder / "keystore.jceks"
    keyring = Keystore(keystore.read_bytes(), PASSWORD) if keystore.exists() else None
    return Sample(name, segments, schema, [json.loads(line) for line in lines], keyring)


def sections(data: bytes, *, segment: str, position: int = 0, keyring: Keyring | None = None) -> Iterator[Section]:
    descriptor = read_descriptor(data, segment=segment)
    assert descriptor is not None
    reader = SectionReader(data, descriptor, segment=segment, position=position, keyring=keyring)
    while (section := reader.next()) is not None:
        yield section
