"""The search engines that the sandbox knows, by their names."""

from __future__ import annotations

import pytest

from sandbox.engines import ENGINES, Engine, find_engine
from sandbox.errors import SandboxError


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.title)
def test_each_is_found_by_its_whole_version(engine: Engine) -> None:
    assert find_engine(f"{engine.name}:{engine.version}") is engine


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("elasticsearch", "8.19.4"),
        ("elasticsearch:9", "9.2.0"),
        ("elasticsearch:7", "7.17.28"),
        ("elasticsearch:7.10", "7.10.2"),
        ("opensearch", "2.19.5"),
        ("opensearch:1", "1.3.20"),
    ],
)
def test_a_part_of_the_version_does(wanted: str, version: str) -> None:
    assert find_engine(wanted).version == version


@pytest.mark.parametrize("wanted", ["", "solr", "elasticsearch:7.1", "opensearch:4", "elasticsearch:8.19.4.1"])
def test_others_are_refused_with_the_names_of_all(wanted: str) -> None:
    with pytest.raises(SandboxError, match=r"opensearch:2\.19\.5"):
        find_engine(wanted)
