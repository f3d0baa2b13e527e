"""config.sunbird-spark.yaml: the same documents as config.example.yaml, polled from YugabyteDB."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from cdc_daemon.config import json_schema, load
from cdc_daemon.config.yaml_file import YamlFile

ROOT = Path(__file__).parents[3]
SPARK = ROOT / "config.sunbird-spark.yaml"
EXAMPLE = ROOT / "config.example.yaml"


@pytest.mark.parametrize("indices", ["plain", "full"])
def test_it_has_the_mappings_of_the_example(indices: str) -> None:
    variables = {"SUNBIRD_INDICES": indices}
    assert load(SPARK, environment=variables).mappings == load(EXAMPLE, environment=variables).mappings


def test_each_table_that_a_document_shows_is_polled_by_write_times() -> None:
    settings = load(SPARK, environment={})
    assert not settings.tail
    shown = {table for each in settings.mappings.values() for table in (each.table, *each.joined_tables)}
    assert {each.table for each in settings.poll} == shown
    assert all(each.strategy == "scan" and each.column is None for each in settings.poll)


def test_removed_rows_of_mapped_tables_are_found_each_hour_and_others_each_day() -> None:
    settings = load(SPARK, environment={})
    mapped = {each.table for each in settings.mappings.values()}
    assert {each.table for each in settings.poll if each.deletes is not None} == mapped
    assert (settings.jobs.audit.sample, settings.jobs.audit.repair) == (1.0, True)


def test_it_takes_its_variables() -> None:
    settings = load(SPARK, environment={"CASSANDRA_HOST": "yb", "ELASTICSEARCH_URL": "http://os:9200"})
    assert settings.cassandra.contact_points == ("yb",)
    assert settings.elasticsearch.hosts == ("http://os:9200",)


def test_the_schema_accepts_it() -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(YamlFile(SPARK.read_text()).value)


def test_it_points_editors_to_the_schema() -> None:
    assert SPARK.read_text().splitlines()[0] == EXAMPLE.read_text().splitlines()[0]
