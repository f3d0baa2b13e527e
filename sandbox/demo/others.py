"""Changes to the other tables: to those that the documents of users show, and to those with documents of their own."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

JOIN = (
    "INSERT INTO sunbird.user_organisation (organisationid, id, isdeleted, orgjoindate, position, userid) "
    "VALUES (?, ?, false, ?, ?, ?)"
)
LEAVE = "UPDATE sunbird.user_organisation SET isdeleted = true, orgleftdate = ? WHERE organisationid = ? AND userid = ?"
EXPEL = "DELETE FROM sunbird.user_organisation WHERE organisationid = ? AND userid = ?"
FORGET = "DELETE FROM sunbird.user_organisation WHERE userid = ?"
APPOINT = "INSERT INTO sunbird.user_roles (role, scope, createddate, userid) VALUES (?, ?, ?, ?)"
DISMISS = "DELETE FROM sunbird.user_roles WHERE role = ? AND userid = ?"
ENROL = (
    "INSERT INTO sunbird_courses.user_enrolments (courseid, batchid, active, enrolled_date, status, progress, userid) "
    "VALUES (?, ?, true, ?, 0, 0, ?)"
)
PROGRESS = (
    "UPDATE sunbird_courses.user_enrolments SET contentstatus[?] = ?, progress = ?, datetime = ? "
    "WHERE courseid = ? AND batchid = ? AND userid = ?"
)
UNENROL = "DELETE FROM sunbird_courses.user_enrolments WHERE courseid = ? AND userid = ?"
BATCH = (
    "INSERT INTO sunbird_courses.course_batch (courseid, batchid, name, start_date, status, cert_templates, createdby) "
    "VALUES (?, ?, ?, ?, 1, ?, ?)"
)
CLOSE = "UPDATE sunbird_courses.course_batch SET status = 2, end_date = ? WHERE courseid = ? AND batchid = ?"
CANCEL = "DELETE FROM sunbird_courses.course_batch WHERE courseid = ? AND batchid = ?"
PLACE = "INSERT INTO sunbird.location (id, code, name, type) VALUES (?, ?, ?, 'district')"
RAZE = "DELETE FROM sunbird.location WHERE id = ?"

OTHERS = (JOIN, LEAVE, EXPEL, FORGET, APPOINT, DISMISS, ENROL, PROGRESS, UNENROL, BATCH, CLOSE, CANCEL, PLACE, RAZE)
"""Every statement that `other_change` may give."""

ORGANISATION = "INSERT INTO sunbird.organisation (id, orgname, channel, orglocation, status) VALUES (%s, %s, %s, %s, 1)"
RENAME_ORGANISATION = "UPDATE sunbird.organisation SET orgname = ? WHERE id = ?"
ORGANISATIONS = 20
"""How many there are; while the demo runs they get other names and are never removed."""

_COURSES = 12
_BATCHES = 6
_ROLES = ("PUBLIC", "CONTENT_CREATOR", "COURSE_MENTOR", "ORG_ADMIN", "BOOK_REVIEWER")


def organisations() -> list[tuple[str, str, str, str]]:
    """Return the values of `ORGANISATION` for each of them."""
    place = json.dumps([{"id": "location-1", "type": "district"}])
    return [(f"org-{number}", f"School {number}", "sunbird", place) for number in range(ORGANISATIONS)]


def other_change(source: random.Random, user: str) -> tuple[str, tuple[Any, ...]]:
    """Return a statement of `OTHERS` with its values; where it changes what is a user's, this user's."""
    moment = datetime.now(UTC)
    now = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    organisation = f"org-{source.randrange(ORGANISATIONS)}"
    role = source.choice(_ROLES)
    course = f"do_{source.randrange(_COURSES)}"
    batch = f"{course}-batch-{source.randrange(_BATCHES)}"
    place = f"location-{source.randrange(500)}"
    template = {"template-1": {"name": "Merit", "url": "https://example.org/merit.svg"}}
    changes: tuple[tuple[int, str, tuple[Any, ...]], ...] = (
        (8, JOIN, (organisation, f"{user}-{organisation}", now.isoformat(), "teacher", user)),
        (2, LEAVE, (now.isoformat(), organisation, user)),
        (2, EXPEL, (organisation, user)),
        (1, FORGET, (user,)),
        (6, APPOINT, (role, json.dumps([{"organisationId": organisation}]), now.isoformat(), user)),
        (3, DISMISS, (role, user)),
        (8, ENROL, (course, batch, now, user)),
        (6, PROGRESS, (f"do_content_{source.randrange(9)}", source.randrange(3), 1, now, course, batch, user)),
        (2, UNENROL, (course, user)),
        (3, BATCH, (course, batch, f"Batch {batch}", now, template, user)),
        (2, CLOSE, (now, course, batch)),
        (1, CANCEL, (course, batch)),
        (3, PLACE, (place, place.upper(), f"District {place}")),
        (1, RAZE, (place,)),
    )
    ((_, statement, values),) = source.choices(changes, [weight for weight, _, _ in changes])
    return statement, values
