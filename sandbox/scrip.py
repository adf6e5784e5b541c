"""Scrip's API, asked with an app's sandbox key as the app's own back end would. Never ask it inside a transaction."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from sandbox.delivery import DIRECT
from sandbox.store.store import Thing

TIMEOUT_SECONDS = 30
# A balance is only worth a short wait: the page is about something else.
GLANCE_SECONDS = 3


def ask(
    scrip: str, app: str, method: str, path: str, body: Thing | None = None, *, timeout: float = TIMEOUT_SECONDS
) -> tuple[int, Any]:
    """The status and the answer of one call; 0 and the reason if Scrip does not answer."""
    headers = {"Authorization": f"Bearer sk_sandbox_{app}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    asked = urllib.request.Request(scrip + path, data=data, headers=headers, method=method)  # noqa: S310
    try:
        with DIRECT.open(asked, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, str(error)


def of_customer(customer: str, noun: str = "") -> str:
    """The path of a customer, or of a noun of theirs."""
    path = f"/v1/customers/{quote(customer, safe='')}"
    return f"{path}/{noun}" if noun else path


def reason(answer: Any) -> str:
    """Why Scrip refused, from the problem that it answered with."""
    try:
        problem = json.loads(answer)
        reasons = [f"{error['field']} {error['reason']}" for error in problem.get("errors", [])]
        return "; ".join(reasons) or str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return str(answer)[:300]


def balances(scrip: str, app: str, customers: Iterable[str]) -> dict[str, Thing]:
    """The balances of those customers that Scrip tells; none of them if it does not answer."""
    found = {}
    for customer in customers:
        status, answer = ask(scrip, app, "GET", of_customer(customer, "balance"), timeout=GLANCE_SECONDS)
        if status == 0:
            break
        if status == 200:
            found[customer] = answer
    return found
