"""Connects to the configured servers. It waits for servers that are unavailable, and logs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from cassandra import Unauthorized
from cassandra.cluster import Session

from cdc_daemon.cassandra.identity import identify_node
from cdc_daemon.cassandra.node import NodeSettings, find_node, moves_segments, remember_node
from cdc_daemon.cassandra.query import execute
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import ElasticsearchSettings, Settings
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraUnavailableError, CdcError, ConfigError
from cdc_daemon.search import ElasticsearchOptions, SearchEngine, make_engine
from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.aws import AwsOptions
from cdc_daemon.search.failure import EngineError, UnsupportedEngineError, attempting
from cdc_daemon.store import Store

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SAID_AGAIN = 30.0
"""Seconds between repeated log messages about the same wait."""

_ODD_ANSWERS = 7
"""The number of answers in a row that no search engine gives, after which the start ends: after about ten seconds."""

ReportWait = Callable[[str, str | None], None]
"""Called with the server or table waited for and the error that causes the wait; None when it is available."""


def ignore_wait(_what: str, _error: str | None) -> None:
    """Ignore the report of a wait."""


async def persist(what: str, attempt: Callable[[], Awaitable[T]], *, report_wait: ReportWait = ignore_wait) -> T:
    """Retry with backoff until success. Log the error periodically, and immediately if it changes.

    Raises at once errors that no retry can fix.
    """
    backoff = Backoff(first=0.2)
    while True:
        try:
            found = await attempt()
        except CdcError as error:
            if not error.retryable:
                raise
            await wait_after(error, what, backoff, report_wait)
        else:
            report_wait(what, None)
            return found


async def wait_after(error: CdcError, what: str, backoff: Backoff, report_wait: ReportWait) -> None:
    """Report and log that the start waits for something, and wait before the next attempt."""
    report_wait(what, str(error))
    delay = backoff.next()
    log.warning(
        "startup.waiting",
        waiting_for=what,
        error=error,
        retry_in_seconds=round(delay, 2),
        every=_SAID_AGAIN,
        every_key=f"{what}: {error}",
    )
    await asyncio.sleep(delay)


async def connect_cassandra(settings: Settings, *, report_wait: ReportWait = ignore_wait) -> Session:
    """Connect, waiting until Cassandra is up. Raises `ConfigError`."""

    async def attempt() -> Session:
        return await asyncio.to_thread(connect, settings.cassandra)

    session = await persist("cassandra", attempt, report_wait=report_wait)
    log.info("cassandra.connected", contact_points=list(settings.cassandra.contact_points))
    return session


async def identify_own_node(session: Session, settings: Settings, store: Store) -> None:
    """Find out which node of the ring this daemon runs beside, and remember it.

    With `commit_log.ownership: primary` the daemon waits until that is certain: it would otherwise leave changes to a
    node that is its own, or act for another. Raises `ConfigError` if the node is not that of the state directory, and
    `StoreError`.
    """
    strict = settings.commit_log.ownership == "primary"

    async def attempt() -> Any:
        remembered = await asyncio.to_thread(store.own_node)
        try:
            node = await identify_node(session, settings.cassandra.contact_points, remembered)
        except ConfigError as error:
            if strict:
                raise
            log.warning("cassandra.node_replaced", error=error.message, hint=error.hint)
            node = await identify_node(session, settings.cassandra.contact_points, None)
        if node is None and strict:
            raise CassandraUnavailableError(
                "expected to know which node of the ring is this daemon's, found none with an address of this machine",
                hint="name the node beside the daemon first in cassandra.contact_points, by its own address",
                contact_points=", ".join(settings.cassandra.contact_points),
            )
        return node

    node = await persist("cassandra", attempt)
    if node is not None:
        remember_node(session, node)
        await asyncio.to_thread(store.remember_own_node, str(node.host_id))
        log.info("cassandra.own_node", host_id=str(node.host_id), address=node.address)


def check_log(session: Session, settings: Settings) -> None:
    """Raise `ConfigError` if the log of the daemon's node cannot be followed as configured."""
    release = find_node(session, settings.cassandra.contact_points).release_version
    if settings.tail and moves_segments(release) and settings.commit_log.commitlog_directory is None:
        raise ConfigError(
            f"expected commit_log.commitlog_directory for the log of Cassandra {release}, found none",
            hint="set it to commitlog_directory of cassandra.yaml, where the daemon only reads; or set tail: off, and "
            "list the tables in poll",
        )


async def read_node_settings(session: Session, settings: Settings) -> NodeSettings:
    """Return the settings of the daemon's node, or empty ones if the daemon's role may not read them."""
    node = find_node(session, settings.cassandra.contact_points)
    try:
        rows = await execute(session, NodeSettings.QUERY, host=node)
    except (CdcError, Unauthorized) as error:
        log.info(
            "cassandra.settings_unknown",
            error=str(error),
            hint="the limit of cdc_raw is not known: the role lacks SELECT on system_views, or the database has none",
        )
        return NodeSettings({})
    return NodeSettings.of_rows(rows)


def connect_elasticsearch(settings: ElasticsearchSettings) -> SearchEngine:
    """Create the connections without sending anything. Raises `ConfigError`."""
    password, api_key = settings.password, settings.api_key
    return make_engine(
        ElasticsearchOptions(
            flavor=settings.flavor,
            hosts=settings.hosts,
            username=settings.username,
            password=None if password is None else password.get_secret_value(),
            api_key=None if api_key is None else api_key.get_secret_value(),
            aws=None if settings.aws is None else AwsOptions(settings.aws.region, settings.aws.profile),
            ca_file=settings.ca_file,
            verify=settings.verify_certificates,
            request_timeout=settings.request_timeout,
            connections=2 * settings.connections + 2,  # as many again while there are two indices
        )
    )


async def find_engine(
    engine: SearchEngine, settings: ElasticsearchSettings, *, report_wait: ReportWait = ignore_wait
) -> Product:
    """Ask which search engine answers, waiting until one does. Raises `ConfigError` for one that is not supported.

    An answer that is not that of a search engine may come from a proxy, so it ends the start only if it is repeated.
    """
    odd_answers = 0

    async def attempt() -> Product:
        nonlocal odd_answers
        with attempting("ask which search engine answers"):
            try:
                return await engine.identify()
            except UnsupportedEngineError as error:
                odd_answers += 1
                if not error.certain and odd_answers < _ODD_ANSWERS:
                    raise
                raise ConfigError(
                    error.failure.reason, hint=error.hint, elasticsearch=", ".join(settings.hosts)
                ) from None
            except EngineError:
                odd_answers = 0
                raise

    product = await persist("elasticsearch", attempt, report_wait=report_wait)
    log.info("elasticsearch.connected", engine=product.name, version=product.version or "unknown")
    return product
