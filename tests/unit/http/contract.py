"""What `openapi.yaml` promises of each contract, and which of schemathesis' checks hold it to that."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

TEXT = (Path(__file__).parents[3] / "http/openapi.yaml").read_bytes()
DESCRIPTION: dict[str, Any] = yaml.safe_load(TEXT)


def schema_of(name: str) -> Draft202012Validator:
    """Return a validator for a schema of the description."""
    return Draft202012Validator({**DESCRIPTION, "$ref": f"#/components/schemas/{name}"})


def documented(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description as it is under `http.contract: documented`: what that contract requires is required."""
    found: dict[str, Any] = copy.deepcopy(dict(description))
    for name in ("Ts", "MessageId", "DeviceId"):
        # Jobs are asked about without them.
        parameter = {**found["components"]["parameters"][name], "required": True}
        for path in ("/api/data/v1/index/sync", "/v1/data/sync", "/sync"):
            parameters = found["paths"][path]["post"]["parameters"]
            at = parameters.index({"$ref": f"#/components/parameters/{name}"})
            found["paths"][path]["post"]["parameters"] = [*parameters[:at], parameter, *parameters[at + 1 :]]
    found["components"]["schemas"]["SyncRequest"]["required"] = ["params", "request"]
    return found


def not_promised(case: schemathesis.Case[Any]) -> list[Any]:
    """Return the checks that a request's answer need not stand."""
    # Which types there are, and what their ids look like, is the configuration's business.
    names = ["positive_data_acceptance"]
    if _is_passed_over(case):
        names.append("negative_data_rejection")
    return [schemathesis.checks.CHECKS.get_one(name) for name in names]


def _is_passed_over(case: schemathesis.Case[Any]) -> bool:
    """Whether nothing is wrong with a request but query parameters that nobody knows, as gateways add some.

    A token that is wrong does not count, as the tests put theirs in its place.
    """
    mutations = getattr(case.meta and case.meta.phase.data, "mutations", None)
    return mutations is not None and all(
        mutation.parameter == "Authorization"
        or (mutation.parameter_location.value == "query" and mutation.keywords == ("additionalProperties",))
        for mutation in mutations
    )
