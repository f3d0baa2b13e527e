"""Changes to Sunbird's tables as an application makes them: inserts, partial updates, deletions, batches."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sandbox.demo.others import OTHERS, other_change

INSERT = (
    "INSERT INTO sunbird.user (id, userid, firstname, lastname, username, email, maskedemail, emailverified, phone, "
    "channel, countrycode, rootorgid, status, flagsvalue, isdeleted, locationids, roles, framework, alltncaccepted, "
    "profiledetails, tncacceptedon, createdby, createddate) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
RENAME = "UPDATE sunbird.user SET firstname = ?, lastname = ?, updateddate = ? WHERE id = ?"
VERIFY = "UPDATE sunbird.user SET emailverified = true, flagsvalue = ?, status = ? WHERE id = ?"
GRANT = "UPDATE sunbird.user SET roles = roles + ? WHERE id = ?"
ACCEPT = "UPDATE sunbird.user SET alltncaccepted[?] = ?, tncacceptedon = ?, tncacceptedversion = ? WHERE id = ?"
REPLACE = "UPDATE sunbird.user SET framework = ?, locationids = ?, profiledetails = ? WHERE id = ?"
REMOVE_COLUMNS = "DELETE email, maskedemail, phone FROM sunbird.user WHERE id = ?"
REMOVE_COLLECTION = "DELETE roles FROM sunbird.user WHERE id = ?"
REMOVE_ELEMENT = "DELETE alltncaccepted[?] FROM sunbird.user WHERE id = ?"
REMOVE_ROW = "DELETE FROM sunbird.user WHERE id = ?"

STATEMENTS = (
    *(INSERT, RENAME, VERIFY, GRANT, ACCEPT, REPLACE),
    *(REMOVE_COLUMNS, REMOVE_COLLECTION, REMOVE_ELEMENT, REMOVE_ROW),
    *OTHERS,
)
"""Every statement that a change may have, to be prepared ahead."""

_FIRST_NAMES = ("Asha", "Bilal", "Chandra", "Divya", "Esther", "Farhan", "Gita", "Harish", "Indu", "Joseph")
_LAST_NAMES = ("Bose", "D'Souza", "Iyer", "Khan", "Nair", "Patil", "Rao", "Sharma", "Varghese", "कुमार")
_SUBJECTS = ("maths", "physics", "history", "tamil", "art")
_ROLES = ("PUBLIC", "CONTENT_CREATOR", "COURSE_MENTOR", "ORG_ADMIN", "BOOK_REVIEWER")
_POLICIES = ("groupsTnc", "orgAdminTnc", "reportViewerTnc")
_HOT_USERS = 50


class Kind(Enum):
    """What sort of change it is."""

    INSERT = "insert"
    UPDATE = "partial update"
    DELETE_ROW = "deletion of a row"
    DELETE_COLUMN = "deletion of columns"
    UNLOGGED_BATCH = "unlogged batch"
    LOGGED_BATCH = "logged batch"
    OTHER_TABLE = "another table"


_WEIGHTS = {
    Kind.INSERT: 30,
    Kind.UPDATE: 42,
    Kind.DELETE_ROW: 7,
    Kind.DELETE_COLUMN: 9,
    Kind.UNLOGGED_BATCH: 6,
    Kind.LOGGED_BATCH: 6,
    Kind.OTHER_TABLE: 40,
}

Row = tuple[str, tuple[Any, ...]]
"""A statement for one row, and its values."""


@dataclass(frozen=True, slots=True)
class Change:
    """One request to Cassandra; a batch changes several rows."""

    kind: Kind
    rows: tuple[Row, ...]


class Changes:
    """An endless source of changes.

    It remembers how many users there were, not who they are or what they look like: an update or a deletion
    may meet a user who was deleted before, as it may in life.
    """

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._users = 0

    def next(self) -> Change:
        """Return one more change."""
        (kind,) = self._random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))
        if self._users < _HOT_USERS:
            kind = Kind.INSERT
        match kind:
            case Kind.INSERT:
                return Change(kind, (self._insert(),))
            case Kind.UPDATE:
                return Change(kind, (self._update(),))
            case Kind.DELETE_ROW:
                return Change(kind, ((REMOVE_ROW, (self._user(),)),))
            case Kind.DELETE_COLUMN:
                return Change(kind, (self._delete_column(),))
            case Kind.OTHER_TABLE:
                return Change(kind, (other_change(self._random, self._user()),))
            case _:
                return Change(kind, tuple(self._one_of_batch() for _ in range(self._random.randint(2, 5))))

    def _one_of_batch(self) -> Row:
        return self._random.choices((self._insert, self._update, self._delete_column), (2, 6, 1))[0]()

    def _user(self) -> str:
        """Return a user's id: one in four times of a few who change all the time, else of anybody."""
        number = self._random.randrange(_HOT_USERS if self._random.random() < 0.25 else self._users)
        return _id(number)

    def _insert(self) -> Row:
        user = _id(self._users)
        self._users += 1
        first, last = self._names()
        mail = f"{first}.{last}.{user}@example.org".lower()
        values: tuple[Any, ...] = (
            *(user, user, first, last, f"{first}_{user}".lower(), mail, f"{mail[:2]}***@example.org", False),
            *(f"98{self._random.randrange(10**8):08}", "sunbird", "+91", f"org-{self._random.randrange(20)}", 1, 0),
            *(False, self._locations(), self._some(_ROLES), self._framework(), {}, self._profile()),
            *(self._now(), "signup", self._now().isoformat()),
        )
        return INSERT, values

    def _update(self) -> Row:
        choose = self._random
        user = self._user()
        match choose.randrange(5):
            case 0:
                return RENAME, (*self._names(), self._now().isoformat(), user)
            case 1:
                return VERIFY, (choose.randrange(8), choose.randrange(2), user)
            case 2:
                return GRANT, ([choose.choice(_ROLES)], user)
            case 3:
                accepted = json.dumps({"version": f"v{choose.randrange(9)}", "tncAcceptedOn": self._now().isoformat()})
                return ACCEPT, (choose.choice(_POLICIES), accepted, self._now(), f"v{choose.randrange(9)}", user)
            case _:
                return REPLACE, (self._framework(), self._locations(), self._profile(), user)

    def _delete_column(self) -> Row:
        user = self._user()
        match self._random.randrange(3):
            case 0:
                return REMOVE_COLUMNS, (user,)
            case 1:
                return REMOVE_COLLECTION, (user,)
            case _:
                return REMOVE_ELEMENT, (self._random.choice(_POLICIES), user)

    def _names(self) -> tuple[str, str]:
        return self._random.choice(_FIRST_NAMES), self._random.choice(_LAST_NAMES)

    def _locations(self) -> list[str]:
        return [f"location-{self._random.randrange(500)}" for _ in range(self._random.randint(1, 3))]

    def _some(self, values: Sequence[str]) -> list[str]:
        return self._random.sample(values, self._random.randint(1, 2))

    def _framework(self) -> dict[str, list[str]]:
        return {"board": ["CBSE"], "subject": self._some(_SUBJECTS), "grade": [f"class {self._random.randint(1, 12)}"]}

    def _profile(self) -> str:
        return json.dumps({"dob": f"{self._random.randint(1950, 2010)}", "bio": "x" * self._random.randrange(200)})

    def _now(self) -> datetime:
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _id(number: int) -> str:
    return f"user-{number:06}"
