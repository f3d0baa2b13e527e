"""The servers as Maven Central has them: exact versions, coordinates, and where they lie in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_directory
from sandbox.errors import SandboxError

CASSANDRA_VERSIONS = {"5.0": "5.0.6", "4.1": "4.1.10", "4.0": "4.0.18", "3.11": "3.11.13"}
"""Release line to the exact release; the first is the default."""

DEFAULT_CASSANDRA = "5.0"

ELASTICSEARCH_VERSION = "8.19.4"


@dataclass(frozen=True, slots=True)
class ArtifactSet:
    """One server's jars: the artifacts to resolve, each as `group:artifact:version` or `group:artifact:version:type`.

    What they depend on is resolved too, if `transitive`.
    """

    name: str
    version: str
    coordinates: tuple[str, ...]
    transitive: bool = True

    @property
    def directory(self) -> Path:
        """The folder in the cache; `lib/` below it holds the jars."""
        return cache_directory() / f"{self.name.lower()}-{self.version}"

    @property
    def library(self) -> Path:
        """The folder with the jars of the class path."""
        return self.directory / "lib"

    @property
    def marker(self) -> Path:
        """The file that is there only when all of the set is."""
        return self.directory / "complete"

    @property
    def title(self) -> str:
        """The name for people."""
        return f"{self.name} {self.version}"


def cassandra_set(version: str) -> ArtifactSet:
    """Return the jars of a Cassandra: `5.0`, or an exact one such as `5.0.6`."""
    if version not in CASSANDRA_VERSIONS and version not in CASSANDRA_VERSIONS.values():
        raise SandboxError(
            f"expected a Cassandra version of {', '.join(CASSANDRA_VERSIONS)}, found {version!r}",
        )
    exact = CASSANDRA_VERSIONS.get(version, version)
    coordinates = [f"org.apache.cassandra:cassandra-all:{exact}"]
    if exact.startswith("3."):
        coordinates.append(f"org.apache.cassandra:cassandra-thrift:{exact}")
    return ArtifactSet("Cassandra", exact, tuple(coordinates))


ECLIPSE_COMPILER = ArtifactSet("Ecj", "3.40.0", ("org.eclipse.jdt:ecj:3.40.0",))
"""Eclipse's compiler for Java, which reads classes that were made for a newer Java than it runs on."""
