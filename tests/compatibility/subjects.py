"""What the page is about: what differs between the engines, the databases, and the tests that show each."""

from __future__ import annotations

from dataclasses import dataclass

CONFORMANCE = "tests/integration/search/test_engine.py"
"""The tests that run on every engine."""

SECURITY = "tests/integration/search/test_security.py"
"""The tests that run on the engines that can be started with security."""


@dataclass(frozen=True)
class Subject:
    """Something in which engines may differ: how, what the daemon does about it, and the tests that show it.

    The tests are functions of the conformance suite and of the tests of security, or other files.
    """

    name: str
    difference: str
    daemon: str
    tests: tuple[str, ...]

    @property
    def runs_on_each_engine(self) -> bool:
        """Whether its tests run on each engine that can be started so."""
        return not any("/" in test for test in self.tests)


@dataclass(frozen=True)
class Database:
    """A database and the way its changes are found. `tests` are patterns of test ids, without them it is untested.

    A `model` is a fake of the documented system tables, instead of a server.
    """

    name: str
    way: str
    tests: tuple[str, ...] = ()
    model: bool = False


SUBJECTS = (
    Subject(
        "engine and version",
        "Elasticsearch names itself in a header since 7.14, OpenSearch in its main page.",
        "It asks which engine answers at the start, after a lost connection, and every 30 s.",
        ("test_the_engine_and_the_releases_of_its_nodes_are_known",),
    ),
    Subject(
        "versions",
        "None: `external_gte` is the same in all.",
        "The version of a document is the time of its read.",
        (
            "test_the_same_version_is_written_again",
            "test_items_are_in_the_order_of_the_actions_and_tell_their_failures",
        ),
    ),
    Subject(
        "deletions (`index.gc_deletes`)",
        "None: each remembers the version of a deletion for that time, 60 s by default, and then forgets it.",
        "It never sends a document that was read longer ago than half of this time.",
        ("test_a_deletion_is_remembered_with_its_version", "test_a_deletion_is_forgotten_after_gc_deletes"),
    ),
    Subject(
        "a document that does not fit its mapping",
        "The type of the error.",
        "It judges by the status. The dead letter has the engine's own type.",
        ("test_a_document_that_does_not_fit_has_the_engines_own_error",),
    ),
    Subject(
        "what is missing",
        "None: the types of the errors are the same.",
        "It waits for the operator.",
        ("test_what_is_missing_is_refused_by_its_type",),
    ),
    Subject(
        "point in time or scroll",
        "Elasticsearch has a point in time since 7.12 outside its paid build, OpenSearch one of its own since 2.4.",
        "It uses a point in time on Elasticsearch 8 and 9 and a scroll on the others; both show one moment.",
        (
            "test_which_engine_has_a_point_in_time",
            "test_a_scan_shows_one_moment",
            "test_the_parts_of_a_scan_are_the_whole",
        ),
    ),
    Subject(
        "`require_alias`",
        "None: all know it.",
        "Each bulk request demands it.",
        (
            "test_only_an_alias_is_written_to_and_nothing_is_created",
            "test_a_guard_requires_an_alias_for_deletions_and_writes_nothing",
        ),
    ),
    Subject(
        "aliases",
        "Elasticsearch 7.10 and OpenSearch 1.3 do not know `must_exist`.",
        "Where it is not known, it looks at the aliases before the change. Each change is one atomic step.",
        (
            "test_an_alias_that_may_be_missing_is_removed_or_passed_over",
            "test_a_change_of_aliases_is_done_wholly_or_not_at_all",
        ),
    ),
    Subject(
        "types of fields",
        "`flattened`, `flat_object`, `dense_vector`. `knn_vector` needs a plugin, which was not tested.",
        "A mapping is changed to what the engine has. With the k-NN plugin, declare the field in `mappings`.",
        ("test_which_engine_has_a_type_of_field", "test_a_vector_is_a_field_of_every_engine"),
    ),
    Subject(
        "maps",
        "`flattened` in Elasticsearch from 7.11, `flat_object` in OpenSearch from 2.7. Older engines have neither.",
        "It declares the type that the engine has. Without one, maps are stored and not searched; the log and `check` "
        "name the fields.",
        ("tests/integration/search/test_field_types.py",),
    ),
    Subject(
        "long values in maps",
        "OpenSearch refuses a document with a value of more than 32 kB in a `flat_object`; Elasticsearch ignores the "
        "value.",
        "It writes the document again with that map stored aside, in `cdc_unindexed`.",
        ("tests/integration/search/test_field_types.py",),
    ),
    Subject(
        "total hits",
        "None: counts and scans are exact beyond 10,000 documents.",
        "It counts with `_count` and never with the total of a search.",
        ("test_counts_and_scans_are_whole_beyond_ten_thousand_documents",),
    ),
    Subject(
        "default limits",
        "None: 1,000 fields, 512 bytes of an `_id`, 32,766 bytes of an indexed keyword.",
        "A longer `_id` is hashed, a document beyond another limit becomes a dead letter.",
        ("test_the_default_limits_are_those_that_the_daemon_knows",),
    ),
    Subject(
        "warnings",
        "None known: a deprecation comes in the header `Warning`. Tested with answers of the tests' own.",
        "It logs each warning once.",
        ("tests/unit/search/engines/test_client.py",),
    ),
    Subject(
        "media types of Elasticsearch 8 (406)",
        "Only Elasticsearch knows them; OpenSearch refuses them with 406.",
        "It sends plain ones to OpenSearch and Elasticsearch 7. After a 406 it asks again which engine answers.",
        ("test_foreign_media_types_are_refused_for_the_operator_and_not_for_the_document",),
    ),
    Subject(
        "privileges of the login",
        "Only Elasticsearch with its security says them.",
        "Without an answer `check` judges by the requests themselves.",
        ("test_privileges_are_told_or_none_is_known",),
    ),
    Subject(
        "login by user and password",
        "None.",
        "It sends the login with each request.",
        ("test_a_login_by_name_and_password", "test_a_missing_or_wrong_login_is_refused"),
    ),
    Subject(
        "API keys",
        "Elasticsearch has them, except its open-source build. OpenSearch has its own since 3.7.",
        "A key is only sent to an engine that takes it. Otherwise the start and `check` fail and say what to use.",
        ("test_an_api_key_is_taken_or_never_sent",),
    ),
    Subject(
        "vectors in the source",
        "Elasticsearch 9.2 leaves them out of what it answers.",
        "It demands them, so that a comparison sees the whole document.",
        ("test_a_vector_is_a_field_of_every_engine",),
    ),
    Subject(
        "values beyond `ignore_above`",
        "Elasticsearch 8 and 9 record their fields in `_ignored`; OpenSearch does not.",
        "It refreshes every document of the index for a reference whose value is that long.",
        ("tests/integration/search/test_documents.py",),
    ),
    Subject(
        "an answer with 410",
        "No engine that can be started here gives one; Elastic's serverless offering does.",
        "It waits for the operator, as after a 406.",
        ("tests/unit/search/test_failure.py", "tests/unit/search/test_bulk.py"),
    ),
)

DATABASES = (
    Database(
        "Cassandra 5.0.6", "commit log", ("tests/integration/daemon/test_[!fm]*", "tests/integration/sources/log/*")
    ),
    Database("Cassandra 4.1.10", "commit log", ("tests/integration/daemon/test_formats.py::*[[]4.1-*",)),
    Database("Cassandra 4.0.18", "commit log", ("tests/integration/daemon/test_formats.py::*[[]4.0-*",)),
    Database("Cassandra 3.11.13", "commit log", ("tests/integration/daemon/test_moved_segments.py::*",)),
    Database("Cassandra 5.0.6", "polled", ("tests/integration/sources/poll/test_[pd]*",)),
    Database("Cassandra 3.11.13", "polled", ("tests/integration/sources/poll/test_older_servers.py::*",)),
    Database("YugabyteDB 2025.2 (YCQL)", "polled", ("tests/unit/cassandra/schema/test_modelled.py::*",), model=True),
    Database("Amazon Keyspaces", "polled", ("tests/unit/cassandra/schema/test_modelled.py::*",), model=True),
    Database(
        "Astra DB",
        "polled",
        ("tests/unit/cassandra/schema/test_modelled.py::*", "tests/*/cassandra/test_bundle.py::*"),
        model=True,
    ),
)
