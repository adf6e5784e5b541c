"""Bodies and queries: from bytes to checked values, or to an error that names the field.

Bad JSON is 400; all else about the content is 422. The type that the request claims for its body does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

import orjson
from flask import Request
from pydantic import ValidationError

from models.errors import BadRequest, Invalid, TooLarge
from models.ledger.accounts import is_name
from web.http.fields import NAME_RULE, Body, Query

MOST_BODY_BYTES = 1024 * 1024
MOST_DRAINED_BYTES = 8 * MOST_BODY_BYTES
MOST_ERRORS = 100
LONGEST_NAME = 100
NOT_AN_OBJECT = "must be a JSON object"
CUT_OFF = "the body ended early"
TOO_LARGE = f"the body may have {MOST_BODY_BYTES} bytes"
UNREADABLE = "holds a character that cannot be stored"
REASONS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": NOT_AN_OBJECT,
    "list_type": "must be a JSON array",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} item",
    "too_long": "must have at most {max_length} items",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "literal_error": "must be one of {expected}",
}
Q = TypeVar("Q", bound=Query)


def raw(request: Request) -> bytes:
    """The whole body, read once and without the layers that stand between: receivers are hot.

    Raises:
        TooLarge: it is over 1 MiB, whether it said so or not.
        BadRequest: it ended early, or its chunks are malformed.
    """
    said = request.environ.get("CONTENT_LENGTH") or ""
    if said:
        return _exactly(request, said)
    return _to_the_end(request) if request.environ.get("wsgi.input_terminated") else b""


def _exactly(request: Request, said: str) -> bytes:
    length = int(said) if said.isascii() and said.isdigit() else -1
    if length > MOST_BODY_BYTES:
        raise TooLarge(TOO_LARGE)
    data = _part(request, length) if length >= 0 else b""
    if len(data) != length:
        raise BadRequest(CUT_OFF)
    return data


def _to_the_end(request: Request) -> bytes:
    """A body in chunks. Werkzeug would cut it at the limit without a word."""
    parts: list[bytes] = []
    left = MOST_BODY_BYTES
    while part := _part(request, left + 1):
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise TooLarge(TOO_LARGE)
    return b"".join(parts)


def _part(request: Request, size: int) -> bytes:
    """At most `size` bytes. Each server has errors of its own for a client that goes away or breaks off."""
    try:
        part: bytes = request.environ["wsgi.input"].read(size)
    except Exception:
        raise BadRequest(CUT_OFF) from None
    return part


def drain(request: Request) -> None:
    """Read what a refusal left unread, within limits: a server that closes on unread bytes may lose its answer."""
    left = MOST_DRAINED_BYTES if request.environ.get("wsgi.input_terminated") else 0
    try:
        while left > 0 and (part := _part(request, min(left, 65_536))):
            left -= len(part)
    except BadRequest:
        pass


def parse_json(data: bytes) -> Any:
    """The value of a JSON text; of a name that stands twice in an object the last counts.

    Raises:
        BadRequest: it is no JSON in UTF-8; NaN and Infinity are none.
        Invalid: a string holds what cannot be stored: U+0000, half of a surrogate pair.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        value = _lenient(data, error)
    # Neither can come but by an escape: raw control characters are no JSON, raw surrogates no UTF-8.
    if b"\\u0000" in data or b"\\ud" in data or b"\\uD" in data:
        unstorable = [(path, "holds a character that cannot be stored") for path in _unstorable(value)]
        if unstorable:
            raise Invalid(unstorable)
    return value


def _lenient(data: bytes, refusal: orjson.JSONDecodeError) -> Any:
    """orjson refuses half a surrogate pair as bad syntax; it is good syntax with bad content."""
    if b"\\ud" in data or b"\\uD" in data:
        try:
            return json.loads(data.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            pass
    raise BadRequest(f"the body is not JSON: {refusal}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unstorable(value: Any) -> Iterable[str]:
    """The paths of strings, and of names, that hold a NUL or a lone surrogate."""
    waiting = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            if not _storable(item):
                yield path or "body"
        elif isinstance(item, dict):
            if not all(map(_storable, item)):
                yield path or "body"
            waiting.extend((f"{path}.{name}" if path else name, each) for name, each in item.items() if _storable(name))
        elif isinstance(item, list):
            waiting.extend((f"{path}[{index}]", each) for index, each in enumerate(item))


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def read(request: Request, model: type[Body], *, required: bool = True) -> dict[str, Any]:
    """The body as a dict of checked values: defaults filled in, null as good as absent.

    A model that keeps nulls gives exactly the fields that were given, for a PATCH.

    Raises:
        BadRequest, TooLarge, Invalid.
    """
    data = raw(request)
    if not data and not required:
        return check(model, {})
    return check(model, parse_json(data))


def check(model: type[Body], content: Any) -> dict[str, Any]:
    """`content` checked by `model`, as `read` returns it."""
    if not isinstance(content, dict):
        raise Invalid([("body", NOT_AN_OBJECT)])
    given = content if model.keeps_null else _without_nulls(model, content)
    try:
        checked = model.model_validate(given)
    except ValidationError as error:
        raise Invalid(told(error)) from None
    if model.keeps_null:
        return {name: getattr(checked, name) for name in checked.model_fields_set}
    return {name: value for name, value in checked if value is not None}


def _without_nulls(model: type[Body], content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None or name not in model.model_fields}


def query(request: Request, model: type[Q]) -> Q:
    """The query, checked: no parameter that is not known; an empty value is as good as none. Raises Invalid."""
    given = {name: value for name, value in request.args.items() if value}
    known = [field.alias or name for name, field in model.model_fields.items()]
    there_are = f"there are {', '.join(known)}" if known else "there are none here"
    bad = [
        (name[:LONGEST_NAME], f"is not a known parameter; {there_are}") for name in request.args if name not in known
    ]
    bad += [(name, UNREADABLE) for name, value in given.items() if name in known and not _storable(value)]
    if bad:
        raise Invalid(bad[:MOST_ERRORS])
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Invalid(told(error)) from None


def name_in_path(request: Request, field: str, text: str) -> str:
    """A client's id or a customer out of the path. Raises Invalid."""
    if not is_name(text):
        raise Invalid([(field, NAME_RULE)])
    # What a path's bytes that are no UTF-8 are read as; it may also have been meant.
    if "\ufffd" in text and "%EF%BF%BD" not in str(request.environ.get("RAW_URI", "")).upper():
        raise Invalid([(field, UNREADABLE)])
    return text


def told(error: ValidationError, most: int = MOST_ERRORS) -> list[tuple[str, str]]:
    """(field, reason) of each thing that is wrong, in plain words, up to `most` of them."""
    details = error.errors(include_url=False, include_input=False)[:most]
    return [(_field(detail), _reason(detail)) for detail in details]


def _field(detail: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return path.removeprefix(".") or str(detail.get("ctx", {}).get("field") or "body")


def _reason(detail: Any) -> str:
    template = REASONS.get(detail["type"])
    if template is None:
        return str(detail["msg"])
    return template.format(**detail.get("ctx", {}))
