"""The commands in the runbook and in k8s/README.md fit the manifests, the image, and kubectl itself.

tests/unit/cli/test_runbook.py runs those of `cdc-daemon`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

from sandbox.wheels import HELM, KUBECTL, find_wheel_program
from tests.documented import CHECKOUT, SHELLS, codes, split_kubectl, words_of
from tests.k8s.conftest import K8S, OVERLAYS, Build
from tests.k8s.pods import pods

DOCUMENTS: Final = ("docs/runbook.md", "k8s/README.md")
CQL: Final = re.compile(
    r"ALTER TABLE KEYSPACE\.TABLE WITH cdc = (true|false)|DESCRIBE TABLE KEYSPACE\.TABLE|USING TIMESTAMP"
)
NODETOOL: Final = frozenset({"flush", "listsnapshots", "status", "tpstats"})
PROGRAMS: Final = {
    # Debian has coreutils in every image; ours is made from one, which a test holds.
    "cdc-daemon": frozenset({"cdc-daemon", "python", "rm"}),
    "cassandra": frozenset({"cqlsh", "nodetool"}),
}
"""Programs by the container whose image has them."""

AT_THE_DESK: Final = frozenset({"kubectl", "kustomize", "openssl", "docker", "helm"})
"""Programs that run where the operator sits."""

MISSING: Final = frozenset(
    (
        *("curl", "wget", "jq", "nc", "telnet", "ssh", "dmesg", "ps", "top", "ss", "netstat", "lsof", "strace"),
        *("vi", "vim", "nano", "less", "more", "systemctl", "journalctl"),
    )
)
"""Programs that neither image has: no document may ask anyone to run them."""


class Command(NamedTuple):
    """One command line, and the document it is in."""

    document: str
    text: str


def commands() -> Iterator[Command]:
    """Return each command line of the documents: in code blocks for shells, and inline."""
    for document in DOCUMENTS:
        for code in codes((CHECKOUT / document).read_text(encoding="utf-8")):
            if code.language in SHELLS or (code.language is None and is_command(code.text)):
                yield Command(document, code.text)


def is_command(text: str) -> bool:
    """Return whether inline code is a command line, and not only a program's name."""
    first, _, rest = text.partition(" ")
    return bool(rest) and first in {*AT_THE_DESK, *MISSING, *(each for names in PROGRAMS.values() for each in names)}


COMMANDS: Final = sorted(set(commands()))
OF_KUBECTL: Final = [
    each
    for each in COMMANDS
    # What `kubectl apply -k` makes of the overlays is what the other tests of this folder look at.
    if words_of(each.text)[0] == "kubectl" and words_of(each.text)[1:] != ["apply", "-k"]
]
OF_HELM: Final = [each for each in COMMANDS if words_of(each.text)[0] == "helm"]


@pytest.mark.parametrize("command", OF_KUBECTL, ids=lambda command: command.text)
def test_kubectl_takes_it(command: Command, tmp_path: Path, unused_tcp_port: int) -> None:
    words = words_of(command.text)
    server = f"--server=http://127.0.0.1:{unused_tcp_port}"
    environment = {**os.environ, "KUBECONFIG": os.devnull, "HOME": str(tmp_path)}
    result = subprocess.run(
        [find_wheel_program(KUBECTL), server, *words[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    # It has understood the line when all it misses is the cluster.
    assert "The connection to the server" in result.stderr, result.stderr


@pytest.mark.parametrize("command", OF_HELM, ids=lambda command: command.text)
def test_helm_has_the_command_and_its_options(command: Command) -> None:
    words = words_of(command.text)
    run = [str(find_wheel_program(HELM)), *words[1:], "--help"]
    result = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert f"helm {words[1]} " in result.stdout, "an unknown command has the help of helm itself"


@pytest.mark.parametrize("command", OF_KUBECTL, ids=lambda command: command.text)
def test_it_fits_the_manifests(command: Command, build: Build) -> None:
    words, inside = split_kubectl(words_of(command.text))
    found = [pod for overlay in OVERLAYS for pod in pods(build(overlay))]
    daemons = [pod for pod in found if pod.daemon is not None]
    container = words[words.index("-c") + 1] if "-c" in words else None
    if container is not None:
        assert container in {each["name"] for pod in found for each in pod.containers}
    if "-l" in words:
        label = words[words.index("-l") + 1]
        assert all(label in pod.labels for pod in daemons)
    if words[1] == "port-forward":
        ports = {port["containerPort"] for pod in daemons for port in (pod.daemon or {})["ports"]}
        assert int(words[3].partition(":")[0]) in ports
    if words[1] in {"exec", "logs"}:
        # A pod has several containers: which one has to be said.
        assert container is not None or words[2].startswith("deploy/")
    if inside:
        assert words[1] == "exec"
        check_inside(container or "cdc-daemon", inside)


def check_inside(container: str, words: list[str]) -> None:
    """Check that a container's image can run a command, as far as this can be seen without running it."""
    program, *rest = words
    assert program in PROGRAMS[container], f"{program} in the image of {container}"
    if program == "python":
        option, code = rest
        assert option == "-c"
        ast.parse(code)
    elif program == "nodetool":
        assert rest[0] in NODETOOL
    elif program == "rm":
        (path,) = rest
        state = yaml.safe_load((K8S / "base" / "config.yaml").read_text(encoding="utf-8"))["state"]["directory"]
        assert path == f"{state}/quarantine/FILE"


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each not in OF_KUBECTL], ids=lambda command: command.text
)
def test_it_uses_no_program_that_is_missing(command: Command) -> None:
    program, *rest = words_of(command.text)
    assert program not in MISSING
    if program == "nodetool":
        assert rest[0] in NODETOOL
    else:
        assert program in {"cdc-daemon", *AT_THE_DESK}


def test_the_daemons_image_has_the_coreutils() -> None:
    *_, last = re.findall(r"^FROM (\S+)", (CHECKOUT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(r"-slim-bookworm\b", last), "does the new base have rm? See PROGRAMS"


SOURCE: Final = "\n".join(file.read_text(encoding="utf-8") for file in (CHECKOUT / "cdc_daemon").rglob("*.py"))
PATHS: Final = yaml.safe_load((CHECKOUT / "http" / "openapi.yaml").read_text(encoding="utf-8"))["paths"]


def is_something_else(text: str) -> bool:
    """Return whether inline code of several words is known not to be a command: a key and its value, CQL, a request."""
    if re.fullmatch(r"[\w.]+:? (= )?\S+", text) and re.match(r"[\w.]+(:| =)", text):
        return True
    if CQL.fullmatch(text):
        return True
    if request := re.fullmatch(r"(GET|POST|DELETE) (/\S+)", text):
        return request[1].lower() in PATHS.get(request[2], {})
    if text == "poll KEYSPACE.TABLE":
        return 'f"poll {' in SOURCE
    return f'"{text}"' in SOURCE


def test_each_piece_of_code_in_the_runbook_is_a_command_or_known_to_be_none() -> None:
    text = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    for code in codes(text):
        if code.language is not None:
            assert code.language in SHELLS, f"line {code.line}: a test takes no {code.language}"
        elif " " in code.text:
            assert is_command(code.text) or is_something_else(code.text), f"line {code.line}: what is {code.text}?"
        else:
            assert code.text not in MISSING, f"line {code.line}"
    assert not re.search(r"\bcurl\b", text)


def test_state_and_port_are_those_of_the_manifests() -> None:
    text = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    settings = yaml.safe_load((K8S / "base" / "config.yaml").read_text(encoding="utf-8"))
    directory = settings["state"]["directory"]
    assert set(re.findall(r"/var/lib/[\w/-]+", text)) == {f"{directory}/quarantine", f"{directory}/quarantine/FILE"}
    assert set(re.findall(r"localhost:(\d+)", text)) == {str(settings["http"]["port"])}
