"""The daemon's durable state: one object that contains all stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.version_clock import NO_VERSIONS, VersionRange
from cdc_daemon.store.checkpoints import Checkpoints, SeenSegments, Watermarks
from cdc_daemon.store.database import Database, Place
from cdc_daemon.store.dead_letters import DeadLetters
from cdc_daemon.store.dependents import DependentStore
from cdc_daemon.store.expiries import ExpiryStore
from cdc_daemon.store.first_copies import FirstCopies
from cdc_daemon.store.left_expiries import LeftExpiries, next_expiries
from cdc_daemon.store.range_jobs import RangeJobs
from cdc_daemon.store.reconcile_requests import ReconcileRequests
from cdc_daemon.store.spool import Spool
from cdc_daemon.store.suspects import SuspectStore
from cdc_daemon.store.sync_jobs import SyncJobs
from cdc_daemon.store.table_history import SchemaHistory, TableStates

FILE_NAME = "cdc-daemon.sqlite3"


class Store:
    """The state directory's SQLite file and the stores in it.

    Methods of the stores block for a durable commit (well under a millisecond on an SSD): call them with
    `asyncio.to_thread` from the event loop. Raises `StoreError` if the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the state directory cannot be created: {error.strerror}",
                hint="give the daemon's user write access, or set state.directory to another place",
                directory=str(directory),
            ) from error
        self._database = Database(directory / FILE_NAME)
        self.checkpoints = Checkpoints(self._database)
        self.dependents = DependentStore(self._database)
        self.dead_letters = DeadLetters(self._database)
        self.expiries = ExpiryStore(self._database)
        self.left_expiries = LeftExpiries(self._database)
        self.first_copies = FirstCopies(self._database)
        self.sync_jobs = SyncJobs(self._database)
        self.range_jobs = RangeJobs(self._database)
        self.reconcile_requests = ReconcileRequests(self._database)
        self.schema_history = SchemaHistory(self._database)
        self.seen_segments = SeenSegments(self._database)
        self.spool = Spool(self._database)
        self.suspects = SuspectStore(self._database)
        self.watermarks = Watermarks(self._database)
        self.table_states = TableStates(self._database)
        with self._database.reading() as connection:
            self.state_id = bytes(connection.execute("SELECT identity FROM state_identity").fetchone()[0])
            """Sixteen random bytes that name this state directory: a new one has another id."""

    def next_expiries(self, places: Sequence[Place]) -> list[int]:
        """Return the next expiry of each row that this daemon watches, in seconds since epoch; 0 for none."""
        return next_expiries(self._database, places)

    def check(self) -> None:
        """Raise `StateLostError` if the file was deleted or replaced after it was opened, or damage was found in it."""
        self._database.check()

    def verify(self) -> None:
        """Read the whole file and raise `StateLostError` if it is damaged. It takes about a second for 500 MB."""
        self._database.verify()

    def clock(self) -> tuple[int, VersionRange]:
        """Return the bound of the versions of the next process, and the versions that are not trusted."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT bound, untrusted_first, untrusted_last FROM clock").fetchone()
        return (0, NO_VERSIONS) if row is None else (int(row[0]), VersionRange(int(row[1]), int(row[2])))

    def clock_bound(self) -> int:
        """Return the upper bound of all versions that earlier processes gave out, in microseconds since epoch."""
        bound, untrusted = self.clock()
        return max(bound, untrusted.last)

    def raise_clock_bound(self, bound: int) -> None:
        """Record durably that no version above `bound` is given out before the bound is raised again."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO clock (id, bound) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET bound = max(bound, ?1)",
                (bound,),
            )

    def step_clock_back(self, bound: int, untrusted: VersionRange) -> None:
        """Record durably that versions continue below earlier ones, which are not trusted."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO clock (id, bound, untrusted_first, untrusted_last) VALUES (1, ?1, ?2, ?3) "
                "ON CONFLICT (id) DO UPDATE SET bound = ?1, untrusted_first = ?2, untrusted_last = ?3",
                (bound, *untrusted),
            )

    def own_node(self) -> str | None:
        """Return the id of the node to which this state belongs, or None if it is not known."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT host_id FROM own_node").fetchone()
        return None if row is None else str(row[0])

    def remember_own_node(self, host_id: str) -> None:
        """Record durably to which node this state belongs."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO own_node VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET host_id = ?1", (host_id,)
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()
