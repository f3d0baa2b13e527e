from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_daemon.config import Settings, SettingsError, parse

Load = Callable[..., Settings]
Fail = Callable[..., SettingsError]

MINIMAL = """
commit_log:
  cdc_raw_directory: /var/lib/cassandra/cdc_raw
state:
  directory: /var/lib/cdc-daemon
mappings:
  user:
    table: sunbird.user
    alias: user_alias
"""


def changed(**changes: Any) -> str:
    """The minimal configuration with values put in, by paths with `__` between the keys; None removes."""
    content = yaml.safe_load(MINIMAL)
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        if value is None:
            del section[key]
        else:
            section[key] = value
    return yaml.safe_dump(content, sort_keys=False)


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    def load(text: str = MINIMAL, **environment: str) -> Settings:
        return parse(text, file=tmp_path / "config.yaml", environment=environment)

    return load


@pytest.fixture
def load_changed(load_text: Load) -> Load:
    def load(**changes: Any) -> Settings:
        return load_text(changed(**changes))

    return load


@pytest.fixture
def fail_text(load_text: Load) -> Fail:
    def fail(text: str, **environment: str) -> SettingsError:
        with pytest.raises(SettingsError) as caught:
            load_text(text, **environment)
        return caught.value

    return fail


@pytest.fixture
def fail_changed(fail_text: Fail) -> Fail:
    def fail(**changes: Any) -> SettingsError:
        return fail_text(changed(**changes))

    return fail
