"""The search engines that the sandbox can start: exact versions, and what each needs to run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sandbox.artifacts import ELASTICSEARCH_VERSION, ArtifactSet
from sandbox.errors import SandboxError

DEFAULT_ENGINE = "elasticsearch"


@dataclass(frozen=True)
class Engine:
    """A search engine of one version.

    `package` is the root of its Java classes, `java` the version of Java that it runs on, `plugins` the class names of
    plugins on its class path; without any it loads modules from its home folder (Elasticsearch 8 and later).
    `coordinates` are artifacts of Maven Central, each as `group:artifact:version`.
    """

    name: str
    version: str
    package: str
    coordinates: tuple[str, ...]
    java: int = 17
    plugins: tuple[str, ...] = ()

    @cached_property
    def artifacts(self) -> ArtifactSet:
        """Its jars."""
        return ArtifactSet(
            "OpenSearch" if self.name == "opensearch" else "Elasticsearch", self.version, self.coordinates
        )

    @property
    def title(self) -> str:
        """The name for people."""
        return self.artifacts.title

    @property
    def has_modules(self) -> bool:
        """Whether it loads its transport as a module from its home folder."""
        return not self.plugins


def _elasticsearch(version: str, *, java: int = 17) -> Engine:
    return Engine(
        "elasticsearch",
        version,
        "org.elasticsearch",
        (f"org.elasticsearch:elasticsearch:{version}", f"org.elasticsearch.plugin:transport-netty4:{version}"),
        java,
    )


def _elasticsearch_7(version: str, *, logging: str) -> Engine:
    return Engine(
        "elasticsearch",
        version,
        "org.elasticsearch",
        (
            f"org.elasticsearch:elasticsearch:{version}",
            f"org.elasticsearch.plugin:transport-netty4-client:{version}",
            f"org.apache.logging.log4j:log4j-core:{logging}",
        ),
        plugins=("org.elasticsearch.transport.Netty4Plugin",),
    )


def _opensearch(version: str, *, logging: str, java: int = 17, transport: str = "Netty4Plugin") -> Engine:
    return Engine(
        "opensearch",
        version,
        "org.opensearch",
        (
            f"org.opensearch:opensearch:{version}",
            f"org.opensearch.plugin:transport-netty4-client:{version}",
            f"org.apache.logging.log4j:log4j-core:{logging}",
        ),
        java,
        plugins=(f"org.opensearch.transport.{transport}",),
    )


# log4j-core has to have the version of the log4j-api that the engine depends on.
ENGINES = (
    _elasticsearch(ELASTICSEARCH_VERSION),
    _elasticsearch("9.2.0", java=21),
    _elasticsearch_7("7.17.28", logging="2.17.1"),
    _elasticsearch_7("7.10.2", logging="2.11.1"),
    _opensearch("2.19.5", logging="2.25.3"),
    _opensearch("3.2.0", logging="2.21.0", java=21, transport="Netty4ModulePlugin"),
    _opensearch("1.3.20", logging="2.17.1"),
)
"""Every engine; the first of a name is the one that the bare name means."""


def find_engine(wanted: str) -> Engine:
    """Return the engine for `opensearch:2.19.5`, for a part of its version (`opensearch:2`), or for its bare name.

    Raises SandboxError for one that the sandbox cannot start.
    """
    name, _, version = wanted.partition(":")
    for engine in ENGINES:
        if engine.name == name and (not version or f"{engine.version}.".startswith(f"{version}.")):
            return engine
    known = ", ".join(f"{engine.name}:{engine.version}" for engine in ENGINES)
    raise SandboxError(f"expected one of {known}, found {wanted!r}")
