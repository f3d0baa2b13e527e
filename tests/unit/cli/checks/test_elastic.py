from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.cli.checks.elastic import check_elasticsearch, check_versions, judge_dependents
from cdc_daemon.config import ElasticsearchSettings
from cdc_daemon.search.index_swap import write_index
from cdc_daemon.search.searched_field import SearchedField


@pytest.mark.parametrize(
    ("versions", "status"),
    [
        (["8.19.4"], "ok"),
        (["9.0.0", "9.0.0"], "ok"),
        (["8.19.4", "9.1.0"], "ok"),
        (["7.17.0"], "fail"),
        (["8.19.4", "7.17.0"], "fail"),
        (["10.0.0"], "fail"),
        (["odd"], "fail"),
        (["²"], "fail"),
        (["8" * 5000], "fail"),
        ([], "warn"),
    ],
)
def test_versions(versions: list[str], status: str) -> None:
    assert check_versions(versions).status == status


@pytest.mark.parametrize(
    ("behind", "index"),
    [
        ({"a": {}}, "a"),
        ({"a": {"is_write_index": True}}, "a"),
        ({"a": {"is_write_index": False}}, None),
        ({"a": {}, "b": {}}, None),
        ({"a": {}, "b": {"is_write_index": True}}, "b"),
        ({"a": {"is_write_index": False}, "b": {"is_write_index": False}}, None),
    ],
)
def test_the_index_an_alias_writes_to(behind: dict[str, dict[str, Any]], index: str | None) -> None:
    assert write_index(behind) == index


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([SearchedField("a"), SearchedField("b.keyword")], "ok"),
        ([SearchedField("a"), SearchedField("b", by_words=True, problem="b: by words")], "warn"),
        ([SearchedField("c", problem="no c", answers=False), SearchedField("b", by_words=True, problem="b")], "fail"),
    ],
)
def test_fields_by_which_dependents_are_found(fields: list[SearchedField], status: str) -> None:
    finding = judge_dependents("user", fields)
    assert (finding.name, finding.status) == ("dependents.user", status)
    assert all(field.problem is None or field.problem in finding.found for field in fields)


@pytest.mark.parametrize(("scheme", "mend"), [("http", "https"), ("https", "ca_file")])
async def test_a_server_that_is_down_is_one_finding(unused_tcp_port: int, scheme: str, mend: str) -> None:
    options = ElasticsearchSettings(hosts=(f"{scheme}://127.0.0.1:{unused_tcp_port}",), request_timeout=1)
    (finding,) = await check_elasticsearch(options, {})
    assert finding.name == "elasticsearch.reachable"
    assert finding.status == "fail"
    assert mend in str(finding.mend)


async def test_a_certificate_file_that_is_none(tmp_path: Any) -> None:
    options = ElasticsearchSettings(hosts=("https://127.0.0.1:1",), ca_file=tmp_path / "absent.pem")
    (finding,) = await check_elasticsearch(options, {})
    assert finding.status == "fail"
    assert "PEM" in finding.found
