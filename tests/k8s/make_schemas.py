"""`python -m tests.k8s.make_schemas`: generates the schemas of the operators' kinds from their releases (needs Go).

A custom resource's definition has its schema in a form of OpenAPI, which is turned into JSON Schema here: the same
types, names and patterns, without descriptions and without the rules that only an API server can apply
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent / "schemas"


class Release(NamedTuple):
    """A release of a Go module, its hashes as in go.sum (of all, and of go.mod), and files that have definitions."""

    module: str
    version: str
    hash: str
    mod_hash: str
    files: tuple[str, ...]


RELEASES = (
    Release(
        "github.com/k8ssandra/cass-operator",
        "v1.23.0",
        "h1:1870oko++z920dkoT7PbQjWtgAUsdSeJpywJEdrvD8I=",
        "h1:KtROSvoTwB6eFzcRjOmTUAGkbDHnNtK4ayk4KDllHy4=",
        ("config/crd/bases/cassandra.datastax.com_cassandradatacenters.yaml",),
    ),
    Release(
        "github.com/k8ssandra/k8ssandra-operator",
        "v1.21.0",
        "h1:jT5se9g4VqfgahVKOc2iyz2XY+juSicOyYYY3cd7HvQ=",
        "h1:nRFGaG9jTsO2emvWmg9KHB6phiZcgVFnGwiwOF6dR/0=",
        ("config/crd/bases/k8ssandra.io_k8ssandraclusters.yaml",),
    ),
    Release(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "h1:nsm9EUSfVNwcdq2v3aOkCYKMqE6dDZVCZ6aFJ1ABXm8=",
        (
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ),
    ),
)

_LEFT_OUT = {"description", "default", "example", "format", "nullable"}


def converted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a definition's schema as JSON Schema. What it does not name is not allowed, as nothing here needs it."""
    if schema.get("format") == "byte" and schema.get("x-kubernetes-preserve-unknown-fields"):
        return {}  # cass-operator's `config`: the operator itself takes its type away when it is installed
    made = {name: each for name, each in schema.items() if name not in _LEFT_OUT and not name.startswith("x-")}
    if "properties" in schema:
        made["properties"] = {name: converted(each) for name, each in schema["properties"].items()}
        made.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties", "not"):
        if isinstance(made.get(name), dict):
            made[name] = converted(made[name])
    for name in ("allOf", "anyOf", "oneOf"):
        if name in made:
            made[name] = [converted(each) for each in made[name]]
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if "(?i)" in schema.get("pattern", ""):
        made["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")  # Go takes it anywhere
    if schema.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


def made_of(definition: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind, of the version that is stored."""
    spec = definition["spec"]
    (version,) = [each for each in spec["versions"] if each["storage"]]
    schema = converted(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= {
        "apiVersion": {"const": f"{spec['group']}/{version['name']}"},
        "kind": {"const": spec["names"]["kind"]},
        "metadata": {"type": "object"},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": f"Made of {source}, Apache-2.0."}
    return {**head, **schema, "required": sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})}


def downloaded(release: Release, folder: Path) -> Path:
    """Return the folder of a release, fetched by Go, which ends with an error where it has another hash."""
    (folder / "go.mod").write_text(f"module schemas\n\ngo 1.21\n\nrequire {release.module} {release.version}\n")
    (folder / "go.sum").write_text(
        f"{release.module} {release.version} {release.hash}\n"
        f"{release.module} {release.version}/go.mod {release.mod_hash}\n"
    )
    told = subprocess.run(
        ["go", "mod", "download", "-json", release.module],
        cwd=folder,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(json.loads(told.stdout)["Dir"])


def main() -> None:
    """Write a compressed JSON Schema for each kind."""
    for release in RELEASES:
        with tempfile.TemporaryDirectory() as folder:
            files = downloaded(release, Path(folder))
        for name in release.files:
            definition = yaml.safe_load((files / name).read_text(encoding="utf-8"))
            schema = made_of(definition, f"{release.module} {release.version}, {name}")
            Draft202012Validator.check_schema(schema)
            target = HERE / f"{definition['spec']['names']['singular']}.json.gz"
            target.write_bytes(gzip.compress(json.dumps(schema, separators=(",", ":")).encode(), mtime=0))


if __name__ == "__main__":
    main()
