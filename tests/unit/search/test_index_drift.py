from __future__ import annotations

from typing import Any

import pytest

from cdc_daemon.search.index_drift import mapping_differences, settings_differences

FLAT = {
    "index.number_of_shards": "1",
    "index.number_of_replicas": "0",
    "index.analysis.analyzer.cs.tokenizer": "keyword",
    "index.analysis.analyzer.cs.filter": ["lowercase", "trim"],
    "index.blocks.write": "true",
    "index.uuid": "x",
}


@pytest.mark.parametrize(
    ("declared", "places"),
    [
        ({"number_of_shards": 1, "index.number_of_replicas": 0}, []),
        ({"index": {"number_of_replicas": 2}}, ["settings.index.number_of_replicas"]),
        ({"analysis": {"analyzer": {"cs": {"tokenizer": "keyword", "filter": ["lowercase", "trim"]}}}}, []),
        (
            {"analysis": {"analyzer": {"cs": {"filter": ["lowercase"]}}}},
            ["settings.index.analysis.analyzer.cs.filter"],
        ),
        ({"refresh_interval": "5s"}, ["settings.index.refresh_interval"]),
        ({"blocks": {"write": True}}, []),
        ({}, []),
    ],
)
def test_settings(declared: dict[str, Any], places: list[str]) -> None:
    assert [each.place for each in settings_differences(declared, FLAT)] == places


FOUND = {
    "dynamic": "strict",
    "properties": {
        "name": {"type": "text", "analyzer": "cs", "fields": {"raw": {"type": "keyword"}}},
        "age": {"type": "integer"},
        "roles": {"type": "nested", "properties": {"role": {"type": "keyword"}}},
        "profile": {"properties": {"city": {"type": "keyword"}}},
        "free": {"type": "object", "enabled": False},
        "cdc_key": {"type": "keyword"},
    },
}


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (FOUND, []),
        ({"properties": {"age": {"type": "integer", "index": True, "store": False}}}, []),
        ({"properties": {"age": {"type": "long"}}}, ["mappings.age.type: declared long, found integer"]),
        ({"properties": {"born": {"type": "date"}}}, ["mappings.born: declared date, found nothing"]),
        (
            {"properties": {"name": {"type": "text", "fields": {"raw": {"type": "text"}, "low": {"type": "keyword"}}}}},
            [
                "mappings.name.raw.type: declared text, found keyword",
                "mappings.name.low: declared keyword, found nothing",
            ],
        ),
        ({"properties": {"profile": {"type": "object", "properties": {"city": {"type": "keyword"}}}}}, []),
        (
            {"properties": {"roles": {"properties": {"role": {"type": "keyword"}}}}},
            ["mappings.roles.type: declared object, found nested"],
        ),
        ({"dynamic": False}, ["mappings.dynamic: declared False, found strict"]),
        (
            {"properties": {"name": {"type": "text", "analyzer": "standard"}}},
            ["mappings.name.analyzer: declared standard, found cs"],
        ),
        (
            {"properties": {"age": {"type": "integer"}, "free": {"type": "object", "enabled": True}}},
            ["mappings.free.enabled: declared True, found False"],
        ),
    ],
)
def test_mappings(declared: dict[str, Any], told: list[str]) -> None:
    assert [str(each) for each in mapping_differences(declared, FOUND)] == told


NOW = {
    "properties": {
        "price": {"type": "double", "fields": {"exact": {"type": "keyword", "ignore_above": 8191}}},
        "labels": {"type": "flattened", "ignore_above": 8191},
        "home": {"properties": {"labels": {"type": "flattened", "ignore_above": 8191}, "zip": {"type": "integer"}}},
        "id": {"type": "keyword"},
    }
}
FORMER = {
    "properties": {
        "price": {"type": "keyword", "ignore_above": 8191},
        "labels": {"type": "object", "enabled": False},
        "home": {"properties": {"labels": {"type": "object", "enabled": False}, "zip": {"type": "integer"}}},
        "id": {"type": "keyword"},
    }
}


@pytest.mark.parametrize(
    ("changed", "places"),
    [
        ({}, []),
        ({"price": NOW["properties"]["price"]}, []),
        ({"price": {"type": "keyword", "ignore_above": 5}}, ["mappings.price.type", "mappings.price.exact"]),
        ({"price": {"type": "text"}}, ["mappings.price.type", "mappings.price.exact"]),
        ({"labels": {"type": "object"}}, []),
        ({"home": {"properties": {"labels": {"type": "object", "enabled": False}}}}, ["mappings.home.zip"]),
        (
            {"home": {"properties": {"labels": {"type": "keyword"}, "zip": {"type": "integer"}}}},
            ["mappings.home.labels.type"],
        ),
        ({"id": {"type": "text"}}, ["mappings.id.type"]),
    ],
)
def test_a_field_as_an_earlier_version_declared_it_is_no_difference(changed: dict[str, Any], places: list[str]) -> None:
    found = {"properties": {**FORMER["properties"], **changed}}
    assert [each.place for each in mapping_differences(NOW, found, former=FORMER)] == places
