"""Runs it."""

from __future__ import annotations

import sys

from sandbox.observe.cli import main

sys.exit(main())
