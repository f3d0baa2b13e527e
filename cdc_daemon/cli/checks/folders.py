"""Checks of the directories: cdc_raw and the daemon's state directory. Nothing is created or changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cdc_daemon.app.parts.spool import total_space
from cdc_daemon.cassandra.node import NodeSettings
from cdc_daemon.cli.checks.commitlog_folder import check_commitlog
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.cli.checks.paths import describe_user, is_same
from cdc_daemon.cli.segment_tools.state import DaemonState
from cdc_daemon.config import CommitLogSettings, Settings
from cdc_daemon.config.units import format_size
from cdc_daemon.model.errors import ConfigError, StoreError
from cdc_daemon.sources.log.folder import CdcFolder
from cdc_daemon.sources.log.keyring import configured_keyring
from cdc_daemon.sources.log.quarantine import Quarantine

_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs"),
        *("fuse.glusterfs", "fuse.sshfs"),
    )
)
_FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
_STATE_BYTES = 256 * 1024**2
_MANY, _TOO_MANY = 0.5, 0.9
_NAMED = 5


def check_folders(settings: Settings, node: NodeSettings | None) -> list[Finding]:
    """Check the state directory, and with `tail` cdc_raw. `node` are the node's settings, or None if unknown."""
    folder, state = settings.commit_log.cdc_raw_directory, settings.state.directory
    findings = _check_log(settings, node) if settings.tail else []
    findings += _check_state(state, folder)
    findings += _check_quarantine(state)
    findings += _check_reconcile_requests(state)
    return findings


def _check_log(settings: Settings, node: NodeSettings | None) -> list[Finding]:
    folder = settings.commit_log.cdc_raw_directory
    findings = list(_check_cdc_raw(folder, release=settings.commit_log.release))
    commitlog = settings.commit_log.commitlog_directory
    if commitlog is not None:
        findings += check_commitlog(commitlog, folder, node)
    findings += _check_keystore(settings.commit_log)
    if node is not None:
        findings += _check_against_node(folder, node)
    limit, ours = total_space(settings, node), settings.commit_log.cdc_total_space
    if ours and ours != limit:
        found = f"the node's cdc_total_space is {_mebibytes(limit)}, but the configuration has {_mebibytes(ours)}"
        findings.append(
            warn("cdc_raw.total_space", found, "correct commit_log.cdc_total_space; the daemon uses the node's")
        )
    if limit and folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
        findings.append(_check_space(CdcFolder(folder, commitlog=commitlog), limit))
    return findings


def _check_keystore(settings: CommitLogSettings) -> Iterator[Finding]:
    if settings.keystore is None:
        return
    name = "commit_log.keystore"
    try:
        configured_keyring(settings)
    except ConfigError as error:
        yield fail(name, f"{settings.keystore}: {error.message}", error.hint)
    else:
        yield ok(name, f"{settings.keystore} can be opened with its password")


def _check_cdc_raw(folder: Path, *, release: bool) -> Iterator[Finding]:
    name = "cdc_raw.access"
    if not folder.is_dir():
        found = "is not a directory" if folder.exists() else "does not exist"
        yield fail(name, f"{folder} {found}", "set commit_log.cdc_raw_directory to the node's cdc_raw_directory")
        return
    user = f"run the daemon as {_cassandra_user(folder)}, as Cassandra does"
    if not os.access(folder, os.R_OK | os.X_OK):
        yield fail(name, f"{folder} cannot be read", user)
        return
    segments = sorted(folder.glob("CommitLog-*"))
    owners = _owners(segments)
    unreadable = next((file for file in segments if not os.access(file, os.R_OK)), None)
    if unreadable is not None:
        yield fail(name, f"{unreadable.name} in {folder} cannot be read", user)
    elif release and not _may_delete(folder, owners):
        yield fail(name, f"segments in {folder} cannot be deleted, so the directory would fill", user)
    else:
        yield ok(name, f"{folder} can be read" + (", and its segments can be deleted" if release else ""))
    others = sorted(owners - {os.geteuid()})
    if others and os.geteuid() != 0:
        ours, theirs = describe_user(os.geteuid()), " and ".join(map(describe_user, others))
        yield warn("cdc_raw.owner", f"the daemon runs as {ours}, but segments belong to {theirs}", user)


def _may_delete(folder: Path, owners: Collection[int]) -> bool:
    """Return whether the daemon may delete segments of these owners: in a sticky directory only its own."""
    if not os.access(folder, os.W_OK):
        return False
    found = folder.stat()
    user = os.geteuid()
    return not found.st_mode & stat.S_ISVTX or user in (0, found.st_uid) or set(owners) == {user}


def _cassandra_user(folder: Path) -> str:
    """Return the user that writes segments. The directory may be root's, as a volume's `subPath` is in Kubernetes."""
    users = _owners(folder.glob("CommitLog-*")) if os.access(folder, os.R_OK | os.X_OK) else set()
    users = (users or {folder.stat().st_uid}) - {0}
    return " or ".join(map(describe_user, sorted(users))) or "the user with whose rights it can write there"


def _owners(files: Iterable[Path]) -> set[int]:
    owners = set()
    for file in files:
        with suppress(OSError):  # Cassandra or a daemon may delete it now
            owners.add(file.stat().st_uid)
    return owners


def _check_against_node(folder: Path, node: NodeSettings) -> Iterator[Finding]:
    theirs = node.text("cdc_raw_directory")
    if theirs is not None and not is_same(folder, Path(theirs)):
        yield warn(
            "cdc_raw.node",
            f"the node writes to {theirs}, but the daemon reads {folder}",
            "this is correct only if both are the same directory, mounted in two places",
        )
    elif theirs is not None:
        yield ok("cdc_raw.node", "the node writes to this directory")


def _check_space(folder: CdcFolder, limit: int) -> Finding:
    name = "cdc_raw.space"
    try:
        used = folder.look().total_bytes
    except OSError as error:
        return fail(name, f"{error.filename or folder.path} cannot be listed: {error.strerror}", None)
    found = f"{_mebibytes(used)} of {_mebibytes(limit)} are in use"
    mend = "start the daemon, which deletes segments; until then raise cdc_total_space"
    if used >= limit * _TOO_MANY:
        return fail(name, f"{found}: when the directory is full, Cassandra rejects writes to CDC tables", mend)
    if used >= limit * _MANY:
        return warn(name, found, mend)
    return ok(name, found)


def _check_state(state: Path, folder: Path) -> Iterator[Finding]:
    name = "state.directory"
    place = next(path for path in (state, *state.parents) if path.exists())
    if not place.is_dir() or (place == state and not state.is_dir()):
        yield fail(name, f"{place} is not a directory", "set state.directory to a directory for this daemon only")
        return
    if state.resolve().is_relative_to(folder.resolve()):
        yield fail(
            name,
            f"{state} is inside cdc_raw, where it counts towards cdc_total_space",
            "set state.directory to another directory",
        )
        return
    kind = filesystem(place)
    if not os.access(place, os.W_OK | os.X_OK):
        yield fail(name, f"{place} is not writable", f"give {describe_user(os.geteuid())} write permission")
    elif kind in _NETWORK:
        yield fail(
            name,
            f"{place} is on a network file system ({kind}), on which SQLite's write-ahead log does not work",
            "set state.directory to a directory on a local disk",
        )
    elif kind in _FLEETING:
        yield warn(
            name,
            f"{place} is on {kind}, which may be lost with the container or at a reboot",
            "set state.directory to a directory on a persistent disk; if it is lost, all tables must be reconciled",
        )
    else:
        yield ok(name, f"{state} " + ("is writable" if place == state else "can be created"))
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    if free < _STATE_BYTES:
        yield warn("state.space", f"only {_mebibytes(free)} are free at {place}", "free disk space there")


def _check_quarantine(state: Path) -> Iterator[Finding]:
    quarantine = Quarantine(state)
    name = "state.quarantine"
    try:
        kept = quarantine.segments()
    except OSError as error:
        yield warn(
            name, f"{quarantine.directory} cannot be listed: {error.strerror}", "give the daemon's user read permission"
        )
        return
    if kept:
        some = ", ".join(path.name for path in kept[:_NAMED])
        more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
        yield warn(
            name,
            f"{len(kept)} damaged segment{'s are' if len(kept) > 1 else ' is'} kept in {quarantine.directory}: "
            f"{some}{more}",
            quarantine.advice,
        )


def _check_reconcile_requests(state: Path) -> Iterator[Finding]:
    name = "state.reconcile"
    remembered = DaemonState(state)
    if not remembered.exists:
        return
    try:
        wanted = remembered.reconcile_requests()
    except StoreError as error:
        yield warn(name, f"{remembered.path} cannot be read: {error.message}", error.hint or "start the daemon once")
        return
    if wanted:
        some = "; ".join(map(str, wanted[:_NAMED]))
        more = f"; and {len(wanted) - _NAMED} more" if len(wanted) > _NAMED else ""
        yield warn(
            name,
            f"{len(wanted)} reconcile request{'s are' if len(wanted) > 1 else ' is'} open, for changes that may be "
            f"missing in the commit log: {some}{more}",
            "no action is needed: the running daemon reconciles and repairs them (jobs.heal); `cdc-daemon jobs` shows "
            "its progress",
        )


def filesystem(path: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system of a path, such as `ext4`; empty if it is unknown.

    proc(5) describes the format of `mountinfo`.
    """
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        if wanted in before.split()[2:3]:
            return after.split()[0] if after else ""
    return ""


def _mebibytes(size: int) -> str:
    return format_size(size) if size < 1024**2 else f"{size / 1024**2:.0f} MiB"
