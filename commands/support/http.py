"""One HTTP request to the running Scrip, with the standard library, because it imports fast."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import click

from runtime.embedded.folder import DataFolder
from settings import settings


def base_url() -> str:
    """The URL of the Scrip that runs for this data directory.

    Its port may differ from the settings of this process.
    """
    owner = DataFolder(settings.data_dir).owner()
    port = owner["port"] if owner.get("role") == "up" else settings.port
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{port}"


def send(
    method: str, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None, base: str | None = None
) -> tuple[int, Any]:
    """Return the status and the response, parsed if it is JSON. `base` is the base URL; default: Scrip's own.

    Raises:
        ClickException: no response.
    """
    url = (base or base_url()) + path
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http of our own
            return answer.status, _parsed(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _parsed(error.read())
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise click.ClickException(f"no response from {url} ({reason}); start Scrip with: make run") from None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def echo(answer: Any) -> None:
    """Print a response as indented JSON, or as it is if it is text."""
    click.echo(answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False))
