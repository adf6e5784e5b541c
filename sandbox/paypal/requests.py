"""What the calls of PayPal's API read of their requests: bodies, times, amounts of version 1, and pages of lists."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from urllib.parse import urlencode, urlsplit

from flask import request

from sandbox.store.account import Refused
from sandbox.store.store import Thing


def body() -> Thing:
    """The JSON object of the request; empty without a body. Raises Refused."""
    if not request.get_data():
        return {}
    try:
        parsed = json.loads(request.get_data())
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Refused("Request is not well-formed, syntactically incorrect, or violates schema.", code="MALFORMED")
    return parsed


def time_of(name: str, default: int | None = None) -> int:
    """A time of the query in seconds. Raises Refused if it is malformed, or missing without a default."""
    given = request.args.get(name)
    if given is None and default is not None:
        return default
    try:
        return seconds(given or "")
    except ValueError:
        raise Refused(f"{name} must be an ISO 8601 time.", code="INVALID_PARAMETER_SYNTAX") from None


def seconds(text: str) -> int:
    """An ISO 8601 time in seconds. Raises ValueError."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp())


def page(found: list[Thing], name: str, default: int) -> Thing:
    """A page of a list, with a link to the next one."""
    size = min(int(request.args.get("page_size", default)), 300)
    start = int(request.args.get("next_page_token", 0))
    links = [{"href": request.url, "rel": "self", "method": "GET"}]
    if start + size < len(found):
        query = urlencode({**request.args.to_dict(), "next_page_token": start + size})
        links.append({"href": f"{request.base_url}?{query}", "rel": "next", "method": "GET"})
    return {name: found[start : start + size], "count": len(found), "links": links}


def web_address(given: object) -> str | None:
    """An HTTP or HTTPS address to redirect the browser to, or None. Raises Refused."""
    if given is None:
        return None
    if not isinstance(given, str) or urlsplit(given).scheme not in ("http", "https") or not urlsplit(given).netloc:
        raise Refused("return_url and cancel_url must be HTTP or HTTPS addresses.", code="INVALID_PARAMETER_SYNTAX")
    return given
