"""Fixtures for the commit-log reader: segments of real servers, and what Cassandra's own reader says of them."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import FAST_START, Sandbox
from sandbox.cassandra import CassandraNode
from sandbox.java import java_home
from sandbox.reader import reader_command
from tests.fixtures_maker.workload import KEYSPACE, Workload

DATA = Path(__file__).parents[1] / "data" / "commitlog"
ORACLE = Path(__file__).with_name("CommitLogOracle.java")
PASSWORD = "cassandra"
"""Of the keystores made here, which hold nothing but the fixtures' own keys."""
ALIAS = "fixtures:1"
COMPRESSORS = {
    "lz4": "LZ4Compressor",
    "snappy": "SnappyCompressor",
    "deflate": "DeflateCompressor",
    "zstd": "ZstdCompressor",
}


@dataclass(frozen=True)
class Combination:
    """One kind of segment: Cassandra's version, how it is written, and the segment version."""

    cassandra: str
    kind: str
    segment_version: int = 7

    @property
    def name(self) -> str:
        """The folder's name, such as `5.0-zstd` or `5.0-v8-encrypted`."""
        version = "-v8" if self.segment_version == 8 else ""
        return f"{self.cassandra}{version}-{self.kind}"

    def yaml(self, keystore: Path) -> dict[str, Any]:
        """The changes to cassandra.yaml."""
        changes: dict[str, Any] = {"commitlog_segment_size": "1MiB"}
        if self.segment_version == 8:
            changes["storage_compatibility_mode"] = "NONE"
        if self.kind in COMPRESSORS:
            changes["commitlog_compression"] = [{"class_name": COMPRESSORS[self.kind]}]
        if self.kind == "direct":
            changes["commitlog_disk_access_mode"] = "direct"
        if self.kind == "encrypted":
            changes["transparent_data_encryption_options"] = {
                "enabled": True,
                "chunk_length_kb": 64,
                "cipher": "AES/CBC/PKCS5Padding",
                "key_alias": ALIAS,
                "key_provider": [
                    {
                        "class_name": "org.apache.cassandra.security.JKSKeyProvider",
                        "parameters": [
                            {
                                "keystore": str(keystore),
                                "keystore_password": PASSWORD,
                                "store_type": "JCEKS",
                                "key_password": PASSWORD,
                            }
                        ],
                    }
                ],
            }
        return changes

    def sandbox(self, directory: Path, keystore: Path) -> Sandbox:
        """Return a Cassandra that writes such segments; where they are encrypted its keystore is made."""
        if self.kind == "encrypted":
            make_keystore(keystore)
        return Sandbox(
            cassandra=self.cassandra,
            elasticsearch=False,
            yaml=self.yaml(keystore),
            directory=directory,
            heap="512m",
            java_options=FAST_START,
            deadline=300,
        )


def combinations() -> Iterator[Combination]:
    """Yield every combination that is committed."""
    for kind in ("plain", "lz4", "snappy", "deflate", "encrypted"):  # 3.11 has no zstd
        yield Combination("3.11", kind, segment_version=6)
    for version in ("4.0", "4.1", "5.0"):
        for kind in ("plain", *COMPRESSORS, "encrypted"):
            yield Combination(version, kind)
    yield Combination("5.0", "direct")
    for kind in ("plain", *COMPRESSORS, "encrypted"):
        yield Combination("5.0", kind, segment_version=8)


def make(combination: Combination) -> int:
    """Generate the folder of one combination; return the number of partition updates in its answer sheet."""
    with tempfile.TemporaryDirectory(prefix="fixtures-") as scratch:
        work = Path(scratch)
        keystore = work / "keystore.jceks"
        box = combination.sandbox(work / "box", keystore)
        with box, box.connect() as session:
            Workload(combination.cassandra, far=combination.segment_version == 8).run(session)
            schema = snapshot(session)
            node = box.cassandra
            node.stop()  # forces everything to disk and completes the segments
        return keep(combination, node, schema, keystore)


def segments_with_cdc(node: CassandraNode) -> list[Path]:
    """Return the segments with CDC data of a node that is stopped.

    3.11 writes no index files: it moves a segment with CDC data to cdc_raw, at the latest when it stops.
    """
    if node.version.startswith("3."):
        return sorted(node.cdc_raw_directory.glob("*.log"))
    indexes = sorted(node.cdc_raw_directory.glob("*_cdc.idx"))
    return [path.with_name(path.name.replace("_cdc.idx", ".log")) for path in indexes]


def keep(combination: Combination, node: CassandraNode, schema: Mapping[str, Any], keystore: Path) -> int:
    """Write the combination's folder: segments that have CDC data, index files, schema, answers, keystore."""
    indexes = sorted(node.cdc_raw_directory.glob("*_cdc.idx"))
    segments = segments_with_cdc(node)
    answers = ask(node, segments)
    folder = DATA / combination.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index in indexes:
        shutil.copyfile(index, folder / index.name)
    for segment in segments:
        write_gzip(folder / f"{segment.name}.gz", segment.read_bytes())
    write_gzip(folder / "expected.jsonl.gz", answers)
    write_gzip(folder / "schema.json.gz", json.dumps(schema, sort_keys=True, default=plain).encode())
    if keystore.exists():
        shutil.copyfile(keystore, folder / keystore.name)
    return answers.count(b"\n")


def snapshot(session: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows of `system_schema` for the keyspace."""
    return {
        table: [
            row._asdict()
            for row in session.execute(f"SELECT * FROM system_schema.{table} WHERE keyspace_name = '{KEYSPACE}'")
        ]
        for table in ("keyspaces", "tables", "columns", "types", "dropped_columns")
    }


def plain(value: object) -> object:
    """A value of `system_schema` for JSON."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return sorted(map(str, value))
    return str(value)


def ask(node: CassandraNode, segments: list[Path], keyspace: str = KEYSPACE) -> bytes:
    """Run Cassandra's own reader over the segments of a node that is stopped."""
    command = reader_command(node, ORACLE)
    result = subprocess.run([*command, keyspace, *map(str, segments)], capture_output=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.decode(errors="replace"))
    return b"".join(line for line in result.stdout.splitlines(keepends=True) if line.startswith(b"{"))


def make_keystore(path: Path) -> None:
    """Make a JCEKS keystore with one AES key."""
    keytool = java_home() / "bin" / "keytool"
    subprocess.run(
        [keytool, "-genseckey", "-alias", ALIAS, "-keyalg", "AES", "-keysize", "128", "-storetype", "JCEKS",
         "-keystore", path, "-storepass", PASSWORD, "-keypass", PASSWORD],
        check=True, capture_output=True,
    )  # fmt: skip


def write_gzip(path: Path, data: bytes) -> None:
    """Write the same bytes for the same data, whenever."""
    path.write_bytes(gzip.compress(data, 9, mtime=0))
