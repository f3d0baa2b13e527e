"""The syntax trees of source files, for tests that read the code."""

from __future__ import annotations

import ast
import gc
from pathlib import Path


def parse_file(file: Path) -> ast.Module:
    """Return the syntax tree of a Python file.

    No garbage is collected meanwhile. In Python 3.11 and 3.12 all threads share the depth of the tree that is being
    made, and a collection calls functions written in Python, so another thread may run. It raises `SystemError` here if
    it prints a traceback, because a traceback's carets need a syntax tree too
    (https://github.com/python/cpython/issues/106905).
    """
    gc.disable()
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    finally:
        gc.enable()
