"""JSON answers."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse

from cdc_daemon.values.shown import json_bytes

NO_STORE = {"cache-control": "no-store"}


class Json(JSONResponse):
    """Plain values as JSON."""

    def render(self, content: Any) -> bytes:
        """Encode as JSON; a value without a JSON form becomes text."""
        return json_bytes(content, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
