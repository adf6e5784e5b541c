"""Field types of request bodies and queries, with the reason that a client reads when a value is invalid.

Values of a body are not coerced: `"7"`, `1.5` and `true` are not 7. Numbers of a query are parsed from digits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from models import durations, times
from models.ledger.accounts import is_name

MOST_UNITS = 10**12
LONGEST_TEXT = 500
MOST_METADATA_BYTES = 16 * 1024
MOST_METADATA_LEVELS = 32
HIGHEST_ID = 2**63 - 1
MOST_LINES = 20

NAME_RULE = "must be 1 to 120 characters, without / \\ or control characters, and not . or .."
TIME_RULE = "must be an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z"


def refuse(reason: str, field: str = "") -> PydanticCustomError:
    """The error that a validator raises; `reason` is shown to the client unchanged.

    A validator of a whole body must name the field.
    """
    return PydanticCustomError("scrip", "{reason}", {"reason": reason, "field": field})


def _name(text: str) -> str:
    if not is_name(text):
        raise refuse(NAME_RULE)
    return text


def _text(text: str) -> str:
    if not text.strip():
        raise refuse("must not be empty")
    return text


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if is_deeper(value, MOST_METADATA_LEVELS):
        raise refuse(f"must be nested at most {MOST_METADATA_LEVELS} levels deep")
    if len(orjson.dumps(value)) > MOST_METADATA_BYTES:
        raise refuse(f"must be at most {MOST_METADATA_BYTES // 1024} KiB as JSON")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists in `value` are nested more than `levels` deep."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(item, levels - 1) for item in inner)


def parse_time(value: Any) -> datetime:
    """An aware datetime in UTC. Raises `refuse(TIME_RULE)` for other values."""
    try:
        return times.parse(value)
    except (TypeError, ValueError):
        raise refuse(TIME_RULE) from None


def _duration(text: Any) -> timedelta:
    if not isinstance(text, str):
        raise refuse("must be text")
    try:
        parsed = durations.parse(text)
    except ValueError as error:
        raise refuse(str(error)) from None
    if not parsed:
        raise refuse("must be greater than zero")
    return parsed


def _written_duration(text: str) -> str:
    _duration(text)
    return text


def parse_digits(value: Any) -> Any:
    """The number that a parameter of a query is, written in digits. Raises `refuse`."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        return int(value)
    raise refuse("must be a whole number, 0 or more")


_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 120, "pattern": r"^[^/\\\x00-\x1f\x7f-\x9f]+$"}
_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_DURATION_SCHEMA = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,9})[dhms]$", "examples": ["30d"]}

Name = Annotated[str, AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(_text)]
Quantity = Annotated[int, Field(ge=0, le=MOST_UNITS)]
Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]
RowId = Annotated[int, Field(ge=1, le=HIGHEST_ID)]
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]
Time = Annotated[datetime, BeforeValidator(parse_time), WithJsonSchema(_TIME_SCHEMA)]
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationText = Annotated[str, AfterValidator(_written_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""A validated duration, kept as text."""
QueryQuantity = Annotated[int, BeforeValidator(parse_digits), Field(ge=0, le=MOST_UNITS)]
QueryText = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
Limit = Annotated[int, BeforeValidator(parse_digits), Field(ge=1, le=200)]
LongLimit = Annotated[int, BeforeValidator(parse_digits), Field(ge=1, le=10_000)]


class Line(TypedDict):
    """One rate and quantity of several."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]
    rate: Text
    quantity: Quantity


LINES_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_LINES,
    "items": {
        "type": "object",
        "required": ["rate", "quantity"],
        "additionalProperties": False,
        "properties": {
            "rate": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
            "quantity": {"type": "integer", "minimum": 0, "maximum": MOST_UNITS},
        },
    },
}
Lines = Annotated[list[Line], Field(min_length=1, max_length=MOST_LINES), WithJsonSchema(LINES_SCHEMA)]


def check_amount(given: Collection[str], *single: str) -> None:
    """Check that one amount is given: a field of `single`, or `rate` and `quantity`, or `lines`. Raises `refuse`."""
    for field in (*single, "lines"):
        if field in given:
            for name in ("rate", "quantity", "lines"):
                if name != field and name in given:
                    raise refuse(f"cannot be combined with {field}", name)
            return
    for name in ("rate", "quantity"):
        if name not in given:
            raise refuse(f"is required unless {' or '.join((*single, 'lines'))} is given", name)


class Body(BaseModel):
    """A request body. Unknown fields and values of another type are rejected.

    `example` is a valid body, shown in the API reference. With `keeps_null`, null is distinct from an absent field.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    example: ClassVar[dict[str, Any]] = {}
    keeps_null: ClassVar[bool] = False


class NoBody(Body):
    """An empty request body: absent, or an empty object."""


class Priced(Body):
    """A body with an amount: `units`, or a catalog's `rate` and a `quantity` of its measure, or several of these."""

    units: Units | None = Field(None, description="The number of units, in place of `rate` and `quantity`.")
    rate: Text | None = Field(None, description="The catalog rate that prices `quantity`.")
    quantity: Quantity | None = Field(None, description="The quantity to price, in the measure of the rate.")
    lines: Lines | None = Field(None, description="Rates with their quantities, in place of one rate and quantity.")

    @model_validator(mode="after")
    def _has_one_amount(self) -> Priced:
        check_amount({name: value for name, value in self if value is not None}, "units")
        return self


class Query(BaseModel):
    """Query parameters. Unknown parameters are rejected; an empty value counts as absent.

    A parameter in `repeatable` may occur several times; its field is a list.
    """

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)
    repeatable: ClassVar[tuple[str, ...]] = ()


class Page(Query):
    """The query parameters of a paginated list."""

    limit: Limit = Field(50, description="The maximum number of items to return.")
    cursor: str | None = Field(None, max_length=1000, description="The `next` value of the previous page.")


class Shape(BaseModel):
    """The shape of a response, for the API reference only: responses are not built through it.

    `example` is one such response.
    """

    model_config = ConfigDict(extra="forbid")
    example: ClassVar[dict[str, Any]] = {}
