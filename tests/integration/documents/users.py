"""Users whose documents show their roles, memberships and organisations."""

from __future__ import annotations

from typing import Any

from tests.integration.daemon.stage import Stage


def stage_users(stage: Stage, **user: Any) -> None:
    """Users with their roles, memberships and organisations' names."""
    stage.create("org", "id text PRIMARY KEY, orgname text, status int")
    stage.create("role", "userid text, role text, scope text, PRIMARY KEY (userid, role)")
    stage.create(
        "member",
        "userid text, organisationid text, joined timestamp, isdeleted boolean, note text static, "
        "PRIMARY KEY (userid, organisationid)",
    )
    ks = stage.keyspace
    stage.table(
        "user",
        "id text PRIMARY KEY, firstname text, rootorgid text",
        joins={
            "organisations": {
                "table": f"{ks}.member",
                "on": {"userid": "id"},
                "where": {"isdeleted": [False, None]},
                "order": ["-joined"],
                "exclude": ["userid", "isdeleted", "note"],
                "lookups": {
                    "name": {
                        "table": f"{ks}.org",
                        "on": {"id": "organisationid"},
                        "fields": {"orgname": "orgName"},
                        "dependents": {"ignore": True},
                    }
                },
            },
            "roles": {
                "table": f"{ks}.role",
                "on": {"userid": "id"},
                "form": "map",
                "key": "role",
                "exclude": ["userid", "role"],
                "json_text": {"scope": {"empty": []}},
            },
        },
        lookups={
            "root": {
                "table": f"{ks}.org",
                "on": {"id": "rootorgid"},
                "fields": {"orgname": "rootOrgName"},
                "dependents": {"ignore": True},
            }
        },
        **user,
    )
