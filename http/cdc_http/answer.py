"""JSON answers."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse

NO_STORE = {"cache-control": "no-store"}


class Json(JSONResponse):
    """Plain values as JSON."""

    def render(self, content: Any) -> bytes:
        """Encode; what JSON has no form for becomes text."""
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
