"""Runs the demo."""

from __future__ import annotations

import sys

from sandbox.demo.cli import main

sys.exit(main())
