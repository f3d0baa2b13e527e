"""The shapes of a search engine's responses: each response is validated on arrival.

A proxy, a gateway or a broken node may answer with status 200 and JSON of another shape. `read` then raises
`EngineError`. Only the members that the daemon uses are declared; others are kept or ignored. The response to `_bulk`
is checked by hand in `rest`, as it is the hot path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NotRequired, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from cdc_daemon.search.failure import broken_answer

T = TypeVar("T")

_STRICT: Final = ConfigDict(strict=True)
_OPEN: Final = ConfigDict(strict=True, extra="allow")
_CLOSED: Final = ConfigDict(strict=True, extra="forbid")

_LONGEST_PLACE: Final = 200
"""The number of characters shown of the path to an invalid member. The path consists of keys of the response."""


@with_config(_OPEN)
class AliasOptions(TypedDict, total=False):
    """The options of an alias. All of them are kept, as a swap copies them."""

    is_write_index: bool


@with_config(_STRICT)
class IndexAliases(TypedDict):
    """The aliases of one index."""

    aliases: dict[str, AliasOptions]


@with_config(_STRICT)
class SettingsAnswer(TypedDict):
    """The flat settings of one index, and its defaults if requested."""

    settings: NotRequired[dict[str, Any]]
    defaults: NotRequired[dict[str, Any]]


@with_config(_OPEN)
class MappedField(TypedDict, total=False):
    """A field of a mapping, or the whole mapping. Members that are not declared here are kept."""

    type: str
    properties: dict[str, MappedField] | None
    fields: dict[str, MappedField] | None
    runtime: dict[str, Any] | None
    ignore_above: Annotated[int, Field(strict=False)]


@with_config(_STRICT)
class IndexMapping(TypedDict):
    """The mapping of one index."""

    mappings: MappedField


@with_config(_STRICT)
class Acknowledgement(TypedDict):
    """Whether all nodes have acknowledged a change of the cluster state."""

    acknowledged: bool


@with_config(_STRICT)
class Shards(TypedDict):
    """The number of shards that failed the request."""

    failed: int


@with_config(_STRICT)
class Refreshed(TypedDict):
    """The answer to a refresh."""

    _shards: Shards


@with_config(_STRICT)
class PointInTime(TypedDict):
    """A point in time that was opened."""

    id: str


@with_config(_STRICT)
class Hit(TypedDict):
    """A document that a search found."""

    _id: str
    _version: int
    _routing: NotRequired[str]
    _source: NotRequired[dict[str, Any]]
    sort: NotRequired[list[Any]]


@with_config(_STRICT)
class Hits(TypedDict):
    """The hits of one page."""

    hits: list[Hit]


@with_config(_STRICT)
class Page(TypedDict):
    """One page of a search in a point in time, or of a scroll."""

    hits: Hits
    pit_id: NotRequired[str]
    _scroll_id: NotRequired[str]
    timed_out: NotRequired[bool]
    _shards: Shards


@with_config(_STRICT)
class GetError(TypedDict):
    """The error of one document of a multi-get."""

    type: NotRequired[str]
    reason: NotRequired[str]


@with_config(_STRICT)
class Got(TypedDict):
    """A document of a multi-get."""

    found: NotRequired[bool]
    error: NotRequired[GetError]
    _version: NotRequired[int]
    _routing: NotRequired[str]
    _source: NotRequired[dict[str, Any]]


@with_config(_STRICT)
class MultiGet(TypedDict):
    """The documents of a multi-get, in the order of the request."""

    docs: list[Got]


@with_config(_STRICT)
class CountAnswer(TypedDict):
    """The number of documents that match a search."""

    count: int


@with_config(_STRICT)
class ClusterHealth(TypedDict):
    """The health of a cluster or of an index."""

    status: str


@with_config(_STRICT)
class Simulated(TypedDict):
    """An index template as Elasticsearch would apply it."""

    template: dict[str, Any]


@with_config(_STRICT)
class Node(TypedDict):
    """A node of the cluster."""

    version: str


@with_config(_STRICT)
class NodeTime(TypedDict):
    """The time of a node's statistics in milliseconds since epoch."""

    timestamp: int


@with_config(_CLOSED)
class NodeTimes(TypedDict, total=False):
    """The times of some nodes; the request filters everything else out of the response."""

    nodes: dict[str, NodeTime]


@with_config(_CLOSED)
class Nodes(TypedDict, total=False):
    """The nodes of the cluster; the request filters everything else out of the response."""

    nodes: dict[str, Node]


@with_config(_STRICT)
class Release(TypedDict):
    """The release of the node that answers. OpenSearch names itself as the distribution."""

    number: str
    distribution: NotRequired[str]


@with_config(_STRICT)
class MainPage(TypedDict):
    """The answer to `GET /`."""

    version: Release
    tagline: NotRequired[str]


@with_config(_STRICT)
class Privileges(TypedDict):
    """The privileges of a login, by index and privilege."""

    index: dict[str, dict[str, bool]]


ACKNOWLEDGEMENT: Final = TypeAdapter(Acknowledgement)
ALIASES: Final = TypeAdapter(Mapping[str, IndexAliases])
COUNT: Final = TypeAdapter(CountAnswer)
HEALTH: Final = TypeAdapter(ClusterHealth)
MAIN_PAGE: Final = TypeAdapter(MainPage)
MAPPINGS: Final = TypeAdapter(Mapping[str, IndexMapping])
MULTI_GET: Final = TypeAdapter(MultiGet)
NODES: Final = TypeAdapter(Nodes)
NODE_TIMES: Final = TypeAdapter(NodeTimes)
PAGE: Final = TypeAdapter(Page)
POINT_IN_TIME: Final = TypeAdapter(PointInTime)
PRIVILEGES: Final = TypeAdapter(Privileges)
REFRESHED: Final = TypeAdapter(Refreshed)
SETTINGS: Final = TypeAdapter(Mapping[str, SettingsAnswer])
SIMULATED: Final = TypeAdapter(Simulated)


def read(shape: TypeAdapter[T], body: Any) -> T:
    """Return the body of a response if it has this shape.

    Raises `EngineError`, which names the path in the response and never quotes the value: it may be a
    document.
    """
    try:
        return shape.validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE] or "the whole"
        raise broken_answer(f"the answer has an unexpected shape: {place}: {first['msg']}") from None


def required(value: T | None, member: str) -> T:
    """Return a member that the response must have. Raises `EngineError` if it is missing."""
    if value is None:
        raise broken_answer(f"the answer has an unexpected shape: {member} is missing")
    return value
