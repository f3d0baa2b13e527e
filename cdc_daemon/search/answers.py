"""The shapes of Elasticsearch's answers: each answer is checked where it arrives.

A proxy, a gateway or a broken node may answer with status 200 and JSON of another shape. `read` raises a
`BrokenAnswerError` for it, to which `told_apart` adds what was tried. Only the members that the daemon uses are
declared; others are kept or ignored. The answers to `_bulk` and to the bulk writer's `_mget` are checked by hand in
`endpoint`, as they are the hot path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NotRequired, TypeVar

from elastic_transport import ApiResponse
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from cdc_daemon.model.errors import BrokenAnswerError

T = TypeVar("T")

_STRICT: Final = ConfigDict(strict=True)
_OPEN: Final = ConfigDict(strict=True, extra="allow")
_CLOSED: Final = ConfigDict(strict=True, extra="forbid")

_LONGEST_PLACE: Final = 200
"""Characters that are shown of the place where an answer is wrong: it consists of keys of the answer."""


@with_config(_OPEN)
class AliasOptions(TypedDict, total=False):
    """The options of an alias. All of them are kept, as a swap takes them along."""

    is_write_index: bool


@with_config(_STRICT)
class IndexAliases(TypedDict):
    """The aliases of one index."""

    aliases: dict[str, AliasOptions]


@with_config(_STRICT)
class IndexSettings(TypedDict):
    """The flat settings of one index, and the defaults where they were requested."""

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
    """Whether all nodes know of a change of the cluster's state."""

    acknowledged: bool


@with_config(_STRICT)
class Shards(TypedDict):
    """How many shards did not do what was requested."""

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
    """One page of a search in a point in time."""

    hits: Hits
    pit_id: NotRequired[str]
    timed_out: NotRequired[bool]
    _shards: Shards


@with_config(_STRICT)
class GetError(TypedDict):
    """Why a document of a multi-get could not be looked up."""

    type: NotRequired[str]


@with_config(_STRICT)
class Got(TypedDict):
    """A document of a multi-get, or of a get."""

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
class Count(TypedDict):
    """How many documents a search finds."""

    count: int


@with_config(_STRICT)
class Health(TypedDict):
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


@with_config(_CLOSED)
class Nodes(TypedDict, total=False):
    """The nodes of the cluster; the request filters everything else out of the answer."""

    nodes: dict[str, Node]


@with_config(_STRICT)
class Privileges(TypedDict):
    """Which privileges a login has, by index and privilege."""

    index: dict[str, dict[str, bool]]


ACKNOWLEDGEMENT: Final = TypeAdapter(Acknowledgement)
ALIASES: Final = TypeAdapter(Mapping[str, IndexAliases])
COUNT: Final = TypeAdapter(Count)
GOT: Final = TypeAdapter(Got)
HEALTH: Final = TypeAdapter(Health)
MAPPINGS: Final = TypeAdapter(Mapping[str, IndexMapping])
MULTI_GET: Final = TypeAdapter(MultiGet)
NODES: Final = TypeAdapter(Nodes)
PAGE: Final = TypeAdapter(Page)
POINT_IN_TIME: Final = TypeAdapter(PointInTime)
PRIVILEGES: Final = TypeAdapter(Privileges)
REFRESHED: Final = TypeAdapter(Refreshed)
SETTINGS: Final = TypeAdapter(Mapping[str, IndexSettings])
SIMULATED: Final = TypeAdapter(Simulated)


def read(shape: TypeAdapter[T], answer: ApiResponse[Any]) -> T:
    """Return the body of an answer if it has this shape.

    Raises `BrokenAnswerError`, which names the place in the answer and never quotes what is there: it may be a
    document.
    """
    try:
        return shape.validate_python(answer.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE] or "the whole"
        raise BrokenAnswerError(f"the answer has an unexpected shape: {place}: {first['msg']}") from None


def of_index(entries: Mapping[str, T], index: str) -> T:
    """Return what an answer says of an index. Raises `BrokenAnswerError` where it says nothing of it."""
    if index not in entries:
        raise BrokenAnswerError(f"the answer says nothing of the index {index}")
    return entries[index]


def is_found(document: Got) -> bool:
    """Tell whether there is such a document. Raises `BrokenAnswerError` where the answer does not tell."""
    return required(document.get("found"), "found")


def required(value: T | None, member: str) -> T:
    """Return a member that an answer needs here. Raises `BrokenAnswerError` where it is absent."""
    if value is None:
        raise BrokenAnswerError(f"the answer has an unexpected shape: {member} is missing")
    return value
