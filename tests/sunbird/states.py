"""A table of row states for each object type, with the document expected of each, written down by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
TEXT = "2026-02-03T04:05:06.789Z"


@dataclass(frozen=True)
class State:
    """What stands in Cassandra for one document: its row, and the rows joined to it, by their tables.

    `document` is what is expected, and every field of `nulls` is null beside it; None expects no document.
    """

    name: str
    object_type: str
    id: str
    row: Mapping[str, Any]
    document: Mapping[str, Any]
    nulls: tuple[str, ...] = ()
    joined: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, Any]:
        """The whole document."""
        return {**dict.fromkeys(self.nulls), **self.document}


TABLES = {
    "user": "sunbird.user",
    "organisation": "sunbird.organisation",
    "location": "sunbird.location",
    "batch": "sunbird_courses.course_batch",
    "user_course": "sunbird_courses.user_enrolments",
}

USER_FIELDS = (
    *("channel", "countryCode", "createdAt", "createdBy", "createdDate", "dob", "email", "emailVerified", "firstName"),
    *("flagsValue", "framework", "isDeleted", "lastName", "locationIds", "loginId", "managedBy", "maskedEmail"),
    *("maskedPhone", "phone", "phoneVerified", "prevUsedEmail", "prevUsedPhone", "profileDetails", "recoveryEmail"),
    *("recoveryPhone", "rootOrgId", "rootOrgName", "status", "tncAcceptedOn", "tncAcceptedVersion", "updatedBy"),
    *("updatedDate", "userId", "userName", "userSubType", "userType", "allTncAccepted"),
)
EMPTY_USER = {
    "profileLocation": [],
    "profileUserType": {},
    "profileUserTypes": [],
    "organisations": [],
    "roles": [],
    "stateValidated": False,
}
MEMBER_FIELDS = (
    *("addedBy", "addedByName", "approvaldate", "approvedBy", "associationType", "hashTagId", "id", "isApproved"),
    *("isRejected", "orgjoindate", "orgLeftDate", "position", "updatedBy", "updatedDate", "orgName"),
)
ROLE_FIELDS = ("createdBy", "createdDate", "updatedBy", "updatedDate")
ORG_FIELDS = (
    *("channel", "createdBy", "createdDate", "description", "email", "externalId", "homeUrl", "imgUrl", "isRootOrg"),
    *("isSSOEnabled", "isTenant", "keys", "locationIds", "organisationSubType", "organisationType", "orgName"),
    *("provider", "rootOrgId", "slug", "status", "updatedBy", "updatedDate"),
)
BATCH_FIELDS = (
    *("cert_templates", "createdDate", "createdBy", "oldCreatedDate", "createdFor", "description", "endDate"),
    *("oldEndDate", "enrollmentEndDate", "oldEnrollmentEndDate", "enrollmentType", "mentors", "name", "startDate"),
    *("oldStartDate", "status", "tandc", "updatedDate", "oldUpdatedDate"),
)
COURSE_FIELDS = (
    *("active", "addedBy", "certificates", "certstatus", "completedOn", "completionPercentage", "contentStatus"),
    *("dateTime", "enrolledDate", "oldEnrolledDate", "issuedCertificates", "lastContentAccessTime"),
    *("lastReadContentId", "lastReadContentStatus", "progress", "status"),
)


def _child(fields: tuple[str, ...], **given: Any) -> dict[str, Any]:
    return {**dict.fromkeys(fields), **given}


STATES = (
    State("nothing but a key", "user", "u1", {"id": "u1"}, {"id": "u1", "identifier": "u1", **EMPTY_USER}, USER_FIELDS),
    State(
        "everything",
        "user",
        "u2",
        {
            "id": "u2",
            "userid": "u2",
            "firstname": "Asha",
            "lastname": "कुमार",
            "dob": "1990-12-31",
            "email": "bXkgbWFpbA==",
            "emailverified": False,
            "flagsvalue": 5,
            "framework": {"board": ["CBSE"], "grade": []},
            "isdeleted": False,
            "locationids": ["l1", "l2"],
            "loginid": "asha",
            "roles": ["OLD"],
            "rootorgid": "o1",
            "status": 1,
            "createdat": "2026-02-03",
            "createddate": "2026-02-03 04:05:06:789+0000",
            "tncacceptedon": MOMENT,
            "alltncaccepted": {"groupsTnc": '{"version": "v1"}', "bad": "{"},
            "profiledetails": '{"a": {"b": [1, 2.5, null]}}',
            "profilelocation": '[{"id": "l1", "type": "state"}]',
            "profileusertype": '{"type": "teacher"}',
            "profileusertypes": '[{"type": "teacher"}]',
        },
        {
            **EMPTY_USER,
            "id": "u2",
            "identifier": "u2",
            "userId": "u2",
            "firstName": "Asha",
            "lastName": "कुमार",
            "dob": "1990-12-31",
            "email": "bXkgbWFpbA==",
            "emailVerified": False,
            "flagsValue": 5,
            "stateValidated": True,
            "framework": {"board": ["CBSE"], "grade": []},
            "isDeleted": False,
            "locationIds": ["l1", "l2"],
            "loginId": "asha",
            "rootOrgId": "o1",
            "rootOrgName": "First School",
            "status": 1,
            "createdAt": "2026-02-03",
            "createdDate": "2026-02-03 04:05:06:789+0000",
            "tncAcceptedOn": TEXT,
            "allTncAccepted": {"bad": None, "groupsTnc": {"version": "v1"}},
            "profileDetails": {"a": {"b": [1, 2.5, None]}},
            "profileLocation": [{"id": "l1", "type": "state"}],
            "profileUserType": {"type": "teacher"},
            "profileUserTypes": [{"type": "teacher"}],
            "organisations": [
                _child(
                    MEMBER_FIELDS,
                    userId="u2",
                    organisationId="o1",
                    isDeleted=False,
                    orgName="First School",
                    orgjoindate="2026-01-01",
                ),
                _child(MEMBER_FIELDS, userId="u2", organisationId="o3", isDeleted=False),
            ],
            "roles": [
                _child(ROLE_FIELDS, role="ORG_ADMIN", scope=[{"organisationId": "o1"}], createdDate="2026"),
                _child(ROLE_FIELDS, role="PUBLIC", scope=[]),
                _child(ROLE_FIELDS, role="REVIEWER", scope=[]),
            ],
        },
        USER_FIELDS,
        {
            "sunbird.organisation": [{"id": "o1", "orgname": "First School"}, {"id": "o2", "orgname": "Second"}],
            "sunbird.user_organisation": [
                {
                    "userid": "u2",
                    "organisationid": "o1",
                    "isdeleted": False,
                    "orgjoindate": "2026-01-01",
                    "roles": ["X"],
                },
                {"userid": "u2", "organisationid": "o2", "isdeleted": True},
                {"userid": "u2", "organisationid": "o3", "isdeleted": False},
            ],
            "sunbird.user_roles": [
                {"userid": "u2", "role": "ORG_ADMIN", "scope": '[{"organisationId": "o1"}]', "createddate": "2026"},
                {"userid": "u2", "role": "PUBLIC", "scope": None},
                {"userid": "u2", "role": "REVIEWER", "scope": "no list"},
            ],
        },
    ),
    State(
        "texts that are blank or no JSON, and an organisation that is not there",
        "user",
        "u3",
        {
            "id": "u3",
            "dob": "",
            "flagsvalue": 3,
            "rootorgid": "gone",
            "profiledetails": "{",
            "profilelocation": "",
            "profileusertype": " ",
            "profileusertypes": "teacher",
        },
        {**EMPTY_USER, "id": "u3", "identifier": "u3", "flagsValue": 3, "rootOrgId": "gone"},
        USER_FIELDS,
    ),
    State(
        "nothing but a key",
        "organisation",
        "org1",
        {"id": "org1"},
        {"id": "org1", "identifier": "org1", "hashTagId": "org1", "orgLocation": []},
        ORG_FIELDS,
    ),
    State(
        "everything",
        "organisation",
        "org2",
        {
            "id": "org2",
            "orgname": "First",
            "contactdetail": '{"phone": "1"}',
            "hashtagid": "another",
            "isrootorg": True,
            "isssoenabled": False,
            "istenant": True,
            "keys": {"signKeys": ["1"]},
            "organisationtype": 5,
            "orglocation": '[{"id": "l1"}]',
            "status": 1,
        },
        {
            "id": "org2",
            "identifier": "org2",
            "hashTagId": "org2",
            "orgName": "First",
            "isRootOrg": True,
            "isSSOEnabled": False,
            "isTenant": True,
            "keys": {"signKeys": ["1"]},
            "organisationType": 5,
            "orgLocation": [{"id": "l1"}],
            "status": 1,
        },
        ORG_FIELDS,
    ),
    State(
        "a state",
        "location",
        "l1",
        {"id": "l1", "code": "29", "name": "Karnataka", "type": "state"},
        {"id": "l1", "identifier": "l1", "code": "29", "name": "Karnataka", "type": "state", "parentId": None},
    ),
    State(
        "a district",
        "location",
        "l2",
        {"id": "l2", "parentid": "l1"},
        {"id": "l2", "identifier": "l2", "parentId": "l1"},
        ("code", "name", "type"),
    ),
    State(
        "nothing but a key",
        "batch",
        "0130",
        {"courseid": "do_1", "batchid": "0130"},
        {"id": "0130", "identifier": "0130", "courseId": "do_1", "batchId": "0130"},
        BATCH_FIELDS,
    ),
    State(
        "everything",
        "batch",
        "0131",
        {
            "courseid": "do_1",
            "batchid": "0131",
            "cert_templates": {"t1": {"name": "Merit"}},
            "created_date": MOMENT,
            "createddate": "2026-02-03 old",
            "createdfor": ["o1"],
            "end_date": MOMENT,
            "enrollment_enddate": MOMENT,
            "mentors": ["u1"],
            "start_date": MOMENT,
            "startdate": "2026-02-01",
            "status": 1,
            "tandc": True,
            "updated_date": MOMENT,
        },
        {
            "id": "0131",
            "identifier": "0131",
            "courseId": "do_1",
            "batchId": "0131",
            "cert_templates": {"t1": {"name": "Merit"}},
            "createdDate": "2026-02-03 04:05:06:789+0000",
            "oldCreatedDate": "2026-02-03 old",
            "createdFor": ["o1"],
            "endDate": "2026-02-03",
            "enrollmentEndDate": "2026-02-03",
            "mentors": ["u1"],
            "startDate": "2026-02-03",
            "oldStartDate": "2026-02-01",
            "status": 1,
            "tandc": True,
            "updatedDate": "2026-02-03 04:05:06:789+0000",
        },
        BATCH_FIELDS,
    ),
    State(
        "nothing but a key",
        "user_course",
        "0130_u1",
        {"userid": "u1", "courseid": "do_1", "batchid": "0130"},
        {"id": "0130_u1", "identifier": "0130_u1", "userId": "u1", "courseId": "do_1", "batchId": "0130"},
        COURSE_FIELDS,
    ),
    State(
        "everything",
        "user_course",
        "0132_u1",
        {
            "userid": "u1",
            "courseid": "do_2",
            "batchid": "0132",
            "active": True,
            "certificates": [{"name": "Merit", "token": "x"}],
            "completedon": MOMENT,
            "contentstatus": {"do_c1": 2, "do_c2": 1},
            "datetime": MOMENT,
            "issued_certificates": [{"name": "Merit"}],
            "progress": 3,
            "status": 2,
        },
        {
            "id": "0132_u1",
            "identifier": "0132_u1",
            "userId": "u1",
            "courseId": "do_2",
            "batchId": "0132",
            "active": True,
            "certificates": [{"name": "Merit", "token": "x"}],
            "completedOn": TEXT,
            "contentStatus": '{"do_c1":2,"do_c2":1}',
            "dateTime": TEXT,
            "issuedCertificates": [{"name": "Merit"}],
            "progress": 3,
            "status": 2,
        },
        COURSE_FIELDS,
    ),
)
