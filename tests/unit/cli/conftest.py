from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from cdc_daemon.telemetry.logs import LIBRARIES


@pytest.fixture(autouse=True)
def _libraries_speak_again() -> Iterator[None]:
    """`check` silences libraries for its process, and here that process goes on."""
    before = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
