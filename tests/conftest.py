"""What holds for every test: no deadlines in Hypothesis, and logging as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from cdc_daemon.logs import LIBRARIES

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logging_given_back() -> Iterator[None]:
    """A command run inside a test sets up logging for the process; the next test must not inherit its level."""
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in LIBRARIES}
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    for name, own in before.items():
        logging.getLogger(name).setLevel(own)
    root.handlers = handlers
    root.setLevel(level)
