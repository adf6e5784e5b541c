"""Request bodies and queries: from bytes to validated values, or to an error that names the field.

Malformed JSON is 400, invalid content is 422. The Content-Type header of the request is ignored.
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
MOST_ERRORS = 100
LONGEST_NAME = 100
NOT_AN_OBJECT = "must be a JSON object"
TOO_LARGE = f"the request body exceeds {MOST_BODY_BYTES} bytes"
NOT_UTF8 = "is not valid UTF-8"
UNSTORABLE = "contains a character that cannot be stored (NUL or an unpaired surrogate)"
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
    """The whole body, which web/server has read; call it once.

    Raises:
        TooLarge: the body is over 1 MiB.
    """
    data: bytes = request.environ["wsgi.input"].read(int(request.environ.get("CONTENT_LENGTH") or 0))
    if len(data) > MOST_BODY_BYTES:
        raise TooLarge(TOO_LARGE)
    return data


def parse_json(data: bytes) -> Any:
    """The value of a JSON text. Of a name that occurs twice in an object, the last value is used.

    Raises:
        BadRequest: the data is not JSON in UTF-8. NaN and Infinity are not JSON.
        Invalid: a string contains U+0000 or an unpaired surrogate, which PostgreSQL cannot store.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        value = _lenient(data, error)
    # Both can only occur as escapes: raw control characters are invalid JSON, raw surrogates invalid UTF-8.
    if b"\\u0000" in data or b"\\ud" in data or b"\\uD" in data:
        unstorable = [(path, UNSTORABLE) for path in _unstorable(value)]
        if unstorable:
            raise Invalid(unstorable)
    return value


def _lenient(data: bytes, error: orjson.JSONDecodeError) -> Any:
    """Parse unpaired surrogates, which orjson rejects as a syntax error: they are valid syntax, and so a 422."""
    if b"\\ud" in data or b"\\uD" in data:
        try:
            return json.loads(data.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            pass
    raise BadRequest(f"the request body is not valid JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unstorable(value: Any) -> Iterable[str]:
    """The paths of strings and names that contain a NUL or an unpaired surrogate."""
    pending = [("", value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, str):
            if not _storable(item):
                yield path or "body"
        elif isinstance(item, dict):
            if not all(map(_storable, item)):
                yield path or "body"
            pending.extend((f"{path}.{name}" if path else name, each) for name, each in item.items() if _storable(name))
        elif isinstance(item, list):
            pending.extend((f"{path}[{index}]", each) for index, each in enumerate(item))


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def read(request: Request, model: type[Body], *, required: bool = True) -> dict[str, Any]:
    """The body as a dict of validated values. Defaults are filled in; null counts as absent.

    With a model that keeps nulls, the dict holds exactly the fields that the client sent, as for a PATCH.

    Raises:
        BadRequest, TooLarge, Invalid.
    """
    data = raw(request)
    if not data and not required:
        return check(model, {})
    return check(model, parse_json(data))


def check(model: type[Body], content: Any) -> dict[str, Any]:
    """`content` validated by `model`, as `read` returns it. Raises Invalid."""
    if not isinstance(content, dict):
        raise Invalid([("body", NOT_AN_OBJECT)])
    fields = content if model.keeps_null else _without_nulls(model, content)
    try:
        checked = model.model_validate(fields)
    except ValidationError as error:
        raise Invalid(field_errors(error)) from None
    if model.keeps_null:
        return {name: getattr(checked, name) for name in checked.model_fields_set}
    return {name: value for name, value in checked if value is not None}


def _without_nulls(model: type[Body], content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None or name not in model.model_fields}


def query(request: Request, model: type[Q]) -> Q:
    """The validated query. Unknown parameters are rejected; an empty value counts as absent. Raises Invalid."""
    values: dict[str, Any] = {name: value for name, value in request.args.items() if value}
    repeated = {name: [value for value in request.args.getlist(name) if value] for name in model.repeatable}
    values.update({name: given for name, given in repeated.items() if given})
    known = [field.alias or name for name, field in model.model_fields.items()]
    hint = f"known parameters: {', '.join(known)}" if known else "this endpoint has no query parameters"
    bad = [(name[:LONGEST_NAME], f"is not a known parameter; {hint}") for name in request.args if name not in known]
    bad += [
        (name, "is given more than once")
        for name in values
        if name in known and name not in model.repeatable and len(request.args.getlist(name)) > 1
    ]
    bad += [(name, UNSTORABLE) for name, value in values.items() if name in known and not all(map(_storable, value))]
    if bad:
        raise Invalid(bad[:MOST_ERRORS])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Invalid(field_errors(error)) from None


def name_in_path(request: Request, field: str, text: str) -> str:
    """A validated name (a client-given id or a customer) from the path. Raises Invalid."""
    if not is_name(text):
        raise Invalid([(field, NAME_RULE)])
    # Werkzeug replaces bytes that are not UTF-8 with U+FFFD; a client may also have sent U+FFFD itself.
    if "\ufffd" in text and "%EF%BF%BD" not in str(request.environ.get("RAW_URI", "")).upper():
        raise Invalid([(field, NOT_UTF8)])
    return text


def field_errors(error: ValidationError, limit: int = MOST_ERRORS) -> list[tuple[str, str]]:
    """(field, reason) of the first `limit` validation errors, as the `errors` of a 422 show them."""
    details = error.errors(include_url=False, include_input=False)[:limit]
    return [(_field(detail), _reason(detail)) for detail in details]


def _field(detail: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    # A validator of a whole object names the field below it.
    field = str(detail.get("ctx", {}).get("field") or "")
    return f"{path}.{field}".strip(".") or "body"


def _reason(detail: Any) -> str:
    template = REASONS.get(detail["type"])
    if template is None:
        return str(detail["msg"])
    return template.format(**detail.get("ctx", {}))
