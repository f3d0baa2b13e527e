"""The heartbeat's table has to be shown."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from cdc_daemon.config import CassandraSettings, HttpSettings, Settings, SettingsError, load
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName

Load = Callable[..., Settings]


def test_defaults(load_text: Load) -> None:
    settings = load_text()
    assert settings.cassandra.contact_points == ("127.0.0.1",)
    assert settings.cassandra.consistency == "LOCAL_QUORUM"
    assert settings.cassandra.second_read_pause == 0.05
    assert settings.commit_log.follow_markers is True
    assert settings.elasticsearch.hosts == ("http://127.0.0.1:9200",)
    assert settings.elasticsearch.bulk_bytes == 4 * 1024 * 1024
    assert settings.pipeline.pending_limit == 50_000
    assert settings.http.listens
    user = settings.mappings["user"]
    assert user.table == TableName("sunbird", "user")
    assert user.index == "user_alias-000001"
    assert user.nulls == "keep"


def test_every_kind_of_value(load_changed: Load) -> None:
    settings = load_changed(
        cassandra__contact_points=["a", "b"],
        cassandra__request_timeout="1500ms",
        cassandra__consistency="ONE",
        elasticsearch__bulk_bytes="2MB",
        elasticsearch__hosts=["https://es.example.org:9200/path/"],
        http__port="0",
        commit_log__release="false",
        mappings__user__index="users-7",
        mappings__user__id="u-{userid}",
        mappings__user__fields={"firstname": "firstName"},
        mappings__user__include=["firstname", "id"],
    )
    assert settings.cassandra.contact_points == ("a", "b")
    assert settings.cassandra.request_timeout == 1.5
    assert settings.elasticsearch.bulk_bytes == 2_000_000
    assert settings.elasticsearch.hosts == ("https://es.example.org:9200/path",)
    assert settings.http.port == 0
    assert settings.commit_log.release is False
    assert settings.mappings["user"].index == "users-7"
    assert settings.mappings["user"].include == ("firstname", "id")


def test_settings_cannot_be_changed(load_text: Load) -> None:
    settings = load_text()
    with pytest.raises(ValidationError):
        settings.cassandra.port = 1
    with pytest.raises(ValidationError):
        settings.mappings["user"].alias = "x"


def test_relative_paths_start_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "commit_log: {cdc_raw_directory: raw}\n"
        "state: {directory: ~/state}\n"
        "cassandra: {tls: {enabled: true, ca_file: certs/ca.pem}}\n"
        "mappings: {user: {table: k.t, alias: a}}\n"
    )
    settings = load(file, environment={})
    assert settings.commit_log.cdc_raw_directory == tmp_path / "raw"
    assert settings.cassandra.tls.ca_file == tmp_path / "certs/ca.pem"
    assert settings.state.directory == Path.home() / "state"


@pytest.mark.parametrize(
    ("http", "listens"),
    [
        (HttpSettings(), True),
        (HttpSettings(port=0), True),
        (HttpSettings(port=None), False),
        (HttpSettings(enabled=False), False),
    ],
)
def test_http_can_be_switched_off(http: HttpSettings, listens: bool) -> None:
    assert http.listens is listens


def test_code_makes_settings_with_plain_numbers() -> None:
    assert CassandraSettings(request_timeout=0.5, keys_per_query=7).request_timeout == 0.5


def test_references_fill_values_of_every_type(load_text: Load, tmp_path: Path) -> None:
    settings = load_text(
        "cassandra: {port: '${PORT}', request_timeout: '${TIMEOUT:-3s}', username: '${ROLE:-}'}\n"
        "commit_log: {cdc_raw_directory: '${RAW}', release: '${RELEASE:-false}'}\n"
        "state: {directory: state}\n"
        "log: {level: '${LEVEL:-debug}'}\n"
        "mappings: {user: {table: '${TABLE}', alias: a}}\n",
        PORT="9999",
        RAW="/raw",
        TABLE="k.t",
    )
    assert settings.cassandra.port == 9999
    assert settings.cassandra.request_timeout == 3
    assert settings.cassandra.username is None
    assert settings.commit_log.release is False
    assert settings.log.level == "debug"
    assert settings.mappings["user"].table == TableName("k", "t")
    assert settings.state.directory == tmp_path / "state"


def test_redacted_shows_everything_but_secrets(load_changed: Load) -> None:
    settings = load_changed(
        cassandra__username="daemon", cassandra__password="hunter2", elasticsearch__api_key="aGVsbG8="
    )
    shown = settings.redacted()
    assert shown["cassandra"]["password"] == "**********"
    assert shown["elasticsearch"]["api_key"] == "**********"
    assert shown["cassandra"]["username"] == "daemon"
    assert shown["cassandra"]["request_timeout"] == "10s"
    assert shown["elasticsearch"]["bulk_bytes"] == "4MiB"
    assert shown["mappings"]["user"]["table"] == "sunbird.user"
    assert "hunter2" not in json.dumps(shown)
    assert "hunter2" not in repr(settings)
    assert settings.cassandra.password == SecretStr("hunter2")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load(tmp_path / "absent.yaml")
    assert caught.value.hint is not None
    assert str(tmp_path / "absent.yaml") in str(caught.value)


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path)


def test_a_file_of_other_bytes(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(file)


def test_the_environment_is_that_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_ALIAS", "from-process")
    file = tmp_path / "config.yaml"
    file.write_text(
        "commit_log: {cdc_raw_directory: raw}\nstate: {directory: s}\n"
        "mappings: {user: {table: k.t, alias: '${CDC_TEST_ALIAS}'}}\n"
    )
    assert load(file).mappings["user"].alias == "from-process"


def test_the_error_can_be_pickled(fail_text: Callable[..., SettingsError]) -> None:
    error = fail_text("extra: 1\nother: 2\n")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.mistakes == error.mistakes
    assert again.where == error.where


def test_the_two_ports_differ() -> None:
    assert HttpSettings(health_port=9809).health_port == 9809
    assert HttpSettings(port=0, health_port=0).health_port == 0
    with pytest.raises(ValidationError, match=r"a port other than http\.port, found 8080 for both"):
        HttpSettings(health_port=8080)


def test_one_body_fits_into_the_room_for_all() -> None:
    assert HttpSettings().most_body_bytes == 64 * 1024**2
    assert HttpSettings.model_validate({"max_body": "1MiB"}).most_body_bytes == 16 * 1024**2
    assert HttpSettings.model_validate({"max_body": "1MiB", "max_bodies": "1MiB"}).most_body_bytes == 1024**2
    with pytest.raises(ValidationError, match=r"at least http\.max_body"):
        HttpSettings.model_validate({"max_body": "2MiB", "max_bodies": "1MiB"})


def with_heartbeat(tmp_path: Path, **heartbeat: Any) -> Settings:
    return Settings.model_validate({
        "commit_log": {"cdc_raw_directory": tmp_path},
        "state": {"directory": tmp_path},
        "heartbeat": heartbeat,
        "mappings": {"beat": {"table": "ops.heartbeat", "alias": "beat"}},
    })  # fmt: skip


def test_it_is_off_by_default(tmp_path: Path) -> None:
    assert with_heartbeat(tmp_path).heartbeat.table is None


def test_a_mapped_table_may_be_its(tmp_path: Path) -> None:
    found = with_heartbeat(tmp_path, table="ops.heartbeat", every="5s").heartbeat
    assert (str(found.table), found.every) == ("ops.heartbeat", 5.0)


def test_a_table_that_is_not_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"expected a mapping for heartbeat\.table, ops\.other"):
        with_heartbeat(tmp_path, table="ops.other")


def polled(table: str = "sunbird.user", **deletes: Any) -> list[dict[str, Any]]:
    return [{"table": table, "strategy": "scan", "deletes": deletes}]


def test_a_polled_table_is_searched_for_removed_rows(load_changed: Load) -> None:
    (settings,) = load_changed(poll=polled()).poll
    assert settings.deletes is not None
    assert (settings.deletes.every, settings.deletes.rate) == (3600.0, 5000)
    (settings,) = load_changed(poll=polled(every="10m", rate=100)).poll
    assert settings.deletes is not None
    assert (settings.deletes.every, settings.deletes.rate) == (600.0, 100)
    (settings,) = load_changed(poll=[{"table": "sunbird.user", "strategy": "scan"}]).poll
    assert settings.deletes is None


@pytest.mark.parametrize(
    ("poll", "message"),
    [
        (polled("sunbird.joined"), "expected a mapping of sunbird.joined, which has deletes in poll"),
        (polled(every="0s"), "expected more than 0"),
        (polled(every=60), "write the unit"),
        (polled(rate=0), "expected at least 1"),
        (polled(evry="1h"), "unknown key"),
    ],
)
def test_a_search_for_removed_rows_that_is_wrong(load_changed: Load, poll: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_changed(poll=poll)
    assert message in str(caught.value)


def test_types_are_those_of_all_mappings_and_each_may_have_its_own(load_changed: Load) -> None:
    settings = load_changed(
        types={"decimal": {"type": "keyword"}, "varint": {"type": "long"}},
        mappings__user__types={"varint": {"type": "keyword"}},
    )
    assert settings.mappings["user"].types == {"decimal": {"type": "keyword"}, "varint": {"type": "keyword"}}
    assert settings.types == {"decimal": {"type": "keyword"}, "varint": {"type": "long"}}
