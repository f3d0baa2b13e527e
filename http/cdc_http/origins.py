"""A check that only our own pages make a browser act, not those of other sites (cross-site request forgery).

As in Go's `net/http.CrossOriginProtection`, `Sec-Fetch-Site` decides when a browser sends it. Otherwise `Origin` is
compared with `Host`, without the scheme, as a proxy may terminate TLS. In addition, forms are refused from browsers:
old browsers send neither header with a form, and the status page has no form.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from cdc_http.request_error import RequestError

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""Content types that a page may send to any site without a preflight (Fetch, CORS-safelisted request-header)."""

_OF_BROWSERS: Final = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")


async def check_origin(request: Request) -> RequestError | None:
    """Return why a request that would change something is refused, None when it is allowed."""
    if request.method in _SAFE:
        return None
    headers = request.headers
    if _is_foreign(headers):
        return _refusal("It comes from a page of another site.")
    if _is_form(headers) and _is_from_browser(headers):
        return _refusal("It is a form of a browser.")
    return None


def _is_foreign(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"same-origin", "none"}
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").split(";")[0].strip().lower() in _FORMS


def _is_from_browser(headers: Headers) -> bool:
    return any(name in headers for name in _OF_BROWSERS) or headers.get("user-agent", "").startswith("Mozilla/")


def _refusal(why: str) -> RequestError:
    return RequestError(403, "FORBIDDEN", f"The request needs a valid token. {why}")
