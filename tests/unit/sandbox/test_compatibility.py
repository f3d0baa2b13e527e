"""docs/compatibility.md is made from the results of test runs, and names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.artifacts import CASSANDRA_VERSIONS
from sandbox.engines import ENGINES
from tests.compatibility.page import FILE, render
from tests.compatibility.results import Results, cell
from tests.compatibility.subjects import CONFORMANCE, DATABASES, SECURITY, SUBJECTS

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = FILE.read_text(encoding="utf-8")

RUN = """<testsuites><testsuite name="opensearch:2.19.5">
<testcase classname="tests.integration.search.test_engine" name="test_a[OpenSearch 2.19.5-flat_object]">
  <properties><property name="observed" value="flat_object"/></properties></testcase>
<testcase classname="tests.integration.search.test_engine" name="test_a[OpenSearch 2.19.5-flattened]"/>
<testcase classname="tests.integration.search.test_engine" name="test_a[Elasticsearch 9.2.0-flattened]">
  <failure message="no"/></testcase>
<testcase classname="tests.integration.search.test_security" name="test_b[opensearch:2.19.5]"/>
<testcase classname="tests.integration.daemon.test_formats" name="test_c[4.1-lz4]"/>
<testcase classname="tests.integration.daemon.test_formats" name="test_c[4.0-plain]"><error message="no"/></testcase>
<testcase classname="tests.integration.daemon.test_rows" name="test_d"/>
<testcase classname="tests.integration.daemon.test_rows" name="test_e"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def results(tmp_path: Path) -> Results:
    (tmp_path / "run.xml").write_text(RUN, encoding="utf-8")
    results = Results()
    results.add(tmp_path / "run.xml")
    return results


def test_the_page_is_made_from_the_results() -> None:
    assert render(Results.load()) == PAGE, "make compatibility"


def test_a_run_is_read_by_engine_folder_and_database(results: Results) -> None:
    assert results.engines == {
        "OpenSearch 2.19.5": {
            "test_a": {"passed": True, "secured": False, "observed": ["flat_object"]},
            "test_b": {"passed": True, "secured": True, "observed": []},
        },
        "Elasticsearch 9.2.0": {"test_a": {"passed": False, "secured": False, "observed": []}},
    }
    assert results.runs == {"OpenSearch 2.19.5": {"daemon": [2, 1]}}
    assert results.databases["Cassandra 4.1.10, commit log"] == {"OpenSearch 2.19.5": [1, 0]}
    assert results.databases["Cassandra 4.0.18, commit log"] == {"OpenSearch 2.19.5": [0, 1]}


def test_the_page_shows_what_failed_and_what_was_not_run(results: Results) -> None:
    page = render(results)
    assert "| OpenSearch 2.19.5 | 1 passed | 1 passed | 2 passed, **1 failed** |" in page
    assert "| Elasticsearch 9.2.0 | 0 passed, **1 failed** | not recorded | not recorded |" in page
    assert "| Cassandra 4.0.18 | commit log | on a real server | OpenSearch 2.19.5: 0 passed, **1 failed** |" in page
    assert cell(None) == "not recorded"


def test_each_engine_and_each_cassandra_has_a_row() -> None:
    assert all(f"\n| {engine.title} |" in PAGE for engine in ENGINES)
    polled_or_logged = {(database.name, database.way) for database in DATABASES}
    for version in CASSANDRA_VERSIONS.values():
        assert (f"Cassandra {version}", "commit log") in polled_or_logged


def test_each_test_that_it_names_exists() -> None:
    text = "".join((CHECKOUT / file).read_text(encoding="utf-8") for file in (CONFORMANCE, SECURITY))
    functions = set(re.findall(r"def (test_\w+)\(", text))
    for subject in SUBJECTS:
        for name in subject.tests:
            assert name in functions or (CHECKOUT / name).exists(), name
    for database in DATABASES:
        for pattern in database.tests:
            assert list(CHECKOUT.glob(pattern.partition("::")[0])), pattern


def test_the_marker_that_it_names_is_used() -> None:
    assert "`other_engines`" in PAGE
    marked = [
        path
        for path in (CHECKOUT / "tests" / "integration").rglob("*.py")
        if "mark.other_engines" in path.read_text("utf-8")
    ]
    assert {path.parent.name for path in marked} >= {"daemon", "documents", "tablejobs"}
