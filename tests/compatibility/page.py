"""docs/compatibility.md, from the results of test runs and from what differs between the engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sandbox.engines import ENGINES
from tests.compatibility.results import Results, cell
from tests.compatibility.subjects import CONFORMANCE, DATABASES, SECURITY, SUBJECTS, Subject

FILE = Path(__file__).parents[2] / "docs" / "compatibility.md"

_SHORT = {"Elasticsearch": "ES", "OpenSearch": "OS"}


def render(results: Results) -> str:
    """Return the page."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield _HEAD
    titles = [engine.title for engine in ENGINES]
    yield from _table(
        ["search engine", "conformance", "with security", "integration tests"],
        (
            [
                title,
                _functions(results, title, secured=False),
                _functions(results, title, secured=True),
                _runs(results, title),
            ]
            for title in titles
        ),
    )
    yield _RUNS
    engines = [title for title in titles if title in results.runs]
    folders = sorted({folder for engine in engines for folder in results.runs[engine]})
    yield from _table(
        ["folder of tests/integration", *engines],
        ([f"`{folder}`", *(cell(results.runs[each].get(folder)) for each in engines)] for folder in folders),
    )
    yield _DATABASES
    yield from _table(["database", "changes are found by", "how it was tested", "tests"], _databases(results))
    yield _DIFFERENCES
    yield from _table(
        ["subject", "difference", "what the daemon does", "tests"],
        ([each.name, each.difference, each.daemon, ", ".join(f"`{test}`" for test in each.tests)] for each in SUBJECTS),
    )
    yield _MATRIX
    yield from _table(
        ["subject", *(_short(title) for title in titles)],
        (
            [each.name, *(_found(results, title, each) for title in titles)]
            for each in SUBJECTS
            if each.runs_on_each_engine
        ),
    )
    yield _TAIL


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _short(title: str) -> str:
    name, _, version = title.partition(" ")
    return f"{_SHORT[name]} {version}"


def _functions(results: Results, title: str, *, secured: bool) -> str:
    found = [each["passed"] for each in results.engines.get(title, {}).values() if each["secured"] == secured]
    return cell([found.count(True), found.count(False)] if found else None)


def _runs(results: Results, title: str) -> str:
    runs = results.runs.get(title)
    if not runs:
        return "not recorded"
    passed, failed = (sum(counts[place] for counts in runs.values()) for place in (0, 1))
    return cell([passed, failed])


def _databases(results: Results) -> Iterator[list[str]]:
    for database in DATABASES:
        found = results.databases.get(f"{database.name}, {database.way}", {})
        if not database.tests:
            yield [database.name, database.way, "not tested", ""]
        elif database.model:
            yield [database.name, database.way, "on a model", cell(next(iter(found.values()), None))]
        else:
            told = "; ".join(f"{engine}: {cell(found[engine])}" for engine in sorted(found))
            yield [database.name, database.way, "on a real server", told or cell(None)]


def _found(results: Results, title: str, subject: Subject) -> str:
    known = results.engines.get(title, {})
    found = [known[test] for test in subject.tests if test in known]
    if not found:
        return "not recorded"
    if not all(each["passed"] for each in found):
        return "**failed**"
    return ", ".join(each for result in found for each in result["observed"]) or "yes"


_HEAD = f"""# Compatibility

This page says which search engines and databases the daemon was run with, and how. `make compatibility` writes it from
the results of the last test runs (`tests/compatibility`). A cell says what ran, and "not recorded" otherwise.

- **conformance**: the test functions of `{CONFORMANCE}`.
  `make test` runs them on every engine. They need no Cassandra.
- **with security**: the test functions of `{SECURITY}`, in `make test`.
- **integration tests**: the whole daemon on real servers. `make test` runs all on Elasticsearch 8.19.4, and those
  with the marker `other_engines` on OpenSearch 2.19.5. `make test-search SEARCH=opensearch:2.19.5` runs all on another.

## Search engines
"""

_RUNS = """
`make demo` ended EQUAL with Cassandra 5.0.6 and each of Elasticsearch 8.19.4, Elasticsearch 7.10.2 and OpenSearch
2.19.5, and with Cassandra 3.11.13 and Elasticsearch 7.10.2, with a `kill -9` of the daemon and an outage of the search
engine.

The sandbox starts all servers from the artifacts of Maven Central, Elasticsearch 7 in its open-source build. There are
the security plugins of Elasticsearch 8.19.4 and of OpenSearch 2.19.1, which runs on 2.19.5, and none for the other
versions. HTTP is not encrypted in these tests; TLS is tested against servers of the tests' own.

The integration tests by folder, with the number of tests of the last run:
"""

_DATABASES = """
## Databases
"""

_DIFFERENCES = """
"On a model": tests against a model of the documented system tables, not against a server.
The secure connect bundle of Astra DB is tested with a real Cassandra behind a model of Astra's proxy.

## What differs between the engines

The daemon sends the same requests to all of them. This is what differs, and the tests that show it.
"""

_MATRIX = """
What the tests found on each engine (ES: Elasticsearch, OS: OpenSearch). "Yes" means that they passed, and that the
daemon does the same on each engine with this answer.
"""

_TAIL = """
AWS Signature Version 4 (`elasticsearch.aws`) is tested against a model: an endpoint that checks each signature as AWS
documents it, and AWS's own test vectors (`tests/unit/search/engines/test_aws.py`). It was not tested on Amazon
OpenSearch Service. Amazon OpenSearch Serverless is not supported: it was not tried, and the daemon needs requests that
it may lack (`GET /`, refresh, scroll). The container image lacks the extra `aws`; an image of your own adds it with
`pip install --require-hashes --no-deps -r requirements/aws.lock`.

Not tested, as no server with it could be started here: managed services, and `knn_vector`.
"""
