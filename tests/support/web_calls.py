"""What the web tests send and look at: keys, requests, problems."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from typing import Any

import orjson

from models import database

KEY = {"Authorization": "Bearer sk_sandbox_ai-services"}
OTHER_KEY = {"Authorization": "Bearer sk_sandbox_songs"}
REPORT = {"id": "call-1", "customer": "ada", "rate": "voice_call", "quantity": 123}
MIB = 1024 * 1024


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def send(client: Any, path: str, content: Any, *, key: dict[str, str] = KEY, method: str = "POST") -> Any:
    """Send `content` as JSON, or as it is when it is bytes."""
    data = content if isinstance(content, bytes) else orjson.dumps(content)
    return client.open(path, method=method, data=data, headers=key)


def without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def fields(response: Any) -> list[str]:
    """The fields that a 422 names."""
    assert response.status_code == 422, response.json
    assert response.content_type == "application/problem+json"
    return [error["field"] for error in response.json["errors"]]


def problem(response: Any, status: int) -> str:
    """The kind of problem that the answer is."""
    assert response.status_code == status, response.json
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["title"]
    return str(response.json["type"]).removeprefix("/problems/")


def rows(table: str) -> int:
    return int(database.read(f"SELECT count(*) FROM {table}")[0][0])


def signature(raw: bytes, secrets: Sequence[str] = ("whsec_sandbox",), *, age_seconds: int = 0) -> str:
    """A Stripe-Signature header with one v1 for each secret."""
    at = str(int(time.time()) - age_seconds)
    signed = [hmac.digest(secret.encode(), at.encode() + b"." + raw, "sha256").hex() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={hexadecimal}" for hexadecimal in signed)])
