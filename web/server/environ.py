"""The WSGI environment of a request that is read whole."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

# Their WSGI names have no prefix.
UNPREFIXED = {b"content-type": "CONTENT_TYPE"}
# Settled by the server: the body is read whole, so that its length is known.
DROPPED = {b"content-length", b"transfer-encoding"}


def environ(scope: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """The environment for Flask. Headers with an underscore in their name are dropped, as nginx does: `SCRIPT_NAME`
    or `X_Real_Ip` would stand for something that the client must not set.
    """
    host, port = scope.get("server") or ("localhost", 80)
    query = scope.get("query_string", b"").decode("latin-1")
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    raw_path = raw_path.partition(b"?")[0]
    path = raw_path.decode("latin-1")
    found = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{path}?{query}" if query else path,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        lower = name.lower()
        if b"_" in lower or lower in DROPPED:
            continue
        key = UNPREFIXED.get(lower) or "HTTP_" + lower.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found
