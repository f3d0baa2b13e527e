"""A request with the content of a file of ids: a job, whose failures name the wrong lines."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cdc_http import create_app
from tests.unit.http.asking import DOCUMENTED, ask, ask_json
from tests.unit.http.contract import schema_of
from tests.unit.http.fake import FakeDaemon, running


def of(content: Any, **more: Any) -> dict[str, Any]:
    return {"params": {}, "request": {"objectType": "batch", "file": content, **more}}


async def done(app: Any, path: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            report = await ask(app, "GET", path)
            if report.result["finished"] is not None:
                schema_of("JobAnswer").validate(report.json())
                return report.result
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('c1:b1\n{}\n\n{broken\n{"courseid": "c2", "batchid": "b2"}\nc1:b1\n', ["line 4", "line 2"]),
        ('["c1:b1",\n null,\n "c2:b2", {}]', ["line 2", "line 3"]),
    ],
)
async def test_the_valid_lines_are_done_and_the_others_named(tmp_path: Path, content: str, lines: list[str]) -> None:
    async with running(tmp_path) as daemon:
        app = create_app(daemon)
        body = of(content)
        schema_of("SyncRequest").validate(body)
        answer = await ask_json(app, body)
        assert answer.status == 202
        schema_of("JobAnswer").validate(answer.json())
        result = await done(app, answer.headers["location"])
        assert (result["state"], result["total"], result["settled"], result["failed"]) == ("done", 4, 4, 2)
        assert list(result["failures"]) == lines
        assert [key.partition_key for key in daemon.pipeline.asked] == [b"c1", b"c2"]


async def test_a_form_has_the_file_as_a_field(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        app = create_app(daemon)
        fields = {"params": "{}", "request[objectType]": "batch", "request[file]": "c1:b1\r\nc2:b2\r\n"}
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{each}\r\n' for name, each in fields.items()
        ]
        headers = {**DOCUMENTED, "Content-Type": "multipart/form-data; boundary=x"}
        answer = await ask(app, "POST", "/sync", headers=headers, body="".join([*parts, "--x--\r\n"]).encode())
        assert answer.status == 202
        assert (await done(app, answer.headers["location"]))["counts"]["indexed"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (of("c1:b1", objectIds=["c2:b2"]), "file"),
        (of("c1:b1", days=1), "days"),
        (of(""), "file"),
        (of("\n \n"), "file"),
        (of(7), "file"),
        (of(["c1:b1"]), "file"),
    ],
)
async def test_a_file_that_cannot_be_used(body: dict[str, Any], field: str) -> None:
    answer = await ask_json(create_app(FakeDaemon()), body)
    assert (answer.status, answer.result["field"]) == (400, field)
