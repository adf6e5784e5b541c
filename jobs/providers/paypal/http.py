"""HTTP calls to PayPal: access token, one attempt with a timeout, and Scrip's own errors."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import requests

from jobs.providers.paypal.fields import objects
from models.errors import ProviderAway, ProviderRefused

TIMEOUT_SECONDS = (5, 20)
LONGEST_REQUEST_ID = 108
# Another call with the same request id is in progress.
IN_PROGRESS = frozenset({"PREVIOUS_REQUEST_IN_PROGRESS", "ORDER_CAPTURE_IN_PROGRESS", "RESOURCE_CONFLICT"})
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """The credentials and API of an account. `environment` is `live` or `sandbox`; `base_url` has no final `/`."""

    client_id: str
    secret: str = field(repr=False)
    environment: str
    base_url: str


class Caller:
    """Calls the API for one account. Thread-safe."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._token = ""
        self._token_until = 0.0
        self._token_lock = threading.Lock()

    def write(self, path: str, body: Object, *, key: str) -> Object:
        """POST with an idempotency key. Repeated calls with the same key have one effect and the same response."""
        headers = {"PayPal-Request-Id": _request_id(key), "Prefer": "return=representation"}
        return self.call("POST", path, body=orjson.dumps(body), headers=headers)

    def pages(self, path: str, query: Mapping[str, str], name: str) -> Iterator[Object]:
        """The items of all pages. Only the query of the next page's link is used, so the token stays with the host."""
        seen: set[str] = set()
        page_query = dict(query)
        while True:
            response = self.call("GET", path, query=page_query)
            yield from objects(response.get(name))
            following = link_of(response, "next", required=False)
            if not following or following in seen:
                return
            seen.add(following)
            page_query = dict(parse_qsl(urlsplit(following).query))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """Make one call with the account's token. Returns the object in the response.

        Raises:
            ProviderAway, ProviderRefused.
        """
        token = self._bearer()
        response = self._send(method, path, query=query, body=body, headers=headers, auth=_Bearer(token))
        if response.status_code == 401:
            # The token was revoked before it expired.
            response = self._send(
                method, path, query=query, body=body, headers=headers, auth=_Bearer(self._bearer(instead_of=token))
            )
        return _accepted(response)

    def _bearer(self, instead_of: str = "") -> str:
        """The token. It is fetched if there is none, if it has expired, or if it is the refused one (`instead_of`)."""
        with self._token_lock:
            if not self._token or time.monotonic() >= self._token_until or self._token == instead_of:
                basic = requests.auth.HTTPBasicAuth(self.account.client_id, self.account.secret)
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                response = self._send(
                    "POST", "/v1/oauth2/token", body=b"grant_type=client_credentials", headers=form, auth=basic
                )
                issued = _accepted(response)
                self._token = text_of(issued, "access_token")
                self._token_until = time.monotonic() + _lifetime_seconds(issued)
            return self._token

    def _send(
        self,
        method: str,
        path: str,
        *,
        auth: requests.auth.AuthBase,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        all_headers = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
        try:
            with requests.Session() as session:
                # The environment's proxy applies to PayPal, but not to the sandbox on this machine.
                session.trust_env = self.account.base_url.startswith("https://")
                return session.request(
                    method,
                    f"{self.account.base_url}{path}",
                    params=query,
                    data=body,
                    headers=all_headers,
                    auth=auth,
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise ProviderAway(f"PayPal cannot be reached: {type(error).__name__}") from error


class _Bearer(requests.auth.AuthBase):
    """The token as `auth`. As a plain header, credentials from a .netrc file could replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _accepted(response: requests.Response) -> Object:
    """The object in a successful response; an empty one for 204 (No Content).

    Raises:
        ProviderAway, ProviderRefused: the response reports an error, or a success without an object.
    """
    content = _object(response)
    status = response.status_code
    if status == 204:
        return {}
    if 200 <= status < 300:
        if content is None:
            raise ProviderAway("PayPal's response is not a JSON object")
        return content
    problem = content or {}
    code = _code(problem)
    if status == 429 or status >= 500 or code in IN_PROGRESS:
        wait = response.headers.get("Retry-After", "")
        seconds = min(int(wait), 3600) if wait.isascii() and wait.isdigit() else 5
        raise ProviderAway(f"PayPal responded with {status} {code}".rstrip(), retry_after=seconds)
    raise ProviderRefused(f"PayPal: {_reason(problem) or status}", status=status, code=code)


def _object(response: requests.Response) -> Object | None:
    try:
        content = response.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _code(problem: Object) -> str:
    """PayPal's code of an error: the issue of the first detail, else the name of the error."""
    issue = next((detail.get("issue") for detail in objects(problem.get("details"))), None)
    return str(issue or problem.get("name") or problem.get("error") or "")[:60]


def _reason(problem: Object) -> str:
    described = next((detail.get("description") for detail in objects(problem.get("details"))), None)
    text = described or problem.get("message") or problem.get("error_description") or _code(problem)
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:300])


def _lifetime_seconds(issued: Object) -> float:
    """How long to use a token: a minute less than PayPal's lifetime, which covers the transport and clock drift."""
    lifetime = issued.get("expires_in")
    return max(0, min(lifetime, 32400) - 60) if isinstance(lifetime, int) else 0


def _request_id(key: str) -> str:
    if len(key) <= LONGEST_REQUEST_ID and key.isascii() and key.isprintable():
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def link_of(thing: Object, *names: str, required: bool = True) -> str:
    """The URL of the first of the links that exists; "" if none exists and none is required.

    Raises:
        ProviderAway: none exists, but one is required.
    """
    links = objects(thing.get("links"))
    hrefs = [link.get("href") for name in names for link in links if link.get("rel") == name]
    found = next((href for href in hrefs if isinstance(href, str)), "")
    if required and not found:
        raise ProviderAway(f"PayPal's response has no link {names[0]!r}")
    return found


def text_of(thing: Object, name: str) -> str:
    """A required text of a response.

    Raises:
        ProviderAway: the field is missing or empty.
    """
    value = thing.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderAway(f"PayPal's response has no {name}")
    return value


def time_of(at: datetime) -> str:
    """A time in PayPal's format, in UTC."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
