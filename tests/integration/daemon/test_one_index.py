"""One index in trouble, under changes to two types: the other stays fresh, and after the repair all is equal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import SMALL, Stage
from tests.integration.sources.requests.asking import Answer, send, sync, with_token

ROWS = 40


def put_setting(stage: Stage, name: str, setting: str, value: Any) -> None:
    stage.elastic.indices.put_settings(index=stage.alias(name), settings={setting: value})


def index_of(stage: Stage, name: str) -> str:
    (index,) = stage.elastic.indices.get_alias(name=stage.alias(name)).body
    return str(index)


@contextmanager
def write_block(stage: Stage, name: str) -> Iterator[None]:
    put_setting(stage, name, "index.blocks.write", value=True)
    yield
    put_setting(stage, name, "index.blocks.write", value=None)


@contextmanager
def full_disk(stage: Stage, name: str) -> Iterator[None]:
    put_setting(stage, name, "index.blocks.read_only_allow_delete", value=True)
    yield
    put_setting(stage, name, "index.blocks.read_only_allow_delete", value=None)


@contextmanager
def metadata_block(stage: Stage, name: str) -> Iterator[None]:
    """Block what a look at the aliases needs."""
    put_setting(stage, name, "index.blocks.metadata", value=True)
    yield
    put_setting(stage, name, "index.blocks.metadata", value=None)


@contextmanager
def closed(stage: Stage, name: str) -> Iterator[None]:
    stage.elastic.indices.close(index=stage.alias(name))
    yield
    stage.elastic.indices.open(index=stage.alias(name))


@contextmanager
def deleted(stage: Stage, name: str) -> Iterator[None]:
    """Delete the index, and create another one, with neither the daemon's fields nor its mapping."""
    index, alias = index_of(stage, name), stage.alias(name)
    stage.elastic.indices.delete(index=index)
    yield
    assert not stage.elastic.indices.exists(index=alias), "no index was made by writing"
    stage.elastic.indices.create(
        index=f"{index}-again",
        aliases={alias: {"is_write_index": True}},
        settings=SMALL,
        mappings={"dynamic": "strict"},
    )


@contextmanager
def wrong_alias(stage: Stage, name: str) -> Iterator[None]:
    """Point the alias at two indices, none of which is its write index."""
    index, alias = index_of(stage, name), stage.alias(name)
    stage.elastic.indices.create(index=f"{index}-second", settings=SMALL)
    stage.elastic.indices.put_alias(index=[index, f"{index}-second"], name=alias, is_write_index=False)
    yield
    stage.elastic.indices.delete(index=f"{index}-second")
    stage.elastic.indices.put_alias(index=index, name=alias, is_write_index=True)


Fault = Callable[[Stage, str], Any]
FAULTS: dict[Fault, str] = {
    write_block: "cluster_block_exception",
    full_disk: "cluster_block_exception",
    metadata_block: "index_not_ready",
    closed: "index_closed_exception",
    deleted: "index_not_found_exception",
    wrong_alias: "illegal_argument_exception",
}


@pytest.fixture
def two_types(stage: Stage) -> Stage:
    """Two types with documents, and a running daemon that answers requests."""
    for name in ("person", "course"):
        stage.table(name, "id int, part int, n int, PRIMARY KEY (id, part)")
    stage.daemon.config["http"] = with_token({"sync_timeout": "20s"})
    change(stage, 0)
    stage.daemon.run()
    stage.settle()
    stage.assert_equal("person", "course")
    return stage


def change(stage: Stage, n: int) -> None:
    """Write each row of both types, and remove a whole partition, some rows and a range of each."""
    for name in ("person", "course"):
        insert = stage.cql.prepare(f"INSERT INTO {stage.keyspace}.{name} (id, part, n) VALUES (?, ?, ?)")
        for future in [stage.cql.execute_async(insert, (at % 8, at, n)) for at in range(ROWS)]:
            future.result()
        if n:
            stage.execute(f"DELETE FROM {{ks}}.{name} WHERE id = {n % 8}")
            stage.execute(f"DELETE FROM {{ks}}.{name} WHERE id = {(n + 1) % 8} AND part = {(n + 1) % 8}")
            stage.execute(f"DELETE FROM {{ks}}.{name} WHERE id = {(n + 2) % 8} AND part > 8 AND part < 30")


def assert_fresh(stage: Stage, name: str) -> None:
    """Wait until a type's documents are its rows."""

    def equal() -> bool:
        return stage.rows(name) == stage.documents(name)

    wait_for(f"{name} to be equal", equal, seconds=60)


def trouble_of(stage: Stage, name: str) -> dict[str, Any] | None:
    (index,) = [each for each in stage.daemon.status()["indices"] if each["alias"] == stage.alias(name)]
    trouble: dict[str, Any] | None = index["trouble"]
    return trouble


def assert_refused(stage: Stage, answer: Answer, name: str) -> None:
    assert answer.status == 503, answer
    assert answer.content["params"]["err"] == "SERVICE_UNAVAILABLE"
    assert stage.alias(name) in answer.content["params"]["errmsg"]
    assert (answer.result["service"], answer.result["alias"]) == ("elasticsearch", stage.alias(name))
    assert int(answer.headers["retry-after"]) > 0


def problems_of(stage: Stage) -> list[dict[str, str]]:
    return [each for each in stage.daemon.status()["problems"] if "takes no writes" in each["text"]]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_other_type_goes_on_and_in_the_end_all_is_equal(two_types: Stage, fault: Fault) -> None:
    stage = two_types
    if fault is deleted:
        stage.daemon.kill()
        stage.mappings["person"]["on_index_missing"] = "wait"
        stage.daemon.run()
    with fault(stage, "person"):
        change(stage, 1)
        assert_fresh(stage, "course")
        wait_for("the trouble", lambda: trouble_of(stage, "person"))
        for n in (2, 3):
            change(stage, n)
            assert_fresh(stage, "course")

        status = stage.daemon.status()
        assert status["elasticsearch"]["available"]
        trouble = trouble_of(stage, "person")
        assert trouble is not None
        assert trouble["error_type"] == FAULTS[fault]
        assert trouble["hint"]
        assert trouble_of(stage, "course") is None
        if fault is deleted:
            assert finding_of(stage, "index.person")["status"] == "warn"
        (problem,) = wait_for("the problem", lambda: problems_of(stage))
        assert stage.alias("person") in problem["text"]
        assert stage.daemon.metric("elasticsearch_available") == 1
        assert stage.daemon.metric("alias_available", alias=stage.alias("person")) == 0
        assert stage.daemon.metric("alias_available", alias=stage.alias("course")) == 1
        assert stage.daemon.metric("alias_trouble", alias=stage.alias("person"), reason=FAULTS[fault]) == 1

        assert_refused(stage, sync(stage, "person", {"id": 1, "part": 1}), "person")
        assert_refused(stage, sync(stage, "person", {"id": 1}), "person")
        assert sync(stage, "course", {"id": 1, "part": 1}).status == 200
        assert sync(stage, "course", {"id": 2}).status == 200
        job = sync(stage, "person", {"id": 1, "part": 1}, operationType="async").result["job"]
        other = sync(stage, "course", {"id": 1, "part": 1}, operationType="async").result["job"]
        wait_for("the other type's job", lambda: send(stage, "GET", f"/sync/{other}").result["state"] == "done")
        assert send(stage, "GET", f"/sync/{job}").result["state"] != "done"
        # The checkpoint passes the blocked keys: they are in the spool.
        stage.settle()
        assert stage.daemon.status()["spooled"] > 0

    if fault is deleted:
        change(stage, 4)  # also of those rows that were not changed meanwhile, as their documents are gone
    wait_for("the alias", lambda: trouble_of(stage, "person") is None)
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"])
    stage.settle()
    stage.assert_equal("person", "course")
    stage.assert_nothing_set_aside()
    wait_for("the job", lambda: send(stage, "GET", f"/sync/{job}").result["state"] == "done")
    assert not stage.daemon.events("elasticsearch.unavailable")
    assert not stage.daemon.status()["elasticsearch"]["failure"]


def test_a_deleted_index_is_created_again_and_filled_without_a_restart(stage: Stage) -> None:
    """It is noticed even if nothing is written to it; rows that changed or were removed meanwhile come out right."""
    for name in ("person", "course"):
        # Bodies wait for at most half of the time for which deletions are remembered, and a new index longer than that.
        settings = {**SMALL, "index.gc_deletes": "6s"}
        stage.table(name, "id int, part int, n int, PRIMARY KEY (id, part)", settings=settings)
    change(stage, 0)
    stage.daemon.run()
    stage.settle()
    stage.execute("ALTER TABLE {ks}.person ADD added text")
    stage.execute("UPDATE {ks}.person SET added = 'x' WHERE id = 6 AND part = 6")
    stage.settle()
    before = stage.mapping_of("person")
    assert "added" in before["properties"]
    stage.elastic.indices.delete(index=index_of(stage, "person"))
    wait_for("the trouble", lambda: trouble_of(stage, "person"))
    change(stage, 1)
    assert_fresh(stage, "course")
    wait_for("the index", lambda: stage.daemon.events("elasticsearch.index_rebuilt"))
    change(stage, 2)
    wait_for("the alias", lambda: trouble_of(stage, "person") is None)
    wait_for("the copy", lambda: {"type": "person", "state": "done"}.items() <= first_copy(stage).items())
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"])
    stage.settle()
    stage.assert_equal("person", "course")
    stage.assert_nothing_set_aside()
    assert stage.mapping_of("person") == before
    (rebuilt,) = stage.daemon.events("elasticsearch.index_rebuilt")
    assert (rebuilt["alias"], rebuilt["created"]) == (stage.alias("person"), True)


def first_copy(stage: Stage) -> dict[str, Any]:
    """Return the state of the one copy, or nothing."""
    found: list[dict[str, Any]] = stage.daemon.status()["first_copies"]
    return found[0] if found else {}


@pytest.mark.parametrize("fault", [write_block, closed])
def test_a_restart_while_one_index_is_in_trouble(two_types: Stage, fault: Fault) -> None:
    stage = two_types
    with fault(stage, "person"):
        change(stage, 1)
        assert_fresh(stage, "course")
        stage.daemon.kill()
        change(stage, 2)
        stage.daemon.run()
        assert_fresh(stage, "course")
        change(stage, 3)
        assert_fresh(stage, "course")
        stage.daemon.kill()
        stage.daemon.run()
        assert_fresh(stage, "course")
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"])
    stage.settle()
    stage.assert_equal("person", "course")
    stage.assert_nothing_set_aside()


def test_a_start_with_an_alias_that_comes_later(two_types: Stage) -> None:
    """The alias is taken from its index, which the daemon's start then cannot make ready."""
    stage = two_types
    index, alias = index_of(stage, "person"), stage.alias("person")
    stage.daemon.kill()
    stage.elastic.indices.delete_alias(index=index, name=alias)
    change(stage, 1)
    stage.daemon.run()
    assert_fresh(stage, "course")
    trouble = trouble_of(stage, "person")
    assert trouble is not None
    assert alias in trouble["reason"]
    assert trouble["hint"]
    assert_refused(stage, sync(stage, "person", {"id": 1, "part": 1}), "person")

    stage.elastic.indices.put_alias(index=index, name=alias, is_write_index=True)
    wait_for("the alias", lambda: trouble_of(stage, "person") is None)
    wait_for("an empty spool", lambda: not stage.daemon.status()["spooled"])
    stage.settle()
    stage.assert_equal("person", "course")


def test_jobs_of_the_other_type_are_done(two_types: Stage) -> None:
    stage = two_types
    for identity in stage.documents("course"):
        stage.elastic.delete(index=stage.alias("course"), id=identity)
    with write_block(stage, "person"):
        both = send(stage, "POST", "/admin/backfill", {"types": ["person", "course"]})
        assert both.status == 202, both
        later = send(stage, "POST", "/admin/backfill", {"types": ["course"]})
        assert later.status == 202, later

        def state(answer: Answer) -> str:
            return str(send(stage, "GET", f"/admin/jobs/{answer.content['job']}").content["state"])

        wait_for("the later job", lambda: state(later) == "done")
        assert_fresh(stage, "course")
        assert state(both) in {"running", "waiting"}
    wait_for("the job of both", lambda: state(both) == "done")
    stage.settle()
    stage.assert_equal("person", "course")


def finding_of(stage: Stage, name: str) -> dict[str, str]:
    """Run `cdc-daemon check` beside the daemon, and return one finding."""
    command = [
        str(Path(sys.executable).with_name("cdc-daemon")),
        "check",
        "--config",
        str(stage.daemon.config_path),
        "--json",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=stage.daemon.directory)
    findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    found: dict[str, str] = findings[name]
    return found


def test_check_names_the_index(two_types: Stage, tmp_path: Path) -> None:
    stage = two_types
    with write_block(stage, "person"):
        command = Path(sys.executable).with_name("cdc-daemon")
        done = subprocess.run(
            [command, "check", "--config", stage.daemon.config_path, "--json"],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 1
        findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
        assert findings["index.person"]["status"] == "fail"
        assert "takes no writes: write" in findings["index.person"]["found"]
        assert findings["index.course"]["status"] == "ok"
