"""URLs of the app's pages in request bodies: fields to which a provider redirects the customer."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from web.http.fields import refuse

LONGEST_URL = 2000
URL_RULE = "must be an http:// or https:// URL without a user name or password"


def _url(text: str) -> str:
    """A page of the app, to which the provider redirects the customer."""
    if not text.isprintable() or any(character.isspace() for character in text) or "\\" in text:
        raise refuse(URL_RULE)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse(URL_RULE) from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise refuse(URL_RULE)
    return text


Url = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_URL),
    AfterValidator(_url),
    WithJsonSchema({"type": "string", "maxLength": LONGEST_URL, "pattern": "^https?://[^/@\\s]+", "format": "uri"}),
]
