"""Programs of others that tests need the real thing of."""

from __future__ import annotations

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

PROGRAMS = {program.name: program for program in (CHROMIUM, PROMTOOL)}
"""Each by its name for people."""
