"""What a reload applies, what waits for a restart, and what needs a new index or a backfill."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.app.config_change import compare
from cdc_daemon.config import Settings

USER = {"table": "k.user", "alias": "user"}
ORDER = {"table": "k.order", "alias": "order"}


def a_settings(**sections: Any) -> Settings:
    return Settings.model_validate(
        {
            "commit_log": {"cdc_raw_directory": "/raw"},
            "state": {"directory": "/state"},
            "mappings": {"user": USER, "order": ORDER},
            **sections,
        }
    )


BEFORE = a_settings()


def test_the_same_configuration_is_no_change() -> None:
    change = compare(BEFORE, a_settings())
    assert change.is_empty
    assert not change.needs_new_parts
    assert change.plain()["mappings"] == {"added": [], "changed": [], "removed": []}


def test_mappings_are_added_changed_and_removed() -> None:
    change = compare(
        BEFORE, a_settings(mappings={"user": {**USER, "exclude": ["secret"]}, "item": {"table": "k.i", "alias": "i"}})
    )
    assert (change.added, change.changed, change.removed) == (("item",), ("user",), ("order",))
    assert change.needs_new_parts
    assert set(change.changed_mappings) == {"item", "user"}
    assert change.backfill == ("user",)
    assert change.new_index == {}


@pytest.mark.parametrize(
    ("keys", "new_index", "backfill"),
    [
        ({"id": "{id}"}, {"user": ("id",)}, ()),
        ({"types": {"decimal": {"type": "double"}}, "exclude": ["a"]}, {"user": ("types",)}, ()),
        ({"settings": {"number_of_replicas": 0}}, {"user": ("settings",)}, ()),
        ({"where": "active"}, {}, ("user",)),
        ({"on_drop": "remove", "snapshot": "never"}, {}, ()),
        ({"alias": "another"}, {}, ()),
    ],
)
def test_what_an_index_does_not_follow_is_named(
    keys: dict[str, Any], new_index: dict[str, Any], backfill: tuple[str, ...]
) -> None:
    change = compare(BEFORE, a_settings(mappings={"user": {**USER, **keys}, "order": ORDER}))
    assert change.changed == ("user",)
    assert change.new_index == new_index
    assert change.backfill == backfill


@pytest.mark.parametrize(
    ("sections", "needed"),
    [
        ({"http": {"port": 9}}, ("http.port",)),
        ({"http": {"tls": {"certificate_file": "/c", "key_file": "/k"}}}, ("http.tls",)),
        ({"state": {"directory": "/other"}}, ("state.directory",)),
        ({"commit_log": {"cdc_raw_directory": "/other"}}, ("commit_log.cdc_raw_directory",)),
        ({"peers": {"port": 9, "token": "0123456789abcdef"}}, ("peers.port", "peers.token")),
        ({"tail": False, "poll": [{"table": "k.user", "strategy": "scan"}]}, ("tail",)),
    ],
)
def test_addresses_and_locks_wait_for_a_restart(sections: dict[str, Any], needed: tuple[str, ...]) -> None:
    change = compare(BEFORE, a_settings(**sections))
    assert change.restart_needed == needed
    assert not change.is_empty
    for name in {each.partition(".")[0] for each in needed}:
        assert getattr(change.settings, name) == getattr(BEFORE, name)


def test_a_section_that_waits_for_a_restart_waits_as_a_whole() -> None:
    # Else the daemon would listen on all addresses, as before, and require no token, as it may on 127.0.0.1.
    tokens = [{"name": "t", "hash": f"sha256:{64 * '0'}"}]
    before = a_settings(http={"host": "0.0.0.0", "auth": {"tokens": tokens}})
    change = compare(before, a_settings(http={"host": "127.0.0.1"}))
    assert change.settings.http == before.http
    assert set(change.restart_needed) == {"http.host", "http.auth"}


@pytest.mark.parametrize(
    ("sections", "anew"),
    [
        ({"log": {"level": "debug"}}, False),
        ({"http": {"auth": {"tokens": [{"name": "t", "hash": f"sha256:{64 * '0'}"}]}}}, False),
        ({"http": {"max_connections": 7, "max_requests": 3}}, False),
        ({"http": {"max_jobs": 7}}, True),
        ({"pipeline": {"workers": 2}}, True),
        ({"poll": [{"table": "k.user", "strategy": "scan"}]}, True),
        ({"elasticsearch": {"hosts": ["http://other:9200"]}}, True),
    ],
)
def test_the_parts_are_composed_anew_only_for_what_they_use(sections: dict[str, Any], anew: bool) -> None:
    change = compare(BEFORE, a_settings(**sections))
    assert change.needs_new_parts is anew
    assert change.sections == tuple(sections)
    assert change.restart_needed == ()
