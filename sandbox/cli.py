"""`python -m sandbox`: real servers for people and scripts."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdc_daemon.model.errors import CdcError
from sandbox.artifacts import CASSANDRA_VERSIONS, DEFAULT_CASSANDRA, cassandra_set
from sandbox.background import down, end_on_signals, find, start_in_background, supervise
from sandbox.cassandra import java_version
from sandbox.control import ACTIONS, listening, order, serve, takes_orders
from sandbox.debian import find_program
from sandbox.engines import DEFAULT_ENGINE, ENGINES, find_engine
from sandbox.errors import SandboxError
from sandbox.java import java_program
from sandbox.maven import fetch
from sandbox.programs import PROGRAMS
from sandbox.query import run_statement
from sandbox.sandbox import MAXIMUM_NODES, Sandbox
from sandbox.search_home import assemble, assemble_security
from sandbox.security import SECURED, find_security
from sandbox.settings import parse_assignments
from sandbox.state import all_folders, checked_name, is_running, read_state
from sandbox.wheels import HELM, KUBECTL, find_wheel_program

_DEFAULT_NAME = "default"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (0 done, 1 not possible, 2 misspelt)."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        result: int = chosen.run(chosen)
    except CdcError as problem:
        print(f"sandbox: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Real Cassandra, Elasticsearch and OpenSearch on this machine, from Maven Central.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("up", help="start servers and leave them running")
    command.add_argument("--name", default=_DEFAULT_NAME, help="to tell several apart (%(default)s)")
    _add_version(command)
    command.add_argument("--nodes", type=int, default=1, help=f"Cassandra nodes, 1 to {MAXIMUM_NODES} (%(default)s)")
    command.add_argument(
        "--yaml",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="changes to cassandra.yaml; values are YAML, a.b=v nests",
    )
    command.add_argument(
        "--search",
        default=DEFAULT_ENGINE,
        metavar="ENGINE",
        help=f"the search engine: {_engine_names()} (%(default)s); a part of a version does",
    )
    command.add_argument("--no-elasticsearch", action="store_true", help="Cassandra only")
    command.add_argument("--heap", default="768m", help="Java heap of each Cassandra node (%(default)s)")
    command.add_argument("--foreground", action="store_true", help="run until Ctrl-C instead of leaving it running")
    command.add_argument("--json", action="store_true", help="print ports, folders and process ids as JSON")
    command.set_defaults(run=_up)

    command = commands.add_parser("status", help="list the sandboxes")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=_status)

    command = commands.add_parser("down", help="stop servers and remove their data")
    command.add_argument("name", nargs="?", default=_DEFAULT_NAME, help="(%(default)s)")
    command.add_argument("--all", action="store_true", help="every sandbox that runs in the background")
    command.set_defaults(run=_down)

    for action in ACTIONS:
        command = commands.add_parser(action, help=f"{action} one server of a running sandbox")
        command.add_argument("server", help="cassandra, cassandra-2, ..., elasticsearch")
        command.add_argument("--name", default=_DEFAULT_NAME, help="the sandbox (%(default)s)")
        command.set_defaults(run=_order, action=action)

    command = commands.add_parser("cql", help="run a CQL statement on a running sandbox")
    command.add_argument("statement")
    command.add_argument("--name", default=_DEFAULT_NAME, help="the sandbox (%(default)s)")
    command.set_defaults(run=_cql)

    command = commands.add_parser("compare", help="compare each row with its document; exit code 1 when one differs")
    command.add_argument("--config", type=Path, required=True, help="the daemon's configuration file")
    command.set_defaults(run=_compare)

    command = commands.add_parser("fetch", help="download the servers' jars, and programs, into the cache")
    command.add_argument(
        "--cassandra", nargs="+", choices=[*CASSANDRA_VERSIONS], default=[DEFAULT_CASSANDRA], help="(%(default)s)"
    )
    command.add_argument(
        "--search", nargs="+", default=[DEFAULT_ENGINE], metavar="ENGINE", help=f"{_engine_names()} (%(default)s)"
    )
    command.add_argument("--all", action="store_true", help="every version of each")
    command.add_argument(
        "--programs",
        nargs="+",
        choices=[*PROGRAMS, KUBECTL.name, HELM.name],
        default=[],
        help="programs, from Debian and PyPI",
    )
    command.set_defaults(run=_fetch)

    command = commands.add_parser("supervise")  # what `up` runs in the background; not for people
    command.add_argument("writer", type=int)
    command.add_argument("options", type=json.loads)
    command.set_defaults(run=_supervise)
    return parser


def _engine_names() -> str:
    return ", ".join(f"{engine.name}:{engine.version}" for engine in ENGINES)


def _add_version(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cassandra", choices=[*CASSANDRA_VERSIONS], default=DEFAULT_CASSANDRA, help="version (%(default)s)"
    )


def _up(chosen: argparse.Namespace) -> int:
    options: dict[str, Any] = {
        "name": checked_name(chosen.name),
        "cassandra": chosen.cassandra,
        "nodes": chosen.nodes,
        "yaml": parse_assignments(chosen.yaml),
        "elasticsearch": not chosen.no_elasticsearch,
        "search": chosen.search,
        "heap": chosen.heap,
    }
    if chosen.foreground:
        end_on_signals()
        with Sandbox(**options, progress=_progress) as box, listening(box) as listener:
            _print_state(box.describe(), as_json=chosen.json, end="Ctrl-C ends it.")
            sys.stdout.flush()
            serve(box, listener)
    state = start_in_background(options, _progress)
    _print_state(state, as_json=chosen.json, end=f"python -m sandbox down{_suffix(chosen.name)}")
    return 0


def _supervise(chosen: argparse.Namespace) -> int:
    supervise(chosen.writer, chosen.options)
    return 0


def _status(chosen: argparse.Namespace) -> int:
    found = []
    for folder in all_folders():
        state = read_state(folder) or {"name": folder.name}
        running = is_running(folder)
        status = "dead" if not running else "running" if "cassandra" in state else "starting"
        found.append({**state, "status": status})
    if chosen.json:
        print(json.dumps(found, indent=2))
        return 0
    for state in found:
        print(f"{state['name']}: {state['status']}")
        if state["status"] == "running":
            _print_servers(state)
    if not found:
        print("no sandbox is up; python -m sandbox up starts one")
    return 0


def _down(chosen: argparse.Namespace) -> int:
    folders = _in_background() if chosen.all else [find(chosen.name)]
    for folder in folders:
        down(folder)
        print(f"{folder.name}: down, data removed")
    return 0


def _in_background() -> list[Path]:
    return [folder for folder in all_folders() if not is_running(folder) or takes_orders(folder)]


def _order(chosen: argparse.Namespace) -> int:
    order(find(chosen.name), chosen.action, chosen.server)
    print(f"{chosen.server}: {chosen.action} done")
    return 0


def _cql(chosen: argparse.Namespace) -> int:
    folder = find(chosen.name)
    state = read_state(folder)
    if state is None or not is_running(folder):
        raise SandboxError(f"the sandbox {chosen.name} is not up")
    for line in run_statement(state, chosen.statement):
        print(line)
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    from cdc_daemon.config import load  # noqa: PLC0415  other commands start fast without it
    from sandbox.compare import compare  # noqa: PLC0415  likewise

    found = asyncio.run(compare(load(chosen.config)))
    for comparison in found:
        print(comparison)
    return 0 if all(comparison.is_equal for comparison in found) else 1


def _fetch(chosen: argparse.Namespace) -> int:
    versions = [*CASSANDRA_VERSIONS] if chosen.all else chosen.cassandra
    engines = ENGINES if chosen.all else [find_engine(name) for name in chosen.search]
    sets = [*(cassandra_set(version) for version in versions), *(engine.artifacts for engine in engines)]
    secured = [find_engine(name) for name in SECURED] if chosen.all else []
    sets += [find_security(engine).artifacts for engine in secured]
    fetch(sets, progress=_progress)
    for engine in engines:
        assemble(engine)
        java_program(engine.java)
    for engine in secured:
        assemble_security(engine, find_security(engine))
    for version in versions:
        java_program(java_version(version))
    for name in chosen.programs:
        print(f"{name}: {_program(name)}")
    print(f"in the cache: {', '.join(artifacts.title for artifacts in sets)}")
    return 0


def _program(name: str) -> Path:
    for program in (KUBECTL, HELM):
        if name == program.name:
            return find_wheel_program(program, progress=_progress)
    return find_program(PROGRAMS[name], progress=_progress).path


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _suffix(name: str) -> str:
    return "" if name == _DEFAULT_NAME else f" {name}"


def _print_state(state: dict[str, Any], *, as_json: bool, end: str) -> None:
    if as_json:
        print(json.dumps(state, indent=2))
        return
    print(f"Sandbox {state['name']} is up.")
    _print_servers(state)
    print(f"  files: {state['directory']}")
    print(f"  end:   {end}")


def _print_servers(state: dict[str, Any]) -> None:
    if state["cassandra"]:
        ring = state["cassandra"]
        for node in ring["nodes"]:
            print(f"  Cassandra {ring['version']}: {node['host']}:{node['port']} ({_process(node['pid'])})")
            print(f"    cdc_raw: {node['cdc_raw_directory']}")
    if state["elasticsearch"]:
        search = state["elasticsearch"]
        print(f"  {search['title']}: {search['url']} ({_process(search['pid'])})")
    for name, program in state.get("programs", {}).items():
        print(f"  {name} ({_process(program['pid'])})")
        print(f"    log: {program['log']}")


def _process(pid: int | None) -> str:
    if pid is not None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            pid = None
    return "stopped" if pid is None else f"process {pid}"
