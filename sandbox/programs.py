"""Programs of others that tests need the real thing of."""

from __future__ import annotations

from dataclasses import replace

from sandbox.debian import DebianProgram

CHROMIUM = DebianProgram(
    "chromium",
    commands=("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    # Without any font a browser shows nothing.
    packages=("chromium", "fonts-dejavu-core"),
    inside="usr/lib/chromium/chromium",
)

PROMTOOL = DebianProgram(
    "promtool",
    commands=("promtool",),
    packages=("prometheus",),
    inside="usr/bin/promtool",
)

PROMETHEUS = replace(PROMTOOL, commands=("prometheus",), inside="usr/bin/prometheus")
"""The server, from the same package."""

PROGRAMS = {program.name: program for program in (CHROMIUM, PROMTOOL)}
"""Each by its name for people."""
