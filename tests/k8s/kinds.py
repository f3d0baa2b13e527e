"""Kubernetes' versions, and the schemas of the operators' own kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import jsonschema
from kubernetes_validate.utils import all_versions

HERE = Path(__file__).parent / "schemas"
SCHEMAS = {
    schema["properties"]["kind"]["const"]: jsonschema.Draft202012Validator(schema)
    for schema in (json.loads(gzip.decompress(file.read_bytes())) for file in HERE.glob("*.json.gz"))
}
NEWEST = sorted({version.rpartition(".")[0] for version in all_versions()}, key=lambda each: int(each.split(".")[1]))[
    -3:
]
