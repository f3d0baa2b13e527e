"""The checks that query the search engine. Nothing is created or changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

from cdc_daemon.app.parts.index_preparation import index_definition
from cdc_daemon.app.startup import connect_elasticsearch
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.config import ElasticsearchSettings, MappingSettings
from cdc_daemon.config.servers import AwsSettings
from cdc_daemon.config.units import format_duration
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, IndexRefusedError
from cdc_daemon.search import IndexDefinition, IndexManager, SearchEngine
from cdc_daemon.search.engine import EngineInfo, Product, of_index
from cdc_daemon.search.engines.aws import AwsCredentialsError, AwsOptions, AwsSigner
from cdc_daemon.search.engines.product import SUPPORTED, is_supported
from cdc_daemon.search.failure import EngineError, UnsupportedEngineError, attempting
from cdc_daemon.search.index_drift import describe_drift, drift_hint, find_drift
from cdc_daemon.search.index_swap import AliasIndices, Phase, write_index
from cdc_daemon.search.removal_marks import check_marking
from cdc_daemon.search.searched_field import SearchedField, find_field, read_fields
from cdc_daemon.search.stored_fields import ONLY_STORED_HINT, only_stored
from cdc_daemon.search.swap_watch import look_up_indices

_SECONDS = 5.0
_LONGEST_VERSION = 40
_LEAST_GC_DELETES = 10.0
_BLOCKS = ("read_only", "read_only_allow_delete", "write", "metadata")
_PRIVILEGES = ["create_index", "delete", "index", "maintenance", "manage", "read", "view_index_metadata"]


async def check_elasticsearch(
    options: ElasticsearchSettings,
    mappings: Mapping[str, MappingSettings],
    fitting: Mapping[str, DocumentMapping] = MappingProxyType({}),
    *,
    has_run: bool = False,
) -> list[Finding]:
    """Check the cluster, and the alias and index of each mapping.

    `fitting` are the mappings that fit the schema, by name. Only for these the generated mapping of the index is
    known. If a daemon `has_run` with this state before, a missing index may have been deleted.
    """
    try:
        engine = connect_elasticsearch(_quick(options))
    except CdcError as error:
        return [fail("elasticsearch.reachable", error.message, error.hint)]
    signing = [] if options.aws is None else [await _check_credentials(options.aws)]
    return signing + await _check_engine(engine, options, mappings, fitting, has_run=has_run)


async def _check_credentials(options: AwsSettings) -> Finding:
    """Check that there are credentials for signatures, and say where they were found, never what they are."""
    try:
        source = await AwsSigner(AwsOptions(options.region, options.profile)).source()
    except AwsCredentialsError as error:
        hint = "give the pod or the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return fail("elasticsearch.aws", str(error), hint)
    return ok("elasticsearch.aws", f"requests are signed for {options.region}; the credentials were found in: {source}")


async def _check_engine(
    engine: SearchEngine,
    options: ElasticsearchSettings,
    mappings: Mapping[str, MappingSettings],
    fitting: Mapping[str, DocumentMapping],
    *,
    has_run: bool,
) -> list[Finding]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        hosts = ", ".join(options.hosts)
        try:
            with attempting("ask which search engine answers"):
                try:
                    found = await _nodes(engine, await engine.identify())
                except UnsupportedEngineError as error:
                    return [fail("elasticsearch.version", f"{hosts}: {error.failure.reason}", error.hint)]
        except CdcError as error:
            told = f"{hosts}: {error.message}; the indices were not checked"
            return [fail("elasticsearch.reachable", told, error.hint or _mend_unreachable(options))]
        findings = [ok("elasticsearch.reachable", _answering(found)), check_versions(found)]
        for name, mapping in mappings.items():
            try:
                definition = _definition(mapping, fitting.get(name))
                findings += [
                    finding async for finding in _check_mapping(engine, name, mapping, definition, has_run=has_run)
                ]
                findings += [finding async for finding in _check_searched(engine, name, definition)]
                if mapping.on_row_delete == "mark":
                    findings += [finding async for finding in _check_mark(engine, name, definition)]
                if options.username is not None or options.api_key is not None:
                    findings += [finding async for finding in _check_privileges(engine, name, mapping)]
            except CdcError as error:
                findings.append(fail(f"index.{name}", error.message, error.hint))
        return findings


def check_versions(found: EngineInfo) -> Finding:
    """Check the engine, and the releases of the cluster's nodes."""
    if not found.versions:
        return warn("elasticsearch.version", f"{found.name}: no node reports its version", f"supported: {SUPPORTED}")
    named = f"{found.name} {', '.join(sorted({version[:_LONGEST_VERSION] for version in found.versions}))}"
    if not all(is_supported(Product(found.name, version)) for version in found.versions):
        return fail("elasticsearch.version", named, f"supported: {SUPPORTED}")
    return ok("elasticsearch.version", named)


def _answering(found: EngineInfo) -> str:
    return f"{len(found.versions)} node(s) answer" if found.versions else f"{found.name} answers"


def _quick(options: ElasticsearchSettings) -> ElasticsearchSettings:
    """Return options with which a server that does not answer is found soon."""
    return options.model_copy(update={"request_timeout": min(options.request_timeout, _SECONDS), "connections": 1})


async def _nodes(engine: SearchEngine, product: Product) -> EngineInfo:
    """Return the releases of the nodes; that of the one node that answers if the login may not ask for all."""
    try:
        return await engine.info()
    except EngineError as error:
        if error.failure.status != 403:
            raise
        return EngineInfo(product.name, [product.version] if product.version else [])


def _mend_unreachable(options: ElasticsearchSettings) -> str:
    if any(host.startswith("https:") for host in options.hosts):
        return "check that it runs at this address, and that ca_file is the CA of its certificate"
    return "check that it runs at this address, and whether it requires https"


def _definition(declared: MappingSettings, fitting: DocumentMapping | None) -> IndexDefinition:
    if fitting is not None:
        return index_definition(declared, fitting)
    return IndexDefinition(
        alias=declared.alias, index=declared.index, settings=declared.settings or {}, mappings=declared.mappings or {}
    )


async def _check_mapping(
    engine: SearchEngine, name: str, mapping: MappingSettings, definition: IndexDefinition, *, has_run: bool
) -> AsyncIterator[Finding]:
    behind = await _behind(engine, mapping.alias)
    if not behind:
        creation = await _check_creation(engine, name, mapping, definition)
        yield _missing(name, mapping, creation) if has_run and creation.status == "ok" else creation
        if mapping.mappings is not None and mapping.dependents_fields:
            found = [find_field(mapping.mappings, field) for field in sorted(mapping.dependents_fields)]
            yield judge_dependents(name, found)
        return
    write = write_index(behind)
    if write is None:
        yield fail(
            f"index.{name}",
            f"the alias {mapping.alias} points to {', '.join(sorted(behind))}, and none of them is its write index",
            f'POST /_aliases {{"actions": [{{"add": {{"index": "{max(behind)}", '
            f'"alias": "{mapping.alias}", "is_write_index": true}}}}]}}',
        )
        return
    yield await _check_blocks(engine, name, mapping.alias, write)
    seconds = await IndexManager(engine).gc_deletes(mapping.alias)
    remembered = f"{write} remembers deletions for {format_duration(seconds)} (index.gc_deletes)"
    if seconds < _LEAST_GC_DELETES:
        yield warn(
            f"gc_deletes.{name}",
            f"{remembered}: under load, rows must be read again before their documents are written",
            f'PUT /{write}/_settings {{"index.gc_deletes": "60s"}}',
        )
    else:
        yield ok(f"gc_deletes.{name}", remembered)
    yield await _check_drift(engine, name, definition, write, generated=mapping.mappings is None)
    if mapping.dependents_fields:
        yield await _check_dependents(engine, name, mapping)
    pair = (await look_up_indices(engine, [mapping.alias]))[mapping.alias]
    if pair.other is not None:
        yield _second_index(name, pair)


def _missing(name: str, mapping: MappingSettings, creation: Finding) -> Finding:
    if mapping.on_index_missing == "rebuild":
        return warn(
            f"index.{name}",
            f"{creation.found}, by a daemon that runs or when one starts, and the table will be copied into it",
            f"if {mapping.alias} was deleted by mistake, restore its index; on_index_missing: wait prevents this",
        )
    return warn(
        f"index.{name}",
        f"{creation.found} when the daemon starts; a running daemon does not write {name} until the alias exists",
        f"if {mapping.alias} was deleted: restore its index, or restart the daemon and run cdc-daemon backfill {name}",
    )


async def _check_drift(
    engine: SearchEngine, name: str, definition: IndexDefinition, index: str, *, generated: bool
) -> Finding:
    drift = await find_drift(
        engine, index, settings=definition.settings, mappings=definition.mappings, former=definition.former
    )
    lacking = [each for each in drift if generated and each.is_new_field]
    if differences := [each for each in drift if each not in lacking]:
        return warn(f"drift.{name}", describe_drift(index, differences), drift_hint(index, name))
    if lacking:
        return ok(f"drift.{name}", f"{index} lacks {len(lacking)} fields, which the daemon adds when it starts")
    return ok(f"drift.{name}", f"{index} is as declared")


async def _check_searched(engine: SearchEngine, name: str, definition: IndexDefinition) -> AsyncIterator[Finding]:
    """Report the fields that the engine has no type for."""
    if stored := await only_stored(engine, definition.whole_mapping()):
        yield warn(
            f"searched.{name}", f"fields that are stored and not searched: {', '.join(stored)}", ONLY_STORED_HINT
        )


async def _check_mark(engine: SearchEngine, name: str, definition: IndexDefinition) -> AsyncIterator[Finding]:
    """Check whether the documents of removed rows can be marked in an existing index."""
    if not await _behind(engine, definition.alias):
        return
    try:
        await check_marking(engine, definition.alias)
        await IndexManager(engine).check_own_fields(definition)
    except ElasticsearchRefusedError as error:
        yield fail(f"on_row_delete.{name}", error.message, error.hint)
    else:
        yield ok(f"on_row_delete.{name}", f"the documents of removed rows are kept in {definition.alias} and marked")


async def _check_dependents(engine: SearchEngine, name: str, mapping: MappingSettings) -> Finding:
    fields: list[SearchedField] = []
    for field in sorted(mapping.dependents_fields):
        fields += await read_fields(engine, mapping.alias, field)
    return judge_dependents(name, fields)


def judge_dependents(name: str, fields: Sequence[SearchedField]) -> Finding:
    """Check whether documents that show a row of another table can be found by these fields."""
    problems = [field for field in fields if field.problem is not None]
    if not problems:
        names = ", ".join(field.name for field in fields)
        return ok(f"dependents.{name}", f"documents that show a row of another table are found by {names}")
    found = "; ".join(str(field.problem) for field in problems)
    if all(field.answers for field in problems):
        return warn(f"dependents.{name}", found, "add a keyword subfield: fields: {keyword: {type: keyword}}")
    return fail(
        f"dependents.{name}",
        f"{found}: documents are not updated when the row of another table that they show changes",
        "set dependents to a keyword field of the documents, or add such a field to the index's mapping",
    )


def _second_index(name: str, pair: AliasIndices) -> Finding:
    words = {Phase.BUILDING: "is being built", Phase.KEPT: "is kept for a rollback", Phase.DROPPING: "is being deleted"}
    found = f"{pair.other} {words[pair.phase or Phase.KEPT]} beside {pair.live}"
    if pair.behind or (pair.phase is not Phase.DROPPING and not pair.both_written):
        return warn(
            f"second_index.{name}",
            f"{found}, and lacks changes that it rejected",
            f"delete it with cdc-daemon drop-index {name}; the daemon's log has the errors",
        )
    return ok(f"second_index.{name}", found)


async def _behind(engine: SearchEngine, alias: str) -> Mapping[str, Mapping[str, Any]]:
    with attempting("look up the alias", alias=alias):
        return await engine.indices_of(alias) or {}


async def _check_creation(
    engine: SearchEngine, name: str, mapping: MappingSettings, definition: IndexDefinition
) -> Finding:
    with attempting("look up the index", index=mapping.alias):
        if await engine.index_exists(mapping.alias):
            return fail(
                f"index.{name}",
                f"{mapping.alias} is an index, but must be an alias",
                "reindex it under another name, delete it, and create an alias with its name",
            )
        if await engine.index_exists(mapping.index):
            return fail(
                f"index.{name}",
                f"the index {mapping.index} exists, but the alias {mapping.alias} does not",
                f'POST /_aliases {{"actions": [{{"add": {{"index": "{mapping.index}", '
                f'"alias": "{mapping.alias}", "is_write_index": true}}}}]}}',
            )
    return await _try_out(engine, name, mapping, definition)


async def _try_out(engine: SearchEngine, name: str, mapping: MappingSettings, definition: IndexDefinition) -> Finding:
    """Check whether the search engine would create the index as the daemon requests it."""
    found = f"the alias {mapping.alias} does not exist; {mapping.index} will be created behind it"
    try:
        await IndexManager(engine).try_out(definition)
    except IndexRefusedError as error:
        files = [str(file) for file in (mapping.settings_file, mapping.mappings_file) if file is not None]
        place = f"correct {' or '.join(files)}" if files else error.hint
        return fail(f"index.{name}", f"{mapping.index} behind {mapping.alias}: {error.message}", place)
    except ElasticsearchRefusedError:
        return ok(f"index.{name}", f"{found}; the login may not check whether the search engine accepts it")
    return ok(f"index.{name}", found)


async def _check_blocks(engine: SearchEngine, name: str, alias: str, index: str) -> Finding:
    with attempting("read the settings", index=index):
        settings = of_index(await engine.settings(index), index).settings
    blocks = [block for block in _BLOCKS if str(settings.get(f"index.blocks.{block}")).lower() == "true"]
    if str(settings.get("index.verified_before_close")).lower() == "true":
        return fail(f"index.{name}", f"{index} behind {alias} is closed", f"POST /{index}/_open")
    if blocks:
        lifted = ", ".join(f'"index.blocks.{block}": null' for block in blocks)
        return fail(
            f"index.{name}",
            f"{index} behind {alias} takes no writes: {', '.join(blocks)}",
            f"when its disk has free space: PUT /{index}/_settings {{{lifted}}}",
        )
    return ok(f"index.{name}", f"{alias} points to {index}")


async def _check_privileges(engine: SearchEngine, name: str, mapping: MappingSettings) -> AsyncIterator[Finding]:
    names = [mapping.alias, mapping.index]
    with attempting("ask for the login's privileges"):
        held = await engine.privileges(names, _PRIVILEGES)
    if held is None:
        return
    missing = sorted({right for index in names for right, granted in held.get(index, {}).items() if not granted})
    if missing:
        yield fail(
            f"privileges.{name}",
            f"the login lacks the privileges {', '.join(missing)} on {' and '.join(names)}",
            "grant them to its role or API key",
        )
    else:
        yield ok(f"privileges.{name}", f"the login has all required privileges on {' and '.join(names)}")
