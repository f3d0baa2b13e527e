"""What differs between two configurations: what a reload applies, what waits for a restart, and what needs a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdc_daemon.config import MappingSettings, Settings

_RESTARTED: Mapping[str, tuple[str, ...]] = {
    "state": ("directory",),
    "commit_log": ("cdc_raw_directory",),
    "http": ("enabled", "host", "port", "health_port"),
    "peers": ("port", "host", "token"),
}
"""Keys that only a restart applies: the process holds locks and listeners. Each of these sections is applied whole or
not at all, so that what was checked together stays together."""

_NEW_INDEX = frozenset({"id", "routing", "index", "field_types", "types", "settings", "mappings"})
"""Keys of a mapping that an existing index does not follow."""

_NO_DOCUMENTS = frozenset(
    {"expiring", "on_row_delete", "removal_mark", "snapshot", "on_index_missing", "on_truncate", "on_drop"}
)
"""Keys of a mapping that say what happens later, and nothing of documents that are written."""

_LISTENERS = frozenset({"max_jobs", "sync_timeout"})
"""Keys of `http` that parts of the daemon use. The others concern only the listeners."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """The change from one configuration to another.

    `settings` is what a reload applies: the new configuration, with the previous value of each section in
    `restart_needed`.
    """

    old: Settings
    settings: Settings
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    sections: tuple[str, ...]
    restart_needed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return self.settings == self.old and not self.restart_needed

    @property
    def needs_new_parts(self) -> bool:
        """Whether the daemon's parts must be composed anew. Log, listeners and webhook are changed in place."""
        old, new = self.old, self.settings
        if any(getattr(old.http, key) != getattr(new.http, key) for key in _LISTENERS):
            return True
        return old != new.model_copy(update={"log": old.log, "http": old.http, "webhook": old.webhook})

    @property
    def changed_mappings(self) -> Mapping[str, MappingSettings]:
        """The mappings that were added or changed."""
        return {name: self.settings.mappings[name] for name in (*self.added, *self.changed)}

    @property
    def new_index(self) -> Mapping[str, tuple[str, ...]]:
        """The mappings whose index does not follow the change, with the changed keys."""
        return {name: keys for name in self.changed if (keys := tuple(sorted(self._changed_keys(name) & _NEW_INDEX)))}

    @property
    def backfill(self) -> tuple[str, ...]:
        """The mappings whose written documents keep their previous form until a backfill."""
        return tuple(
            name for name in self.changed if name not in self.new_index and self._changed_keys(name) - _NO_DOCUMENTS
        )

    def plain(self) -> dict[str, Any]:
        """Return the change in plain values."""
        return {
            "mappings": {"added": list(self.added), "changed": list(self.changed), "removed": list(self.removed)},
            "sections": list(self.sections),
            "restart_needed": list(self.restart_needed),
            "new_index_needed": {name: list(keys) for name, keys in self.new_index.items()},
            "backfill_needed": list(self.backfill),
        }

    def _changed_keys(self, name: str) -> set[str]:
        old, new = self.old.mappings[name], self.settings.mappings[name]
        if old.alias != new.alias:  # another index, which the daemon creates and fills, unless it exists
            return set()
        return set(_differing(old, new))


def compare(old: Settings, new: Settings) -> ConfigChange:
    """Return the change from `old` to `new`."""
    restart_needed: list[str] = []
    kept: dict[str, Any] = {}
    for section, keys in _RESTARTED.items():
        before, after = getattr(old, section), getattr(new, section)
        differing = list(_differing(before, after))
        if any(key in keys for key in differing) or _changes_encryption(section, before, after):
            restart_needed += [f"{section}.{key}" for key in differing]
            kept[section] = before
    if old.tail != new.tail:
        restart_needed.append("tail")
        kept |= {"tail": old.tail, "commit_log": old.commit_log}
    settings = new.model_copy(update=kept)
    names = {name: old.mappings.get(name) for name in settings.mappings}
    return ConfigChange(
        old=old,
        settings=settings,
        added=tuple(name for name, before in names.items() if before is None),
        changed=tuple(
            name for name, before in names.items() if before is not None and before != settings.mappings[name]
        ),
        removed=tuple(name for name in old.mappings if name not in settings.mappings),
        sections=tuple(name for name in _differing(old, settings) if name != "mappings"),
        restart_needed=tuple(restart_needed),
    )


def _changes_encryption(section: str, before: Any, after: Any) -> bool:
    """Whether a listener would become encrypted, or cease to be."""
    return section == "http" and (before.tls is None) != (after.tls is None)


def _differing(old: Any, new: Any) -> Iterator[str]:
    return (name for name in type(old).model_fields if getattr(old, name) != getattr(new, name))
