"""A real browser without a window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from sandbox.debian import find_program
from sandbox.maven import silent
from sandbox.programs import CHROMIUM

_ARGUMENTS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


@contextmanager
def chromium(*, progress: Callable[[str], None] = silent) -> Iterator[Browser]:
    """Give a headless Chromium with a profile of its own for the time of the block.

    Raises SandboxError when there is none and none can be fetched.
    """
    program = find_program(CHROMIUM, progress=progress)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program.path,
            args=[*_ARGUMENTS],
            # Its sandbox needs what containers do not give to root; it is shown pages of our own only.
            chromium_sandbox=False,
            env={**os.environ, **program.environment},
        )
        try:
            yield browser
        finally:
            browser.close()
