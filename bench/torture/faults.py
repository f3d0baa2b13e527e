"""The faults themselves: each begins, lasts, and ends, so that the servers could be equal again."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.torture.comparison import request
from bench.torture.plan import Fault
from bench.torture.scene import PATIENCE, Scene, SceneError
from bench.torture.shapes import KEYSPACE, REKEYED, Shape, alias_of
from bench.torture.values import SIMPLE
from cdc_daemon.cli.client import DaemonClient
from cdc_daemon.cli.jobs import JobsClient
from cdc_daemon.model.errors import CdcError

ALONE = ("segment.", "state.", "index.alias_moved")
"""Kinds that no other fault overlaps: they prove something only of what the daemon could notice."""

HELD_ROWS = 10


class Faults:
    """Carries faults out, one at a time for each resource. `apply` returns when the fault has ended."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._added = 0

    def apply(self, fault: Fault) -> str:
        """Carry a fault out; return on what. Raises `SceneError` if it cannot end."""
        group, _, kind = fault.kind.partition(".")
        act: Callable[[str, Fault], str] = {
            "daemon": self._on_daemon,
            "cassandra": self._on_server,
            "search": self._on_server,
            "network": self._on_network,
            "index": self._on_index,
            "segment": self._on_segment,
            "state": self._on_state,
            "schema": self._on_schema,
        }[group]
        return act(kind, fault)

    def _on_daemon(self, kind: str, fault: Fault) -> str:
        scene = self._scene
        if kind == "pause":
            scene.expected = False
            scene.daemon.pause()
            time.sleep(fault.seconds)
            scene.daemon.resume()
            scene.expected = True
            return "the daemon"
        if kind == "kill":
            scene.kill()
            time.sleep(fault.seconds * fault.choice)
        else:
            scene.stop()
        scene.start()
        return "the daemon"

    def _on_server(self, kind: str, fault: Fault) -> str:
        box = self._scene.box
        server = box.cassandra if fault.kind.startswith("cassandra") else box.elasticsearch
        if kind == "pause":
            server.pause()
            time.sleep(fault.seconds)
            server.resume()
        else:
            server.kill() if kind == "kill" else server.stop()
            time.sleep(fault.seconds)
            server.start()
        server.wait_ready(240.0)
        return "Cassandra" if server is box.cassandra else "the search engine"

    def _on_network(self, kind: str, fault: Fault) -> str:
        server, way = kind.split(".")
        proxy = self._scene.proxies[server]
        proxy.begin(way, fault.choice)
        time.sleep(fault.seconds)
        proxy.end()
        return f"the way to {'Cassandra' if server == 'cassandra' else 'the search engine'}"

    def _on_index(self, kind: str, fault: Fault) -> str:
        shape = self._shape(fault)
        if kind == "mapping_conflict":
            self._conflict(shape, fault)
            return alias_of(shape.name)
        alias = alias_of(shape.name)
        index = self._index(alias)
        match kind:
            case "closed":
                self._search("POST", f"/{index}/_close")
                time.sleep(fault.seconds)
                self._search("POST", f"/{index}/_open")
            case "write_blocked":
                self._block(index, "write", fault.seconds)
            case "disk_full":
                self._block(index, "read_only_allow_delete", fault.seconds)
            case "deleted":
                self._search("DELETE", f"/{index}")
            case "alias_missing":
                self._actions({"remove": {"index": index, "alias": alias}})
                time.sleep(fault.seconds)
                if not self._indices(alias):
                    self._actions({"add": {"index": index, "alias": alias, "is_write_index": True}})
            case "alias_ambiguous":
                other = f"{index}-other"
                self._search("PUT", f"/{other}", {"settings": {"number_of_replicas": 0}})
                self._actions(
                    {"add": {"index": index, "alias": alias, "is_write_index": False}},
                    {"add": {"index": other, "alias": alias, "is_write_index": False}},
                )
                time.sleep(fault.seconds)
                self._search("DELETE", f"/{other}")
                self._actions({"add": {"index": index, "alias": alias, "is_write_index": True}})
            case _:
                self._move(shape, index, fault)
        return alias

    def _move(self, shape: Shape, index: str, fault: Fault) -> None:
        """Point the alias at a new, empty index with the same mapping, and reconcile, as an operator does."""
        alias = alias_of(shape.name)
        mapping = self._search("GET", f"/{index}/_mapping")[index]["mappings"]
        other = f"{alias}-moved-{fault.number}"
        settings = shape.declare()["settings"]
        self._search("PUT", f"/{other}", {"mappings": mapping, "settings": settings})
        self._actions(
            {"remove": {"index": index, "alias": alias}},
            {"add": {"index": other, "alias": alias, "is_write_index": True}},
        )
        self._search("DELETE", f"/{index}")
        time.sleep(fault.seconds)
        client = JobsClient(DaemonClient(f"http://127.0.0.1:{self._scene.port}", token=self._scene.token, patience=120))
        try:
            *_, job = client.follow(client.start("reconcile", {"types": [shape.name], "repair": True})["job"])
        except CdcError as error:
            raise SceneError(f"the reconcile of {shape.name} failed: {error}") from error
        if job["state"] != "done":
            raise SceneError(f"the reconcile of {shape.name} ended as {job['state']}: {job.get('error')}")

    def _conflict(self, shape: Shape, fault: Fault) -> None:
        """Give a field another type than its column has, until the index is deleted and built anew."""
        alias, name = alias_of(shape.name), self._new_name()
        index = self._index(alias)
        self._search("PUT", f"/{index}/_mapping", {"properties": {name: {"type": "integer"}}})
        self._scene.execute(f"ALTER TABLE {{ks}}.{shape.name} ADD {name} text")
        shape.values = {**shape.values, name: "text"}
        time.sleep(max(fault.seconds, 3.0))
        self._search("DELETE", f"/{index}")

    def _on_segment(self, kind: str, fault: Fault) -> str:
        scene, folder = self._scene, self._scene.box.cassandra.cdc_raw_directory
        if kind == "repeated":
            return self._repeat(folder, fault)
        scene.stop()
        try:
            before = set(_completed(folder))
            found = self._new_segments(folder, before, 4)
            chosen = found[len(found) // 2]
            if kind == "missing":
                for path in (chosen, _index_file(chosen)):
                    path.unlink(missing_ok=True)
            else:
                _damage(chosen, fault.choice)
        finally:
            scene.start()
        return chosen.name

    def _repeat(self, folder: Path, fault: Fault) -> str:
        """Put segments back that the daemon has read and deleted."""
        scene = self._scene
        kept = scene.box.directory / f"kept-{fault.number}"
        kept.mkdir()
        found = self._new_segments(folder, set(_completed(folder)), 2, keep=kept)
        scene.wait(lambda: not any(path.exists() for path in found), "the segments to be released")
        for path in sorted(kept.iterdir()):
            shutil.copy(path, folder / path.name)
        return ", ".join(path.name for path in found)

    def _new_segments(self, folder: Path, before: set[Path], count: int, *, keep: Path | None = None) -> list[Path]:
        """Make Cassandra complete so many segments; return them, oldest first. `keep` gets links to them."""
        found: set[Path] = set()

        def look() -> bool:
            for path in set(_completed(folder)) - before - found:
                try:
                    if keep is not None:
                        os.link(path, keep / path.name)
                        shutil.copy(_index_file(path), keep / _index_file(path).name)
                except FileNotFoundError:
                    continue
                found.add(path)
            return len(found) >= count

        until = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > until:
                raise SceneError(f"waited {PATIENCE:g} s for {count} completed segments, found {len(found)}")
            self._scene.complete_segment()
            for _ in range(60):  # the daemon deletes them soon after they are complete
                if look():
                    break
                time.sleep(0.02)
        return sorted(found)

    def _on_state(self, kind: str, fault: Fault) -> str:
        scene = self._scene
        if kind == "older":
            copy = scene.box.directory / f"state-{fault.number}"
            scene.stop()
            shutil.copytree(scene.state, copy)
            scene.start()
            time.sleep(fault.seconds)
            scene.complete_segment()
            time.sleep(fault.seconds)
            scene.stop()
            shutil.rmtree(scene.state)
            shutil.copytree(copy, scene.state)
            scene.start()
            return "the state directory"
        if scene.state_disk is None:
            scene.limit_files(0)
            time.sleep(fault.seconds)
            scene.limit_files(-1)
            return "files of the daemon (RLIMIT_FSIZE)"
        ballast = scene.state_disk / "ballast"
        _fill(ballast)
        time.sleep(fault.seconds)
        ballast.unlink()
        return "the state directory's disk"

    def _on_schema(self, kind: str, fault: Fault) -> str:
        scene, shape = self._scene, self._shape(fault)
        if kind == "truncate":
            scene.execute(f"TRUNCATE {{ks}}.{shape.name}")
        elif kind == "add_column":
            name = self._new_name()
            column_type = random.Random(fault.choice).choice(sorted(SIMPLE))  # noqa: S311 -- no secret
            scene.execute(f"ALTER TABLE {{ks}}.{shape.name} ADD {name} {column_type}")
            shape.values = {**shape.values, name: column_type}
        else:
            if kind == "rekey":
                shape = next(each for each in scene.shapes if each.name == REKEYED)
            scene.execute(f"DROP TABLE IF EXISTS {{ks}}.{shape.name}")
            time.sleep(fault.seconds * fault.choice)
            shape.values = dict(shape.first_values)
            if kind == "rekey":
                shape.key = dict(reversed(list(shape.key.items())))
                shape.primary = ", ".join(shape.key)
            scene.execute(shape.create().replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        return f"{KEYSPACE}.{shape.name}"

    def _shape(self, fault: Fault) -> Shape:
        return self._scene.shapes[int(fault.choice * len(self._scene.shapes))]

    def _new_name(self) -> str:
        self._added += 1
        return f"added{self._added}"

    def _index(self, alias: str) -> str:
        """Return the index behind an alias, as soon as there is one."""
        found = self._scene.wait(lambda: self._indices(alias), f"the index of {alias}")
        return str(found[0])

    def _indices(self, alias: str) -> list[str]:
        found = self._search("GET", f"/_alias/{alias}")
        return sorted(name for name in found if name not in ("error", "status"))

    def _block(self, index: str, block: str, seconds: float) -> None:
        self._search("PUT", f"/{index}/_settings", {f"index.blocks.{block}": True})
        time.sleep(seconds)
        self._search("PUT", f"/{index}/_settings", {f"index.blocks.{block}": None})

    def _actions(self, *actions: dict[str, Any]) -> None:
        self._search("POST", "/_aliases", {"actions": list(actions)})

    def _search(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request as soon as the search engine takes it."""
        last: list[OSError] = []

        def send() -> tuple[Any] | None:
            try:
                return (request(self._scene.search_url, method, path, body),)
            except OSError as error:
                if " answers 4" in str(error):
                    raise
                last[:] = [error]
                return None

        return self._scene.wait(send, f"the search engine to take {method} {path}", pause=0.5)[0]


def _completed(folder: Path) -> list[Path]:
    """Return the segments that Cassandra has completed."""
    found = []
    for index in folder.glob("*_cdc.idx"):
        try:
            if "COMPLETED" in index.read_text(encoding="ascii"):
                found.append(index.with_name(index.name.replace("_cdc.idx", ".log")))
        except FileNotFoundError:
            continue
    return sorted(found)


def _index_file(segment: Path) -> Path:
    return segment.with_name(segment.name.replace(".log", "_cdc.idx"))


def _damage(segment: Path, choice: float) -> None:
    """Overwrite some bytes in the middle of a segment: of a copy, as Cassandra's own segment is the same file."""
    copy = segment.with_name(f"damaged-{segment.name}")
    shutil.copy(segment, copy)
    with copy.open("r+b") as file:
        file.seek(int(copy.stat().st_size * (0.1 + 0.5 * choice)))
        file.write(b"\xa5" * 64)
    copy.rename(segment)


def _fill(ballast: Path) -> None:
    """Write until the file system is full."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 << 10))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
