"""Client of Scrip's API with an app's sandbox key, as the app's back end. Do not call it inside a store transaction."""

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
# For balances on the portal: the page is useful without them.
BALANCE_TIMEOUT_SECONDS = 3


def call(
    scrip: str, app: str, method: str, path: str, body: Thing | None = None, *, timeout: float = TIMEOUT_SECONDS
) -> tuple[int, Any]:
    """Call Scrip. Returns the status and the JSON body (text for an error); without a response, 0 and the reason."""
    headers = {"Authorization": f"Bearer sk_sandbox_{app}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(scrip + path, data=data, headers=headers, method=method)  # noqa: S310
    try:
        with DIRECT.open(request, timeout=timeout) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, str(error)


def of_customer(customer: str, noun: str = "") -> str:
    """The path of a customer, or of a sub-resource such as "balance"."""
    path = f"/v1/customers/{quote(customer, safe='')}"
    return f"{path}/{noun}" if noun else path


def reason(body: Any) -> str:
    """The reasons of a problem response, as one line."""
    try:
        problem = json.loads(body)
        reasons = [f"{error['field']} {error['reason']}" for error in problem.get("errors", [])]
        return "; ".join(reasons) or str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return str(body)[:300]


def balances(scrip: str, app: str, customers: Iterable[str]) -> dict[str, Thing]:
    """The balances of the customers that Scrip knows, by customer. Stops at the first call without a response."""
    found = {}
    for customer in customers:
        status, body = call(scrip, app, "GET", of_customer(customer, "balance"), timeout=BALANCE_TIMEOUT_SECONDS)
        if status == 0:
            break
        if status == 200:
            found[customer] = body
    return found
