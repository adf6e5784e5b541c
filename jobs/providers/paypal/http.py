"""How PayPal is called: a token, one attempt with a time limit, and errors of our own tree."""

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
# Another call with our own request id has not ended yet.
IN_PROGRESS = frozenset({"PREVIOUS_REQUEST_IN_PROGRESS", "ORDER_CAPTURE_IN_PROGRESS", "RESOURCE_CONFLICT"})
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account, and where: `environment` is `live` or `sandbox`; `base_url` has no slash at its end."""

    client_id: str
    secret: str = field(repr=False)
    environment: str
    base_url: str


class Caller:
    """One account's calls. May be used by several threads at once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._token = ""
        self._token_until = 0.0
        self._token_lock = threading.Lock()

    def write(self, path: str, body: Object, *, key: str) -> Object:
        """POST; the same key does it once, and answers the same again."""
        headers = {"PayPal-Request-Id": _request_id(key), "Prefer": "return=representation"}
        return self.call("POST", path, body=orjson.dumps(body), headers=headers)

    def pages(self, path: str, query: Mapping[str, str], name: str) -> Iterator[Object]:
        """The items of all pages. Of the link to the next one only the query is used: the token goes nowhere else."""
        seen: set[str] = set()
        asked = dict(query)
        while True:
            answer = self.call("GET", path, query=asked)
            yield from objects(answer.get(name))
            following = link_of(answer, "next", required=False)
            if not following or following in seen:
                return
            seen.add(following)
            asked = dict(parse_qsl(urlsplit(following).query))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """One call with the account's token. Returns the object that was answered.

        Raises:
            ProviderAway, ProviderRefused.
        """
        token = self._bearer()
        answer = self._send(method, path, query=query, body=body, headers=headers, auth=_Bearer(token))
        if answer.status_code == 401:
            # It was taken back before its time.
            answer = self._send(
                method, path, query=query, body=body, headers=headers, auth=_Bearer(self._bearer(instead_of=token))
            )
        return _judged(answer)

    def _bearer(self, instead_of: str = "") -> str:
        """The token, fetched when there is none, it has run out, or it is the one that was refused."""
        with self._token_lock:
            if not self._token or time.monotonic() >= self._token_until or self._token == instead_of:
                basic = requests.auth.HTTPBasicAuth(self.account.client_id, self.account.secret)
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                sent = self._send(
                    "POST", "/v1/oauth2/token", body=b"grant_type=client_credentials", headers=form, auth=basic
                )
                answer = _judged(sent)
                self._token = word_of(answer, "access_token")
                self._token_until = time.monotonic() + _lifetime_seconds(answer)
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
                # A proxy of the environment may lead to PayPal, never to the sandbox on this machine.
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
    """The token as `auth`: as a mere header, a .netrc could take its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _judged(answer: requests.Response) -> Object:
    """The object of a good answer."""
    told = _object(answer)
    if 200 <= answer.status_code < 300:
        if told is None:
            raise ProviderAway("PayPal's answer cannot be read")
        return told
    told = told or {}
    code = _code(told)
    if answer.status_code == 429 or answer.status_code >= 500 or code in IN_PROGRESS:
        wait = answer.headers.get("Retry-After", "")
        seconds = min(int(wait), 3600) if wait.isascii() and wait.isdigit() else 5
        raise ProviderAway(f"PayPal answered {answer.status_code} {code}".rstrip(), retry_after=seconds)
    raise ProviderRefused(f"PayPal: {_reason(told) or answer.status_code}", status=answer.status_code, code=code)


def _object(answer: requests.Response) -> Object | None:
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _code(told: Object) -> str:
    """PayPal's word for what is wrong: the issue of the first detail, else the name of the error."""
    issue = next((detail.get("issue") for detail in objects(told.get("details"))), None)
    return str(issue or told.get("name") or told.get("error") or "")[:60]


def _reason(told: Object) -> str:
    described = next((detail.get("description") for detail in objects(told.get("details"))), None)
    text = described or told.get("message") or told.get("error_description") or _code(told)
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:300])


def _lifetime_seconds(answer: Object) -> float:
    """How long a token is used: a minute less than PayPal says, as its clock and ours differ."""
    lifetime = answer.get("expires_in")
    return max(0, min(lifetime, 32400) - 60) if isinstance(lifetime, int) else 0


def _request_id(key: str) -> str:
    if len(key) <= LONGEST_REQUEST_ID and key.isascii() and key.isprintable():
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def link_of(thing: Object, *names: str, required: bool = True) -> str:
    """The URL of the first of these links that there is; "" where none is and none is needed."""
    links = objects(thing.get("links"))
    hrefs = [link.get("href") for name in names for link in links if link.get("rel") == name]
    found = next((href for href in hrefs if isinstance(href, str)), "")
    if required and not found:
        raise ProviderAway(f"PayPal's answer has no link {names[0]!r}")
    return found


def word_of(thing: Object, name: str) -> str:
    """A text of an answer that cannot be done without."""
    value = thing.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderAway(f"PayPal's answer has no {name}")
    return value


def time_of(at: datetime) -> str:
    """A time as PayPal writes it."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
