"""Without the extra `aws`."""

from __future__ import annotations

import sys

import pytest

from cdc_daemon.config import ElasticsearchSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.search import ElasticsearchOptions, make_engine
from cdc_daemon.search.engines.aws import AwsOptions, clock_error, refusal


async def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    options = ElasticsearchOptions(("http://127.0.0.1:9",), flavor="auto", aws=AwsOptions("eu-central-1"))
    with pytest.raises(ConfigError) as error:
        make_engine(options)
    assert error.value.hint == "pip install 'cdc-daemon[aws]'"


@pytest.mark.parametrize(
    "wrong",
    [
        {"aws": {"region": "Frankfurt"}},
        {"aws": {"region": "eu-central-1"}, "username": "u", "password": "p"},
        {"aws": {"region": "eu-central-1"}, "api_key": "k"},
        {"aws": {"region": "eu-central-1"}, "flavor": "elasticsearch"},
        {"aws": {}},
    ],
)
def test_a_configuration_that_is_wrong(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- pydantic's
        ElasticsearchSettings.model_validate(wrong)


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "ap-southeast-4", "cn-north-1"])
def test_regions(region: str) -> None:
    settings = ElasticsearchSettings.model_validate({"aws": {"region": region}})
    assert settings.aws is not None
    assert settings.aws.region == region


@pytest.mark.parametrize(
    ("status", "content"), [(200, b"{}"), (403, b"<html>"), (403, b"[]"), (403, b'{"error": {}}'), (500, b"{}")]
)
def test_what_others_answer_is_left_alone(status: int, content: bytes) -> None:
    assert refusal(status, {}, content) is None


@pytest.mark.parametrize("date", [None, "", "soon"])
def test_a_date_that_is_none(date: str | None) -> None:
    assert clock_error(date) is None
