"""What holds for every test: Hypothesis' profiles, and logging as it was before; the servers that tests share."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
import structlog
from cassandra.cluster import Session
from hypothesis import settings

from cdc_daemon.telemetry.logs import LIBRARIES
from sandbox import Sandbox
from tests.servers import make_sandbox

# A script's background job (`nohup make test &`) is started with SIGINT ignored. Every program that a test starts would
# inherit that, and could not be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code. The same examples are tried each time, so that a
# failure is one of the change at hand; `make explore` looks for others.
settings.register_profile("regression", deadline=None, derandomize=True)
settings.register_profile("quick", settings.get_profile("regression"), max_examples=20)  # make unit
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("regression")


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


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """One Cassandra 5.0 and one Elasticsearch for the whole session.

    A test that kills, pauses or reconfigures a server starts a Sandbox of its own.
    """
    with make_sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def cql(box: Sandbox) -> Iterator[Session]:
    """A driver session on the shared Cassandra, for making schemas and writing rows."""
    with box.connect() as session:
        yield session
